#include "source/mat5_source.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/assert.h"
#include "base/human.h"
#include "source/slab_array.h"
#include "source/text.h"

namespace dnc::source {
namespace {

using array::DType;
using array::DTypeSize;
using array::ElementCount;
using array::Shape;

constexpr std::size_t kHeaderBytes = 128;
constexpr std::uint64_t kPadding = 8;

// Types of elements, and classes of arrays.
enum MiType : std::uint32_t {
  kMiInt8 = 1,
  kMiUint8 = 2,
  kMiInt16 = 3,
  kMiUint16 = 4,
  kMiInt32 = 5,
  kMiUint32 = 6,
  kMiSingle = 7,
  kMiDouble = 9,
  kMiInt64 = 12,
  kMiUint64 = 13,
  kMiMatrix = 14,
  kMiCompressed = 15,
};
constexpr std::uint32_t kClassDouble = 6;  // To 15, uint64: all numbers.
constexpr std::uint32_t kClassUint64 = 15;
constexpr std::uint32_t kClassOpaque = 17;  // An object of a newer kind: without axes.
constexpr std::uint32_t kFlagComplex = 0x0800;
constexpr std::uint32_t kFlagLogical = 0x0200;

std::optional<DType> NumberType(std::uint32_t type) {
  switch (type) {
    case kMiInt8:
      return DType::kInt8;
    case kMiUint8:
      return DType::kUint8;
    case kMiInt16:
      return DType::kInt16;
    case kMiUint16:
      return DType::kUint16;
    case kMiInt32:
      return DType::kInt32;
    case kMiUint32:
      return DType::kUint32;
    case kMiSingle:
      return DType::kFloat32;
    case kMiDouble:
      return DType::kFloat64;
    case kMiInt64:
      return DType::kInt64;
    case kMiUint64:
      return DType::kUint64;
    default:
      return std::nullopt;
  }
}

const char* OtherClassName(std::uint32_t array_class) {
  switch (array_class) {
    case 1:
      return "a cell array";
    case 2:
      return "a structure";
    case 4:
      return "text";
    case 5:
      return "a sparse array";
    case 16:
      return "a function";
    default:
      return "an object";
  }
}

// Where a variable lies: an element of the file, compressed or not.
struct Place {
  ByteRange range;  // Without the tag of a compressed element; with that of a matrix.
  bool is_compressed = false;
};

struct Variable {
  std::string name;
  Place place;
  DType dtype = DType::kUint8;
  Shape shape;                      // As MATLAB has it.
  std::uint64_t data_offset = 0;    // Of the place's bytes, once inflated.
  std::uint64_t element_bytes = 0;  // The whole matrix with its tag, once inflated.
};

struct Tag {
  std::uint32_t type = 0;
  std::uint64_t size = 0;
  bool is_small = false;  // The data is within the tag.

  // With padding, without the tag.
  std::uint64_t padded_size() const {
    return is_small ? 4 : (size + kPadding - 1) / kPadding * kPadding;
  }
};

// Reads the parts of one matrix in order, and counts.
class ElementReader {
 public:
  ElementReader(std::unique_ptr<ByteStream> stream, bool is_big_endian, std::string name)
      : stream_(std::move(stream)), is_big_endian_(is_big_endian), name_(std::move(name)) {}

  std::uint64_t offset() const { return offset_; }
  // Parts beyond `end` are refused.
  void SetEnd(std::uint64_t end) { end_ = end; }

  Result<Tag> ReadTag() {
    Tag tag;
    DNC_ASSIGN(const std::uint32_t first, ReadWord());
    // The small form has the size in the upper half of the first word.
    if (first >> 16 != 0) {
      tag = {first & 0xffff, first >> 16, true};
      if (tag.size > 4) return Bad("a small element of " + std::to_string(tag.size) + " bytes");
    } else {
      DNC_ASSIGN(const std::uint32_t size, ReadWord());
      tag = {first, size, false};
    }
    if (tag.size > end_ - std::min(offset_, end_)) {
      return Bad("an element of " + std::to_string(tag.size) + " bytes in one of " +
                 std::to_string(end_));
    }
    return tag;
  }

  // Requires: the tag was checked to be short.
  Result<Bytes> ReadData(const Tag& tag) {
    Bytes data(tag.padded_size());
    DNC_TRY(ReadExactly(data));
    data.resize(tag.size);
    return data;
  }

