// The project file: what a requestor writes to have a model trained, on the grid
// (dnc submit) or on this machine (dnc train). It is JSON:
//
//   {"name": "fashion", "description": "...",
//    "model": "cnn.json", "data": "shards/manifest.json",
//    "fit": {"epochs": 2, "batch_size": 32, "seed": 7,
//            "train_split": "train", "validation_split": "validation",
//            "class_weight": {"shirt": 2, "3": 0.5}, "sample_weight": "w",
//            "early_stopping": {"patience": 3, "min_delta": 0.01,
//                               "monitor": "val_loss", "restore_best": true}},
//    "grid": {"total_tasks": 10, "task_size": 4, "max_contributors": 0}}
//
// Only "name", "model" and "data" are required. Paths are relative to the file's
// folder. Unknown keys are refused, with the nearest known one. "class_weight" may also
// be "balanced".

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/best_epoch.h"
#include "base/result.h"

namespace dnc::proto {

inline constexpr std::uint64_t kProjectFileBytesMax = 1u << 20;
inline constexpr std::uint32_t kEpochsMax = 100'000;
inline constexpr std::uint32_t kBatchSizeMax = 65'536;
inline constexpr std::uint32_t kTotalTasksMax = 1'000'000;
inline constexpr std::uint32_t kTaskSizeMax = 10'000;
inline constexpr std::uint32_t kContributorsMax = 1'000'000;
// The largest integer that every JSON reader keeps exactly.
inline constexpr std::uint64_t kSeedMax = (std::uint64_t{1} << 53) - 1;
inline constexpr std::size_t kNameBytesMax = 200;
inline constexpr std::size_t kDescriptionBytesMax = 10'000;

// Of "min_delta"; with it, a billionth of one still counts.
inline constexpr double kMinDeltaMax = 1e6;
inline constexpr std::size_t kClassWeightsMax = 4096;

struct EarlyStopping {
  std::uint32_t patience = 0;
  double min_delta = 0;  // 0 to kMinDeltaMax.
  // Nothing: the loss of the validation, or of the training if there is no validation.
  std::optional<Monitor> monitor;
  bool restore_best = false;  // The trained model is that of the best epoch.

  friend bool operator==(const EarlyStopping&, const EarlyStopping&) = default;
};

struct FitSettings {
  std::uint32_t epochs = 1;
  std::uint32_t batch_size = 32;
  std::uint64_t seed = 0;
  std::string train_split = "train";
  // Empty: no validation.
  std::string validation_split = "validation";
  // Whether the user wrote validation_split. If not, and the manifest has no split
  // of that name, there is no validation; if so, that is an error.
  bool validation_split_stated = false;
  // How much samples count: by the number or name of their class, or so that classes
  // balance (then class_weight is empty), and by a column (empty: none).
  std::vector<std::pair<std::string, double>> class_weight;
  bool class_weight_balanced = false;
  std::string sample_weight;
  std::optional<EarlyStopping> early_stopping;

  friend bool operator==(const FitSettings&, const FitSettings&) = default;
};

struct GridSettings {
  std::uint32_t total_tasks = 10;      // Into how many an epoch's data are cut.
  std::uint32_t task_size = 4;         // K: tasks whose results make a step.
  std::uint32_t max_contributors = 0;  // Providers at once; 0: no limit.

  friend bool operator==(const GridSettings&, const GridSettings&) = default;
};

struct ProjectFile {
  std::string name;
  std::string description;
  std::string model_path;  // Of the Keras JSON; absolute, or relative to the working folder.
  std::string data_path;   // Of the manifest.
  FitSettings fit;
  GridSettings grid;

  friend bool operator==(const ProjectFile&, const ProjectFile&) = default;
};

// "early_stopping" as it is where there is a validation, or none.
Monitor WatchedMonitor(const EarlyStopping& stopping, bool has_validation);

// The section "fit" as a JSON object of its own, and back.
// Errors: kInvalidArgument, naming the field.
std::string FitToJson(const FitSettings& fit);
Result<FitSettings> FitFromJson(std::string_view json);

// Parses a project file. `path` is where it came from: messages name it, and
// relative paths inside are resolved against its folder.
// Errors: kInvalidArgument, not JSON, a missing, unknown or mistyped key, a value
// out of range, a task_size above total_tasks; kTooLarge.
Result<ProjectFile> ParseProjectFile(std::string_view json, const std::string& path);

// Reads and parses it. Errors: those of ReadFile and ParseProjectFile.
Result<ProjectFile> LoadProjectFile(const std::string& path);

}  // namespace dnc::proto
