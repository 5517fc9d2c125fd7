#include "model/weight_rule.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "model/initializer_option.h"
#include "model/json_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;

// A Keras object in an option: "l2", or {"class_name": "L2", "config": {...}}, or as Keras
// 1 wrote it, {"name": "MaxNorm", ...}.
struct KerasObject {
  std::string name;  // In small letters and without "_".
  json config = json::object();
};

std::string Plain(const std::string& name) {
  std::string plain;
  for (const char c : name) {
    if (c == '_') continue;
    plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return plain;
}

std::optional<KerasObject> ReadObject(OptionReader* options, const std::string& key) {
  const json* value = options->Find(key.c_str());
  if (value == nullptr || value->is_null()) {
    options->Record(key.c_str(), nullptr);
    return std::nullopt;
  }
  options->Record(key.c_str(), *value);
  KerasObject object;
  if (value->is_string()) {
    object.name = Plain(value->get<std::string>());
    return object;
  }
  const char* name_key =
      value->is_object() && value->contains("class_name") ? "class_name" : "name";
  if (value->is_object() && value->contains(name_key) && (*value)[name_key].is_string()) {
    object.name = Plain((*value)[name_key].get<std::string>());
    const auto config = value->find("config");
    if (config == value->end()) {
      object.config = *value;
      object.config.erase(name_key);
      return object;
    }
    if (config->is_object()) {
      object.config = *config;
      return object;
    }
  }
  options->Fail(ErrorCode::kInvalidArgument,
                "option \"" + key + "\" is " + ShortJson(*value) +
                    "; expected a name, or {\"class_name\": ..., \"config\": {...}}");
  return std::nullopt;
}

// Reads the config of an object through `read`, whose failures go to `options`.
template <typename Read>
void ReadConfig(OptionReader* options, const std::string& key, const KerasObject& object,
                Read&& read) {
  OptionReader config(options->owner() + ": " + key, &object.config);
  config.Ignore({"name"});
  read(&config);
  const Status status = config.Finish();
  if (!status.ok()) options->Fail(status.error().code, status.error().message);
}

void ReadNormAxis(OptionReader* config, Constraint* constraint) {
  const json* axis = config->Find("axis");
  if (axis == nullptr || axis->is_null()) return;
  constraint->axes.clear();
  for (const json& element : axis->is_array() ? *axis : json::array({*axis})) {
    const std::optional<std::int64_t> number = WholeNumber(element);
    if (!number || *number < 0 || *number > 15) {
      config->Fail(ErrorCode::kInvalidArgument,
                   "option \"axis\" is " + ShortJson(*axis) + "; expected axes from 0 on");
      return;
    }
    constraint->axes.push_back(*number);
  }
}

Constraint ReadConstraint(OptionReader* options, const std::string& key) {
  Constraint constraint;
  const std::optional<KerasObject> object = ReadObject(options, key);
  if (!object) return constraint;
  ReadConfig(options, key, *object, [&](OptionReader* config) {
    if (object->name == "nonneg") {
      constraint.kind = ConstraintKind::kNonNegative;
      return;
    }
    ReadNormAxis(config, &constraint);
    if (object->name == "unitnorm") {
      constraint.kind = ConstraintKind::kUnitNorm;
    } else if (object->name == "maxnorm") {
      constraint.kind = ConstraintKind::kMaxNorm;
      // Keras 1 called it m.
      const char* name = config->Find("m") != nullptr ? "m" : "max_value";
      constraint.max = config->Number(name, 2, 0, 1e30);
    } else if (object->name == "minmaxnorm") {
      constraint.kind = ConstraintKind::kMinMaxNorm;
      constraint.min = config->Number("min_value", 0, 0, 1e30);
      constraint.max = config->Number("max_value", 1, 0, 1e30);
      constraint.rate = config->Number("rate", 1, 0, 1);
    } else {
      options->Fail(ErrorCode::kUnsupported,
                    UnknownNameText("constraint", object->name,
                                    {"MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"}));
    }
  });
  return constraint;
}

}  // namespace

Regularizer ReadRegularizer(OptionReader* options, const std::string& key) {
  Regularizer regularizer;
  const std::optional<KerasObject> object = ReadObject(options, key);
  if (!object) return regularizer;
  ReadConfig(options, key, *object, [&](OptionReader* config) {
    constexpr double kMax = 1e30;
    if (object->name == "l1" || object->name == "l2") {
      // Keras 2 takes "l1" and "l2" for L1L2 in names of old files, with both options.
      const bool is_l1 = object->name == "l1";
      regularizer.l1 = config->Number("l1", is_l1 ? 0.01 : 0, 0, kMax);
      regularizer.l2 = config->Number("l2", is_l1 ? 0 : 0.01, 0, kMax);
    } else if (object->name == "l1l2") {
      // As a name alone it is 0.01 of both; as an object 0 unless given.
      const bool by_name = object->config.empty();
      regularizer.l1 = config->Number("l1", by_name ? 0.01 : 0, 0, kMax);
      regularizer.l2 = config->Number("l2", by_name ? 0.01 : 0, 0, kMax);
    } else {
      options->Fail(ErrorCode::kUnsupported,
                    UnknownNameText("regularizer", object->name, {"L1", "L2", "L1L2"}));
    }
  });
  return regularizer;
}

WeightRule ReadWeightRule(OptionReader* options, const std::string& weight,
                          const char* fallback_class) {
  WeightRule rule;
  rule.initializer = ReadInitializer(options, (weight + "_initializer").c_str(), fallback_class);
  rule.regularizer = ReadRegularizer(options, weight + "_regularizer");
  rule.constraint = ReadConstraint(options, weight + "_constraint");
  return rule;
}

}  // namespace dnc::model
