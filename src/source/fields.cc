#include "source/fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "array/npy_header.h"
#include "base/human.h"
#include "source/array_input.h"
#include "source/text.h"

namespace dnc::source {
namespace {

using array::ColumnKind;
using array::DType;

Error Corrupt(const std::string& what) { return {ErrorCode::kCorrupt, what}; }

struct Elements {
  DType dtype = DType::kUint8;
  array::Shape shape;
  ByteSpan bytes;
};

// Errors: kCorrupt, a shape that no bytes can have; kTooLarge, above kSampleBytesMax.
Status CheckElements(const Elements& elements) {
  const auto count = array::ElementCount(elements.shape);
  if (!count || *count > kSampleBytesMax / array::DTypeSize(elements.dtype)) {
    return Error{ErrorCode::kTooLarge, "an array of shape " + array::ShapeText(elements.shape) +
                                           "; at most " + FormatByteCount(kSampleBytesMax) +
                                           " a sample are taken"};
  }
  const std::uint64_t expected = *count * array::DTypeSize(elements.dtype);
  if (elements.bytes.size() == expected) return {};
  return Corrupt("an array of shape " + array::ShapeText(elements.shape) + " in " +
                 std::to_string(elements.bytes.size()) + " bytes; expected " +
                 std::to_string(expected));
}

Result<Elements> ReadNpy(ByteSpan bytes) {
  DNC_ASSIGN(const array::NpyHeader header, array::ParseNpyHeader(bytes, "its npy"));
  if (header.big_endian || (header.fortran_order && header.shape.size() > 1)) {
    return Error{ErrorCode::kUnsupported,
                 "an npy in Fortran order or big-endian; save it with numpy.ascontiguousarray and "
                 "a little-endian dtype"};
  }
  Elements elements{header.dtype, header.shape, {}};
  if (header.data_offset > bytes.size()) return Corrupt("an npy that ends in its header");
  elements.bytes = bytes.subspan(header.data_offset);
  DNC_TRY(CheckElements(elements));
  return elements;
}

// The numbers by which MDS writes dtypes.
std::optional<DType> MdsDType(std::uint8_t code) {
  switch (code) {
    case 8:
      return DType::kUint8;
    case 9:
      return DType::kInt8;
    case 16:
      return DType::kUint16;
    case 17:
      return DType::kInt16;
    case 18:
      return DType::kFloat16;
    case 32:
      return DType::kUint32;
    case 33:
      return DType::kInt32;
    case 34:
      return DType::kFloat32;
    case 64:
      return DType::kUint64;
    case 65:
      return DType::kInt64;
    case 66:
      return DType::kFloat64;
    default:
      return std::nullopt;
  }
}

// [dtype: 1] [axes << 2 | log2 of a length's size: 1] [lengths] [values]; the first two
// only where the column does not say them.
Result<Elements> ReadMdsArray(const Field& field, ByteSpan bytes) {
  Elements elements{field.column.dtype, field.column.shape, {}};
  const Error cut = Corrupt("an array that ends in its header");
  if (field.states_dtype) {
    if (bytes.empty()) return cut;
    const auto dtype = MdsDType(std::to_integer<std::uint8_t>(bytes[0]));
    if (!dtype) return Corrupt("an array of an unknown dtype");
    elements.dtype = *dtype;
    bytes = bytes.subspan(1);
  }
  if (field.states_shape) {
    if (bytes.empty()) return cut;
    const auto head = std::to_integer<std::uint8_t>(bytes[0]);
    bytes = bytes.subspan(1);
    const std::size_t axes = head >> 2;
    const std::size_t length_bytes = std::size_t{1} << (head & 3);
    if (bytes.size() < axes * length_bytes) return cut;
    elements.shape.clear();
    for (std::size_t i = 0; i < axes; ++i) {
      std::uint64_t length = 0;
      std::memcpy(&length, bytes.data() + i * length_bytes, length_bytes);
      if (length > INT64_MAX) return Corrupt("an array with an axis of no possible length");
      elements.shape.push_back(static_cast<std::int64_t>(length));
    }
    bytes = bytes.subspan(axes * length_bytes);
  }
  elements.bytes = bytes;
  DNC_TRY(CheckElements(elements));
  return elements;
}

// [width: 4] [height: 4] [bytes of the mode: 4] [mode] [pixels].
Result<Elements> ReadMdsRawImage(ByteSpan bytes) {
  std::array<std::uint32_t, 3> head{};
  if (bytes.size() < sizeof head) return Corrupt("an image that ends in its header");
  std::memcpy(head.data(), bytes.data(), sizeof head);
  bytes = bytes.subspan(sizeof head);
  if (head[2] > bytes.size()) return Corrupt("an image that ends in its header");
  const std::string mode(AsText(bytes.first(head[2])));
  Elements elements{DType::kUint8, {head[1], head[0]}, bytes.subspan(head[2])};
  if (mode == "RGB") {
    elements.shape.push_back(3);
  } else if (mode == "RGBA" || mode == "CMYK") {
    elements.shape.push_back(4);
  } else if (mode == "F" || mode == "I") {
    elements.dtype = mode == "F" ? DType::kFloat32 : DType::kInt32;
  } else if (mode != "L") {
    return Error{ErrorCode::kUnsupported, "raw pixels of mode " + Printable(mode, 20) +
                                              "; known are L, RGB, RGBA, CMYK, I "
                                              "and F"};
  }
  DNC_TRY(CheckElements(elements));
  return elements;
}

// Of the forms that state dtype or shape.
Result<std::optional<Elements>> ReadStated(const Field& field, ByteSpan bytes) {
  std::optional<Elements> elements;
  if (field.form == FieldForm::kNpy) {
    DNC_ASSIGN(elements, ReadNpy(bytes));
  } else if (field.form == FieldForm::kMdsArray) {
    DNC_ASSIGN(elements, ReadMdsArray(field, bytes));
  } else if (field.form == FieldForm::kMdsRawImage) {
    DNC_ASSIGN(elements, ReadMdsRawImage(bytes));
  }
  return elements;
}

template <typename T>
Result<ByteSpan> ParseNumber(ByteSpan bytes, const char* expected, Bytes* scratch) {
  std::string_view text = AsText(bytes);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return Corrupt("\"" + Printable(text, 60) + "\" is not " + expected);
  }
  scratch->resize(sizeof value);
  std::memcpy(scratch->data(), &value, sizeof value);
  return ByteSpan(*scratch);
}

bool IsLabelName(const std::string& name) {
  static const std::set<std::string> kNames = {"y", "label", "labels", "class", "cls", "target"};
  return kNames.contains(name);
}

bool IsScalar(const array::ColumnSpec& column) { return column.is_array() && column.shape.empty(); }

}  // namespace

