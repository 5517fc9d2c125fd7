#include "source/array_input.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "array/npy_header.h"
#include "base/assert.h"
#include "source/slab_array.h"

namespace dnc::source {
namespace {

using array::DTypeSize;
using array::ElementCount;
using array::NpyHeader;
using array::Shape;
using array::ShapeText;

constexpr std::size_t kIdxAxisCountMax = 8;

// Elements in C order from a stream that stands at the first of them.
class StreamArray final : public ArrayInput {
 public:
  struct Layout {
    bool big_endian = false;
    bool must_end_with_data = false;
  };

  StreamArray(ArrayInfo info, std::unique_ptr<ByteStream> stream, Layout layout)
      : ArrayInput(std::move(info)),
        stream_(std::move(stream)),
        layout_(layout),
        remaining_(this->info().sample_count()) {}

  Status Read(std::span<std::byte> out) override {
    DNC_ASSERT(out.size() % sample_bytes() == 0 && out.size() / sample_bytes() <= remaining_);
    DNC_ASSIGN(const std::size_t size, stream_->Read(out));
    if (size < out.size()) {
      const std::uint64_t found = info().sample_count() - remaining_ + size / sample_bytes();
      return Error{ErrorCode::kCorrupt, info().name + ": truncated: " + info().TypeText() +
                                            " states " + std::to_string(info().sample_count()) +
                                            " samples, but the data ends after " +
                                            std::to_string(found)};
    }
    remaining_ -= out.size() / sample_bytes();
    if (layout_.big_endian) SwapElements(out, DTypeSize(info().dtype));
    if (remaining_ == 0 && layout_.must_end_with_data) {
      std::byte beyond{};
      DNC_ASSIGN(const std::size_t extra, stream_->Read({&beyond, 1}));
      if (extra > 0) {
        return Error{ErrorCode::kCorrupt, info().name + ": more data than its header states (" +
                                              info().TypeText() + ")"};
      }
    }
    return {};
  }

  Result<std::uint64_t> Skip(std::uint64_t sample_count) override {
    sample_count = std::min(sample_count, remaining_);
    // The last sample is read, so that the end of the data is checked.
    const std::uint64_t passed =
        layout_.must_end_with_data && sample_count == remaining_ && sample_count > 0
            ? sample_count - 1
            : sample_count;
    DNC_ASSIGN(const std::uint64_t bytes, stream_->Skip(passed * sample_bytes()));
    remaining_ -= bytes / sample_bytes();
    if (bytes < passed * sample_bytes() || passed < sample_count) {
      Bytes last(sample_bytes());
      DNC_TRY(Read(last));
    }
    return sample_count;
  }
  std::uint64_t position() const override { return stream_->position(); }

