// Reads the options of one JSON object by name: each is checked, recorded with
// its value or its default, and every key that nobody asked for is refused. The
// record is the object as Keras 2 writes it in full.
//
// Errors stick: after the first one every read gives its default, and Finish()
// reports it. An unknown key is reported before anything else, because a missing
// "units" is most often a misspelt one.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "array/shape.h"
#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

class OptionReader {
 public:
  // `owner`, such as a layer's name, begins every message. `object` must be a
  // JSON object and outlive the reader.
  OptionReader(std::string owner, const nlohmann::json* object);
  ~OptionReader();
  OptionReader(const OptionReader&) = delete;
  OptionReader& operator=(const OptionReader&) = delete;

  // Each reads and records one option. Without a default the option is required.
  bool Bool(const char* key, bool fallback);
  std::int64_t Int(const char* key, std::optional<std::int64_t> fallback, std::int64_t min);
  // Finite, within [min, max].
  double Number(const char* key, double fallback, double min, double max);
  // nullopt for null or an absent option.
  std::optional<double> OptionalNumber(const char* key);
  // One of `known`, compared without case; the known spelling is recorded.
  std::string Choice(const char* key, const char* fallback,
                     std::initializer_list<const char*> known);
  // A whole number of at least 1, or a list of `rank` of them, as such a list; nullopt
  // for null or absent. A fallback of 0 means that the option is required.
  std::optional<array::Shape> OptionalAxes(const char* key, int rank);
  array::Shape Axes(const char* key, int rank, std::int64_t fallback);
  Activation ActivationName(const char* key);

  // Options that only have one value here: anything else is kUnsupported.
  void OnlyNull(std::initializer_list<const char*> keys);          // Recorded.
  void RefuseUnlessNull(std::initializer_list<const char*> keys);  // Not recorded.
  void OnlyBool(const char* key, bool value);
  void OnlyFloat32(const char* key);
  void OnlyNumbers(const char* key);  // float32, or integers of any width.
  // Options without effect on the numbers: any value, not recorded.
  void Ignore(std::initializer_list<const char*> keys);

  // The raw value, or null if absent; marks the key as known.
  const nlohmann::json* Find(const char* key);
  void Record(const char* key, nlohmann::ordered_json value);
  void Forget(const char* key);  // Takes back what was recorded.
  void Fail(ErrorCode code, std::string message);
  bool ok() const { return !error_.has_value(); }
  const std::string& owner() const { return owner_; }

  // The first error, or the unknown keys.
  Status Finish();
  // What was recorded. Requires: Finish() was ok.
  nlohmann::ordered_json TakeRecord();

 private:
  void WrongValue(const char* key, const nlohmann::json& value, const std::string& expected);

  std::string owner_;
  const nlohmann::json* object_;
  std::vector<std::string> known_;
  std::unique_ptr<nlohmann::ordered_json> record_;
  std::optional<Error> error_;
};

// A whole number below 2^31 on both sides of 0; nullopt for anything else.
std::optional<std::int64_t> WholeNumber(const nlohmann::json& value);

// A shape without its batch axis, from a "batch_input_shape" such as
// [null, 28, 28, 1] (`has_batch`) or an "input_shape". A fixed batch size is accepted;
// null becomes kVariableAxis.
// Errors: kInvalidArgument.
Result<array::Shape> ShapeFromJson(const nlohmann::json& value, bool has_batch);

// "unknown activation "rulu"; did you mean "relu"? Known are: ...".
std::string UnknownNameText(const std::string& kind, const std::string& name,
                            const std::vector<std::string>& known);

// Keras's name of an activation.
const char* ActivationText(Activation activation);

}  // namespace dnc::model
