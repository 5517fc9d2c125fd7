#include "shard/manifest.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/human.h"
#include "shard/content_id.h"
#include "shard/shard_format.h"

namespace dnc::shard {
namespace {

// Fields are written in the order of the document, and read into a sorted map, whose
// cost no hostile number of keys can blow up.
using OrderedJson = nlohmann::ordered_json;
using Json = nlohmann::json;

constexpr char kFormatName[] = "divide-n-conquer manifest";
constexpr std::size_t kDepthMax = 8;
constexpr std::size_t kSplitNameBytesMax = 256;
constexpr std::size_t kClassCountMax = 4096;
constexpr std::size_t kSplitCountMax = 1024;
constexpr std::size_t kLocationCountMax = 64;
constexpr std::size_t kLocationBytesMax = 8192;
constexpr std::size_t kStepCountMax = 256;
constexpr std::uint64_t kBlockBytesLimit = std::uint64_t{64} << 20;

// ---- Writing.

OrderedJson StatisticsJson(const ColumnStatistics& statistics) {
  OrderedJson json = {{"count", statistics.count},
                      {"mean", statistics.mean},
                      {"standard_deviation", statistics.standard_deviation},
                      {"min", statistics.min},
                      {"max", statistics.max}};
  if (statistics.nonfinite_count > 0) json["nonfinite_count"] = statistics.nonfinite_count;
  if (!statistics.class_counts.empty()) {
    OrderedJson counts = OrderedJson::object();
    for (const auto& [value, count] : statistics.class_counts) {
      counts.emplace(std::to_string(value), count);
    }
    json["class_counts"] = std::move(counts);
  }
  if (!statistics.element_mean.empty()) {
    json["element_mean"] = statistics.element_mean;
    json["element_standard_deviation"] = statistics.element_standard_deviation;
  }
  return json;
}

OrderedJson ColumnJson(const array::ColumnSpec& column) {
  OrderedJson json = {
      {"name", column.name}, {"dtype", array::DTypeName(column.dtype)}, {"shape", column.shape}};
  if (!column.is_array()) json["kind"] = array::ColumnKindName(column.kind);
  if (!column.class_names.empty()) json["class_names"] = column.class_names;
  if (!column.features.empty()) {
    json["features"] = OrderedJson::array();
    for (const array::Feature& feature : column.features) {
      OrderedJson entry = {{"name", feature.name}};
      if (feature.kind != array::FeatureKind::kNumber) {
        entry["kind"] = array::FeatureKindName(feature.kind);
      }
      if (!feature.categories.empty()) entry["categories"] = feature.categories;
      json["features"].push_back(std::move(entry));
    }
  }
  return json;
}

OrderedJson StepJson(const FeatureStep& step) {
  OrderedJson json = {{"name", step.name}, {"column", step.column}};
  if (!step.numbers.empty()) json["numbers"] = step.numbers;
  if (!step.texts.empty()) json["texts"] = step.texts;
  return json;
}

// `block_bytes` is what the arrays' sizes alone say of the largest block, or 0.
OrderedJson ShardJson(const ShardInfo& shard, std::uint64_t block_bytes) {
  std::string leaves;
  leaves.reserve(shard.leaves.size() * 64);
  for (const Digest& leaf : shard.leaves) leaves += leaf.Hex();
  OrderedJson json = {{"cid", shard.cid},
                      {"split", shard.split},
                      {"bytes", shard.bytes},
                      {"samples", shard.samples},
                      {"block_samples", shard.block_samples}};
  if (block_bytes == 0) json["block_bytes_max"] = shard.block_bytes_max;
  json["leaves"] = std::move(leaves);
  if (!shard.urls.empty()) json["urls"] = shard.urls;
  return json;
}

// ---- Reading.

// Walks the JSON before it is built, so that nesting and the number of values are
// bounded and a repeated key, which JSON leaves undefined, is refused.
class Screener final : public nlohmann::json_sax<Json> {
 public:
  // An honest manifest spends far more than 8 bytes on a value.
  explicit Screener(std::size_t text_bytes) : values_left_(text_bytes / 8 + 1024) {}

  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }
  bool start_object(std::size_t) override { return Open(); }
  bool start_array(std::size_t) override { return Open(); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& key) override {
    if (keys_.back().insert(key).second) return true;
    return Refuse("the key \"" + key + "\" comes twice in one object");
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Refuse("it is not JSON: syntax error at byte " + std::to_string(position));
  }

