#include "source/array_input.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "array/npy_header.h"
#include "base/assert.h"

namespace dnc::source {
namespace {

using array::DTypeSize;
using array::ElementCount;
using array::NpyHeader;
using array::Shape;
using array::ShapeText;

constexpr std::size_t kNpyStartBytes = array::kNpyHeaderBytesMax + 12;
constexpr std::size_t kIdxAxisCountMax = 8;
// Runs below this make more system calls than a disk is worth.
constexpr std::uint64_t kFortranRunBytesMin = 256;

constexpr const char* kHowToConvert =
    "; convert it with np.save(path, np.ascontiguousarray(np.load(path, mmap_mode='r')))";

void SwapElements(std::span<std::byte> bytes, std::size_t element_bytes) {
  for (std::size_t i = 0; i + element_bytes <= bytes.size(); i += element_bytes) {
    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(i),
                 bytes.begin() + static_cast<std::ptrdiff_t>(i + element_bytes));
  }
}

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

 private:
  std::unique_ptr<ByteStream> stream_;
  Layout layout_;
  std::uint64_t remaining_;
};

// An array in Fortran order: the samples' axis varies fastest, so the values of
// one element of many samples lie together. Reads a run of each element, for as
// many samples as the buffer holds, and transposes.
class FortranArray final : public ArrayInput {
 public:
  FortranArray(ArrayInfo info, SharedSource source, const NpyHeader& header)
      : ArrayInput(std::move(info)),
        source_(std::move(source)),
        data_offset_(header.data_offset),
        big_endian_(header.big_endian),
        chunk_samples_(ChunkSamples(this->info().sample_count(), sample_bytes())) {}

  static std::uint64_t ChunkSamples(std::uint64_t sample_count, std::uint64_t sample_bytes) {
    return std::min(sample_count, std::max<std::uint64_t>(1, kFortranBufferBytes / sample_bytes));
  }

  Status Read(std::span<std::byte> out) override {
    DNC_ASSERT(out.size() % sample_bytes() == 0);
    while (!out.empty()) {
      if (chunk_offset_ == chunk_.size()) DNC_TRY(LoadChunk());
      const std::size_t size = std::min(out.size(), chunk_.size() - chunk_offset_);
      std::memcpy(out.data(), chunk_.data() + chunk_offset_, size);
      chunk_offset_ += size;
      out = out.subspan(size);
    }
    return {};
  }

 private:
  Status LoadChunk() {
    const std::uint64_t total = info().sample_count();
    DNC_ASSERT(next_sample_ < total);
    const std::uint64_t count = std::min(chunk_samples_, total - next_sample_);
    const std::size_t element_bytes = DTypeSize(info().dtype);
    const Shape shape = info().sample_shape();
    Shape index(shape.size(), 0);
    const std::size_t element_count = sample_bytes() / element_bytes;
    run_.resize(count * element_bytes);
    chunk_.resize(count * sample_bytes());
    for (std::size_t f = 0; f < element_count; ++f) {
      DNC_TRY(source_->ReadAt(data_offset_ + (f * total + next_sample_) * element_bytes, run_));
      std::size_t c = 0;  // Where element `index` lies in C order.
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        c = c * static_cast<std::size_t>(shape[axis]) + static_cast<std::size_t>(index[axis]);
      }
      for (std::uint64_t s = 0; s < count; ++s) {
        std::memcpy(chunk_.data() + s * sample_bytes() + c * element_bytes,
                    run_.data() + s * element_bytes, element_bytes);
      }
      for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        if (++index[axis] < shape[axis]) break;
        index[axis] = 0;
      }
    }
    if (big_endian_) SwapElements(chunk_, element_bytes);
    chunk_offset_ = 0;
    next_sample_ += count;
    return {};
  }

  SharedSource source_;
  std::uint64_t data_offset_;
  bool big_endian_;
  std::uint64_t chunk_samples_;
  std::uint64_t next_sample_ = 0;
  Bytes run_;
  Bytes chunk_;
  std::size_t chunk_offset_ = 0;
};

// Bytes that were taken from a stream, put back before its rest.
class PrefixedStream final : public ByteStream {
 public:
  PrefixedStream(Bytes prefix, std::size_t offset, std::unique_ptr<ByteStream> rest)
      : prefix_(std::move(prefix)), offset_(offset), rest_(std::move(rest)) {}

