#include "model/keras_file.h"

#include <hdf5.h>

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>

#include "base/human.h"
#include "box/box.h"
#include "hdf/open_source.h"
#include "model/h5_objects.h"
#include "model/h5_writer.h"
#include "model/json_text.h"
#include "model/keras3_json.h"
#include "model/keras_paths.h"
#include "model/keras_state.h"
#include "model/model_text.h"
#include "model/trained_bytes.h"
#include "zip/zip.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kMetadata = "metadata.json";
constexpr const char* kConfig = "config.json";
constexpr const char* kWeights = "model.weights.h5";
constexpr const char* kKerasVersion = "3.0.0";
constexpr std::uint64_t kMetadataBytesMax = 64 << 10;
// Beside the weights and up to four slots of an optimizer, in doubles.
constexpr std::uint64_t kH5OverheadBytesMax = 64u << 20;
constexpr std::uint64_t kH5BytesPerWeightMax = 40;

Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }

// Owns the bytes that HDF5 reads.
class OwnedSource final : public RandomAccessSource {
 public:
  OwnedSource(Bytes bytes, std::string name) : bytes_(std::move(bytes)), view_(bytes_, name) {}
  std::uint64_t size() const override { return view_.size(); }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    return view_.ReadAt(offset, out);
  }
  const std::string& name() const override { return view_.name(); }

 private:
  Bytes bytes_;
  MemorySource view_;
};

Result<Bytes> ReadNamed(const RandomAccessSource& source, const std::vector<zip::Member>& members,
                        const char* name, std::uint64_t bytes_max) {
  const zip::Member* found = nullptr;
  for (const zip::Member& member : members) {
    if (member.name != name) continue;
    if (found != nullptr) {
      return Corrupt(source.name() + ": has two members called " + std::string(name));
    }
    found = &member;
  }
  if (found == nullptr) {
    return Corrupt(source.name() + ": has no member " + name +
                   "; expected an archive as Keras's model.save(\"m.keras\") writes it");
  }
  return zip::ReadMember(source, *found, bytes_max);
}

// The compile section as ReadTrainingConfig takes it, where there is one.
std::string TakeCompileConfig(json* document) {
  const auto found = document->find("compile_config");
  if (found == document->end() || found->is_null()) return "";
  const std::string text = found->dump(-1, ' ', true, json::error_handler_t::replace);
  document->erase(found);
  return text;
}

Status ReadConfig(std::string_view text, const std::string& name, const ModelLimits& limits,
                  TrainedModel* trained) {
  json document;
  const Status parsed = ParseJsonText(text, limits.json_bytes_max, &document);
  if (!parsed.ok()) return parsed.error().WithContext(name);
  if (!document.is_object()) return Corrupt(name + ": is no JSON object");
  const std::string compile = TakeCompileConfig(&document);
  DNC_ASSIGN(
      trained->model,
      ParseModel(document.dump(-1, ' ', true, json::error_handler_t::replace), name, limits));
  if (compile.empty()) return {};
  // A compile section that cannot be used does not make the weights useless.
  const Status status = ReadTrainingConfig(compile, limits, &trained->model);
  if (!status.ok()) trained->compile_refusal = status.error().message;
  return {};
}

Result<KerasArchive> ReadArchive(const RandomAccessSource& source, const ModelLimits& limits) {
  DNC_ASSIGN(const std::vector<zip::Member> members, zip::ReadDirectory(source));
  KerasArchive archive;
  DNC_ASSIGN(const Bytes config, ReadNamed(source, members, kConfig, limits.json_bytes_max));
  DNC_TRY(
      ReadConfig(AsText(config), source.name() + "(" + kConfig + ")", limits, &archive.trained));
  DNC_ASSIGN(const Bytes metadata, ReadNamed(source, members, kMetadata, kMetadataBytesMax));
  json document;
  if (ParseJsonText(AsText(metadata), kMetadataBytesMax, &document).ok() && document.is_object() &&
      document.contains("keras_version") && document["keras_version"].is_string()) {
    archive.trained.keras_version = document["keras_version"].get<std::string>().substr(0, 64);
  }
  const std::uint64_t bytes_max =
      kH5OverheadBytesMax + kH5BytesPerWeightMax * archive.trained.model.weight_count;
  DNC_ASSIGN(archive.weights_h5, ReadNamed(source, members, kWeights, bytes_max));
  if (archive.weights_h5.size() < 2 * archive.trained.model.weight_count) {
    return Corrupt(source.name() + "(" + kWeights + "): has " +
                   FormatByteCount(archive.weights_h5.size()) + ", too few for the " +
                   FormatCount(archive.trained.model.weight_count) +
                   " weights of its architecture");
  }
  return archive;
}