Status CompleteColumn(ByteSpan bytes, Field* field) {
  DNC_ASSIGN(const auto elements, ReadStated(*field, bytes));
  if (!elements) return {};
  field->column.dtype = elements->dtype;
  field->column.shape = elements->shape;
  return {};
}

Result<FieldColumns> ArrangeColumns(const std::vector<Field>& fields, const std::string& label) {
  const auto by_name = [&](const std::string& name) {
    return static_cast<std::size_t>(
        std::find_if(fields.begin(), fields.end(),
                     [&](const Field& field) { return field.name == name; }) -
        fields.begin());
  };
  std::size_t label_at = fields.size();
  if (!label.empty()) {
    label_at = by_name(label);
    if (label_at == fields.size()) {
      std::string names;
      for (const Field& field : fields) names += (names.empty() ? "" : ", ") + field.name;
      return Error{ErrorCode::kInvalidArgument,
                   "no field \"" + label + "\" for the label; the fields are " + names};
    }
  } else if (fields.size() > 1) {
    for (std::size_t i = 0; i < fields.size() && label_at == fields.size(); ++i) {
      const bool fits = IsScalar(fields[i].column) || fields[i].column.kind == ColumnKind::kText;
      if (fits && IsLabelName(fields[i].name)) label_at = i;
    }
  }
  std::size_t others = 0;
  std::size_t images = 0;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i == label_at) continue;
    ++others;
    images += fields[i].column.kind == ColumnKind::kImage ? 1 : 0;
  }
  FieldColumns arranged;
  std::set<std::string> names;
  const auto add = [&](std::size_t i, const std::string& name) {
    arranged.columns.push_back(fields[i].column);
    arranged.columns.back().name = name;
    arranged.field_of.push_back(i);
    return names.insert(name).second;
  };
  bool distinct = true;
  const bool has_x = by_name("x") < fields.size() && by_name("x") != label_at;
  const auto is_x = [&](std::size_t i) {
    if (has_x) return fields[i].name == "x";
    return others == 1 || (images == 1 && fields[i].column.kind == ColumnKind::kImage);
  };
  for (const bool features : {true, false}) {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i == label_at || is_x(i) != features) continue;
      distinct = add(i, features ? "x" : fields[i].name) && distinct;
    }
  }
  if (label_at < fields.size()) distinct = add(label_at, "y") && distinct;
  if (distinct) return arranged;
  return Error{ErrorCode::kInvalidArgument,
               "two columns would have the name x or y; name the label with --label-column"};
}