 private:
  std::unique_ptr<ByteStream> stream_;
  Layout layout_;
  std::uint64_t remaining_;
};

struct IdxHeader {
  array::DType dtype = array::DType::kUint8;
  Shape shape;
  std::size_t data_offset = 0;
};

std::optional<array::DType> IdxDType(std::byte code) {
  switch (std::to_integer<int>(code)) {
    case 0x08:
      return array::DType::kUint8;
    case 0x09:
      return array::DType::kInt8;
    case 0x0b:
      return array::DType::kInt16;
    case 0x0c:
      return array::DType::kInt32;
    case 0x0d:
      return array::DType::kFloat32;
    case 0x0e:
      return array::DType::kFloat64;
    default:
      return std::nullopt;
  }
}

Result<IdxHeader> ParseIdxHeader(ByteSpan bytes, const std::string& name) {
  if (RecogniseArray(bytes) != ArrayKind::kIdx) {
    return Error{ErrorCode::kCorrupt, name + ": not an idx file"};
  }
  const std::size_t axis_count = std::to_integer<std::size_t>(bytes[3]);
  IdxHeader header;
  header.dtype = *IdxDType(bytes[2]);
  header.data_offset = 4 + 4 * axis_count;
  if (bytes.size() < header.data_offset) {
    return Error{ErrorCode::kCorrupt,
                 name + ": truncated: the idx header has " + std::to_string(header.data_offset) +
                     " bytes, but the file has " + std::to_string(bytes.size())};
  }
  for (std::size_t axis = 0; axis < axis_count; ++axis) {
    std::uint32_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      length = length << 8 | std::to_integer<std::uint32_t>(bytes[4 + 4 * axis + i]);
    }
    header.shape.push_back(length);
  }
  if (!ElementCount(header.shape)) {
    return Error{ErrorCode::kTooLarge,
                 name + ": the shape " + ShapeText(header.shape) + " has more than 2^48 elements"};
  }
  return header;
}

// Before anything is made of its axes.
Status CheckAxes(const ArrayInfo& info) {
  if (!info.shape.empty()) return {};
  return Error{ErrorCode::kInvalidArgument,
               info.name +
                   ": is a single number; expected an array whose first axis counts the "
                   "samples"};
}

// What an npy or idx header says.
struct StoredArray {
  ArrayInfo info;
  std::uint64_t data_offset = 0;
  bool is_fortran = false;
  bool is_big_endian = false;
};

// npy and idx headers say how much data follows.
Status CheckSize(const StoredArray& stored, const Input& input, bool exactly) {
  if (!input.content_bytes) return {};
  const std::uint64_t data_bytes = *ElementCount(stored.info.shape) * DTypeSize(stored.info.dtype);
  const std::uint64_t found =
      *input.content_bytes - std::min(*input.content_bytes, stored.data_offset);
  if (found == data_bytes || (found > data_bytes && !exactly)) return {};
  return Error{ErrorCode::kCorrupt,
               input.name + ": " + (found < data_bytes ? "truncated" : "too long") + ": " +
                   stored.info.format + " " + stored.info.TypeText() + " has " +
                   std::to_string(data_bytes) + " bytes of data, but the file has " +
                   std::to_string(found)};
}

Result<StoredArray> ParseNpy(const Input& input) {
  DNC_ASSIGN(const NpyHeader header, array::ParseNpyHeader(input.start, input.name));
  StoredArray stored;
  stored.info = {input.name, "npy" + input.wrapping, header.dtype, header.shape};
  stored.data_offset = header.data_offset;
  stored.is_big_endian = header.big_endian;
  stored.is_fortran = header.fortran_order;
  DNC_TRY(CheckSize(stored, input, false));
  return stored;
}

Result<StoredArray> ParseIdx(const Input& input) {
  DNC_ASSIGN(const IdxHeader header, ParseIdxHeader(input.start, input.name));
  StoredArray stored;
  stored.info = {input.name, "idx" + input.wrapping, header.dtype, header.shape};
  stored.data_offset = header.data_offset;
  stored.is_big_endian = DTypeSize(header.dtype) > 1;
  DNC_TRY(CheckSize(stored, input, true));
  return stored;
}

Result<std::unique_ptr<ArrayInput>> OpenInOrder(StoredArray stored, const Input& input) {
  DNC_ASSIGN(auto stream, input.open());
  DNC_ASSIGN(const std::uint64_t skipped, stream->Skip(stored.data_offset));
  if (skipped < stored.data_offset) {
    return Error{ErrorCode::kCorrupt, input.name + ": ends within its header"};
  }
  return std::unique_ptr<ArrayInput>(
      std::make_unique<StreamArray>(std::move(stored.info), std::move(stream),
                                    StreamArray::Layout{.big_endian = stored.is_big_endian,
                                                        .must_end_with_data = input.is_checked}));
}

Status CheckPasses(const StoredArray& stored, const StoredLayout& layout, const Input& input) {
  if (input.file != nullptr) return {};
  const std::uint64_t passes_max = input.is_once ? 1 : kCompressedPassesMax;
  const std::uint64_t passes = TileCount(layout, DTypeSize(stored.info.dtype));
  if (passes <= passes_max) return {};
  return Error{
      ErrorCode::kUnsupported,
      input.name + ": " + stored.info.TypeText() +
          (input.is_once ? " comes through a pipe in an order in which no sample is whole before "
                           "the end; save it to a file first"
                         : " is compressed in an order that would need " + std::to_string(passes) +
                               " passes over it; decompress it first, or save it again with "
                               "np.ascontiguousarray(a)")};
}

// Samples that lie scattered.
Result<std::unique_ptr<ArrayInput>> OpenScattered(StoredArray stored, const StoredLayout& layout,
                                                  const Input& input) {
  DNC_TRY(CheckPasses(stored, layout, input));
  const std::size_t element_bytes = DTypeSize(stored.info.dtype);
  const std::uint64_t end = stored.data_offset + *ElementCount(stored.info.shape) * element_bytes;
  // A stored member's checksum is checked before, in a pass of its own.
  if (input.file != nullptr && input.is_checked) {
    DNC_ASSIGN(const auto stream, input.open());
    DNC_TRY(stream->Skip(UINT64_MAX));
  }
  SharedSource file =
      input.file != nullptr ? input.file : MakeRewindable(input.open, input.name, end);
  stored.info.shape = SampleFirstShape(layout);
  return MakeSlabArray(std::move(stored.info), layout,
                       OpenFileSlabs(std::move(file), stored.data_offset, layout, element_bytes));
}

}  // namespace

