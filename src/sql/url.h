// The URL of a database: scheme://user:password@host:port/database?name=value&...
// Every part may be percent-encoded; "+" is a plus.

#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dnc::sql {

struct Url {
  std::string scheme;
  std::string user;
  std::string password;
  std::string host;
  std::string port;
  std::string path;  // Without the first "/": the database.
  std::map<std::string, std::string> parameters;
  // For messages: without password and parameters.
  std::string shown;
};

// Errors: kInvalidArgument, no URL, a "%" that is not followed by two digits, a
// parameter without a value or given twice, a port that is no number.
Result<Url> ParseUrl(std::string_view text);

// `text` with every occurrence of the password replaced.
std::string WithoutPassword(const Url& url, std::string text);

}  // namespace dnc::sql
