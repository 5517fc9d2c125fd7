#include "cli/connection.h"

#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <utility>

#include "base/file.h"
#include "base/human.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"

namespace dnc::cli {
namespace {

constexpr std::uint64_t kLoginBytesMax = 64 << 10;

std::string ConfigFolder() {
  if (const char* folder = std::getenv("DNC_CONFIG_HOME")) return folder;
  if (const char* folder = std::getenv("XDG_CONFIG_HOME")) return std::string(folder) + "/dnc";
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "." : home) + "/.config/dnc";
}

std::string LoginPath() { return ConfigFolder() + "/login.json"; }

// Turns echo off while a password is typed.
class SilentTerminal {
 public:
  SilentTerminal() {
    active_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
    if (!active_) return;
    termios silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSANOW, &silent);
  }
  ~SilentTerminal() {
    if (active_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  SilentTerminal(const SilentTerminal&) = delete;
  SilentTerminal& operator=(const SilentTerminal&) = delete;

 private:
  termios before_{};
  bool active_ = false;
};

}  // namespace

Result<Login> LoadLogin() {
  const std::string path = LoginPath();
  auto text = ReadFile(path, kLoginBytesMax);
  if (!text.ok()) {
    if (text.error().code != ErrorCode::kNotFound) return text.error();
    return Error{ErrorCode::kUnauthenticated, "not logged in; run `dnc login URL --name NAME`"};
  }
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  Login login;
  for (const auto& [key, field] :
       {std::pair<const char*, std::string*>{"server", &login.server_url},
        {"name", &login.name},
        {"token", &login.token}}) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_string()) {
      return Error{ErrorCode::kCorrupt,
                   path + " is damaged: no text under \"" + key + "\"; run `dnc login` again"};
    }
    *field = json[key].get<std::string>();
  }
  return login;
}

Status SaveLogin(const Login& login) {
  DNC_TRY(MakeDirectories(ConfigFolder()));
  const nlohmann::json json = {
      {"server", login.server_url}, {"name", login.name}, {"token", login.token}};
  // The token is a secret from its first byte on disk.
  const mode_t before = ::umask(077);
  const Status status = WriteFileAtomically(LoginPath(), AsBytes(json.dump(2) + "\n"));
  ::umask(before);
  return status;
}

Status RemoveLogin() {
  const std::string path = LoginPath();
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError("remove", path, errno);
  return {};
}

Result<std::unique_ptr<client::Client>> Connect(const std::string& server_url,
                                                const std::string& token,
                                                double give_up_after_seconds) {
  client::ClientOptions options;
  options.base_url = server_url;
  options.token = token;
  options.retry.give_up_after =
      Duration::Microseconds(static_cast<std::int64_t>(give_up_after_seconds * 1e6));
  options.retry.on_retry = [](const Error& error, Duration next_try_in) {
    std::fprintf(stderr, "dnc: %s; next try in %s\n", error.message.c_str(),
                 FormatDuration(next_try_in).c_str());
  };
  options.cancelled = InterruptFlag();
  return client::Client::Create(std::move(options));
}

Result<std::unique_ptr<client::Client>> ConnectAsUser(double give_up_after_seconds) {
  DNC_ASSIGN(const Login login, LoadLogin());
  return Connect(login.server_url, login.token, give_up_after_seconds);
}

Result<std::string> ReadPassword(const std::string& prompt) {
  if (const char* password = std::getenv("DNC_PASSWORD")) return std::string(password);
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (terminal) std::fprintf(stderr, "%s: ", prompt.c_str());
  std::string password;
  bool found = false;
  {
    const SilentTerminal silent;
    found = static_cast<bool>(std::getline(std::cin, password));
  }
  if (terminal) std::fputs("\n", stderr);
  if (!found) {
    return Error{ErrorCode::kInvalidArgument,
                 "no password; type it, pipe it in, or set DNC_PASSWORD"};
  }
  return password;
}

}  // namespace dnc::cli
