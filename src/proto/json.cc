#include "proto/json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/assert.h"
#include "base/human.h"

namespace dnc::proto {
namespace {

constexpr std::size_t kKeyBytesMax = 200;  // Of Numbers.

// Keeps the order of keys, so that a model passes through as it was written.
using Json = nlohmann::ordered_json;

const Json& AsJson(const void* node) { return *static_cast<const Json*>(node); }

// The length of the UTF-8 sequence at the start of `text`, or 0 if there is none.
std::size_t Utf8Length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates and code points above U+10FFFF.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) > 0x9f) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

// The nesting of brackets outside strings. The parser itself does not recurse, but
// writing a value back does.
int DepthOf(std::string_view text) {
  int depth = 0;
  int depth_max = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      depth_max = std::max(depth_max, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return depth_max;
}

// What a value is, for messages: its text if it is short.
std::string Describe(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  if (value.is_string() && value.get_ref<const std::string&>().size() > 60) return "a long string";
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string RangeText(std::string_view low, std::string_view high) {
  return "an integer from " + std::string(low) + " to " + std::string(high);
}

}  // namespace

// ---- JsonWriter

void JsonWriter::Open(char bracket) {
  if (!first_) text_ += ',';
  text_ += bracket;
  first_ = true;
}

void JsonWriter::OpenField(std::string_view key, char bracket) {
  Key(key);
  text_ += bracket;
  first_ = true;
}

void JsonWriter::Close(char bracket) {
  text_ += bracket;
  first_ = false;
}

void JsonWriter::Key(std::string_view key) {
  if (!first_) text_ += ',';
  first_ = false;
  Quote(key);
  text_ += ':';
}

void JsonWriter::Quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  text_ += '"';
  while (!text.empty()) {
    const auto c = static_cast<unsigned char>(text[0]);
    const std::size_t length = Utf8Length(text);
    if (length == 0) {
      text_ += "\xef\xbf\xbd";  // U+FFFD
    } else if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += text[0];
    } else if (c == '\n') {
      text_ += "\\n";
    } else if (c < 0x20 || c == 0x7f) {
      text_ += "\\u00";
      text_ += kHex[c >> 4];
      text_ += kHex[c & 15];
    } else {
      text_ += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  text_ += '"';
}

void JsonWriter::String(std::string_view key, std::string_view value) {
  Key(key);
  Quote(value);
}

void JsonWriter::Uint(std::string_view key, std::uint64_t value) {
  Key(key);
  text_ += std::to_string(value);
}

void JsonWriter::Int(std::string_view key, std::int64_t value) {
  Key(key);
  text_ += std::to_string(value);
}

void JsonWriter::Real(std::string_view key, double value) {
  DNC_ASSERT(std::isfinite(value));
  Key(key);
  std::array<char, 40> digits;
  if (value == 0) value = 0;  // "-0" would be read back as the whole number 0.
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  text_.append(digits.data(), end.ptr);
}

void JsonWriter::Bool(std::string_view key, bool value) {
  Key(key);
  text_ += value ? "true" : "false";
}

void JsonWriter::Raw(std::string_view key, std::string_view json) {
  Key(key);
  text_ += json;
}

// ---- JsonObject

struct JsonObject::Document {
  Json root;
  JsonSource source;
  std::optional<Error> error;
  // The first missing key. An unknown key goes before it in status(): the one is
  // mostly the other, misspelt.
  std::optional<Error> missing;
};

Result<JsonObject> JsonObject::Parse(std::string_view text, const JsonSource& source) {
  if (text.size() > source.bytes_max) {
    return Error{ErrorCode::kTooLarge, source.name + ": " + FormatByteCount(text.size()) +
                                           ", above the limit of " +
                                           FormatByteCount(source.bytes_max)};
  }
  if (DepthOf(text) > kJsonDepthMax) {
    return Error{ErrorCode::kInvalidArgument, source.name + ": JSON nested deeper than " +
                                                  std::to_string(kJsonDepthMax) + " levels"};
  }
  auto document = std::make_shared<Document>();
  document->source = source;
  try {
    document->root = Json::parse(text.begin(), text.end());
  } catch (const std::exception& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string_view what = e.what();
    if (const auto end = what.find("] "); end != std::string_view::npos)
      what.remove_prefix(end + 2);
    return Error{ErrorCode::kInvalidArgument,
                 source.name + ": not JSON: " + std::string(what.substr(0, 300))};
  }
  if (!document->root.is_object()) {
    return Error{ErrorCode::kInvalidArgument, source.name + ": expected a JSON object, found " +
                                                  Describe(document->root).substr(0, 80)};
  }
  const void* root = &document->root;
  return JsonObject(std::move(document), root, "");
}

void JsonObject::Fail(ErrorCode code, std::string message) {
  if (document_->error) return;
  document_->error = Error{code, document_->source.name + ": " + std::move(message)};
}

std::string JsonObject::PathOf(std::string_view key) const {
  return "\"" + (path_.empty() ? std::string(key) : path_ + "." + std::string(key)) + "\"";
}

const void* JsonObject::Find(std::string_view key, bool required) {
  known_.emplace_back(key);
  const Json& object = AsJson(node_);
  const auto found = object.find(std::string(key));
  if (found != object.end()) return &*found;
  if (required && !document_->missing) {
    document_->missing = Error{ErrorCode::kInvalidArgument,
                               document_->source.name + ": " + PathOf(key) + " is missing"};
  }
  return nullptr;
}

bool JsonObject::Has(std::string_view key) const {
  return AsJson(node_).contains(std::string(key));
}

bool JsonObject::IsString(std::string_view key) const {
  return Has(key) && AsJson(node_).at(std::string(key)).is_string();
}

bool JsonObject::IsObject(std::string_view key) const {
  return Has(key) && AsJson(node_).at(std::string(key)).is_object();
}

void JsonObject::Refuse(std::string_view key, std::string_view found, std::string_view expected) {
  Fail(ErrorCode::kInvalidArgument,
       PathOf(key) + " is " + std::string(found) + "; expected " + std::string(expected));
}

std::string JsonObject::String(std::string_view key, std::size_t bytes_max) {
  const void* node = Find(key, true);
  if (node == nullptr) return {};
  const Json& value = AsJson(node);
  if (!value.is_string()) {
    Refuse(key, Describe(value), "a string");
    return {};
  }
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > bytes_max) {
    Fail(ErrorCode::kTooLarge, PathOf(key) + " has " + std::to_string(text.size()) +
                                   " bytes; the limit is " + std::to_string(bytes_max));
    return {};
  }
  return text;
}