// Keras up to 2.13 has another name for the group of the layers.
std::string InOldLayout(std::string path) {
  constexpr std::string_view kLayers = "layers/";
  constexpr std::string_view kOld = "_layer_checkpoint_dependencies/";
  for (std::size_t at = 0; (at = path.find(kLayers, at)) != std::string::npos; at += kOld.size()) {
    path.replace(at, kLayers.size(), kOld);
  }
  return path;
}

// Keras 2 has another name for the parts of an attention: "_query_dense".
std::string InLayoutOfKeras2(std::string path) {
  for (const char* part : {"/query_dense/", "/key_dense/", "/value_dense/", "/output_dense/"}) {
    const std::size_t at = path.find(part);
    if (at != std::string::npos) return path.insert(at + 1, "_");
  }
  return path;
}

Status ReadWeights(const H5Handle& file, TrainedModel* trained) {
  DNC_ASSIGN(std::vector<std::string> paths, KerasPaths(trained->model));
  if (H5Lexists(file.id(), "_layer_checkpoint_dependencies", H5P_DEFAULT) > 0) {
    for (std::string& path : paths) path = InOldLayout(path);
  }
  trained->weights.resize(trained->model.weight_count);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const WeightSpec& weight = trained->model.weights[i];
    Result<H5Handle> dataset = OpenObject(file, paths[i]);
    if (!dataset.ok()) {
      Result<H5Handle> other = OpenObject(file, InLayoutOfKeras2(paths[i]));
      if (other.ok()) dataset = std::move(other);
    }
    if (!dataset.ok()) return dataset.error().WithContext(weight.name);
    const Status status = ReadDataset(*dataset, weight, trained->weights.data() + weight.offset);
    if (!status.ok()) return status.error().WithContext(paths[i]);
  }
  return {};
}

// ---- Writing

// Says where Keras 3 finds the class.
ordered_json Serialized(const char* module, const ordered_json& object) {
  ordered_json out;
  out["module"] = module;
  out["class_name"] = object["class_name"];
  out["config"] = object["config"];
  out["registered_name"] = nullptr;
  return out;
}

bool IsSerialized(const ordered_json& value) {
  return value.is_object() && value.contains("class_name") && value["class_name"].is_string() &&
         value.contains("config") && value["config"].is_object();
}

// Losses or metrics as Keras 3 writes them, alone, in lists or by name. What Keras 2 wraps to
// give a function a name of its own is the function.
ordered_json SerializedAll(const std::string& module, const ordered_json& value) {
  const bool is_loss = module == "keras.losses";
  if (IsSerialized(value)) {
    const ordered_json& config = value["config"];
    const bool wraps = value["class_name"] == "MeanMetricWrapper" && config.contains("fn") &&
                       config["fn"].is_string();
    return wraps ? config["fn"] : Serialized(module.c_str(), value);
  }
  if (!value.is_structured()) return value;
  ordered_json all = value.is_array() ? ordered_json::array() : ordered_json::object();
  for (const auto& [key, each] : value.items()) {
    if (value.is_object()) {
      all[key] = SerializedAll(module, each);
    } else if (is_loss || !each.is_null()) {  // Keras 3 has no metric that is null.
      all.push_back(SerializedAll(module, each));
    }
  }
  return all;
}

// Options of Keras 2 that Keras 3 does not know.
void DropOldOptions(ordered_json* config) {
  for (const char* key : {"decay", "schedule_decay", "jit_compile", "is_legacy_optimizer"}) {
    config->erase(key);
  }
}

ordered_json CompileConfigOf(const Model& model) {
  const ordered_json training = ordered_json::parse(model.training_config_json);
  ordered_json compile;
  ordered_json optimizer = Serialized("keras.optimizers", training["optimizer_config"]);
  // Keras 2.11 to 2.15's way to tell its optimizers from those before.
  constexpr std::string_view kCustom = "Custom>";
  if (std::string name = optimizer["class_name"]; name.starts_with(kCustom)) {
    optimizer["class_name"] = name.substr(kCustom.size());
  }
  ordered_json& config = optimizer["config"];
  DropOldOptions(&config);
  if (config.contains("learning_rate") && IsSerialized(config["learning_rate"])) {
    config["learning_rate"] =
        Serialized("keras.optimizers.schedules", ordered_json(config["learning_rate"]));
    // Keras 3 refuses a schedule whose name is null, as Keras 2 writes it.
    ordered_json& schedule = config["learning_rate"]["config"];
    if (schedule.contains("name") && schedule["name"].is_null()) schedule.erase("name");
  }
  compile["optimizer"] = std::move(optimizer);
  for (const char* key : {"loss", "loss_weights", "metrics", "weighted_metrics"}) {
    const ordered_json value = training.contains(key) ? training[key] : ordered_json();
    const bool is_loss = std::string_view(key) == "loss";
    compile[key] = SerializedAll(is_loss ? "keras.losses" : "keras.metrics", value);
  }
  compile["run_eagerly"] = false;
  compile["steps_per_execution"] = 1;
  compile["jit_compile"] = false;
  return compile;
}