  Result<std::size_t> Read(std::span<std::byte> out) override {
    const std::size_t size = std::min(out.size(), prefix_.size() - offset_);
    if (size > 0) std::memcpy(out.data(), prefix_.data() + offset_, size);
    offset_ += size;
    if (offset_ == prefix_.size()) prefix_ = {}, offset_ = 0;
    if (size == out.size()) return size;
    DNC_ASSIGN(const std::size_t more, rest_->Read(out.subspan(size)));
    return size + more;
  }

 private:
  Bytes prefix_;
  std::size_t offset_;
  std::unique_ptr<ByteStream> rest_;
};

// A source that owns its bytes.
class OwnedSource final : public RandomAccessSource {
 public:
  OwnedSource(Bytes bytes, const std::string& name)
      : bytes_(std::move(bytes)), view_(bytes_, name) {}
  std::uint64_t size() const override { return view_.size(); }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    return view_.ReadAt(offset, out);
  }
  const std::string& name() const override { return view_.name(); }

 private:
  Bytes bytes_;
  MemorySource view_;
};

// What every array must be to hold samples.
Status CheckSamples(const ArrayInfo& info) {
  if (info.shape.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 info.name +
                     ": is a single number; expected an array whose first axis counts the "
                     "samples"};
  }
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

ArrayInfo NpyInfo(const NpyHeader& header, const std::string& name) {
  return {name, "npy", header.dtype, header.shape};
}

// One axis longer than 1 or fewer: both orders are the same.
bool IsTransposed(const NpyHeader& header) {
  return header.fortran_order && std::count_if(header.shape.begin(), header.shape.end(),
                                               [](std::int64_t axis) { return axis != 1; }) > 1;
}

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