  const std::string& reason() const { return reason_; }

 private:
  bool Value() { return values_left_-- > 0 || Refuse("too many values for its size"); }
  bool Open() {
    keys_.emplace_back();
    if (keys_.size() > kDepthMax) return Refuse("it is nested too deeply");
    return Value();
  }
  bool Close() {
    keys_.pop_back();
    return true;
  }
  bool Refuse(std::string reason) {
    if (reason_.empty()) reason_ = std::move(reason);
    return false;
  }

  std::size_t values_left_;
  std::vector<std::set<std::string>> keys_;
  std::string reason_;
};

// One JSON object and its place, such as "shards[3]", for messages. The first
// problem found is kept; later reads then give empty values.
class Object {
 public:
  Object(const Json& json, std::string place, std::optional<std::string>* problem)
      : json_(json), place_(std::move(place)), problem_(problem) {
    if (!json_.is_object()) Refuse(place_ + ": expected an object");
  }

  const Json* Find(const char* key) const {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }
  const Json& Member(const char* key, Json::value_t type, const char* type_name) {
    static const Json kNothing;
    const Json* found = Find(key);
    if (found != nullptr && found->type() == type) return *found;
    Refuse(Place(key) + (found == nullptr ? ": missing; expected " : ": expected ") + type_name);
    return kNothing;
  }
  std::string String(const char* key, std::size_t bytes_max = SIZE_MAX) {
    const Json& json = Member(key, Json::value_t::string, "a string");
    if (!json.is_string()) return {};
    const auto& text = json.get_ref<const std::string&>();
    if (text.size() <= bytes_max) return text;
    Refuse(Place(key) + ": " + std::to_string(text.size()) + " bytes; at most " +
           std::to_string(bytes_max) + " are allowed");
    return {};
  }
  std::uint64_t Count(const char* key, std::uint64_t min = 0, std::uint64_t max = INT64_MAX) {
    const Json& json = Member(key, Json::value_t::number_unsigned, "a whole number");
    if (!json.is_number_unsigned()) return 0;
    const auto value = json.get<std::uint64_t>();
    if (value >= min && value <= max) return value;
    Refuse(Place(key) + ": " + std::to_string(value) + "; expected " + std::to_string(min) +
           " to " + std::to_string(max));
    return 0;
  }
  double Number(const char* key) {
    const Json* found = Find(key);
    if (found != nullptr && found->is_number()) {
      const auto value = found->get<double>();
      if (std::isfinite(value)) return value;
    }
    Refuse(Place(key) + ": expected a number");
    return 0;
  }
  const Json& Array(const char* key) { return Member(key, Json::value_t::array, "an array"); }
  const Json& Map(const char* key) { return Member(key, Json::value_t::object, "an object"); }

  std::string Place(const char* key) const { return place_.empty() ? key : place_ + "." + key; }
  void Refuse(std::string problem) {
    if (!*problem_) *problem_ = std::move(problem);
  }

 private:
  const Json& json_;
  std::string place_;
  std::optional<std::string>* problem_;
};

// Raw bytes of a shard's largest block, if all columns are arrays; else 0.
std::uint64_t ArrayBlockBytes(const std::vector<array::ColumnSpec>& columns,
                              const ShardInfo& shard) {
  if (!array::AllArrays(columns)) return 0;
  const std::uint64_t samples = std::min<std::uint64_t>(shard.samples, shard.block_samples);
  const unsigned __int128 bytes =
      static_cast<unsigned __int128>(samples) * array::SampleBytes(columns);
  return static_cast<std::uint64_t>(std::min<unsigned __int128>(bytes, UINT64_MAX));
}

std::string Indexed(const char* list, std::size_t index) {
  return std::string(list) + "[" + std::to_string(index) + "]";
}

class Parser {
 public:
  Parser(const Json& root, const ManifestLimits& limits)
      : limits_(limits), root_(root, "", &problem_) {}

