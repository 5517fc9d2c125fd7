#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include "base/file.h"
#include "base/human.h"
#include "cli/command.h"
#include "cli/connection.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/status_text.h"

namespace dnc::cli {
namespace {

struct ProjectOptions {
  std::uint64_t project = 0;
  std::string out;
  double give_up_after = 60;
  bool follow = false;
  bool json = false;
};

// A message's own JSON, indented.
template <typename Message>
void PrintMessage(const Message& message) {
  PrintJson(nlohmann::json::parse(proto::ToJson(message), nullptr, false));
}

Status List(const ProjectOptions& options) {
  DNC_ASSIGN(const auto client, ConnectAsUser(options.give_up_after));
  DNC_ASSIGN(const proto::ProjectList list, client->ListProjects());
  if (options.json) {
    PrintMessage(list);
    return {};
  }
  std::printf("%6s  %-10s %13s %13s  %s\n", "id", "phase", "steps", "tasks", "name");
  for (const proto::ProjectSummary& row : list.projects) {
    const std::string steps = FormatCount(row.version) + "/" + FormatCount(row.steps_total);
    const std::string tasks = FormatCount(row.tasks_done) + "/" + FormatCount(row.tasks_total);
    std::printf("%6llu  %-10s %13s %13s  %s\n",
                static_cast<unsigned long long>(row.project_id.value), proto::PhaseName(row.phase),
                steps.c_str(), tasks.c_str(), row.name.c_str());
  }
  return {};
}

bool Ended(const proto::ProjectStatus& status) {
  return status.summary.phase != proto::Phase::kRunning &&
         status.summary.phase != proto::Phase::kPaused;
}

// Redraws a block of lines on a terminal; elsewhere prints them every two seconds.
class FollowDisplay {
 public:
  void Show(const std::vector<std::string>& lines, bool last) {
    const Instant now = MonotonicNow();
    if (!terminal_ && !last && shown_once_ && now - shown_ < Duration::Seconds(2)) return;
    if (terminal_ && drawn_ > 0) std::printf("\033[%zuA\033[J", drawn_);
    for (const std::string& line : lines) std::printf("%s\n", line.c_str());
    std::fflush(stdout);
    drawn_ = lines.size();
    shown_ = now;
    shown_once_ = true;
  }

