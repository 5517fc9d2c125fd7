#include "model/option_reader.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/human.h"
#include "model/json_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// No honest option is larger; products of a few of them stay within 64 bits.
constexpr std::int64_t kIntMax = (std::int64_t{1} << 31) - 1;

struct ActivationRow {
  const char* name;
  Activation activation;
};

// The first name of an activation is the one that is written.
constexpr ActivationRow kActivations[] = {
    {"linear", Activation::kLinear},
    {"relu", Activation::kRelu},
    {"sigmoid", Activation::kSigmoid},
    {"tanh", Activation::kTanh},
    {"softmax", Activation::kSoftmax},
    {"elu", Activation::kElu},
    {"selu", Activation::kSelu},
    {"softplus", Activation::kSoftplus},
    {"softsign", Activation::kSoftsign},
    {"swish", Activation::kSwish},
    {"silu", Activation::kSwish},
    {"exponential", Activation::kExponential},
    {"hard_sigmoid", Activation::kHardSigmoid},
    {"gelu", Activation::kGelu},
};

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// The name inside Keras's two ways of writing a dtype: "float32", or a policy.
std::string DTypeText(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object()) return "";
  const auto config = value.find("config");
  if (config == value.end() || !config->is_object()) return "";
  const auto name = config->find("name");
  return name != config->end() && name->is_string() ? name->get<std::string>() : "";
}

}  // namespace

std::optional<std::int64_t> WholeNumber(const json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(kIntMax)) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (!value.is_number_integer()) return std::nullopt;
  const auto number = value.get<std::int64_t>();
  if (number < -kIntMax) return std::nullopt;
  return number;
}

std::string UnknownNameText(const std::string& kind, const std::string& name,
                            const std::vector<std::string>& known) {
  std::string text = "unknown " + kind + " " + Quoted(name);
  const std::string nearest = NearestName(name.substr(0, 64), known);
  text += nearest.empty() ? "; known are: " : "; did you mean \"" + nearest + "\"? Known are: ";
  for (std::size_t i = 0; i < known.size(); ++i) text += (i == 0 ? "" : ", ") + known[i];
  return text;
}

const char* ActivationText(Activation activation) {
  for (const ActivationRow& row : kActivations) {
    if (row.activation == activation) return row.name;
  }
  return "linear";
}

Result<array::Shape> ShapeFromJson(const json& value, bool has_batch) {
  const Error wrong{ErrorCode::kInvalidArgument,
                    "the input's shape is " + ShortJson(value) + "; expected a list such as " +
                        (has_batch ? "[null, 28, 28, 1]" : "[28, 28, 1]")};
  if (!value.is_array() || value.size() > 16 || (has_batch && value.empty())) return wrong;
  array::Shape shape;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const json& axis = value[i];
    const bool is_batch = has_batch && i == 0;
    const std::optional<std::int64_t> length =
        axis.is_null() ? std::optional(kVariableAxis) : WholeNumber(axis);
    if (!length || (*length < 1 && !axis.is_null())) return wrong;
    if (is_batch) continue;  // A batch of another size gives the same numbers.
    shape.push_back(*length);
  }
  return shape;
}

OptionReader::OptionReader(std::string owner, const json* object)
    : owner_(std::move(owner)),
      object_(object),
      record_(std::make_unique<ordered_json>(ordered_json::object())) {
  DNC_ASSERT(object != nullptr && object->is_object());
}

OptionReader::~OptionReader() = default;

const json* OptionReader::Find(const char* key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  const auto found = object_->find(key);
  return found == object_->end() ? nullptr : &*found;
}

void OptionReader::Record(const char* key, ordered_json value) {
  (*record_)[key] = std::move(value);
}

void OptionReader::Forget(const char* key) { record_->erase(key); }

void OptionReader::Fail(ErrorCode code, std::string message) {
  if (!error_) error_ = Error{code, owner_ + ": " + std::move(message)};
}