  // The manifest, unless problem() says what is wrong with it.
  Manifest Parse() {
    manifest_.name = root_.String("name");
    manifest_.description = root_.String("description");
    const Json& columns = root_.Array("columns");
    if (columns.empty() || columns.size() > limits_.column_count_max) {
      Refuse("columns: " + std::to_string(columns.size()) + " of them; expected 1 to " +
             std::to_string(limits_.column_count_max));
    }
    for (std::size_t i = 0; i < columns.size() && !problem_; ++i) ParseColumn(columns[i], i);
    const Json& splits = root_.Array("splits");
    if (splits.size() > kSplitCountMax) {
      Refuse("splits: " + std::to_string(splits.size()) + " of them; at most " +
             std::to_string(kSplitCountMax) + " are allowed");
    }
    for (std::size_t i = 0; i < splits.size() && !problem_; ++i) ParseSplit(splits[i], i);
    const Json& shards = root_.Array("shards");
    if (shards.size() > limits_.shard_count_max) {
      too_large_ = true;
      Refuse("shards: " + std::to_string(shards.size()) + " of them; at most " +
             std::to_string(limits_.shard_count_max) + " are read");
    }
    for (std::size_t i = 0; i < shards.size() && !problem_; ++i) ParseShard(shards[i], i);
    if (!problem_) CheckSplitSums();
    const Json& parameters = root_.Map("parameters");
    for (auto entry = parameters.begin(); entry != parameters.end() && !problem_; ++entry) {
      if (!entry->is_string()) Refuse("parameters." + entry.key() + ": expected a string");
      if (!problem_) manifest_.parameters[entry.key()] = entry->get<std::string>();
    }
    if (!problem_) ParseSteps();
    if (!problem_) manifest_.mirrors = ParseLocations(&root_, "mirrors");
    return std::move(manifest_);
  }

  const std::optional<std::string>& problem() const { return problem_; }
  bool too_large() const { return too_large_; }

 private:
  void Refuse(std::string problem) {
    if (!problem_) problem_ = std::move(problem);
  }

  void ParseColumn(const Json& json, std::size_t index) {
    Object object(json, Indexed("columns", index), &problem_);
    array::ColumnSpec column;
    column.name = object.String("name", kNameBytesMax);
    const std::string dtype = object.String("dtype");
    const Json& shape = object.Array("shape");
    if (problem_) return;
    if (column.name.empty() || manifest_.ColumnIndex(column.name) >= 0) {
      return Refuse(object.Place("name") + ": \"" + column.name + "\"; expected a name of its own");
    }
    const std::optional<array::DType> known = array::DTypeFromName(dtype);
    if (!known) return Refuse(object.Place("dtype") + ": unknown dtype \"" + dtype + "\"");
    column.dtype = *known;
    for (const Json& axis : shape) {
      if (!axis.is_number_unsigned() || axis.get<std::uint64_t>() > INT64_MAX) {
        return Refuse(object.Place("shape") + ": expected whole numbers");
      }
      column.shape.push_back(axis.get<std::int64_t>());
    }
    if (column.shape.size() > kRankMax || !array::ElementCount(column.shape)) {
      return Refuse(object.Place("shape") + ": beyond any honest size");
    }
    if (object.Find("kind") != nullptr && !ParseKind(&object, &column)) return;
    if (object.Find("features") != nullptr && !ParseFeatures(&object, &column)) return;
    if (object.Find("class_names") != nullptr) {
      for (const Json& name : object.Array("class_names")) {
        if (!name.is_string()) return Refuse(object.Place("class_names") + ": expected strings");
        column.class_names.push_back(name.get<std::string>());
      }
    }
    manifest_.columns.push_back(std::move(column));
  }

  bool ParseKind(Object* object, array::ColumnSpec* column) {
    const std::string kind = object->String("kind");
    const auto known = array::ColumnKindFromName(kind);
    if (!known) Refuse(object->Place("kind") + ": unknown kind \"" + kind + "\"");
    if (problem_) return false;
    column->kind = *known;
    if (!column->is_array() && (column->dtype != array::DType::kUint8 || !column->shape.empty())) {
      Refuse(object->Place("kind") + ": " + kind + " has dtype uint8 and the shape []");
    }
    return !problem_;
  }

