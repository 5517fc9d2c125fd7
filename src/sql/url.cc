#include "sql/url.h"

#include <algorithm>

namespace dnc::sql {
namespace {

std::optional<int> HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// `part` is its name in messages, which do not show the text: it may be a password.
Result<std::string> Decode(std::string_view text, const std::string& part) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    const auto high = i + 2 < text.size() ? HexDigit(text[i + 1]) : std::nullopt;
    const auto low = i + 2 < text.size() ? HexDigit(text[i + 2]) : std::nullopt;
    if (!high || !low || (*high == 0 && *low == 0)) {
      return Error{ErrorCode::kInvalidArgument,
                   "the URL's " + part +
                       " has a \"%\" that is not followed by two hexadecimal digits; write a "
                       "percent sign itself as %25" +
                       (part == "query" ? ", or give the query with --query" : "")};
    }
    decoded += static_cast<char>(16 * *high + *low);
    i += 2;
  }
  return decoded;
}

Status ReadParameters(std::string_view text, Url* url) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view parameter = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return Error{ErrorCode::kInvalidArgument,
                   url->shown +
                       ": a parameter is written name=value; an \"&\" within a query is %26, or "
                       "give the query with --query"};
    }
    const std::string name(parameter.substr(0, equals));
    DNC_ASSIGN(std::string value, Decode(parameter.substr(equals + 1), name));
    if (!url->parameters.emplace(name, std::move(value)).second) {
      return Error{ErrorCode::kInvalidArgument, url->shown + ": gives " + name + " twice"};
    }
  }
  return {};
}

Status ReadAuthority(std::string_view text, Url* url) {
  const std::size_t at = text.rfind('@');
  if (at != std::string_view::npos) {
    const std::string_view login = text.substr(0, at);
    const std::size_t colon = std::min(login.find(':'), login.size());
    DNC_ASSIGN(url->user, Decode(login.substr(0, colon), "user"));
    if (colon < login.size()) {
      DNC_ASSIGN(url->password, Decode(login.substr(colon + 1), "password"));
    }
    text.remove_prefix(at + 1);
  }
  // An IPv6 address is in brackets.
  std::size_t colon = text.rfind(':');
  const std::size_t bracket = text.rfind(']');
  if (colon != std::string_view::npos && bracket != std::string_view::npos && colon < bracket) {
    colon = std::string_view::npos;
  }
  std::string_view host = text.substr(0, std::min(colon, text.size()));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  DNC_ASSIGN(url->host, Decode(host, "host"));
  if (colon == std::string_view::npos) return {};
  url->port = text.substr(colon + 1);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (url->port.empty() || url->port.size() > 5 ||
      !std::all_of(url->port.begin(), url->port.end(), is_digit) || std::stoi(url->port) > 65535) {
    return Error{ErrorCode::kInvalidArgument,
                 url->scheme +
                     "://...: what is behind the last \":\" is no port; a \":\", \"@\" or \"/\" in "
                     "a password is written %3A, %40 or %2F"};
  }
  return {};
}

}  // namespace

Result<Url> ParseUrl(std::string_view text) {
  const std::size_t scheme = text.find("://");
  if (scheme == std::string_view::npos || scheme == 0) {
    return Error{ErrorCode::kInvalidArgument, "not the URL of a database"};
  }
  Url url;
  url.scheme = text.substr(0, scheme);
  text.remove_prefix(scheme + 3);
  const std::size_t question = std::min(text.find('?'), text.size());
  const std::string_view place = text.substr(0, question);
  text.remove_prefix(std::min(question + 1, text.size()));
  const std::size_t slash = std::min(place.find('/'), place.size());
  DNC_TRY(ReadAuthority(place.substr(0, slash), &url));
  if (slash < place.size()) {
    DNC_ASSIGN(url.path, Decode(place.substr(slash + 1), "database"));
  }
  url.shown = url.scheme + "://" + (url.user.empty() ? "" : url.user + "@") + url.host +
              (url.port.empty() ? "" : ":" + url.port) + "/" + url.path;
  DNC_TRY(ReadParameters(text, &url));
  return url;
}

std::string WithoutPassword(const Url& url, std::string text) {
  if (url.password.empty()) return text;
  for (std::size_t at = text.find(url.password); at != std::string::npos;
       at = text.find(url.password, at + 3)) {
    text.replace(at, url.password.size(), "...");
  }
  return text;
}

}  // namespace dnc::sql