void OptionReader::WrongValue(const char* key, const json& value, const std::string& expected) {
  Fail(ErrorCode::kInvalidArgument,
       "option \"" + std::string(key) + "\" is " + ShortJson(value) + "; expected " + expected);
}

bool OptionReader::Bool(const char* key, bool fallback) {
  const json* value = Find(key);
  bool result = fallback;
  if (value != nullptr && value->is_boolean()) {
    result = value->get<bool>();
  } else if (value != nullptr) {
    WrongValue(key, *value, "true or false");
  }
  Record(key, result);
  return result;
}

std::int64_t OptionReader::Int(const char* key, std::optional<std::int64_t> fallback,
                               std::int64_t min) {
  const json* value = Find(key);
  std::int64_t result = fallback.value_or(min);
  if (value == nullptr) {
    if (!fallback) {
      Fail(ErrorCode::kInvalidArgument, "option \"" + std::string(key) + "\" is missing");
    }
  } else {
    const std::optional<std::int64_t> number = WholeNumber(*value);
    if (number && *number >= min) {
      result = *number;
    } else {
      WrongValue(key, *value,
                 "a whole number from " + std::to_string(min) + " to " + std::to_string(kIntMax));
    }
  }
  Record(key, result);
  return result;
}

double OptionReader::Number(const char* key, double fallback, double min, double max) {
  const json* value = Find(key);
  double result = fallback;
  if (value != nullptr) {
    const double number = value->is_number() ? value->get<double>() : NAN;
    if (number >= min && number <= max) {
      result = number;
    } else {
      char range[80];
      std::snprintf(range, sizeof range, "a number from %g to %g", min, max);
      WrongValue(key, *value, range);
    }
  }
  Record(key, result);
  return result;
}

std::optional<double> OptionReader::OptionalNumber(const char* key) {
  const json* value = Find(key);
  if (value == nullptr || value->is_null()) {
    Record(key, nullptr);
    return std::nullopt;
  }
  // Keras 2 wrote some numbers as arrays of NumPy.
  if (value->is_object() && value->value("type", json()) == "ndarray" && value->contains("value")) {
    value = &(*value)["value"];
  }
  if (!value->is_number() || !(std::abs(value->get<double>()) <= 3.4e38)) {
    WrongValue(key, *value, "a number or null");
    return std::nullopt;
  }
  Record(key, value->get<double>());
  return value->get<double>();
}

std::string OptionReader::Choice(const char* key, const char* fallback,
                                 std::initializer_list<const char*> known) {
  const json* value = Find(key);
  std::string result = fallback;
  if (value != nullptr && value->is_string()) {
    const std::string text = value->get<std::string>();
    const auto match = std::find(known.begin(), known.end(), Lower(text));
    if (match != known.end()) {
      result = *match;
    } else {
      Fail(ErrorCode::kUnsupported,
           UnknownNameText(key, text, std::vector<std::string>(known.begin(), known.end())));
    }
  } else if (value != nullptr && !value->is_null()) {
    WrongValue(key, *value, std::string("a text such as \"") + fallback + "\"");
  }
  Record(key, result);
  return result;
}