  bool ParseFeatures(Object* object, array::ColumnSpec* column) {
    const Json& features = object->Array("features");
    if (!column->is_array() || column->shape.size() != 1 ||
        static_cast<std::uint64_t>(column->shape[0]) != features.size()) {
      Refuse(object->Place("features") + ": " + std::to_string(features.size()) +
             " of them; expected one for each element of a shape [n]");
    }
    for (std::size_t i = 0; i < features.size() && !problem_; ++i) {
      Object entry(features[i], Indexed(object->Place("features").c_str(), i), &problem_);
      array::Feature feature;
      feature.name = entry.String("name", kNameBytesMax);
      if (entry.Find("kind") != nullptr) {
        const std::string kind = entry.String("kind");
        const auto known = array::FeatureKindFromName(kind);
        if (!known) Refuse(entry.Place("kind") + ": unknown kind \"" + kind + "\"");
        feature.kind = known.value_or(array::FeatureKind::kNumber);
      }
      if (entry.Find("categories") != nullptr) {
        feature.categories = Strings(&entry, "categories", SIZE_MAX, kNameBytesMax);
      }
      column->features.push_back(std::move(feature));
    }
    return !problem_;
  }

  std::vector<std::string> Strings(Object* object, const char* key, std::size_t count_max,
                                   std::size_t bytes_max) {
    std::vector<std::string> strings;
    const Json& array = object->Array(key);
    if (array.size() > count_max) {
      Refuse(object->Place(key) + ": " + std::to_string(array.size()) + " of them; at most " +
             std::to_string(count_max) + " are allowed");
    }
    for (std::size_t i = 0; i < array.size() && !problem_; ++i) {
      const auto* text = array[i].get_ptr<const std::string*>();
      if (text == nullptr || text->size() > bytes_max) {
        Refuse(object->Place(key) + ": expected strings of at most " + std::to_string(bytes_max) +
               " bytes");
      } else {
        strings.push_back(*text);
      }
    }
    return strings;
  }

  std::vector<std::string> ParseLocations(Object* object, const char* key) {
    if (object->Find(key) == nullptr) return {};
    return Strings(object, key, kLocationCountMax, kLocationBytesMax);
  }

  std::vector<double> Numbers(const Json& array, const std::string& place) {
    std::vector<double> numbers;
    if (!array.is_array()) Refuse(place + ": expected an array");
    for (std::size_t i = 0; i < array.size() && !problem_; ++i) {
      if (array[i].is_number() && std::isfinite(array[i].get<double>())) {
        numbers.push_back(array[i].get<double>());
      } else {
        Refuse(place + ": expected numbers");
      }
    }
    return numbers;
  }

  void ParseSteps() {
    if (root_.Find("steps") == nullptr) return;
    const Json& steps = root_.Array("steps");
    if (steps.size() > kStepCountMax) {
      return Refuse("steps: " + std::to_string(steps.size()) + " of them; at most " +
                    std::to_string(kStepCountMax) + " are allowed");
    }
    for (std::size_t i = 0; i < steps.size() && !problem_; ++i) {
      Object entry(steps[i], Indexed("steps", i), &problem_);
      FeatureStep step;
      step.name = entry.String("name", kNameBytesMax);
      step.column = entry.String("column", kNameBytesMax);
      if (entry.Find("numbers") != nullptr) {
        for (const auto& [key, values] : entry.Map("numbers").items()) {
          step.numbers[key] = Numbers(values, entry.Place("numbers") + "." + key);
        }
      }
      if (entry.Find("texts") != nullptr) {
        for (const auto& [key, text] : entry.Map("texts").items()) {
          if (!text.is_string()) return Refuse(entry.Place("texts") + ": expected strings");
          step.texts[key] = text.get<std::string>();
        }
      }
      manifest_.steps.push_back(std::move(step));
    }
  }

