// How commands reach a server: the address and token that `dnc login` kept, and a
// client that shows its retries.

#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "client/client.h"

namespace dnc::cli {

// What `dnc login` keeps in $DNC_CONFIG_HOME (or $XDG_CONFIG_HOME/dnc, or
// ~/.config/dnc)/login.json, readable by its owner only.
struct Login {
  std::string server_url;
  std::string name;
  std::string token;
};

// Errors: kUnauthenticated, nobody is logged in; kCorrupt.
Result<Login> LoadLogin();
Status SaveLogin(const Login& login);
Status RemoveLogin();

inline constexpr char kDefaultServer[] = "http://127.0.0.1:7070";

// A client that stops at Ctrl-C and prints a line before each retry.
// `give_up_after_seconds` 0: no retries.
Result<std::unique_ptr<client::Client>> Connect(const std::string& server_url,
                                                const std::string& token,
                                                double give_up_after_seconds);
// With the login that was kept.
Result<std::unique_ptr<client::Client>> ConnectAsUser(double give_up_after_seconds);

// The password: $DNC_PASSWORD, or one line of stdin, asked for without echo on a
// terminal.
Result<std::string> ReadPassword(const std::string& prompt);

}  // namespace dnc::cli
