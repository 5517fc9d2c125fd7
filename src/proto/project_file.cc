#include "proto/project_file.h"

#include <filesystem>

#include "base/file.h"
#include "proto/json.h"
#include "proto/settings.h"

namespace dnc::proto {
namespace {

constexpr std::size_t kPathBytesMax = 4096;
constexpr std::size_t kSplitBytesMax = 200;
constexpr std::size_t kColumnBytesMax = 1000;
// As written here: kClassWeightsMax keys, each byte escaped, are less.
constexpr std::uint64_t kFitBytesMax = 16u << 20;

std::string ReadPath(JsonObject* object, std::string_view key, const std::string& file_path) {
  std::string text = object->String(key, kPathBytesMax);
  if (text.empty()) {
    if (object->Has(key)) object->Refuse(key, "empty", "a path");
    return text;
  }
  if (text.find("://") != std::string::npos) return text;  // A URL, not a path.
  const std::filesystem::path folder = std::filesystem::path(file_path).parent_path();
  return (folder / text).lexically_normal().string();  // An absolute `text` stays.
}

std::uint32_t Narrow(std::uint64_t value) { return static_cast<std::uint32_t>(value); }

void ReadClassWeight(JsonObject* section, FitSettings* fit) {
  constexpr std::string_view kKey = "class_weight";
  if (section->IsString(kKey)) {
    const std::string text = section->String(kKey, kColumnBytesMax);
    fit->class_weight_balanced = text == "balanced";
    if (!fit->class_weight_balanced) {
      section->Refuse(kKey, "\"" + text + "\"",
                      "\"balanced\", or an object such as {\"0\": 0.5, \"3\": 2}");
    }
  } else if (section->IsObject(kKey)) {
    fit->class_weight = section->Numbers(kKey, kClassWeightsMax);
    if (fit->class_weight.empty()) section->Refuse(kKey, "empty", "a weight of some class");
  } else {
    section->OptionalObject(kKey);  // Not there, or refused.
  }
}

std::optional<EarlyStopping> ReadEarlyStopping(JsonObject* fit) {
  std::optional<JsonObject> section = fit->OptionalObject("early_stopping");
  if (!section) return std::nullopt;
  EarlyStopping stopping;
  stopping.patience = Narrow(section->Uint("patience", 0, kEpochsMax));
  stopping.min_delta = section->OptionalReal("min_delta", 0, kMinDeltaMax, stopping.min_delta);
  if (section->Has("monitor")) {
    const std::string name = section->String("monitor", kColumnBytesMax);
    const Result<Monitor> monitor = ParseMonitor(name);
    if (monitor.ok()) {
      stopping.monitor = *monitor;
    } else {
      section->Refuse("monitor", "\"" + name + "\"", "one of " + MonitorNames());
    }
  } else {
    section->OptionalString("monitor", kColumnBytesMax, "");
  }
  stopping.restore_best = section->OptionalBool("restore_best", stopping.restore_best);
  section->Close();
  return stopping;
}

void WriteEarlyStopping(const EarlyStopping& stopping, JsonWriter* writer) {
  writer->BeginObject("early_stopping");
  writer->Uint("patience", stopping.patience);
  writer->Real("min_delta", stopping.min_delta);
  if (stopping.monitor) writer->String("monitor", MonitorName(*stopping.monitor));
  writer->Bool("restore_best", stopping.restore_best);
  writer->EndObject();
}

}  // namespace

Monitor WatchedMonitor(const EarlyStopping& stopping, bool has_validation) {
  return stopping.monitor.value_or(has_validation ? Monitor::kValidationLoss : Monitor::kLoss);
}

FitSettings ReadFit(JsonObject* object) {
  FitSettings fit;
  std::optional<JsonObject> section = object->OptionalObject("fit");
  if (!section) return fit;
  fit.epochs = Narrow(section->OptionalUint("epochs", 1, kEpochsMax, fit.epochs));
  fit.batch_size = Narrow(section->OptionalUint("batch_size", 1, kBatchSizeMax, fit.batch_size));
  fit.seed = section->OptionalUint("seed", 0, kSeedMax, fit.seed);
  fit.train_split = section->OptionalString("train_split", kSplitBytesMax, fit.train_split);
  if (fit.train_split.empty()) section->Refuse("train_split", "empty", "the name of a split");
  fit.validation_split_stated = section->Has("validation_split");
  fit.validation_split =
      section->OptionalString("validation_split", kSplitBytesMax, fit.validation_split);
  ReadClassWeight(&*section, &fit);
  fit.sample_weight = section->OptionalString("sample_weight", kColumnBytesMax, "");
  fit.early_stopping = ReadEarlyStopping(&*section);
  section->Close();
  return fit;
}

GridSettings ReadGrid(JsonObject* object) {
  GridSettings grid;
  std::optional<JsonObject> section = object->OptionalObject("grid");
  if (!section) return grid;
  const bool size_stated = section->Has("task_size");
  grid.total_tasks =
      Narrow(section->OptionalUint("total_tasks", 1, kTotalTasksMax, grid.total_tasks));
  grid.task_size = Narrow(section->OptionalUint("task_size", 1, kTaskSizeMax, grid.task_size));
  grid.max_contributors = Narrow(section->OptionalUint("max_contributors", 0, kContributorsMax, 0));
  section->Close();
  if (grid.task_size > grid.total_tasks) {
    // Few tasks and no word about K: a step is then a whole epoch.
    if (!size_stated)
      grid.task_size = grid.total_tasks;
    else {
      section->Refuse("task_size", std::to_string(grid.task_size),
                      "at most \"total_tasks\", which is " + std::to_string(grid.total_tasks));
    }
  }
  return grid;
}

void WriteFit(const FitSettings& fit, JsonWriter* writer) {
  writer->BeginObject("fit");
  writer->Uint("epochs", fit.epochs);
  writer->Uint("batch_size", fit.batch_size);
  writer->Uint("seed", fit.seed);
  writer->String("train_split", fit.train_split);
  // Left out where nobody stated it, so that the other side sees the same.
  if (fit.validation_split_stated || fit.validation_split != FitSettings{}.validation_split) {
    writer->String("validation_split", fit.validation_split);
  }
  if (fit.class_weight_balanced) {
    writer->String("class_weight", "balanced");
  } else if (!fit.class_weight.empty()) {
    writer->BeginObject("class_weight");
    for (const auto& [label, weight] : fit.class_weight) writer->Real(label, weight);
    writer->EndObject();
  }
  if (!fit.sample_weight.empty()) writer->String("sample_weight", fit.sample_weight);
  if (fit.early_stopping) WriteEarlyStopping(*fit.early_stopping, writer);
  writer->EndObject();
}

std::string FitToJson(const FitSettings& fit) {
  JsonWriter writer;
  writer.BeginObject();
  WriteFit(fit, &writer);
  writer.EndObject();
  return writer.Take();
}

Result<FitSettings> FitFromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object,
             JsonObject::Parse(json, {.name = "settings", .bytes_max = kFitBytesMax}));
  FitSettings fit = ReadFit(&object);
  object.Close();
  DNC_TRY(object.status());
  return fit;
}