  void ParseSplit(const Json& json, std::size_t index) {
    Object object(json, Indexed("splits", index), &problem_);
    SplitInfo split;
    split.name = object.String("name", kSplitNameBytesMax);
    split.samples = object.Count("samples");
    const Json& statistics = object.Array("statistics");
    if (problem_) return;
    if (split.name.empty() || manifest_.FindSplit(split.name) != nullptr) {
      return Refuse(object.Place("name") + ": \"" + split.name + "\"; expected a name of its own");
    }
    if (statistics.size() != manifest_.columns.size()) {
      return Refuse(object.Place("statistics") + ": " + std::to_string(statistics.size()) +
                    " entries for " + std::to_string(manifest_.columns.size()) + " columns");
    }
    for (std::size_t c = 0; c < statistics.size() && !problem_; ++c) {
      Object entry(statistics[c], object.Place("statistics") + "[" + std::to_string(c) + "]",
                   &problem_);
      split.statistics.push_back(ParseStatistics(&entry, manifest_.columns[c], split.samples));
    }
    manifest_.splits.push_back(std::move(split));
  }

  ColumnStatistics ParseStatistics(Object* object, const array::ColumnSpec& column,
                                   std::uint64_t samples) {
    ColumnStatistics statistics;
    statistics.count = object->Count("count");
    statistics.mean = object->Number("mean");
    statistics.standard_deviation = object->Number("standard_deviation");
    statistics.min = object->Number("min");
    statistics.max = object->Number("max");
    if (object->Find("nonfinite_count") != nullptr) {
      statistics.nonfinite_count = object->Count("nonfinite_count", 1, statistics.count);
      if (!array::IsFloat(column.dtype)) {
        Refuse(object->Place("nonfinite_count") + ": the column's elements are integers");
      }
    }
    const unsigned __int128 expected =
        static_cast<unsigned __int128>(samples) * *array::ElementCount(column.shape);
    if (statistics.count != expected) {
      Refuse(object->Place("count") + ": " + std::to_string(statistics.count) + ", but " +
             std::to_string(samples) + " samples of shape " + array::ShapeText(column.shape) +
             " have another number of elements");
    }
    if (statistics.standard_deviation < 0 || statistics.min > statistics.max) {
      Refuse(object->Place("min") + ": the statistics contradict each other");
    }
    if (object->Find("class_counts") != nullptr)
      ParseClassCounts(object, column, samples, &statistics);
    if (object->Find("element_mean") != nullptr) {
      statistics.element_mean =
          Numbers(object->Array("element_mean"), object->Place("element_mean"));
      statistics.element_standard_deviation = Numbers(object->Array("element_standard_deviation"),
                                                      object->Place("element_standard_deviation"));
      CheckElements(*object, column, statistics);
    }
    return statistics;
  }

  void CheckElements(const Object& object, const array::ColumnSpec& column,
                     const ColumnStatistics& statistics) {
    const std::size_t elements = statistics.element_mean.size();
    if (!column.is_array() || column.shape.size() != 1 || column.shape[0] > kElementStatisticsMax ||
        elements != static_cast<std::uint64_t>(column.shape[0]) ||
        elements != statistics.element_standard_deviation.size()) {
      Refuse(object.Place("element_mean") + ": expected a number for each element of a shape [n]");
    }
    for (const double deviation : statistics.element_standard_deviation) {
      if (deviation < 0) Refuse(object.Place("element_standard_deviation") + ": below 0");
    }
  }