Result<Bytes> WeightsImage(const TrainedModel& trained, const std::string& path) {
  DNC_ASSIGN(const std::vector<std::string> paths, KerasPaths(trained.model));
  const hdf::QuietH5 quiet;
  H5Writer writer(path);
  const H5Handle file =
      writer.CreateFile(4 * trained.weights.size() + trained.optimizer_state.size() + (1u << 20));
  DNC_TRY(writer.status());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const WeightSpec& weight = trained.model.weights[i];
    writer.WriteDataset(file, paths[i], weight.shape, trained.weights.data() + weight.offset);
  }
  DNC_TRY(WriteKerasState(trained, file, &writer));
  writer.CreateGroup(file, "vars");  // The model's own, which has none: Keras 2 looks for them.
  Bytes image = writer.TakeImage(file);
  DNC_TRY(writer.status());
  return image;
}

}  // namespace

std::string KerasJson(const Model& model, CompileStyle style) {
  ordered_json document = ordered_json::parse(model.full_config_json);
  // Both know a functional model as keras.Model; Functional has no public name.
  const std::string class_name = model.sequential ? "Sequential" : "Model";
  document["class_name"] = class_name;
  document["module"] = "keras";
  document["registered_name"] = class_name;
  if (model.has_compile && style == CompileStyle::kKeras2) {
    document["training_config"] = ordered_json::parse(model.training_config_json);
  } else if (model.has_compile) {
    document["compile_config"] = CompileConfigOf(model);
  }
  if (style == CompileStyle::kKeras3) TranslateToKeras3(model, &document);
  return DumpJson(document);
}

Result<KerasArchive> ReadKerasArchive(const RandomAccessSource& source, const ModelLimits& limits) {
  try {
    return ReadArchive(source, limits);
  } catch (const std::exception& error) {  // Of the JSON library: no case of it is known.
    return Error{ErrorCode::kInternal, source.name() + ": " + error.what()};
  }
}

namespace {

// In the box: HDF5 is not made for hostile files.
Result<Bytes> ReadInBox(KerasArchive archive, const std::string& name) {
  const hdf::QuietH5 quiet;
  H5PLset_loading_state(0);  // No plug-in is loaded for a filter that a file names.
  DNC_ASSIGN(const H5Handle file,
             hdf::OpenSource(std::make_shared<OwnedSource>(std::move(archive.weights_h5), name)));
  const Status status = ReadWeights(file, &archive.trained);
  if (!status.ok()) return status.error().WithContext(name);
  // Without its state a model is still whole: the optimizer begins anew.
  if (archive.trained.model.has_compile && H5Lexists(file.id(), "optimizer", H5P_DEFAULT) > 0) {
    const Status state = ReadKerasState(file, &archive.trained);
    if (!state.ok()) {
      archive.trained.optimizer_refusal = "the optimizer's state: " + state.error().message;
    }
  }
  return EncodeTrained(archive.trained);
}

}  // namespace

Result<TrainedModel> LoadKeras(const std::string& path, const ModelLimits& limits) {
  DNC_ASSIGN(const auto source, FileSource::Open(path));
  DNC_ASSIGN(const KerasArchive archive, ReadKerasArchive(*source, limits));
  const std::string name = path + "(" + kWeights + ")";
  const std::uint64_t bytes_max = TrainedBytesMax(archive.weights_h5.size());
  DNC_ASSIGN(const Bytes bytes, box::RunBoxed(name, bytes_max, kReaderSecondsMax,
                                              [&] { return ReadInBox(archive, name); }));
  return DecodeTrained(bytes, path, limits);
}

Status SaveKeras(const TrainedModel& trained, const std::string& path) {
  DNC_ASSERT(trained.weights.size() == trained.model.weight_count);
  try {
    const Result<Bytes> image = WeightsImage(trained, path);
    if (!image.ok()) return image.error().WithContext(path);
    const std::string metadata = std::string(R"({"keras_version": ")") + kKerasVersion +
                                 R"(", "date_saved": "1980-01-01@00:00:00"})";
    const std::string config = KerasJson(trained.model, CompileStyle::kKeras3);
    return zip::WriteArchive(
        path,
        {{kMetadata, {AsBytes(metadata)}}, {kConfig, {AsBytes(config)}}, {kWeights, {*image}}});
  } catch (const std::exception& error) {  // Of the JSON library: the model was checked.
    return Error{ErrorCode::kInternal, path + ": " + error.what()};
  }
}

}  // namespace dnc::model
