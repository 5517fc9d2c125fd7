#include "model/json_text.h"

#include <exception>
#include <nlohmann/json.hpp>

#include "base/human.h"

namespace dnc::model {
namespace {

// Counts without building anything: brackets for the depth, commas and opening
// brackets for the values. On text that is not JSON the counts are only bounds.
Status CheckJsonLimits(std::string_view text) {
  int depth = 0;
  std::uint64_t value_count = 1;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') {
      if (++depth > kJsonDepthMax) {
        return Error{ErrorCode::kTooLarge,
                     "its JSON is nested deeper than " + std::to_string(kJsonDepthMax) + " levels"};
      }
      ++value_count;
    }
    if (c == ']' || c == '}') --depth;
    if (c == ',') ++value_count;
  }
  if (value_count > kJsonValueCountMax) {
    return Error{ErrorCode::kTooLarge,
                 "its JSON holds more than " + FormatCount(kJsonValueCountMax) + " values"};
  }
  return {};
}

std::string LineAndColumn(std::string_view text, std::size_t byte) {
  std::size_t line = 1;
  std::size_t column = 1;
  for (std::size_t i = 0; i + 1 < byte && i < text.size(); ++i) {
    ++column;
    if (text[i] == '\n') {
      ++line;
      column = 1;
    }
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

std::string_view Trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string Shortened(std::string text) {
  constexpr std::size_t kLengthMax = 80;
  if (text.size() > kLengthMax) text = text.substr(0, kLengthMax - 3) + "...";
  return text;
}

}  // namespace

Status ParseJsonText(std::string_view text, std::uint64_t bytes_max, nlohmann::json* document) {
  if (text.size() > bytes_max) {
    return Error{ErrorCode::kTooLarge, "its JSON has " + FormatByteCount(text.size()) +
                                           "; at most " + FormatByteCount(bytes_max) + " are read"};
  }
  DNC_TRY(CheckJsonLimits(text));
  try {
    *document = nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& error) {
    return Error{ErrorCode::kInvalidArgument, "not JSON: an error at " +
                                                  LineAndColumn(text, error.byte) +
                                                  "; expected a model in Keras's JSON"};
  } catch (const std::exception& error) {  // A number that no double holds.
    return Error{ErrorCode::kInvalidArgument, std::string("not JSON: ") + error.what()};
  }
  return {};
}

std::string_view MemberText(std::string_view object, std::string_view key) {
  std::string_view found;
  int depth = 0;
  bool in_string = false;
  std::size_t begin = 0;  // Of the member.
  std::size_t colon = 0;  // Behind its key; 0 before it is seen.
  for (std::size_t i = 0; i < object.size(); ++i) {
    const char c = object[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') {
      if (++depth == 1) begin = i + 1;
    }
    if (c == ':' && depth == 1 && colon == 0) colon = i;
    const bool ends = c == '}' || c == ']';
    if (depth == 1 && (ends || c == ',') && colon != 0) {
      const std::string_view name = Trimmed(object.substr(begin, colon - begin));
      // The last of several members of one name counts, as in the parser.
      if (name.size() == key.size() + 2 && name.substr(1, key.size()) == key) {
        found = Trimmed(object.substr(colon + 1, i - colon - 1));
      }
      begin = i + 1;
      colon = 0;
    }
    if (ends) --depth;
  }
  return found;
}

std::string ShortJson(const nlohmann::json& value) {
  // Only a scalar is written out: a list may be long.
  if (value.is_object()) {
    const auto class_name = value.find("class_name");
    if (class_name != value.end() && class_name->is_string()) return ShortJson(*class_name);
    return value.empty() ? "{}" : "{...}";
  }
  if (value.is_array() && value.size() > 8) return "[...]";
  if (value.is_array()) {
    std::string text = "[";
    for (const nlohmann::json& element : value) {
      if (text.size() > 1) text += ", ";
      text += element.is_array() ? "[...]" : ShortJson(element);
    }
    return Shortened(text + "]");
  }
  return Shortened(value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
}

std::string Quoted(std::string_view text) {
  return ShortJson(nlohmann::json(std::string(text.substr(0, 100))));
}

std::string DumpJson(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace dnc::model