  void ParseClassCounts(Object* object, const array::ColumnSpec& column, std::uint64_t samples,
                        ColumnStatistics* statistics) {
    const Json& counts = object->Map("class_counts");
    const std::string place = object->Place("class_counts");
    if (array::IsFloat(column.dtype) || !column.shape.empty() || !column.is_array()) {
      return Refuse(place + ": only a column of scalar integers has classes");
    }
    if (counts.size() > kClassCountMax) {
      return Refuse(place + ": " + std::to_string(counts.size()) + " classes; at most " +
                    std::to_string(kClassCountMax) + " are counted");
    }
    std::uint64_t sum = 0;
    for (auto entry = counts.begin(); entry != counts.end(); ++entry) {
      const std::string& key = entry.key();
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), value);
      if (error != std::errc() || std::to_string(value) != key) {
        return Refuse(place + ": \"" + key + "\" is not a whole number");
      }
      if (!entry->is_number_unsigned() || entry->get<std::uint64_t>() > samples - sum) {
        return Refuse(place + ": the counts do not add up to " + std::to_string(samples));
      }
      sum += entry->get<std::uint64_t>();
      statistics->class_counts[value] = entry->get<std::uint64_t>();
    }
    if (sum != samples) Refuse(place + ": the counts do not add up to " + std::to_string(samples));
  }

  void ParseShard(const Json& json, std::size_t index) {
    Object object(json, Indexed("shards", index), &problem_);
    ShardInfo shard;
    shard.cid = object.String("cid");
    shard.split = object.String("split");
    shard.bytes = object.Count("bytes", kHeaderBytes + kFooterBytes, limits_.shard_bytes_max);
    shard.samples = object.Count("samples", 1);
    shard.block_samples = static_cast<std::uint32_t>(object.Count("block_samples", 1, UINT32_MAX));
    shard.block_bytes_max = ArrayBlockBytes(manifest_.columns, shard);
    if (!array::AllArrays(manifest_.columns)) {
      shard.block_bytes_max = object.Count("block_bytes_max", 1, kBlockBytesLimit);
    }
    shard.urls = ParseLocations(&object, "urls");
    const std::string leaves = object.String("leaves");
    if (problem_) return;
    // Shards lie split by split, in the order of `splits`.
    while (split_index_ < manifest_.splits.size() &&
           manifest_.splits[split_index_].name != shard.split) {
      ++split_index_;
    }
    if (split_index_ == manifest_.splits.size()) {
      return Refuse(object.Place("split") + ": \"" + shard.split + "\" is " +
                    (manifest_.FindSplit(shard.split) == nullptr ? "not a split of this dataset"
                                                                 : "out of the splits' order"));
    }
    const std::uint64_t leaf_count = LeafCount(shard.bytes);
    if (leaves.size() != leaf_count * 64) {
      return Refuse(object.Place("leaves") + ": " + std::to_string(leaves.size()) +
                    " hexadecimal digits; a shard of " + std::to_string(shard.bytes) +
                    " bytes has " + std::to_string(leaf_count) + " leaves of 64");
    }
    for (std::uint64_t leaf = 0; leaf < leaf_count; ++leaf) {
      const auto digest = Digest::FromHex(std::string_view(leaves).substr(leaf * 64, 64));
      if (!digest) return Refuse(object.Place("leaves") + ": expected lower-case hexadecimal");
      shard.leaves.push_back(*digest);
    }
    if (const std::string cid = ContentIdFromLeaves(shard.leaves, shard.bytes); cid != shard.cid) {
      return Refuse(object.Place("cid") + ": \"" + shard.cid.substr(0, 80) +
                    "\", but its leaves give " + cid);
    }
    manifest_.shards.push_back(std::move(shard));
  }

  void CheckSplitSums() {
    std::map<std::string, std::uint64_t> sums;
    for (const ShardInfo& shard : manifest_.shards) {
      std::uint64_t& sum = sums[shard.split];
      // Neither is above INT64_MAX, so that the sum cannot wrap before it is refused.
      sum = std::min<std::uint64_t>(sum + shard.samples, INT64_MAX);
    }
    for (const SplitInfo& split : manifest_.splits) {
      if (sums[split.name] != split.samples) {
        Refuse("splits: " + split.name + " has " + std::to_string(split.samples) +
               " samples, but its shards have " + std::to_string(sums[split.name]));
      }
    }
  }

  const ManifestLimits& limits_;
  std::optional<std::string> problem_;
  bool too_large_ = false;
  Object root_;
  Manifest manifest_;
  std::size_t split_index_ = 0;
};

}  // namespace

const SplitInfo* Manifest::FindSplit(std::string_view split) const {
  for (const SplitInfo& info : splits) {
    if (info.name == split) return &info;
  }
  return nullptr;
}

int Manifest::ColumnIndex(std::string_view column) const {
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].name == column) return static_cast<int>(c);
  }
  return -1;
}

