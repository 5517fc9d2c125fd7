#include "stream/position.h"

#include <nlohmann/json.hpp>
#include <numeric>

namespace dnc::stream {
namespace {

using Json = nlohmann::json;

constexpr const char* kFormat = "divide-n-conquer position";
constexpr int kVersion = 1;
constexpr std::size_t kTextBytesMax = 1u << 20;

// Reads the fields of an object, remembering the first that is wrong.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  std::string Text(const char* name) {
    const Json* field = Find(name);
    if (field != nullptr && field->is_string()) return field->get<std::string>();
    return Wrong(name, "a text"), std::string();
  }
  bool Flag(const char* name) {
    const Json* field = Find(name);
    if (field != nullptr && field->is_boolean()) return field->get<bool>();
    return Wrong(name, "true or false"), false;
  }
  std::uint64_t Number(const char* name) {
    const Json* field = Find(name);
    if (field != nullptr && field->is_number_unsigned()) return field->get<std::uint64_t>();
    return Wrong(name, "a whole number"), 0;
  }
  std::vector<std::uint64_t> Rows(const char* name) {
    const Json* field = Find(name);
    std::vector<std::uint64_t> rows;
    if (field != nullptr && field->is_array() && !field->empty() && field->size() <= kLanesMax) {
      for (const Json& row : *field) {
        if (!row.is_number_unsigned()) break;
        rows.push_back(row.get<std::uint64_t>());
      }
      if (rows.size() == field->size()) return rows;
    }
    return Wrong(name, "1 to " + std::to_string(kLanesMax) + " whole numbers"),
           std::vector<std::uint64_t>();
  }
  void Wrong(const char* name, const std::string& expected) {
    if (wrong_.empty()) wrong_ = std::string("\"") + name + "\" is not " + expected;
  }
  const std::string& wrong() const { return wrong_; }

 private:
  const Json* Find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }

  const Json& object_;
  std::string wrong_;
};

}  // namespace

std::uint64_t StreamPosition::samples_consumed() const {
  return std::accumulate(rows.begin(), rows.end(), std::uint64_t{0});
}

std::string FormatPosition(const StreamPosition& position) {
  const nlohmann::ordered_json json = {{"format", kFormat},
                                       {"version", kVersion},
                                       {"data", position.data.Hex()},
                                       {"split", position.split},
                                       {"shuffle", position.shuffle},
                                       {"seed", position.seed},
                                       {"window_samples", position.window_samples},
                                       {"run_blocks", position.run_blocks},
                                       {"epoch", position.epoch},
                                       {"rows", position.rows},
                                       {"samples_consumed", position.samples_consumed()},
                                       {"samples_repeated", position.samples_repeated}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Result<StreamPosition> ParsePosition(std::string_view json, const std::string& name) {
  const auto corrupt = [&](const std::string& what) {
    return Error{ErrorCode::kCorrupt,
                 name + ": not a stream's position: " + what + "; remove it to begin anew"};
  };
  if (json.size() > kTextBytesMax) return corrupt("it is longer than 1 MiB");
  // A position is flat: deeper nesting is cut off before it is built.
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 2; };
  const Json parsed = Json::parse(json, shallow, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return corrupt("it is no JSON object");
  Fields fields(parsed);
  if (fields.Text("format") != kFormat) return corrupt("it has another format");
  if (const std::uint64_t version = fields.Number("version"); version != kVersion) {
    return Error{ErrorCode::kUnsupported, name + ": a position of version " +
                                              std::to_string(version) +
                                              ", but this program reads version " +
                                              std::to_string(kVersion) + "; update the program"};
  }
  StreamPosition position;
  const std::optional<Digest> data = Digest::FromHex(fields.Text("data"));
  if (!data) fields.Wrong("data", "64 hexadecimal digits");
  position.data = data.value_or(Digest{});
  position.split = fields.Text("split");
  position.shuffle = fields.Flag("shuffle");
  position.seed = fields.Number("seed");
  position.window_samples = fields.Number("window_samples");
  const std::uint64_t run_blocks = fields.Number("run_blocks");
  if (run_blocks == 0 || run_blocks > UINT32_MAX) fields.Wrong("run_blocks", "1 to 2^32 - 1");
  position.run_blocks = static_cast<std::uint32_t>(run_blocks);
  position.epoch = fields.Number("epoch");
  position.rows = fields.Rows("rows");
  position.samples_repeated = fields.Number("samples_repeated");
  if (position.window_samples == 0) fields.Wrong("window_samples", "at least 1");
  if (!fields.wrong().empty()) return corrupt(fields.wrong());
  return position;
}

}  // namespace dnc::stream
