#include "provider/project.h"

#include <algorithm>
#include <utility>

#include "base/human.h"
#include "stream/loader.h"
#include "training/grid_window.h"
#include "update/update.h"

namespace dnc::provider {
namespace {

std::uint64_t SaturatingAdd(std::uint64_t a, std::uint64_t b) {
  return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}
std::uint64_t SaturatingMultiply(std::uint64_t a, std::uint64_t b) {
  return a != 0 && b > UINT64_MAX / a ? UINT64_MAX : a * b;
}

Result<stream::Plan> MakePlan(const Project& project, stream::PlanOptions options) {
  options.window_samples = training::GridWindowSamples(project.manifest, options.split);
  Result<stream::Plan> plan = stream::Plan::Create(&project.manifest, options);
  // Of a task, so that it is not taken for a lease that is gone.
  if (!plan.ok()) return Error{ErrorCode::kCorrupt, plan.error().message};
  return plan;
}

// What the layers keep of a batch for the backward pass, the gradients of it and the
// work space of a convolution: three times the activations.
std::uint64_t BatchBytes(const Project& project) {
  std::uint64_t elements = 0;
  for (const model::Layer& layer : project.model.layers) {
    elements =
        SaturatingAdd(elements, array::ElementCount(layer.output_shape).value_or(UINT64_MAX));
  }
  std::uint64_t sample_bytes = SaturatingMultiply(elements, 3 * sizeof(float));
  // Batches wait in up to four slots.
  for (const std::vector<int>* columns : {&project.x_columns, &project.y_columns}) {
    for (const array::ColumnSpec& spec : array::SelectColumns(project.manifest.columns, *columns)) {
      sample_bytes = SaturatingAdd(sample_bytes, SaturatingMultiply(spec.sample_bytes(), 4));
    }
  }
  return SaturatingMultiply(sample_bytes, project.fit.batch_size);
}

Result<std::optional<training::SampleWeights>> WeightsOf(const Project& project) {
  const proto::FitSettings& fit = project.fit;
  training::WeightOptions options{.balanced = fit.class_weight_balanced,
                                  .column = fit.sample_weight};
  DNC_ASSIGN(options.by_class, shard::ResolveClassWeights(fit.class_weight, project.manifest));
  if (!options.any()) return std::optional<training::SampleWeights>();
  DNC_ASSIGN(training::SampleWeights weights,
             training::SampleWeights::Create(project.manifest, fit.train_split, project.y_columns,
                                             options));
  return std::optional(std::move(weights));
}

Status CheckMemory(const Project& project, std::uint64_t memory_bytes) {
  const MemoryNeed& need = project.memory;
  if (need.Total() <= memory_bytes) return {};
  return Error{ErrorCode::kTooLarge,
               "project \"" + project.name + "\" needs about " + FormatByteCount(need.Total()) +
                   " of memory (programs " + FormatByteCount(need.programs_bytes) + ", weights " +
                   FormatByteCount(SaturatingAdd(need.weights_bytes, need.trainer_model_bytes)) +
                   ", batches of " + std::to_string(project.fit.batch_size) + " samples " +
                   FormatByteCount(need.trainer_batch_bytes) + ", data read ahead " +
                   FormatByteCount(need.loader_bytes) + "), but this provider lends " +
                   FormatByteCount(memory_bytes)};
}

}  // namespace

std::uint64_t MemoryNeed::Total() const {
  std::uint64_t total = programs_bytes;
  for (const std::uint64_t part :
       {weights_bytes, loader_bytes, trainer_model_bytes, trainer_batch_bytes}) {
    total = SaturatingAdd(total, part);
  }
  return total;
}

trainer::TrainerOptions Project::TrainerOptionsFor(int threads) const {
  trainer::TrainerOptions options;
  options.threads = threads;
  options.batch_size_max = fit.batch_size;
  options.x = array::SelectColumns(manifest.columns, x_columns);
  options.y = array::SelectColumns(manifest.columns, y_columns);
  options.weighted = weights.has_value();
  return options;
}

Result<stream::Plan> TrainPlan(const Project& project, std::uint64_t epoch, std::uint64_t begin,
                               std::uint64_t end) {
  stream::PlanOptions options;
  options.split = project.fit.train_split;
  options.seed = project.fit.seed;
  options.epoch = epoch;
  options.begin = begin;
  options.end = end;
  return MakePlan(project, std::move(options));
}

Result<stream::Plan> EvaluationPlan(const Project& project, std::uint64_t begin,
                                    std::uint64_t end) {
  stream::PlanOptions options;
  options.split = project.fit.validation_split;
  options.shuffle = false;
  options.begin = begin;
  options.end = end;
  return MakePlan(project, std::move(options));
}

Result<std::uint64_t> LoaderBytes(const stream::Plan& plan, std::uint64_t memory_bytes) {
  const std::uint64_t needed = stream::MemoryNeeded(plan);
  if (needed > memory_bytes / 2) {
    return Error{ErrorCode::kTooLarge, "reading the data ahead needs " + FormatByteCount(needed) +
                                           ", more than half of the " +
                                           FormatByteCount(memory_bytes) +
                                           " that this provider lends"};
  }
  return std::max(needed, std::min(memory_bytes / 4, kLoaderBytesMax));
}

std::uint64_t ProgramsBytes(int cores) {
  return kDaemonBytes + kTrainerBytes + kTrainerThreadBytes * static_cast<std::uint64_t>(cores);
}

Result<Project> ParseProject(const proto::ProjectWork& work, const OwnerLimits& limits) {
  const std::uint64_t memory_bytes = limits.memory_bytes;
  Project project;
  project.id = work.project_id;
  project.name = work.name;
  project.fit = work.fit;
  const std::string label = "project \"" + work.name + "\"";
  DNC_ASSIGN(project.model, model::ParseModel(work.model_json, label + ", model"));
  shard::ManifestLimits manifest_limits;
  manifest_limits.bytes_max = std::min(manifest_limits.bytes_max, memory_bytes / 8);
  DNC_ASSIGN(project.manifest,
             shard::ParseManifest(work.manifest_json, label + ", manifest", manifest_limits));
  if (!project.model.has_compile) {
    return Error{ErrorCode::kCorrupt, label + ": its model has no compile section"};
  }
  if (work.weight_count != project.model.weight_count) {
    return Error{ErrorCode::kCorrupt,
                 label + ": the server counts " + FormatCount(work.weight_count) +
                     " weights, but its model has " + FormatCount(project.model.weight_count)};
  }
  if (project.fit.batch_size == 0) {
    return Error{ErrorCode::kCorrupt, label + ": a batch size of 0"};
  }
  const auto& columns = project.manifest.columns;
  const auto corrupt = [&](const Error& error) {
    return Error{ErrorCode::kCorrupt, label + ": " + error.message};
  };
  Result<std::vector<int>> x = model::FindInputs(project.model, columns);
  if (!x.ok()) return corrupt(x.error());
  Result<std::vector<int>> y = model::FindLabels(project.model, columns);
  if (!y.ok()) return corrupt(y.error());
  project.x_columns = *std::move(x);
  project.y_columns = *std::move(y);
  DNC_TRY(model::CheckColumns(
      project.model, array::SelectColumns(columns, project.x_columns),
      array::SelectColumns(columns, project.y_columns),
      project.manifest.ClassCounts(project.fit.train_split, project.y_columns)));

  DNC_ASSIGN(project.weights, WeightsOf(project));
  const std::uint64_t weights = project.model.weight_count;
  project.memory.programs_bytes = ProgramsBytes(limits.cores);
  project.memory.weights_bytes = 2 * sizeof(float) * weights + update::EncodedBytesMax(weights);
  // Weights, gradients, two slots of the optimizer, and one copy on its way.
  project.memory.trainer_model_bytes = 5 * sizeof(float) * weights;
  project.memory.trainer_batch_bytes = BatchBytes(project);
  DNC_ASSIGN(const stream::Plan train, TrainPlan(project, 0, 0, UINT64_MAX));
  DNC_ASSIGN(project.memory.loader_bytes, LoaderBytes(train, memory_bytes));
  if (!project.fit.validation_split.empty()) {
    DNC_ASSIGN(const stream::Plan validation, EvaluationPlan(project, 0, UINT64_MAX));
    DNC_ASSIGN(const std::uint64_t bytes, LoaderBytes(validation, memory_bytes));
    project.memory.loader_bytes = std::max(project.memory.loader_bytes, bytes);
  }
  DNC_TRY(CheckMemory(project, memory_bytes));
  return project;
}

}  // namespace dnc::provider