std::optional<array::Shape> OptionReader::OptionalAxes(const char* key, int rank) {
  const json* value = Find(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  const auto count = static_cast<std::size_t>(rank);
  array::Shape axes;
  if (!value->is_array()) {
    axes.assign(count, WholeNumber(*value).value_or(0));
  } else if (value->size() == count) {
    for (const json& element : *value) axes.push_back(WholeNumber(element).value_or(0));
  }
  const bool right = axes.size() == count &&
                     std::all_of(axes.begin(), axes.end(), [](auto axis) { return axis >= 1; });
  if (right) return axes;
  WrongValue(key, *value,
             std::string("a whole number of at least 1") +
                 (rank == 1 ? "" : ", or a list of " + std::to_string(rank)));
  return array::Shape(count, 1);
}

array::Shape OptionReader::Axes(const char* key, int rank, std::int64_t fallback) {
  if (fallback == 0 && Find(key) == nullptr) {
    Fail(ErrorCode::kInvalidArgument, "option \"" + std::string(key) + "\" is missing");
  }
  array::Shape axes =
      OptionalAxes(key, rank).value_or(array::Shape(static_cast<std::size_t>(rank), fallback));
  Record(key, axes);
  return axes;
}

Activation OptionReader::ActivationName(const char* key) {
  const json* value = Find(key);
  Activation result = Activation::kLinear;
  if (value != nullptr && value->is_string()) {
    std::vector<std::string> names;
    bool found = false;
    for (const ActivationRow& row : kActivations) {
      names.push_back(row.name);
      if (value->get<std::string>() != row.name) continue;
      result = row.activation;
      found = true;
    }
    if (!found) {
      Fail(ErrorCode::kUnsupported,
           UnknownNameText("activation", value->get<std::string>(), names));
    }
  } else if (value != nullptr && value->is_object()) {
    Fail(ErrorCode::kUnsupported, "activation " + ShortJson(*value) +
                                      " is an object; only activations by name are supported");
  } else if (value != nullptr && !value->is_null()) {
    WrongValue(key, *value, "the name of an activation");
  }
  Record(key, ActivationText(result));
  return result;
}

void OptionReader::OnlyNull(std::initializer_list<const char*> keys) {
  RefuseUnlessNull(keys);
  for (const char* key : keys) Record(key, nullptr);
}

void OptionReader::RefuseUnlessNull(std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const json* value = Find(key);
    if (value != nullptr && !value->is_null()) {
      Fail(ErrorCode::kUnsupported, "option \"" + std::string(key) + "\" is " + ShortJson(*value) +
                                        "; it is not supported, only null is");
    }
  }
}

void OptionReader::OnlyBool(const char* key, bool only) {
  const json* value = Find(key);
  if (value == nullptr || value->is_null()) return;
  if (!value->is_boolean() || value->get<bool>() != only) {
    Fail(ErrorCode::kUnsupported, "option \"" + std::string(key) + "\" is " + ShortJson(*value) +
                                      "; only " + (only ? "true" : "false") + " is supported");
  }
}

void OptionReader::OnlyFloat32(const char* key) {
  const json* value = Find(key);
  Record(key, "float32");
  if (value == nullptr || value->is_null() || DTypeText(*value) == "float32") return;
  const std::string text = DTypeText(*value);
  Fail(ErrorCode::kUnsupported, "option \"" + std::string(key) + "\" is " +
                                    (text.empty() ? ShortJson(*value) : Quoted(text)) +
                                    "; only \"float32\" is supported");
}

void OptionReader::OnlyNumbers(const char* key) {
  const json* value = Find(key);
  const std::string text = value == nullptr || value->is_null() ? "float32" : DTypeText(*value);
  Record(key, text);
  static const std::vector<std::string> kNumbers = {"float32", "bool", "uint8", "uint16", "uint32",
                                                    "uint64",  "int8", "int16", "int32",  "int64"};
  if (std::find(kNumbers.begin(), kNumbers.end(), text) != kNumbers.end()) return;
  Fail(ErrorCode::kUnsupported, "option \"" + std::string(key) + "\" is " +
                                    (text.empty() ? ShortJson(*value) : Quoted(text)) +
                                    "; expected \"float32\" or integers such as \"uint8\"");
}

void OptionReader::Ignore(std::initializer_list<const char*> keys) {
  for (const char* key : keys) Find(key);
}

Status OptionReader::Finish() {
  for (const auto& [key, value] : object_->items()) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    return Error{ErrorCode::kUnsupported, owner_ + ": " + UnknownNameText("option", key, known_)};
  }
  if (error_) return *error_;
  return {};
}

ordered_json OptionReader::TakeRecord() { return std::move(*record_); }

}  // namespace dnc::model