std::string JsonObject::OptionalString(std::string_view key, std::size_t bytes_max,
                                       std::string_view otherwise) {
  if (Has(key)) return String(key, bytes_max);
  known_.emplace_back(key);
  return std::string(otherwise);
}

std::uint64_t JsonObject::Uint(std::string_view key, std::uint64_t min, std::uint64_t max) {
  const void* node = Find(key, true);
  if (node == nullptr) return min;
  const Json& value = AsJson(node);
  // A non-negative integer is "unsigned" to the library.
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() < min ||
      value.get<std::uint64_t>() > max) {
    Refuse(key, Describe(value), RangeText(std::to_string(min), std::to_string(max)));
    return min;
  }
  return value.get<std::uint64_t>();
}

std::uint64_t JsonObject::OptionalUint(std::string_view key, std::uint64_t min, std::uint64_t max,
                                       std::uint64_t otherwise) {
  if (Has(key)) return Uint(key, min, max);
  known_.emplace_back(key);
  return otherwise;
}

std::int64_t JsonObject::Int(std::string_view key, std::int64_t min, std::int64_t max) {
  const void* node = Find(key, true);
  if (node == nullptr) return min;
  const Json& value = AsJson(node);
  const bool too_big = value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX;
  if (!value.is_number_integer() || too_big || value.get<std::int64_t>() < min ||
      value.get<std::int64_t>() > max) {
    Refuse(key, Describe(value), RangeText(std::to_string(min), std::to_string(max)));
    return min;
  }
  return value.get<std::int64_t>();
}

double JsonObject::Real(std::string_view key) {
  const void* node = Find(key, true);
  if (node == nullptr) return 0;
  const Json& value = AsJson(node);
  if (!value.is_number()) {
    Refuse(key, Describe(value), "a number");
    return 0;
  }
  return value.get<double>();
}

double JsonObject::OptionalReal(std::string_view key, double min, double max, double otherwise) {
  if (!Has(key)) {
    known_.emplace_back(key);
    return otherwise;
  }
  const void* node = Find(key, true);
  const Json& value = AsJson(node);
  const double number = value.is_number() ? value.get<double>() : min - 1;
  if (number >= min && number <= max) return number;
  char text[80];
  std::snprintf(text, sizeof text, "a number from %g to %g", min, max);
  Refuse(key, Describe(value), text);
  return otherwise;
}