FieldConverter::FieldConverter(std::vector<Field> fields, FieldColumns arranged)
    : fields_(std::move(fields)),
      arranged_(std::move(arranged)),
      decoder_(&large_images_),
      scratch_(fields_.size()),
      elements_(fields_.size()) {}

Result<ByteSpan> FieldConverter::Convert(const Field& field, ByteSpan bytes, Bytes* scratch) {
  if (bytes.size() > kElementBytesMax) {
    return Error{ErrorCode::kTooLarge, FormatByteCount(bytes.size()) + "; at most " +
                                           FormatByteCount(kElementBytesMax) + " are taken"};
  }
  switch (field.form) {
    case FieldForm::kPlain:
      if (field.column.is_array() && bytes.size() != field.column.sample_bytes()) {
        return Corrupt(std::to_string(bytes.size()) + " bytes; expected " +
                       std::to_string(field.column.sample_bytes()));
      }
      return bytes;
    case FieldForm::kText:
      if (!IsUtf8(AsText(bytes))) return Corrupt("not UTF-8 text");
      return bytes;
    case FieldForm::kImage:
      DNC_TRY(decoder_.Check(bytes));
      return bytes;
    case FieldForm::kIntegerText:
      return ParseNumber<std::int64_t>(bytes, "a whole number", scratch);
    case FieldForm::kNumberText:
      return ParseNumber<double>(bytes, "a number", scratch);
    case FieldForm::kNpy:
    case FieldForm::kMdsArray:
    case FieldForm::kMdsRawImage:
      break;
  }
  DNC_ASSIGN(const auto stated, ReadStated(field, bytes));
  if (stated->dtype != field.column.dtype || stated->shape != field.column.shape) {
    return Error{ErrorCode::kUnsupported,
                 std::string(array::DTypeName(stated->dtype)) + " " +
                     array::ShapeText(stated->shape) + ", but the first sample's is " +
                     array::ColumnTypeText(field.column) + "; arrays of a column must be alike"};
  }
  return stated->bytes;
}

Status FieldConverter::Add(const std::vector<ByteSpan>& bytes, BlockBuilder* block) {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    auto element = Convert(fields_[i], bytes[i], &scratch_[i]);
    if (!element.ok()) return element.error().WithContext("field " + fields_[i].name);
    elements_[i] = *element;
  }
  for (std::size_t c = 0; c < arranged_.field_of.size(); ++c) {
    block->Add(c, elements_[arranged_.field_of[c]]);
  }
  block->EndSample();
  return {};
}

}  // namespace dnc::source
