#include "model/initializer_option.h"

#include <nlohmann/json.hpp>

#include "model/json_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr double kFloatMax = 3.4e38;

// Glorot, He and LeCun are variance scaling with fixed options
// (keras/initializers/initializers.py).
struct InitializerRow {
  const char* class_name;
  const char* short_name;
  const char* other_name;
  InitializerKind kind;
  double scale;
  char mode;
  char distribution;
};

constexpr InitializerRow kInitializers[] = {
    {"Zeros", "zeros", "zero", InitializerKind::kZeros, 1, 'i', 't'},
    {"Ones", "ones", "one", InitializerKind::kOnes, 1, 'i', 't'},
    {"Constant", "constant", "constant", InitializerKind::kConstant, 1, 'i', 't'},
    {"RandomUniform", "random_uniform", "uniform", InitializerKind::kUniform, 1, 'i', 't'},
    {"RandomNormal", "random_normal", "normal", InitializerKind::kNormal, 1, 'i', 't'},
    {"TruncatedNormal", "truncated_normal", "truncated_normal", InitializerKind::kTruncatedNormal,
     1, 'i', 't'},
    {"VarianceScaling", "variance_scaling", "variance_scaling", InitializerKind::kVarianceScaling,
     1, 'i', 't'},
    {"GlorotUniform", "glorot_uniform", "glorot_uniform", InitializerKind::kVarianceScaling, 1, 'a',
     'u'},
    {"GlorotNormal", "glorot_normal", "glorot_normal", InitializerKind::kVarianceScaling, 1, 'a',
     't'},
    {"HeUniform", "he_uniform", "he_uniform", InitializerKind::kVarianceScaling, 2, 'i', 'u'},
    {"HeNormal", "he_normal", "he_normal", InitializerKind::kVarianceScaling, 2, 'i', 't'},
    {"LecunUniform", "lecun_uniform", "lecun_uniform", InitializerKind::kVarianceScaling, 1, 'i',
     'u'},
    {"LecunNormal", "lecun_normal", "lecun_normal", InitializerKind::kVarianceScaling, 1, 'i', 't'},
    {"Orthogonal", "orthogonal", "orthogonal", InitializerKind::kOrthogonal, 1, 'i', 't'},
};

const InitializerRow* FindRow(const std::string& name) {
  for (const InitializerRow& row : kInitializers) {
    if (name == row.class_name || name == row.short_name || name == row.other_name) return &row;
  }
  return nullptr;
}

std::vector<std::string> KnownNames() {
  std::vector<std::string> names;
  for (const InitializerRow& row : kInitializers) names.push_back(row.class_name);
  return names;
}

// "fan_in" 'i', "fan_out" 'o', "fan_avg" 'a'.
void ReadVarianceScaling(OptionReader* options, Initializer* initializer) {
  initializer->scale = options->Number("scale", 1, 1e-30, kFloatMax);
  const std::string mode = options->Choice("mode", "fan_in", {"fan_in", "fan_out", "fan_avg"});
  initializer->mode = mode == "fan_in" ? 'i' : mode == "fan_out" ? 'o' : 'a';
  // Keras 2 calls the truncated normal distribution "normal", too.
  const std::string distribution =
      options->Choice("distribution", "truncated_normal",
                      {"truncated_normal", "normal", "untruncated_normal", "uniform"});
  initializer->distribution = distribution == "uniform"              ? 'u'
                              : distribution == "untruncated_normal" ? 'n'
                                                                     : 't';
}

void ReadConfig(const InitializerRow& row, OptionReader* options, Initializer* initializer) {
  switch (row.kind) {
    case InitializerKind::kZeros:
    case InitializerKind::kOnes:
      break;
    case InitializerKind::kConstant:
      initializer->value = options->Number("value", 0, -kFloatMax, kFloatMax);
      break;
    case InitializerKind::kUniform:
      initializer->min = options->Number("minval", -0.05, -kFloatMax, kFloatMax);
      initializer->max = options->Number("maxval", 0.05, initializer->min, kFloatMax);
      break;
    case InitializerKind::kNormal:
    case InitializerKind::kTruncatedNormal:
      initializer->mean = options->Number("mean", 0, -kFloatMax, kFloatMax);
      initializer->stddev = options->Number("stddev", 0.05, 0, kFloatMax);
      break;
    case InitializerKind::kVarianceScaling:
      if (std::string_view(row.class_name) == "VarianceScaling") {
        ReadVarianceScaling(options, initializer);
      }
      break;
    case InitializerKind::kOrthogonal:
      initializer->scale = options->Number("gain", 1, -kFloatMax, kFloatMax);
      break;
  }
  const bool random = row.kind != InitializerKind::kZeros && row.kind != InitializerKind::kOnes &&
                      row.kind != InitializerKind::kConstant;
  options->RefuseUnlessNull({"input_axes", "output_axes"});
  // A seed of its own changes no distribution: ours comes from the project.
  if (const json* seed = options->Find("seed"); random) {
    const bool whole = seed != nullptr && seed->is_number_integer();
    options->Record("seed", whole ? ordered_json(*seed) : ordered_json());
  }
  if (options->Find("dtype") != nullptr) options->OnlyFloat32("dtype");
}

}  // namespace

Initializer ReadInitializer(OptionReader* options, const char* key, const char* fallback_class) {
  const json* value = options->Find(key);
  std::string name = fallback_class;
  json config = json::object();
  if (value != nullptr && value->is_string()) {
    name = value->get<std::string>();
  } else if (value != nullptr && value->is_object() && value->contains("class_name") &&
             (*value)["class_name"].is_string()) {
    name = (*value)["class_name"].get<std::string>();
    if (const auto found = value->find("config"); found != value->end() && found->is_object()) {
      config = *found;
    }
  } else if (value != nullptr && !value->is_null()) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"" + std::string(key) + "\" is " +
                                                   ShortJson(*value) +
                                                   "; expected the name of an initializer");
  }
  Initializer initializer;
  const InitializerRow* row = FindRow(name);
  if (row == nullptr) {
    options->Fail(ErrorCode::kUnsupported,
                  UnknownNameText("initializer", name, KnownNames()) + " (option \"" + key + "\")");
    return initializer;
  }
  initializer.kind = row->kind;
  initializer.scale = row->scale;
  initializer.mode = row->mode;
  initializer.distribution = row->distribution;
  OptionReader reader(options->owner() + ": " + key, &config);
  ReadConfig(*row, &reader, &initializer);
  if (const Status status = reader.Finish(); !status.ok()) {
    // The inner reader's messages begin with the owner already.
    const Error& error = status.error();
    options->Fail(error.code, error.message.substr(options->owner().size() + 2));
    return initializer;
  }
  ordered_json record;
  record["class_name"] = row->class_name;
  record["config"] = reader.TakeRecord();
  options->Record(key, std::move(record));
  return initializer;
}

}  // namespace dnc::model
