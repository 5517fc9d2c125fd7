#include "source/mds_index.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "array/dtype.h"
#include "source/mds_source.h"
#include "source/text.h"

namespace dnc::source {
namespace {

using array::ColumnKind;
using array::DType;
using Json = nlohmann::json;

Error Damaged(const std::string& name, const std::string& what) {
  return {ErrorCode::kCorrupt, name + ": " + what};
}

Error Unsupported(const std::string& what) { return {ErrorCode::kUnsupported, what}; }

Result<array::Shape> ParseShape(std::string_view text) {
  array::Shape shape;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    std::int64_t length = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + end, length);
    if (error != std::errc() || rest != text.data() + end || length < 1) {
      return Unsupported("an array of a shape that is none");
    }
    shape.push_back(length);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  const auto count = array::ElementCount(shape);
  if (!count) return Unsupported("an array of a shape beyond any honest size");
  return shape;
}

// "", ":uint8" or ":uint8:28,28".
Result<Field> ArrayField(std::string_view arguments) {
  Field field;
  field.form = FieldForm::kMdsArray;
  field.states_dtype = arguments.empty();
  field.states_shape = true;
  if (arguments.empty()) return field;
  arguments.remove_prefix(1);
  const std::size_t colon = std::min(arguments.find(':'), arguments.size());
  const auto dtype = array::DTypeFromName(arguments.substr(0, colon));
  if (!dtype) return Unsupported("an array of an unknown dtype");
  field.column.dtype = *dtype;
  if (colon == arguments.size()) return field;
  DNC_ASSIGN(field.column.shape, ParseShape(arguments.substr(colon + 1)));
  field.states_shape = false;
  field.form = FieldForm::kPlain;
  return field;
}

Field Kept(FieldForm form, ColumnKind kind) {
  Field field;
  field.form = form;
  field.column.kind = kind;
  return field;
}

Result<std::uint64_t> NumberAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) {
    return Error{ErrorCode::kCorrupt, std::string("no number \"") + key + "\""};
  }
  return found->get<std::uint64_t>();
}

Result<MdsFile> ParseFile(const Json& object) {
  MdsFile file;
  const auto name = object.find("basename");
  if (!object.is_object() || name == object.end() || !name->is_string()) {
    return Error{ErrorCode::kCorrupt, "a file without a basename"};
  }
  file.basename = name->get<std::string>();
  if (file.basename.empty() || file.basename.front() == '.' ||
      file.basename.find('/') != std::string::npos ||
      file.basename.find('\0') != std::string::npos) {
    return Error{ErrorCode::kCorrupt, "\"" + Printable(file.basename, 200) +
                                          "\" is not the name of a file in this folder"};
  }
  DNC_ASSIGN(file.bytes, NumberAt(object, "bytes"));
  if (const auto hashes = object.find("hashes"); hashes != object.end() && hashes->is_object()) {
    for (const auto& [algorithm, digits] : hashes->items()) {
      if (digits.is_string()) file.hashes[algorithm] = digits.get<std::string>();
    }
  }
  return file;
}

Result<std::vector<MdsColumn>> ParseColumns(const Json& shard) {
  const auto list = [&](const char* key) { return shard.value(key, Json()); };
  const Json names = list("column_names");
  const Json encodings = list("column_encodings");
  const Json sizes = list("column_sizes");
  if (!names.is_array() || !encodings.is_array() || !sizes.is_array() || names.empty() ||
      names.size() != encodings.size() || names.size() != sizes.size() ||
      names.size() > kFieldCountMax) {
    return Error{ErrorCode::kCorrupt,
                 "column_names, column_encodings and column_sizes are not three lists of one "
                 "length"};
  }
  std::vector<MdsColumn> columns;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool has_size = sizes[i].is_number_unsigned();
    if (!names[i].is_string() || !encodings[i].is_string() || (!has_size && !sizes[i].is_null()) ||
        (has_size && sizes[i].get<std::uint64_t>() > UINT32_MAX)) {
      return Error{ErrorCode::kCorrupt, "column " + std::to_string(i) + " is not described well"};
    }
    MdsColumn column;
    column.encoding = encodings[i].get<std::string>();
    auto field = FieldOfMdsEncoding(column.encoding);
    if (!field.ok()) return field.error().WithContext("column " + names[i].get<std::string>());
    column.field = std::move(*field);
    column.field.name = names[i].get<std::string>();
    if (column.field.name.empty()) {
      return Error{ErrorCode::kCorrupt, "column " + std::to_string(i) + " has no name"};
    }
    if (has_size) column.size = static_cast<std::uint32_t>(sizes[i].get<std::uint64_t>());
    columns.push_back(std::move(column));
  }
  return columns;
}