std::string ArrayInfo::TypeText() const {
  return std::string(array::DTypeName(dtype)) + " " + ShapeText(shape);
}

ArrayInput::ArrayInput(ArrayInfo info)
    : info_(std::move(info)),
      sample_bytes_(*ElementCount(info_.sample_shape()) * DTypeSize(info_.dtype)) {
  DNC_ASSERT(sample_bytes_ > 0);
}

Status CheckSamples(const ArrayInfo& info) {
  const auto elements = ElementCount(info.sample_shape());
  if (!elements || *elements > kSampleBytesMax / DTypeSize(info.dtype)) {
    return Error{ErrorCode::kTooLarge,
                 info.name + ": one sample is " + array::DTypeName(info.dtype) + " " +
                     ShapeText(info.sample_shape()) + "; at most 64 MiB are taken"};
  }
  if (info.shape[0] == 0 || *elements == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 info.name + ": holds no samples: its shape is " + ShapeText(info.shape)};
  }
  return {};
}

ArrayKind RecogniseArray(ByteSpan start) {
  if (AsText(start).starts_with("\x93NUMPY")) return ArrayKind::kNpy;
  if (start.size() >= 4 && start[0] == std::byte{0} && start[1] == std::byte{0} &&
      IdxDType(start[2]) && start[3] >= std::byte{1} && start[3] <= std::byte{kIdxAxisCountMax}) {
    return ArrayKind::kIdx;
  }
  return ArrayKind::kNone;
}

void SwapElements(std::span<std::byte> bytes, std::size_t element_bytes) {
  const auto swap = [bytes]<typename Element>(Element) {
    for (std::size_t i = 0; i + sizeof(Element) <= bytes.size(); i += sizeof(Element)) {
      std::array<std::byte, sizeof(Element)> element;
      std::memcpy(element.data(), bytes.data() + i, sizeof(Element));
      std::reverse(element.begin(), element.end());
      std::memcpy(bytes.data() + i, element.data(), sizeof(Element));
    }
  };
  if (element_bytes == 2) swap(std::uint16_t{});
  if (element_bytes == 4) swap(std::uint32_t{});
  if (element_bytes == 8) swap(std::uint64_t{});
}

Result<std::unique_ptr<ArrayInput>> OpenArray(const Input& input, std::optional<int> sample_axis) {
  const ArrayKind kind = RecogniseArray(input.start);
  if (kind == ArrayKind::kNone) {
    return Error{ErrorCode::kUnsupported,
                 input.name + ": not a kind of file that holds one array; known are npy, idx"};
  }
  DNC_ASSIGN(StoredArray stored, kind == ArrayKind::kNpy ? ParseNpy(input) : ParseIdx(input));
  DNC_TRY(CheckAxes(stored.info));
  DNC_ASSIGN(const std::size_t axis, ResolveAxis(stored.info, sample_axis.value_or(0)));
  StoredLayout layout{.shape = stored.info.shape,
                      .sample_axis = axis,
                      .is_reversed = stored.is_fortran,
                      .is_big_endian = stored.is_big_endian};
  if (stored.is_fortran) {
    std::reverse(layout.shape.begin(), layout.shape.end());
    layout.sample_axis = layout.shape.size() - 1 - axis;
  }
  ArrayInfo sorted = stored.info;
  sorted.shape = SampleFirstShape(layout);
  DNC_TRY(CheckSamples(sorted));
  const auto is_long = [](std::int64_t length) { return length != 1; };
  const auto long_axes = std::count_if(layout.shape.begin(), layout.shape.end(), is_long);
  // Where one axis at most is longer than 1, every order is the same.
  if (long_axes <= 1 || (axis == 0 && !stored.is_fortran)) {
    stored.info.shape = sorted.shape;
    return OpenInOrder(std::move(stored), input);
  }
  return OpenScattered(std::move(stored), layout, input);
}

}  // namespace dnc::source