bool JsonObject::Bool(std::string_view key) {
  const void* node = Find(key, true);
  if (node == nullptr) return false;
  const Json& value = AsJson(node);
  if (!value.is_boolean()) {
    Refuse(key, Describe(value), "true or false");
    return false;
  }
  return value.get<bool>();
}

bool JsonObject::OptionalBool(std::string_view key, bool otherwise) {
  if (Has(key)) return Bool(key);
  known_.emplace_back(key);
  return otherwise;
}

std::optional<JsonObject> JsonObject::Object(std::string_view key) {
  const void* node = Find(key, true);
  if (node == nullptr) return std::nullopt;
  if (!AsJson(node).is_object()) {
    Refuse(key, Describe(AsJson(node)), "an object");
    return std::nullopt;
  }
  const std::string path = PathOf(key);
  return JsonObject(document_, node, path.substr(1, path.size() - 2));
}

std::optional<JsonObject> JsonObject::OptionalObject(std::string_view key) {
  if (Has(key)) return Object(key);
  known_.emplace_back(key);
  return std::nullopt;
}

std::vector<JsonObject> JsonObject::Array(std::string_view key, std::size_t count_max) {
  const void* node = Find(key, true);
  if (node == nullptr) return {};
  const Json& value = AsJson(node);
  if (!value.is_array()) {
    Refuse(key, Describe(value), "an array");
    return {};
  }
  if (value.size() > count_max) {
    Fail(ErrorCode::kTooLarge, PathOf(key) + " has " + std::to_string(value.size()) +
                                   " elements; the limit is " + std::to_string(count_max));
    return {};
  }
  const std::string path = PathOf(key);
  std::vector<JsonObject> elements;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string name = path.substr(1, path.size() - 2) + "[" + std::to_string(i) + "]";
    if (!value[i].is_object()) {
      Fail(ErrorCode::kInvalidArgument,
           "\"" + name + "\" is " + Describe(value[i]) + "; expected an object");
      return {};
    }
    elements.push_back(JsonObject(document_, &value[i], name));
  }
  return elements;
}

std::vector<std::pair<std::string, double>> JsonObject::Numbers(std::string_view key,
                                                                std::size_t count_max) {
  std::optional<JsonObject> object = Object(key);
  if (!object) return {};
  const Json& values = AsJson(object->node_);
  if (values.size() > count_max) {
    Fail(ErrorCode::kTooLarge, PathOf(key) + " has " + std::to_string(values.size()) +
                                   " entries; the limit is " + std::to_string(count_max));
    return {};
  }
  std::vector<std::pair<std::string, double>> numbers;
  for (const auto& item : values.items()) {
    if (item.key().size() > kKeyBytesMax) {
      Fail(ErrorCode::kTooLarge, PathOf(key) + " has a key of " +
                                     std::to_string(item.key().size()) + " bytes; the limit is " +
                                     std::to_string(kKeyBytesMax));
      return {};
    }
    numbers.emplace_back(item.key(), object->Real(item.key()));
  }
  return numbers;
}

std::string JsonObject::RawObject(std::string_view key) {
  const void* node = Find(key, true);
  if (node == nullptr) return {};
  if (!AsJson(node).is_object()) {
    Refuse(key, Describe(AsJson(node)), "an object");
    return {};
  }
  // Cannot fail: the text was valid UTF-8 when it was parsed.
  return AsJson(node).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void JsonObject::Close() {
  if (!document_->source.refuse_unknown || document_->error) return;
  for (const auto& item : AsJson(node_).items()) {
    const std::string& key = item.key();
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    std::string message = "unknown key " + PathOf(key.size() > 60 ? key.substr(0, 60) : key);
    if (const std::string near = NearestName(key, known_); !near.empty()) {
      message += "; did you mean \"" + near + "\"?";
    } else {
      message += "; known are";
      for (std::size_t i = 0; i < known_.size(); ++i) message += (i ? ", " : " ") + known_[i];
    }
    return Fail(ErrorCode::kInvalidArgument, std::move(message));
  }
}

Status JsonObject::status() const {
  if (document_->error) return *document_->error;
  if (document_->missing) return *document_->missing;
  return {};
}

}  // namespace dnc::proto