Result<MdsShard> ParseShard(const Json& object) {
  if (!object.is_object()) return Error{ErrorCode::kCorrupt, "is not an object"};
  const auto text = [&](const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (object.value("version", Json()) != 2 || text("format") != "mds") {
    return Unsupported("is of format \"" + Printable(text("format"), 40) +
                       "\" or another version; expected mds, version 2");
  }
  MdsShard shard;
  DNC_ASSIGN(shard.columns, ParseColumns(object));
  DNC_ASSIGN(shard.samples, NumberAt(object, "samples"));
  if (shard.samples > kMdsShardSamplesMax) {
    return Error{ErrorCode::kTooLarge, "has " + std::to_string(shard.samples) + " samples"};
  }
  DNC_ASSIGN(shard.raw, ParseFile(object.value("raw_data", Json())));
  const Json zip = object.value("zip_data", Json());
  if (!zip.is_null()) {
    const std::string compression = text("compression");
    if (compression.substr(0, compression.find(':')) != "zstd") {
      return Unsupported("is compressed by " + Printable(compression, 40) +
                         "; expected zstd or nothing");
    }
    DNC_ASSIGN(shard.zip, ParseFile(zip));
  }
  return shard;
}

}  // namespace

Result<Field> FieldOfMdsEncoding(const std::string& encoding) {
  static const std::map<std::string, Field> kFields = {
      {"bytes", Kept(FieldForm::kPlain, ColumnKind::kBytes)},
      {"str", Kept(FieldForm::kText, ColumnKind::kText)},
      {"json", Kept(FieldForm::kText, ColumnKind::kText)},
      {"jpeg", Kept(FieldForm::kImage, ColumnKind::kImage)},
      {"png", Kept(FieldForm::kImage, ColumnKind::kImage)},
      {"pil", Kept(FieldForm::kMdsRawImage, ColumnKind::kArray)},
      {"list[jpeg]", Kept(FieldForm::kPlain, ColumnKind::kBytes)},
      {"list[png]", Kept(FieldForm::kPlain, ColumnKind::kBytes)},
      {"list[pil]", Kept(FieldForm::kPlain, ColumnKind::kBytes)},
      {"jpeg_array", Kept(FieldForm::kPlain, ColumnKind::kBytes)},
      {"jpegarray", Kept(FieldForm::kPlain, ColumnKind::kBytes)},
  };
  const std::size_t colon = std::min(encoding.find(':'), encoding.size());
  const std::string name = encoding.substr(0, colon);
  if (name == "ndarray") return ArrayField(std::string_view(encoding).substr(colon));
  if (name == "pkl") {
    return Unsupported(
        "is encoded as pickle, whose reading runs code; it is never read. Write it "
        "again as bytes, str, json or ndarray");
  }
  if (const auto found = kFields.find(name); found != kFields.end()) return found->second;
  Field field;
  if (name == "int") {
    field.column.dtype = DType::kInt64;
  } else if (name == "str_int") {
    field.form = FieldForm::kIntegerText;
    field.column.dtype = DType::kInt64;
  } else if (name == "str_float" || name == "str_decimal") {
    field.form = FieldForm::kNumberText;
    field.column.dtype = DType::kFloat64;
  } else if (const auto dtype = array::DTypeFromName(name); dtype && *dtype != DType::kBool) {
    field.column.dtype = *dtype;
  } else {
    return Unsupported("is encoded as " + Printable(encoding, 60) + ", which is not known");
  }
  return field;
}

Result<std::vector<MdsShard>> ParseMdsIndex(std::string_view json, const std::string& name) {
  const Json index = Json::parse(json, nullptr, false);
  if (!index.is_object() || !index.contains("shards") || !index["shards"].is_array()) {
    return Damaged(name, "not the index of an MDS folder; expected an object with \"shards\"");
  }
  if (index.value("version", Json()) != 2) {
    return Unsupported(name + ": an index of another version than 2");
  }
  std::vector<MdsShard> shards;
  for (const Json& object : index["shards"]) {
    auto shard = ParseShard(object);
    if (!shard.ok()) {
      return shard.error().WithContext(name + ": shard " + std::to_string(shards.size()));
    }
    if (!shards.empty() && shard->columns != shards[0].columns) {
      return Damaged(
          name, "shard " + std::to_string(shards.size()) + " has other columns than the first");
    }
    shards.push_back(std::move(*shard));
  }
  return shards;
}

}  // namespace dnc::source
