#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include "base/human.h"
#include "cli/command.h"
#include "cli/connection.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/values.h"
#include "provider/daemon.h"

namespace dnc::cli {
namespace {

struct JoinOptions {
  std::string server = kDefaultServer;
  std::string name;
  std::string token;
  std::string memory = "2GiB";
  std::string disk = "1GiB";
  std::string work_dir;
  int cores = 0;
  double give_up_after = 0;
  bool finish_task = false;
};

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "provider";
}

std::string DefaultWorkFolder() {
  if (const char* folder = std::getenv("XDG_CACHE_HOME")) return std::string(folder) + "/dnc";
  const char* home = std::getenv("HOME");
  return std::string(home == nullptr ? "." : home) + "/.cache/dnc";
}

std::string TaskText(const provider::TaskReport& report) {
  const std::string project = report.project.empty()
                                  ? "project " + std::to_string(report.task.project.value)
                                  : report.project;
  if (report.task.kind == agent::TaskKind::kEvaluate) {
    return project + ": evaluation of version " + std::to_string(report.task.version);
  }
  return project + ": task " + std::to_string(report.task.task_index) + " of epoch " +
         std::to_string(report.task.epoch + 1);
}

// Prints a line for what the owner of the machine wants to know.
class Observer final : public provider::ProviderObserver {
 public:
  void OnWaitingForWork() override {
    if (!waiting_) progress_.Print("waiting for work");
    waiting_ = true;
  }
  void OnLeased(const provider::TaskReport&) override { waiting_ = false; }
  void OnProgress(const provider::TaskReport& report, std::uint64_t samples_done,
                  double samples_per_second) override {
    if (!progress_.Due()) return;
    progress_.Show(TaskText(report) + ", " + FormatCount(samples_done) + "/" +
                   FormatCount(report.task.end - report.task.begin) + " samples, " +
                   FormatCount(static_cast<std::uint64_t>(samples_per_second)) + "/s");
  }
  void OnAccepted(const provider::TaskReport& report, const agent::Metrics& metrics) override {
    const double seconds = static_cast<double>(metrics.compute_us) / 1e6;
    progress_.Print(
        TaskText(report) + " accepted: " + FormatCount(metrics.samples) + " samples in " +
        FormatDuration(Duration::Microseconds(static_cast<std::int64_t>(metrics.compute_us))) +
        (seconds > 0 ? ", " +
                           FormatCount(static_cast<std::uint64_t>(
                               static_cast<double>(metrics.samples) / seconds)) +
                           "/s"
                     : ""));
  }
  void OnRefused(const provider::TaskReport& report, const std::string& reason) override {
    progress_.Print(TaskText(report) + " refused: " + reason);
  }
  void OnLeaseLost(const provider::TaskReport& report, const std::string& reason) override {
    progress_.Print(TaskText(report) + " no longer needed: " + reason);
  }
  void OnGivenBack(const provider::TaskReport& report, bool failed,
                   const std::string& reason) override {
    progress_.Print(TaskText(report) + (failed ? " failed: " : " given back: ") + reason);
  }
  void OnRetry(const std::string& what, const Error& error, Duration wait) override {
    progress_.Print("cannot " + what + ": " + error.message + "; next try in " +
                    FormatDuration(wait));
  }

 private:
  Progress progress_;
  bool waiting_ = false;
};

// The token that was given, or a new one for this provider, by the login.
Result<std::string> ProviderToken(const JoinOptions& options, int cores, std::uint64_t memory) {
  if (!options.token.empty()) return options.token;
  DNC_ASSIGN(const Login login, LoadLogin());
  DNC_ASSIGN(const auto client, Connect(options.server, login.token,
                                        options.give_up_after > 0 ? options.give_up_after : 60));
  DNC_ASSIGN(const proto::ProviderCreated created,
             client->CreateProvider({.name = options.name.empty() ? HostName() : options.name,
                                     .cores = static_cast<std::uint32_t>(cores),
                                     .memory_bytes = memory}));
  return created.token;
}

Status Join(const JoinOptions& options) {
  provider::ProviderOptions provider_options;
  provider_options.server_url = options.server;
  provider_options.cores = options.cores > 0 ? options.cores : AvailableCores();
  DNC_ASSIGN(provider_options.memory_bytes, ByteOption("--memory", options.memory));
  DNC_ASSIGN(provider_options.disk_bytes, ByteOption("--disk", options.disk));
  provider_options.work_folder = options.work_dir.empty() ? DefaultWorkFolder() : options.work_dir;
  provider_options.give_up_after =
      Duration::Microseconds(static_cast<std::int64_t>(options.give_up_after * 1e6));
  DNC_ASSIGN(provider_options.token,
             ProviderToken(options, provider_options.cores, provider_options.memory_bytes));

  Observer observer;
  DNC_ASSIGN(const auto provider, provider::Provider::Create(provider_options, &observer));
  std::printf("lending %d cores, %s of memory, %s of disk to %s; Ctrl-C stops\n",
              provider_options.cores, FormatByteCount(provider_options.memory_bytes).c_str(),
              FormatByteCount(provider_options.disk_bytes).c_str(), options.server.c_str());
  std::fflush(stdout);
  std::jthread watcher([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      if (Interrupted()) return provider->Stop(options.finish_task);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  DNC_TRY(provider->Run());
  const provider::ProviderStatistics statistics = provider->statistics();
  std::printf("%s tasks, %s samples, in %s, out %s\n",
              FormatCount(statistics.tasks_accepted).c_str(),
              FormatCount(statistics.samples_accepted).c_str(),
              FormatByteCount(statistics.bytes.received).c_str(),
              FormatByteCount(statistics.bytes.sent).c_str());
  if (Interrupted()) return Error{ErrorCode::kCancelled, "stopped lending this machine"};
  return {};
}

}  // namespace

void AddJoin(Registry* registry) {
  const auto options = std::make_shared<JoinOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "join",
       .description = "Lend this machine to a server's projects, within limits",
       .examples = "  dnc join http://127.0.0.1:7070\n"
                   "  dnc join http://127.0.0.1:7070 --cores 1 --memory 2GiB --disk 512MiB"},
      [options] { return Join(*options); });
  command->add_option("URL", options->server, "The server's address")->required();
  command->add_option("--cores", options->cores, "Threads that train; all cores by default")
      ->check(CLI::Range(1, 256));
  command->add_option("--memory", options->memory, "Most that training may take")
      ->capture_default_str();
  command->add_option("--disk", options->disk, "Most that kept shards may take")
      ->capture_default_str();
  command->add_option("--name", options->name, "Shown to requestors; the host's name by default");
  command->add_option("--token", options->token,
                      "A provider's token; by default a new one is made by the login");
  command->add_option("--work-dir", options->work_dir,
                      "Folder for kept shards; ~/.cache/dnc by default");
  command
      ->add_option("--give-up-after", options->give_up_after,
                   "Seconds without a server after which to end; 0: never")
      ->capture_default_str();
  command->add_flag("--finish-task", options->finish_task,
                    "At Ctrl-C, finish the task in hand first");
}

}  // namespace dnc::cli