  std::uint32_t Word(ByteSpan bytes, std::size_t index) const {
    std::uint32_t word = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t shift = 8 * (is_big_endian_ ? 3 - i : i);
      word |= std::to_integer<std::uint32_t>(bytes[4 * index + i]) << shift;
    }
    return word;
  }

  Error Bad(const std::string& what) const {
    return {ErrorCode::kCorrupt, name_ + ": malformed: " + what};
  }

 private:
  Result<std::uint32_t> ReadWord() {
    Bytes bytes(4);
    DNC_TRY(ReadExactly(bytes));
    return Word(bytes, 0);
  }
  Status ReadExactly(std::span<std::byte> out) {
    DNC_ASSIGN(const std::size_t size, stream_->Read(out));
    offset_ += size;
    if (size < out.size()) return Bad("it ends within its description");
    return {};
  }

  std::unique_ptr<ByteStream> stream_;
  bool is_big_endian_;
  std::string name_;
  std::uint64_t offset_ = 0;
  std::uint64_t end_ = UINT64_MAX;
};

std::unique_ptr<ByteStream> OpenPlace(const SharedSource& file, const Place& place,
                                      const std::string& name) {
  auto stream = OpenRange(file, place.range);
  return place.is_compressed ? OpenZlib(std::move(stream), name) : std::move(stream);
}

// What the parts before the data say.
struct Description {
  std::uint32_t array_class = 0;
  std::uint32_t flags = 0;
  Shape shape;
  std::string name;
};

Result<Shape> ReadAxes(ElementReader* reader) {
  DNC_ASSIGN(const Tag tag, reader->ReadTag());
  if (tag.type != kMiInt32 || tag.size % 4 != 0 || tag.size < 8 ||
      tag.size > 4 * kMat5AxisCountMax) {
    return reader->Bad("no axes, or more than " + std::to_string(kMat5AxisCountMax));
  }
  DNC_ASSIGN(const Bytes axes, reader->ReadData(tag));
  Shape shape;
  for (std::size_t i = 0; i < axes.size() / 4; ++i) {
    const auto length = static_cast<std::int32_t>(reader->Word(axes, i));
    if (length < 0) return reader->Bad("an axis of " + std::to_string(length));
    shape.push_back(length);
  }
  return shape;
}

Result<Description> ReadDescription(ElementReader* reader) {
  Description description;
  DNC_ASSIGN(const Tag flags_tag, reader->ReadTag());
  if (flags_tag.type != kMiUint32 || flags_tag.size != 8) return reader->Bad("no array flags");
  DNC_ASSIGN(const Bytes flags, reader->ReadData(flags_tag));
  description.flags = reader->Word(flags, 0);
  description.array_class = description.flags & 0xff;
  if (description.array_class != kClassOpaque) {
    DNC_ASSIGN(description.shape, ReadAxes(reader));
  }
  DNC_ASSIGN(const Tag name_tag, reader->ReadTag());
  if (name_tag.type != kMiInt8 || name_tag.size > kMat5NameBytesMax) {
    return reader->Bad("no name");
  }
  DNC_ASSIGN(const Bytes name, reader->ReadData(name_tag));
  description.name = AsText(name);
  return description;
}

// Why an array is not one of numbers; nullptr for one that is.
const char* Unfit(const Description& description) {
  if (description.array_class < kClassDouble || description.array_class > kClassUint64) {
    return OtherClassName(description.array_class);
  }
  if ((description.flags & kFlagComplex) != 0) return "complex numbers";
  const auto is_empty = [](std::int64_t length) { return length == 0; };
  if (std::any_of(description.shape.begin(), description.shape.end(), is_empty)) return "empty";
  return nullptr;
}

class Mat5Container final : public ArrayContainer {
 public:
  explicit Mat5Container(const Input& input) : file_(input.file) {
    is_big_endian_ = AsText(input.start).substr(kHeaderBytes - 2, 2) == "MI";
  }