Result<Bytes> ReadStart(ByteStream* stream) {
  Bytes start(kNpyStartBytes);
  DNC_ASSIGN(const std::size_t size, stream->Read(start));
  start.resize(size);
  return start;
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

ArrayKind RecogniseArray(ByteSpan start) {
  const std::string_view text = AsText(start);
  if (text.starts_with("\x93NUMPY")) return ArrayKind::kNpy;
  if (text.starts_with("\x1f\x8b")) return ArrayKind::kGzip;
  if (start.size() >= 4 && start[0] == std::byte{0} && start[1] == std::byte{0} &&
      IdxDType(start[2]) && start[3] >= std::byte{1} && start[3] <= std::byte{kIdxAxisCountMax}) {
    return ArrayKind::kIdx;
  }
  return ArrayKind::kNone;
}

Result<std::unique_ptr<ArrayInput>> OpenNpy(SharedSource source) {
  DNC_ASSIGN(const NpyHeader header, array::ReadNpyHeader(*source));
  ArrayInfo info = NpyInfo(header, source->name());
  DNC_TRY(CheckSamples(info));
  if (!IsTransposed(header)) {
    const std::uint64_t data_bytes = *ElementCount(header.shape) * DTypeSize(header.dtype);
    auto stream = OpenRange(std::move(source), {header.data_offset, data_bytes});
    return std::unique_ptr<ArrayInput>(std::make_unique<StreamArray>(
        std::move(info), std::move(stream), StreamArray::Layout{.big_endian = header.big_endian}));
  }
  const std::uint64_t sample_bytes = *ElementCount(info.sample_shape()) * DTypeSize(info.dtype);
  const std::uint64_t run = FortranArray::ChunkSamples(info.sample_count(), sample_bytes);
  if (run < info.sample_count() && run * DTypeSize(info.dtype) < kFortranRunBytesMin) {
    return Error{ErrorCode::kUnsupported,
                 info.name + ": " + info.TypeText() +
                     " is in Fortran order, which would scatter each sample over the whole file" +
                     kHowToConvert};
  }
  return std::unique_ptr<ArrayInput>(
      std::make_unique<FortranArray>(std::move(info), std::move(source), header));
}

Result<std::unique_ptr<ArrayInput>> OpenNpyStream(std::unique_ptr<ByteStream> stream,
                                                  std::uint64_t size, const std::string& name) {
  DNC_ASSIGN(Bytes start, ReadStart(stream.get()));
  DNC_ASSIGN(const NpyHeader header, array::ParseNpyHeader(start, name));
  ArrayInfo info = NpyInfo(header, name);
  DNC_TRY(CheckSamples(info));
  const std::uint64_t data_bytes = *ElementCount(header.shape) * DTypeSize(header.dtype);
  if (size != UINT64_MAX && size - std::min(size, header.data_offset) < data_bytes) {
    return Error{ErrorCode::kCorrupt,
                 name + ": truncated: " + info.TypeText() + " needs " + std::to_string(data_bytes) +
                     " bytes of data, but there are " +
                     std::to_string(size - std::min(size, header.data_offset))};
  }
  if (IsTransposed(header)) {
    if (data_bytes > kFortranBufferBytes) {
      return Error{ErrorCode::kUnsupported,
                   name + ": " + info.TypeText() +
                       " is compressed or packed in Fortran order, so that no sample is whole "
                       "before the end; save it again with np.ascontiguousarray(a)"};
    }
    // One byte more, so that the end is seen and its checksum is read.
    PrefixedStream whole(std::move(start), 0, std::move(stream));
    Bytes bytes(header.data_offset + data_bytes + 1);
    DNC_ASSIGN(const std::size_t found, whole.Read(bytes));
    if (found == bytes.size()) {
      return Error{ErrorCode::kCorrupt,
                   name + ": more data than its header states (" + info.TypeText() + ")"};
    }
    bytes.resize(found);
    return OpenNpy(std::make_shared<OwnedSource>(std::move(bytes), name));
  }
  auto rest =
      std::make_unique<PrefixedStream>(std::move(start), header.data_offset, std::move(stream));
  return std::unique_ptr<ArrayInput>(std::make_unique<StreamArray>(
      std::move(info), std::move(rest),
      StreamArray::Layout{.big_endian = header.big_endian, .must_end_with_data = true}));
}

Result<std::unique_ptr<ArrayInput>> OpenIdx(SharedSource source) {
  Bytes start(std::min<std::uint64_t>(source->size(), 4 + 4 * kIdxAxisCountMax));
  DNC_TRY(source->ReadAt(0, start));
  DNC_ASSIGN(const IdxHeader header, ParseIdxHeader(start, source->name()));
  ArrayInfo info{source->name(), "idx", header.dtype, header.shape};
  DNC_TRY(CheckSamples(info));
  const std::uint64_t data_bytes = *ElementCount(header.shape) * DTypeSize(header.dtype);
  const std::uint64_t found = source->size() - header.data_offset;
  if (found != data_bytes) {
    return Error{ErrorCode::kCorrupt,
                 info.name + ": " + (found < data_bytes ? "truncated" : "too long") + ": idx " +
                     info.TypeText() + " has " + std::to_string(data_bytes) +
                     " bytes of data, but the file has " + std::to_string(found)};
  }
  auto stream = OpenRange(std::move(source), {header.data_offset, data_bytes});
  return std::unique_ptr<ArrayInput>(std::make_unique<StreamArray>(
      std::move(info), std::move(stream),
      StreamArray::Layout{.big_endian = DTypeSize(header.dtype) > 1}));
}

Result<std::unique_ptr<ArrayInput>> OpenGzipArray(SharedSource source) {
  const std::string name = source->name();
  auto stream = OpenGzip(std::move(source));
  DNC_ASSIGN(Bytes start, ReadStart(stream.get()));
  switch (RecogniseArray(start)) {
    case ArrayKind::kNpy:
      return OpenNpyStream(std::make_unique<PrefixedStream>(std::move(start), 0, std::move(stream)),
                           UINT64_MAX, name);
    case ArrayKind::kIdx:
      break;
    default:
      return Error{ErrorCode::kUnsupported,
                   name + ": a gzip file that holds neither idx nor npy; decompress it first"};
  }
  DNC_ASSIGN(const IdxHeader header, ParseIdxHeader(start, name));
  ArrayInfo info{name, "idx.gz", header.dtype, header.shape};
  DNC_TRY(CheckSamples(info));
  auto rest =
      std::make_unique<PrefixedStream>(std::move(start), header.data_offset, std::move(stream));
  return std::unique_ptr<ArrayInput>(std::make_unique<StreamArray>(
      std::move(info), std::move(rest),
      StreamArray::Layout{.big_endian = DTypeSize(header.dtype) > 1, .must_end_with_data = true}));
}

Result<std::unique_ptr<ArrayInput>> OpenArray(SharedSource source) {
  Bytes start(std::min<std::uint64_t>(source->size(), 8));
  DNC_TRY(source->ReadAt(0, start));
  switch (RecogniseArray(start)) {
    case ArrayKind::kNpy:
      return OpenNpy(std::move(source));
    case ArrayKind::kIdx:
      return OpenIdx(std::move(source));
    case ArrayKind::kGzip:
      return OpenGzipArray(std::move(source));
    case ArrayKind::kNone:
      break;
  }
  return Error{ErrorCode::kUnsupported,
               source->name() +
                   ": not a kind of file that holds one array; known are npy, idx and "
                   "idx.gz"};
}

}  // namespace dnc::source
