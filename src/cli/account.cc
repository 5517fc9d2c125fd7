#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "cli/command.h"
#include "cli/connection.h"

namespace dnc::cli {
namespace {

struct AccountOptions {
  std::string server = kDefaultServer;
  std::string name;
  double give_up_after = 60;
};

Status LogIn(client::Client* client, const AccountOptions& options, std::string password) {
  DNC_ASSIGN(const proto::SessionCreated session,
             client->CreateSession({.name = options.name, .password = std::move(password)}));
  DNC_TRY(
      SaveLogin({.server_url = client->base_url(), .name = options.name, .token = session.token}));
  std::printf("logged in to %s as %s\n", client->base_url().c_str(), options.name.c_str());
  return {};
}

Status SignUp(const AccountOptions& options) {
  DNC_ASSIGN(const auto client, Connect(options.server, "", options.give_up_after));
  DNC_ASSIGN(const std::string password, ReadPassword("Password for the new account"));
  DNC_TRY(client->CreateAccount({.name = options.name, .password = password}));
  return LogIn(client.get(), options, password);
}

Status LogInOnly(const AccountOptions& options) {
  DNC_ASSIGN(const auto client, Connect(options.server, "", options.give_up_after));
  DNC_ASSIGN(std::string password, ReadPassword("Password"));
  return LogIn(client.get(), options, std::move(password));
}

Status LogOut(const AccountOptions& options) {
  DNC_ASSIGN(const auto client, ConnectAsUser(options.give_up_after));
  const Status status = client->DeleteSession();
  // A token that the server no longer knows is as good as one that it forgot now.
  if (!status.ok() && status.error().code != ErrorCode::kUnauthenticated) return status;
  DNC_TRY(RemoveLogin());
  std::printf("logged out of %s\n", client->base_url().c_str());
  return {};
}

void AddServerOptions(CLI::App* command, AccountOptions* options) {
  command->add_option("URL", options->server, "The server's address")->capture_default_str();
  command->add_option("--name", options->name, "The account's name")->required();
  command
      ->add_option("--give-up-after", options->give_up_after,
                   "Seconds to retry a server that does not answer")
      ->capture_default_str();
}

}  // namespace

void AddAccountCommands(Registry* registry) {
  const auto options = std::make_shared<AccountOptions>();
  AddServerOptions(
      AddCommand(registry,
                 {.name = "signup",
                  .description = "Create an account on a server, and log in",
                  .examples = "  dnc signup http://127.0.0.1:7070 --name ada\n"
                              "  DNC_PASSWORD=... dnc signup --name ada    # in a script"},
                 [options] { return SignUp(*options); }),
      options.get());
  AddServerOptions(AddCommand(registry,
                              {.name = "login",
                               .description = "Log in to a server; later commands use it",
                               .examples = "  dnc login http://127.0.0.1:7070 --name ada"},
                              [options] { return LogInOnly(*options); }),
                   options.get());
  AddCommand(registry,
             {.name = "logout", .description = "End the login", .examples = "  dnc logout"},
             [options] { return LogOut(*options); });
}

}  // namespace dnc::cli