  const std::string& name() const override { return file_->name(); }
  std::string format() const override { return "mat"; }
  std::uint64_t file_bytes() const override { return file_->size(); }
  const std::vector<ArrayEntry>& entries() const override { return entries_; }
  const std::vector<ArrayEntry>& others() const override { return others_; }
  bool is_matlab() const override { return true; }
  bool axis_follows_labels() const override { return true; }
  Result<Shape> ShapeOf(std::size_t entry) const override { return variables_[entry].shape; }
  Result<std::unique_ptr<ArrayInput>> Open(std::size_t entry,
                                           std::size_t sample_axis) const override;

  // Lists the variables: reads the start of each.
  Status ReadDirectory();

 private:
  Status AddVariable(const Place& place, std::uint64_t offset);
  Error Bad(std::uint64_t offset, const std::string& what) const {
    return {ErrorCode::kCorrupt, name() + ": at byte " + std::to_string(offset) + ": " + what};
  }

  SharedSource file_;
  bool is_big_endian_ = false;
  std::vector<Variable> variables_;  // One an entry.
  std::vector<ArrayEntry> entries_;
  std::vector<ArrayEntry> others_;
};

Status Mat5Container::ReadDirectory() {
  std::uint64_t offset = kHeaderBytes;
  while (offset < file_->size()) {
    if (file_->size() - offset < 8) return Bad(offset, "truncated within an element's tag");
    ElementReader reader(OpenRange(file_, {offset, 8}), is_big_endian_, name());
    DNC_ASSIGN(const Tag tag, reader.ReadTag());
    if (tag.is_small || (tag.type != kMiMatrix && tag.type != kMiCompressed)) {
      return Bad(offset, "an element of type " + std::to_string(tag.type) +
                             " where a variable is expected (14, or 15 compressed); the file is "
                             "damaged");
    }
    const std::uint64_t left = file_->size() - offset - 8;
    if (tag.size > left) {
      return Bad(offset, "truncated: a variable of " + std::to_string(tag.size) +
                             " bytes begins, but " + std::to_string(left) + " are left");
    }
    Place place{{offset, 8 + tag.size}, false};
    if (tag.type == kMiCompressed) place = {{offset + 8, tag.size}, true};
    if (variables_.size() + others_.size() >= kMat5VariableCountMax) {
      return Error{ErrorCode::kTooLarge, name() + ": holds more than " +
                                             std::to_string(kMat5VariableCountMax) + " variables"};
    }
    DNC_TRY(AddVariable(place, offset));
    offset += 8 + tag.size;
  }
  return {};
}

Status Mat5Container::AddVariable(const Place& place, std::uint64_t offset) {
  const std::string where = name() + ": variable at byte " + std::to_string(offset);
  ElementReader reader(OpenPlace(file_, place, where), is_big_endian_, where);
  DNC_ASSIGN(const Tag matrix, reader.ReadTag());
  if (matrix.is_small || matrix.type != kMiMatrix) return reader.Bad("no matrix");
  // MATLAB's way to write no value at all.
  if (matrix.size == 0) return {};
  reader.SetEnd(8 + matrix.size);
  DNC_ASSIGN(const Description found, ReadDescription(&reader));
  // Objects keep their data in a variable without a name.
  if (found.name.empty()) return {};
  if (!IsUtf8(found.name)) return reader.Bad("its name is not text");
  if (const char* what = Unfit(found)) {
    others_.push_back({found.name, what});
    return {};
  }
  DNC_ASSIGN(const Tag data, reader.ReadTag());
  Variable variable;
  variable.name = found.name;
  variable.place = place;
  variable.shape = found.shape;
  variable.element_bytes = 8 + matrix.size;
  // In the small form the data follows the first word of the tag.
  variable.data_offset = reader.offset();
  const std::optional<DType> dtype = NumberType(data.type);
  const std::optional<std::uint64_t> count = ElementCount(found.shape);
  if (!dtype) return reader.Bad("data of type " + std::to_string(data.type));
  variable.dtype = *dtype;
  if ((found.flags & kFlagLogical) != 0 && DTypeSize(*dtype) == 1) variable.dtype = DType::kBool;
  if (!count || *count > data.size || *count * DTypeSize(*dtype) != data.size) {
    return reader.Bad(found.name + " is " + array::DTypeName(variable.dtype) + " " +
                      array::ShapeText(found.shape) + ", but has " + std::to_string(data.size) +
                      " bytes of data");
  }
  entries_.push_back({found.name, std::string(array::DTypeName(variable.dtype)) + " " +
                                      array::ShapeText(found.shape)});
  variables_.push_back(std::move(variable));
  return {};
}

// A compressed variable, which is to end where its description says. Its checksum
// is checked there.
class EndChecked final : public ByteStream {
 public:
  EndChecked(std::unique_ptr<ByteStream> inner, std::uint64_t data_end, std::uint64_t end,
             std::string name)
      : inner_(std::move(inner)), data_end_(data_end), end_(end), name_(std::move(name)) {}

