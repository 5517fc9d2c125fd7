#include "cli/status_text.h"

#include <cstdio>

#include "base/human.h"

namespace dnc::cli {
namespace {

std::string Decimal(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string RoundedCount(double value) {
  return FormatCount(value > 0 ? static_cast<std::uint64_t>(value + 0.5) : 0);
}

std::string TimeLeft(const proto::ProjectSummary& summary, const TaskRate& rate) {
  const std::uint64_t left =
      summary.tasks_total - std::min(summary.tasks_total, summary.tasks_done);
  if (rate.tasks == 0 || left == 0 || summary.phase == proto::Phase::kFinished) return "";
  const double seconds =
      rate.elapsed.seconds() * static_cast<double>(left) / static_cast<double>(rate.tasks);
  return ", " + FormatDuration(Duration::Microseconds(static_cast<std::int64_t>(seconds * 1e6))) +
         " left";
}

std::string EvaluationText(const proto::EvaluationStatus& evaluation) {
  return "loss " + Decimal(evaluation.loss, 4) + ", accuracy " + Decimal(evaluation.accuracy, 4) +
         " (epoch " + std::to_string(evaluation.epochs) + ")";
}

std::string TaskText(const proto::ProviderStatus& provider) {
  if (!provider.has_task) return "idle";
  const bool evaluates = provider.task.kind == proto::TaskKind::kEvaluate;
  std::string text = evaluates ? "evaluates version " + std::to_string(provider.task.version)
                               : "task " + std::to_string(provider.task.task_index) + " of epoch " +
                                     std::to_string(provider.task.epoch + 1);
  const std::uint64_t total = provider.task.end - provider.task.begin;
  if (total > 0) text += " " + std::to_string(provider.samples_done * 100 / total) + "%";
  return text;
}

std::string ProviderLine(const proto::ProviderStatus& provider) {
  std::string line = "  " + provider.name + ": " + TaskText(provider);
  if (provider.samples_per_second > 0) {
    line += ", " + RoundedCount(provider.samples_per_second) + " samples/s";
  }
  line += ", " + FormatCount(provider.tasks_accepted) + " tasks";
  if (provider.results_refused > 0) {
    line += " (" + FormatCount(provider.results_refused) + " refused)";
  }
  // The server counts from its own side; the provider's side is shown.
  return line + ", in " + FormatByteCount(provider.bytes_out) + ", out " +
         FormatByteCount(provider.bytes_in);
}

}  // namespace

std::string NewestEvaluation(const proto::ProjectStatus& status) {
  return status.evaluations.empty() ? "" : EvaluationText(status.evaluations.back());
}

std::string ModelEvaluation(const proto::ProjectStatus& status) {
  if (!status.stopping) return NewestEvaluation(status);
  for (const proto::EvaluationStatus& evaluation : status.evaluations) {
    if (evaluation.version == status.stopping->model_version) return EvaluationText(evaluation);
  }
  return "";
}

std::string StoppingText(const proto::ProjectStatus& status) {
  if (!status.stopping || status.stopping->best_epoch == 0) return "";
  const std::string best = "epoch " + std::to_string(status.stopping->best_epoch) + " is the best";
  if (!status.stopping->stopped_early) return best;
  return "stopped early after epoch " + std::to_string(status.stopping->epochs) + "; " + best;
}

std::vector<std::string> StatusLines(const proto::ProjectStatus& status, const TaskRate& rate) {
  const proto::ProjectSummary& summary = status.summary;
  std::string line = summary.name + ": " + proto::PhaseName(summary.phase) + ", step " +
                     FormatCount(summary.version) + "/" + FormatCount(summary.steps_total) +
                     ", tasks " + FormatCount(summary.tasks_done) + "/" +
                     FormatCount(summary.tasks_total);
  if (status.has_last_step) {
    line += ", " + RoundedCount(status.last_step.samples_per_second) + " samples/s, loss " +
            Decimal(status.last_step.loss, 4);
  }
  if (const std::string evaluation = NewestEvaluation(status); !evaluation.empty()) {
    line += "; validation " + evaluation;
  }
  if (const std::string stopping = StoppingText(status); !stopping.empty()) line += "; " + stopping;
  std::vector<std::string> lines = {line + TimeLeft(summary, rate)};
  for (const proto::ProviderStatus& provider : status.providers) {
    lines.push_back(ProviderLine(provider));
  }
  if (!status.failure.empty()) lines.push_back("  " + status.failure);
  return lines;
}

}  // namespace dnc::cli