 private:
  bool terminal_ = ::isatty(STDOUT_FILENO) == 1;
  bool shown_once_ = false;
  Instant shown_;
  std::size_t drawn_ = 0;
};

Status Follow(client::Client* client, ProjectId project) {
  FollowDisplay display;
  std::optional<std::uint64_t> first_tasks;
  const Instant started = MonotonicNow();
  for (;;) {
    DNC_ASSIGN(const proto::ProjectStatus status, client->GetProject(project));
    const std::uint64_t tasks = status.summary.tasks_done;
    if (!first_tasks) first_tasks = tasks;
    display.Show(StatusLines(status, {.tasks = tasks - std::min(tasks, *first_tasks),
                                      .elapsed = MonotonicNow() - started}),
                 Ended(status));
    if (status.summary.phase == proto::Phase::kFinished) return {};
    if (Ended(status)) {
      return Error{ErrorCode::kStale, "project " + std::to_string(project.value) + " " +
                                          proto::PhaseName(status.summary.phase) +
                                          (status.failure.empty() ? "" : ": " + status.failure)};
    }
    for (int i = 0; i < 10 && !Interrupted(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (Interrupted()) return Error{ErrorCode::kCancelled, "stopped following; it goes on"};
  }
}

Status ShowStatus(const ProjectOptions& options) {
  DNC_ASSIGN(const auto client, ConnectAsUser(options.give_up_after));
  if (options.follow) return Follow(client.get(), {options.project});
  DNC_ASSIGN(const proto::ProjectStatus status, client->GetProject({options.project}));
  if (options.json) {
    PrintMessage(status);
    return {};
  }
  for (const std::string& line : StatusLines(status, {})) std::printf("%s\n", line.c_str());
  return {};
}

Status DownloadResult(const ProjectOptions& options) {
  DNC_ASSIGN(const auto client, ConnectAsUser(options.give_up_after));
  DNC_ASSIGN(const proto::ProjectStatus status, client->GetProject({options.project}));
  DNC_ASSIGN(AtomicFile out, AtomicFile::Create(options.out));
  DNC_TRY(client->DownloadModel({options.project},
                                [&out](ByteSpan bytes) { return out.Write(bytes); }));
  DNC_TRY(out.Commit());
  const std::string evaluation = ModelEvaluation(status);
  const std::string stopping = StoppingText(status);
  const std::uint64_t version =
      status.stopping ? status.stopping->model_version : status.summary.version;
  std::printf("%s: %s, step %s of %s%s%s%s%s\n", options.out.c_str(), status.summary.name.c_str(),
              FormatCount(version).c_str(), FormatCount(status.summary.steps_total).c_str(),
              evaluation.empty() ? "" : ", validation ", evaluation.c_str(),
              stopping.empty() ? "" : "; ", stopping.c_str());
  return {};
}

CLI::App* AddProjectCommand(Registry* registry, const CommandText& text,
                            const std::shared_ptr<ProjectOptions>& options,
                            Status (*run)(const ProjectOptions&)) {
  CLI::App* command = AddCommand(registry, text, [options, run] { return run(*options); });
  if (text.name != "list") {
    command->add_option("ID", options->project, "The project's id; `dnc list` shows it")
        ->required();
  }
  command
      ->add_option("--give-up-after", options->give_up_after,
                   "Seconds to retry a server that does not answer")
      ->capture_default_str();
  return command;
}

Status Change(const ProjectOptions& options, Status (client::Client::*call)(ProjectId),
              const char* done) {
  DNC_ASSIGN(const auto client, ConnectAsUser(options.give_up_after));
  DNC_TRY((client.get()->*call)({options.project}));
  std::printf("project %llu: %s\n", static_cast<unsigned long long>(options.project), done);
  return {};
}

Status Pause(const ProjectOptions& options) {
  return Change(options, &client::Client::PauseProject, "paused");
}
Status Resume(const ProjectOptions& options) {
  return Change(options, &client::Client::ResumeProject, "running");
}
Status Cancel(const ProjectOptions& options) {
  return Change(options, &client::Client::CancelProject, "cancelled");
}

}  // namespace

void AddProjectCommands(Registry* registry) {
  const auto options = std::make_shared<ProjectOptions>();
  const auto add = [&](const CommandText& text, Status (*run)(const ProjectOptions&)) {
    return AddProjectCommand(registry, text, options, run);
  };
  add({.name = "list",
       .description = "Show your projects",
       .examples = "  dnc list\n  dnc list --json"},
      List)
      ->add_flag("--json", options->json, "Print JSON");
  CLI::App* status = add({.name = "status",
                          .description = "Show how a project goes",
                          .examples = "  dnc status 1\n"
                                      "  dnc status 1 --follow      # until it ends\n"
                                      "  dnc status 1 --json"},
                         ShowStatus);
  status->add_flag("--follow", options->follow, "Show it live until the project ends");
  status->add_flag("--json", options->json, "Print JSON");
  add({.name = "pause",
       .description = "Give out no more tasks of a project",
       .examples = "  dnc pause 1"},
      Pause);
  add({.name = "resume",
       .description = "Go on with a paused project",
       .examples = "  dnc resume 1"},
      Resume);
  add({.name = "cancel",
       .description = "End a project; its model so far can still be downloaded",
       .examples = "  dnc cancel 1"},
      Cancel);
  add({.name = "result",
       .description = "Download a project's model, as trained so far",
       .examples = "  dnc result 1 --out model.h5"},
      DownloadResult)
      ->add_option("--out", options->out, "The model, a Keras .h5")
      ->required();
}

}  // namespace dnc::cli
