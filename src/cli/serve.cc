#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/values.h"
#include "server/server.h"

namespace dnc::cli {
namespace {

struct ServeOptions {
  std::string listen = "127.0.0.1:7070";
  std::string state = "dnc-state";
  std::string object_bytes_max = "64MiB";
  double token_days = 30;
  double lease_silence_seconds = 15;
};

// "127.0.0.1:7070", "[::1]:7070".
Status ParseListen(const std::string& text, server::ServerOptions* options) {
  const std::size_t colon = text.rfind(':');
  const char* end = text.data() + text.size();
  if (colon != std::string::npos && colon > 0) {
    const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, options->listen_port);
    if (error == std::errc() && rest == end) {
      options->listen_address = text.substr(0, colon);
      if (options->listen_address.front() == '[' && options->listen_address.back() == ']') {
        options->listen_address = options->listen_address.substr(1, colon - 2);
      }
      return {};
    }
  }
  return Error{ErrorCode::kInvalidArgument,
               "--listen: \"" + text + "\" is not ADDRESS:PORT; write for example 127.0.0.1:7070"};
}

Duration SecondsOf(double seconds) {
  return Duration::Microseconds(static_cast<std::int64_t>(seconds * 1e6));
}

Status Serve(const ServeOptions& options) {
  server::ServerOptions server_options;
  DNC_TRY(ParseListen(options.listen, &server_options));
  server_options.state_dir = options.state;
  server_options.token_lifetime = SecondsOf(options.token_days * 86'400);
  server_options.lease_silence_max = SecondsOf(options.lease_silence_seconds);
  DNC_ASSIGN(server_options.object_bytes_max,
             ByteOption("--object-bytes-max", options.object_bytes_max));
  DNC_ASSIGN(const auto server, server::Server::Start(server_options));
  std::printf("dnc serve: %s\n", server->url().c_str());
  std::fflush(stdout);
  // Ctrl-C is a flag that a signal handler sets; somebody has to look at it.
  std::jthread watcher([&server](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      if (Interrupted()) return server->Stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  return server->Wait();
}

}  // namespace

void AddServe(Registry* registry) {
  const auto options = std::make_shared<ServeOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "serve",
       .description = "Run the management server: accounts, projects, tasks, results",
       .examples = "  dnc serve                                  # http://127.0.0.1:7070\n"
                   "  dnc serve --listen 127.0.0.1:0 --state ./state"},
      [options] { return Serve(*options); });
  command->add_option("--listen", options->listen, "ADDRESS:PORT; port 0 is any free one")
      ->capture_default_str();
  command->add_option("--state", options->state, "Folder of the database and the objects")
      ->capture_default_str();
  command->add_option("--object-bytes-max", options->object_bytes_max, "Largest shard accepted")
      ->capture_default_str();
  command->add_option("--token-days", options->token_days, "How long a login lasts")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 36500.0));
  command
      ->add_option("--lease-silence-seconds", options->lease_silence_seconds,
                   "A provider that is silent for this long loses its task")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0));
}

}  // namespace dnc::cli