std::vector<std::uint64_t> Manifest::ClassCounts(std::string_view split,
                                                 std::span<const int> columns_of_labels) const {
  std::vector<std::uint64_t> counts(columns_of_labels.size(), 0);
  const SplitInfo* const info = FindSplit(split);
  for (std::size_t i = 0; info != nullptr && i < counts.size(); ++i) {
    const auto column = static_cast<std::size_t>(columns_of_labels[i]);
    if (column >= info->statistics.size()) continue;
    const auto& classes = info->statistics[column].class_counts;
    if (classes.empty() || classes.rbegin()->first < 0) continue;
    counts[i] = static_cast<std::uint64_t>(classes.rbegin()->first) + 1;
  }
  return counts;
}

std::string FormatManifest(const Manifest& manifest) {
  OrderedJson columns = OrderedJson::array();
  for (const array::ColumnSpec& column : manifest.columns) columns.push_back(ColumnJson(column));
  OrderedJson splits = OrderedJson::array();
  for (const SplitInfo& split : manifest.splits) {
    OrderedJson statistics = OrderedJson::array();
    for (const ColumnStatistics& column : split.statistics) {
      statistics.push_back(StatisticsJson(column));
    }
    splits.push_back(
        {{"name", split.name}, {"samples", split.samples}, {"statistics", std::move(statistics)}});
  }
  OrderedJson shards = OrderedJson::array();
  for (const ShardInfo& shard : manifest.shards) {
    shards.push_back(ShardJson(shard, ArrayBlockBytes(manifest.columns, shard)));
  }
  OrderedJson parameters = OrderedJson::object();
  for (const auto& [key, value] : manifest.parameters) parameters[key] = value;

  OrderedJson root = {{"format", kFormatName},
                      {"version", kManifestVersion},
                      {"name", manifest.name},
                      {"description", manifest.description}};
  root["columns"] = std::move(columns);
  root["splits"] = std::move(splits);
  root["shards"] = std::move(shards);
  root["parameters"] = std::move(parameters);
  if (!manifest.steps.empty()) {
    root["steps"] = OrderedJson::array();
    for (const FeatureStep& step : manifest.steps) root["steps"].push_back(StepJson(step));
  }
  if (!manifest.mirrors.empty()) root["mirrors"] = manifest.mirrors;
  // Text from outside that is not UTF-8 becomes U+FFFD; without that, dump would fail.
  return root.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Result<Manifest> ParseManifest(std::string_view json, const std::string& name,
                               const ManifestLimits& limits) {
  const auto corrupt = [&name](const std::string& what) {
    return Error{ErrorCode::kCorrupt, name + ": not a sound manifest: " + what};
  };
  if (json.size() > limits.bytes_max) {
    return Error{ErrorCode::kTooLarge, name + ": a manifest of " + FormatByteCount(json.size()) +
                                           "; at most " + FormatByteCount(limits.bytes_max) +
                                           " are read"};
  }
  Screener screener(json.size());
  if (!Json::sax_parse(json.begin(), json.end(), &screener)) return corrupt(screener.reason());
  const Json root = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  const Json* format = root.is_object() && root.contains("format") ? &root["format"] : nullptr;
  if (format == nullptr || *format != kFormatName) {
    return corrupt("its \"format\" is not \"" + std::string(kFormatName) + "\"");
  }
  const Json* version = root.contains("version") ? &root["version"] : nullptr;
  if (version == nullptr || !version->is_number_unsigned()) {
    return corrupt("version: expected a whole number");
  }
  if (*version != kManifestVersion) {
    return Error{ErrorCode::kUnsupported, name + ": a manifest of version " + version->dump() +
                                              ", but this program reads version " +
                                              std::to_string(kManifestVersion) +
                                              "; update the program"};
  }
  Parser parser(root, limits);
  Manifest manifest = parser.Parse();
  if (parser.problem()) {
    if (!parser.too_large()) return corrupt(*parser.problem());
    return Error{ErrorCode::kTooLarge, name + ": " + *parser.problem()};
  }
  return manifest;
}

}  // namespace dnc::shard
