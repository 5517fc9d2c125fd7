// A project as a provider works on it: what the server sent, parsed, checked within
// limits, and found to fit into what the owner lends.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "model/model.h"
#include "proto/messages.h"
#include "shard/manifest.h"
#include "stream/plan.h"
#include "trainer/trainer.h"
#include "training/sample_weights.h"

namespace dnc::provider {

// What the daemon itself takes, without data and weights: program, buffers, threads.
inline constexpr std::uint64_t kDaemonBytes = 48u << 20;
// What a trainer takes before it has a model (measured: 165 MiB, libtorch and one
// thread), and for each thread (measured: 18 MB).
inline constexpr std::uint64_t kTrainerBytes = 240u << 20;
inline constexpr std::uint64_t kTrainerThreadBytes = 20u << 20;
// Most that the loader takes, unless the project's blocks need more.
inline constexpr std::uint64_t kLoaderBytesMax = 48u << 20;

// What the owner lends.
struct OwnerLimits {
  int cores = 1;
  std::uint64_t memory_bytes = std::uint64_t{2} << 30;
};

// Memory for a project, each part an estimate from above. The trainer's sum is 1.3 to
// 1.6 times what convolutional networks were measured to take.
struct MemoryNeed {
  std::uint64_t programs_bytes = 0;  // Daemon and trainer, before there is a project.
  std::uint64_t weights_bytes = 0;   // Before, after and on the wire, in the daemon.
  std::uint64_t loader_bytes = 0;
  std::uint64_t trainer_model_bytes = 0;  // Weights, gradients, optimizer.
  std::uint64_t trainer_batch_bytes = 0;  // Batches and what layers keep of them.

  std::uint64_t Total() const;  // Saturates.
};

struct Project {
  ProjectId id;
  std::string name;
  proto::FitSettings fit;
  model::Model model;
  shard::Manifest manifest;
  std::vector<int> x_columns;  // Of the manifest.
  std::vector<int> y_columns;
  std::optional<training::SampleWeights> weights;  // Of training; nothing: all count 1.
  MemoryNeed memory;

  trainer::TrainerOptions TrainerOptionsFor(int threads) const;
};

// Checks everything that came, and that it fits into what is lent.
// Errors: those of ParseModel, ParseManifest, CheckColumns and SampleWeights; kCorrupt, parts that
// do not fit each other; kTooLarge, more memory is needed than is lent, with the
// arithmetic. Never kNotFound.
Result<Project> ParseProject(const proto::ProjectWork& work, const OwnerLimits& limits);

// Of daemon and trainer, before there is a project.
std::uint64_t ProgramsBytes(int cores);

// The plan of a range of a split: shuffled by the epoch for training, as it lies for
// evaluation. `project` must outlive it.
// Errors: kCorrupt, no such split or range.
Result<stream::Plan> TrainPlan(const Project& project, std::uint64_t epoch, std::uint64_t begin,
                               std::uint64_t end);
Result<stream::Plan> EvaluationPlan(const Project& project, std::uint64_t begin, std::uint64_t end);

// The loader's budget for a plan under an owner's limit.
// Errors: kTooLarge, the plan needs more than half of the limit.
Result<std::uint64_t> LoaderBytes(const stream::Plan& plan, std::uint64_t memory_bytes);

}  // namespace dnc::provider