  Result<std::size_t> Read(std::span<std::byte> out) override {
    DNC_ASSIGN(const std::size_t size, inner_->Read(out));
    done_ += size;
    if (done_ < data_end_ || is_checked_) return size;
    is_checked_ = true;
    DNC_ASSIGN(const std::uint64_t rest, inner_->Skip(end_ - std::min(done_, end_) + 1));
    if (done_ + rest == end_) return size;
    return Error{ErrorCode::kCorrupt, name_ + ": has " + (done_ + rest > end_ ? "more" : "fewer") +
                                          " than the " + std::to_string(end_) +
                                          " bytes that it states"};
  }
  std::uint64_t position() const override { return inner_->position(); }

 private:
  std::unique_ptr<ByteStream> inner_;
  std::uint64_t data_end_;
  std::uint64_t end_;
  std::string name_;
  std::uint64_t done_ = 0;
  bool is_checked_ = false;
};

Result<std::unique_ptr<ArrayInput>> Mat5Container::Open(std::size_t entry,
                                                        std::size_t sample_axis) const {
  const Variable& variable = variables_[entry];
  const std::string shown = name() + "(" + variable.name + ")";
  StoredLayout layout{.shape = variable.shape,
                      .sample_axis = variable.shape.size() - 1 - sample_axis,
                      .is_reversed = true,
                      .is_big_endian = is_big_endian_ && DTypeSize(variable.dtype) > 1};
  std::reverse(layout.shape.begin(), layout.shape.end());
  ArrayInfo info{shown, format(), variable.dtype, SampleFirstShape(layout)};
  DNC_TRY(CheckSamples(info));
  const std::size_t size = DTypeSize(variable.dtype);
  SharedSource data = file_;
  std::uint64_t offset = variable.place.range.offset + variable.data_offset;
  if (variable.place.is_compressed) {
    const std::uint64_t passes = TileCount(layout, size);
    // Samples one behind the other are read in one pass, in however many tiles.
    if (layout.sample_axis > 0 && passes > kCompressedPassesMax) {
      return Error{ErrorCode::kUnsupported,
                   shown + ": is compressed in an order that would need " + std::to_string(passes) +
                       " passes over it; save it again with -v6 or -v7.3, or with its samples "
                       "along the last axis"};
    }
    offset = variable.data_offset;
    const std::uint64_t data_end = offset + *ElementCount(variable.shape) * size;
    data = MakeRewindable(
        [file = file_, place = variable.place, shown, data_end,
         end = variable.element_bytes]() -> Result<std::unique_ptr<ByteStream>> {
          return std::unique_ptr<ByteStream>(
              std::make_unique<EndChecked>(OpenPlace(file, place, shown), data_end, end, shown));
        },
        shown, data_end);
  }
  return MakeSlabArray(std::move(info), layout,
                       OpenFileSlabs(std::move(data), offset, layout, size));
}

}  // namespace

bool IsMat5(ByteSpan start) {
  if (start.size() < kHeaderBytes) return false;
  const std::string_view version = AsText(start).substr(kHeaderBytes - 4, 4);
  return version == std::string_view("\0\1IM", 4) || version == std::string_view("\1\0MI", 4);
}

Result<std::unique_ptr<ArrayContainer>> OpenMat5Container(const Input& input) {
  DNC_ASSERT(input.file != nullptr && IsMat5(input.start));
  auto container = std::make_unique<Mat5Container>(input);
  DNC_TRY(container->ReadDirectory());
  return std::unique_ptr<ArrayContainer>(std::move(container));
}

Result<std::unique_ptr<SampleSource>> OpenMat5(const Input& input, const SourceOptions& options) {
  DNC_ASSIGN(const auto container, OpenMat5Container(input));
  return OpenContainer(*container, options);
}

}  // namespace dnc::source