void WriteGrid(const GridSettings& grid, JsonWriter* writer) {
  writer->BeginObject("grid");
  writer->Uint("total_tasks", grid.total_tasks);
  writer->Uint("task_size", grid.task_size);
  writer->Uint("max_contributors", grid.max_contributors);
  writer->EndObject();
}

Result<ProjectFile> ParseProjectFile(std::string_view json, const std::string& path) {
  DNC_ASSIGN(JsonObject object,
             JsonObject::Parse(json, {.name = path, .bytes_max = kProjectFileBytesMax}));
  ProjectFile file;
  file.name = object.String("name", kNameBytesMax);
  if (file.name.empty() && object.Has("name")) object.Refuse("name", "empty", "a name");
  file.description = object.OptionalString("description", kDescriptionBytesMax, "");
  file.model_path = ReadPath(&object, "model", path);
  file.data_path = ReadPath(&object, "data", path);
  file.fit = ReadFit(&object);
  file.grid = ReadGrid(&object);
  object.Close();
  DNC_TRY(object.status());
  return file;
}

Result<ProjectFile> LoadProjectFile(const std::string& path) {
  DNC_ASSIGN(const std::string json, ReadFile(path, kProjectFileBytesMax));
  return ParseProjectFile(json, path);
}

}  // namespace dnc::proto
