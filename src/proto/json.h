// Reading and writing of JSON for the messages of this room. Small, and without the
// JSON library in it, so that messages compile quickly.
//
// A JsonObject keeps the first error of its document: after it every getter gives a
// default, so that a parser reads all its fields and asks once, at its end.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dnc::proto {

// Nesting beyond this is refused: no honest message has it.
inline constexpr int kJsonDepthMax = 100;

class JsonWriter {
 public:
  void BeginObject() { Open('{'); }
  void BeginObject(std::string_view key) { OpenField(key, '{'); }
  void EndObject() { Close('}'); }
  void BeginArray(std::string_view key) { OpenField(key, '['); }
  void EndArray() { Close(']'); }

  void String(std::string_view key, std::string_view value);
  void Uint(std::string_view key, std::uint64_t value);
  void Int(std::string_view key, std::int64_t value);
  // The shortest text that reads back as the same number. Requires: finite.
  void Real(std::string_view key, double value);
  void Bool(std::string_view key, bool value);
  // `json` as it is. Requires: a JSON text.
  void Raw(std::string_view key, std::string_view json);

  std::string Take() { return std::move(text_); }

 private:
  void Open(char bracket);
  void OpenField(std::string_view key, char bracket);
  void Close(char bracket);
  void Key(std::string_view key);
  void Quote(std::string_view text);

  std::string text_;
  bool first_ = true;  // In the innermost object or array.
};

struct JsonSource {
  std::string name;  // Before every message: "project.json".
  std::uint64_t bytes_max = 0;
  bool refuse_unknown = true;  // Keys that nobody asked for.
};

// One object of a parsed document, which it keeps alive.
class JsonObject {
 public:
  // Errors: kInvalidArgument, not a JSON object; kTooLarge, above bytes_max.
  static Result<JsonObject> Parse(std::string_view text, const JsonSource& source);

  std::string String(std::string_view key, std::size_t bytes_max);
  std::string OptionalString(std::string_view key, std::size_t bytes_max,
                             std::string_view otherwise);
  std::uint64_t Uint(std::string_view key, std::uint64_t min, std::uint64_t max);
  std::uint64_t OptionalUint(std::string_view key, std::uint64_t min, std::uint64_t max,
                             std::uint64_t otherwise);
  std::int64_t Int(std::string_view key, std::int64_t min, std::int64_t max);
  double Real(std::string_view key);
  // Requires: min <= otherwise <= max.
  double OptionalReal(std::string_view key, double min, double max, double otherwise);
  bool Bool(std::string_view key);
  bool OptionalBool(std::string_view key, bool otherwise);
  // Empty on an error.
  std::optional<JsonObject> Object(std::string_view key);
  // Empty if it is not there.
  std::optional<JsonObject> OptionalObject(std::string_view key);
  std::vector<JsonObject> Array(std::string_view key, std::size_t count_max);
  // An object of numbers under any keys, in their order.
  std::vector<std::pair<std::string, double>> Numbers(std::string_view key, std::size_t count_max);
  // An object's own JSON text.
  std::string RawObject(std::string_view key);
  bool Has(std::string_view key) const;
  bool IsString(std::string_view key) const;
  bool IsObject(std::string_view key) const;

  // Says that a value read before will not do: `expected` is such as "one of a, b".
  void Refuse(std::string_view key, std::string_view found, std::string_view expected);
  // To be called when all keys of this object were read: refuses the others.
  void Close();
  // The document's first error.
  Status status() const;

 private:
  struct Document;
  JsonObject(std::shared_ptr<Document> document, const void* node, std::string path)
      : document_(std::move(document)), node_(node), path_(std::move(path)) {}
  // The value, or nullptr with an error if it is missing and `required`.
  const void* Find(std::string_view key, bool required);
  std::string PathOf(std::string_view key) const;
  void Fail(ErrorCode code, std::string message);

  std::shared_ptr<Document> document_;
  const void* node_;  // An object of the JSON library inside the document.
  std::string path_;
  std::vector<std::string> known_;
};

}  // namespace dnc::proto
