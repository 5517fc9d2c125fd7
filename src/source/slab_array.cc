#include "source/slab_array.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace dnc::source {
namespace {

using array::DTypeSize;
using array::ElementCount;
using array::Shape;

// Samples lie in `outer` runs, each of which has `inner` elements a sample.
struct Runs {
  std::uint64_t outer = 1;
  std::uint64_t count = 1;
  std::uint64_t inner = 1;
};

Runs RunsOf(const StoredLayout& layout) {
  Runs runs;
  for (std::size_t axis = 0; axis < layout.shape.size(); ++axis) {
    const auto length = static_cast<std::uint64_t>(layout.shape[axis]);
    if (axis < layout.sample_axis) runs.outer *= length;
    if (axis == layout.sample_axis) runs.count = length;
    if (axis > layout.sample_axis) runs.inner *= length;
  }
  return runs;
}

std::uint64_t TileSamples(const Runs& runs, std::uint64_t element_bytes, std::uint64_t step) {
  const std::uint64_t sample_bytes = runs.outer * runs.inner * element_bytes;
  std::uint64_t samples = std::max<std::uint64_t>(1, kTileBytesMax / sample_bytes);
  // Part of a step costs as much to read as all of it.
  if (step > samples) samples = std::max(samples, kStepBytesMax / sample_bytes);
  if (samples > step) samples -= samples % step;
  if (samples < step) {
    const std::uint64_t parts = (step + samples - 1) / samples;
    samples = (step + parts - 1) / parts;
  }
  return std::min(samples, runs.count);
}

// in[o][s] -> out[s][o], of units of `Unit` bytes, in squares that fit a cache.
template <typename Unit>
void TransposeUnits(const std::byte* in, std::byte* out, std::uint64_t rows,
                    std::uint64_t columns) {
  constexpr std::uint64_t kSquare = 32;
  for (std::uint64_t o0 = 0; o0 < rows; o0 += kSquare) {
    const std::uint64_t o1 = std::min(rows, o0 + kSquare);
    for (std::uint64_t s0 = 0; s0 < columns; s0 += kSquare) {
      const std::uint64_t s1 = std::min(columns, s0 + kSquare);
      for (std::uint64_t s = s0; s < s1; ++s) {
        for (std::uint64_t o = o0; o < o1; ++o) {
          std::memcpy(out + (s * rows + o) * sizeof(Unit), in + (o * columns + s) * sizeof(Unit),
                      sizeof(Unit));
        }
      }
    }
  }
}

void Transpose(const std::byte* in, std::byte* out, const Runs& tile, std::uint64_t unit_bytes) {
  switch (unit_bytes) {
    case 1:
      return TransposeUnits<std::uint8_t>(in, out, tile.outer, tile.count);
    case 2:
      return TransposeUnits<std::uint16_t>(in, out, tile.outer, tile.count);
    case 4:
      return TransposeUnits<std::uint32_t>(in, out, tile.outer, tile.count);
    case 8:
      return TransposeUnits<std::uint64_t>(in, out, tile.outer, tile.count);
    default:
      for (std::uint64_t o = 0; o < tile.outer; ++o) {
        for (std::uint64_t s = 0; s < tile.count; ++s) {
          std::memcpy(out + (s * tile.outer + o) * unit_bytes,
                      in + (o * tile.count + s) * unit_bytes, unit_bytes);
        }
      }
  }
}

// One sample whose axes are stored in reverse: `shape` is the sample's own, and its
// first axis varies fastest in `in`.
template <typename Element>
void ReverseAxes(const std::byte* in, std::byte* out, const Shape& shape) {
  const std::size_t axes = shape.size();
  const auto last = static_cast<std::uint64_t>(shape[axes - 1]);
  std::uint64_t last_stride = 1;
  for (std::size_t axis = 0; axis + 1 < axes; ++axis) {
    last_stride *= static_cast<std::uint64_t>(shape[axis]);
  }
  std::vector<std::int64_t> index(axes - 1, 0);
  std::uint64_t begin = 0;  // Of `index` in `in`.
  for (std::uint64_t row = 0; row < last_stride; ++row) {
    for (std::uint64_t i = 0; i < last; ++i) {
      std::memcpy(out, in + (begin + i * last_stride) * sizeof(Element), sizeof(Element));
      out += sizeof(Element);
    }
    for (std::size_t axis = axes - 1; axis-- > 0;) {
      std::uint64_t stride = 1;
      for (std::size_t before = 0; before < axis; ++before) {
        stride *= static_cast<std::uint64_t>(shape[before]);
      }
      begin += stride;
      if (++index[axis] < shape[axis]) break;
      begin -= stride * static_cast<std::uint64_t>(shape[axis]);
      index[axis] = 0;
    }
  }
}

void ReverseAxes(const std::byte* in, std::byte* out, const Shape& shape,
                 std::size_t element_bytes) {
  if (element_bytes == 1) return ReverseAxes<std::uint8_t>(in, out, shape);
  if (element_bytes == 2) return ReverseAxes<std::uint16_t>(in, out, shape);
  if (element_bytes == 4) return ReverseAxes<std::uint32_t>(in, out, shape);
  ReverseAxes<std::uint64_t>(in, out, shape);
}

class SlabArray final : public ArrayInput {
 public:
  SlabArray(ArrayInfo info, const StoredLayout& layout, std::unique_ptr<SlabReader> reader)
      : ArrayInput(std::move(info)),
        layout_(layout),
        runs_(RunsOf(layout)),
        reader_(std::move(reader)),
        tile_samples_(TileSamples(runs_, DTypeSize(this->info().dtype), reader_->sample_step())),
        is_transposed_(layout.is_reversed && this->info().shape.size() > 2) {
    DNC_ASSERT(this->info().shape == SampleFirstShape(layout));
  }

  Status Read(std::span<std::byte> out) override {
    DNC_ASSERT(out.size() % sample_bytes() == 0);
    while (!out.empty()) {
      if (next_ < tile_first_ || next_ >= tile_first_ + tile_count_) DNC_TRY(LoadTile());
      const std::uint64_t count =
          std::min<std::uint64_t>(out.size() / sample_bytes(), tile_first_ + tile_count_ - next_);
      Emit(tile_.data() + (next_ - tile_first_) * sample_bytes(),
           out.first(count * sample_bytes()));
      next_ += count;
      out = out.subspan(count * sample_bytes());
    }
    return {};
  }
  Result<std::uint64_t> Skip(std::uint64_t sample_count) override {
    sample_count = std::min(sample_count, runs_.count - next_);
    next_ += sample_count;
    return sample_count;
  }
  std::uint64_t position() const override { return next_ * sample_bytes(); }

 private:
  Status LoadTile() {
    DNC_ASSERT(next_ < runs_.count);
    const std::uint64_t first = next_ - next_ % tile_samples_;
    const std::uint64_t count = std::min(tile_samples_, runs_.count - first);
    tile_count_ = 0;
    tile_.resize(count * sample_bytes());
    if (runs_.outer == 1) {
      DNC_TRY(reader_->ReadSlab(first, count, tile_));
    } else {
      raw_.resize(tile_.size());
      DNC_TRY(reader_->ReadSlab(first, count, raw_));
      Runs tile = runs_;
      tile.count = count;
      Transpose(raw_.data(), tile_.data(), tile, runs_.inner * DTypeSize(info().dtype));
    }
    tile_first_ = first;
    tile_count_ = count;
    return {};
  }

  void Emit(const std::byte* samples, std::span<std::byte> out) const {
    const std::size_t element_bytes = DTypeSize(info().dtype);
    if (is_transposed_) {
      const Shape shape = info().sample_shape();
      for (std::size_t at = 0; at < out.size(); at += sample_bytes()) {
        ReverseAxes(samples + at, out.data() + at, shape, element_bytes);
      }
    } else {
      std::memcpy(out.data(), samples, out.size());
    }
    if (layout_.is_big_endian) SwapElements(out, element_bytes);
  }

  StoredLayout layout_;
  Runs runs_;
  std::unique_ptr<SlabReader> reader_;
  std::uint64_t tile_samples_;
  bool is_transposed_;
  std::uint64_t next_ = 0;  // Sample.
  std::uint64_t tile_first_ = 0;
  std::uint64_t tile_count_ = 0;
  Bytes raw_;
  Bytes tile_;  // Of samples, each with its axes as stored.
};

class FileSlabs final : public SlabReader {
 public:
  FileSlabs(SharedSource file, std::uint64_t data_offset, const StoredLayout& layout,
            std::size_t element_bytes)
      : file_(std::move(file)),
        data_offset_(data_offset),
        runs_(RunsOf(layout)),
        unit_bytes_(runs_.inner * element_bytes) {}

  Status ReadSlab(std::uint64_t first, std::uint64_t count, std::span<std::byte> out) override {
    const std::uint64_t run_bytes = count * unit_bytes_;
    DNC_ASSERT(out.size() == runs_.outer * run_bytes);
    for (std::uint64_t o = 0; o < runs_.outer; ++o) {
      const std::uint64_t offset = data_offset_ + (o * runs_.count + first) * unit_bytes_;
      DNC_TRY(file_->ReadAt(offset, out.subspan(o * run_bytes, run_bytes)));
    }
    return {};
  }

 private:
  SharedSource file_;
  std::uint64_t data_offset_;
  Runs runs_;
  std::uint64_t unit_bytes_;
};

class RewindableSource final : public RandomAccessSource {
 public:
  RewindableSource(std::function<Result<std::unique_ptr<ByteStream>>()> open, std::string name,
                   std::uint64_t size)
      : open_(std::move(open)), name_(std::move(name)), size_(size) {}

  std::uint64_t size() const override { return size_; }
  const std::string& name() const override { return name_; }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    if (stream_ == nullptr || offset < position_) {
      DNC_ASSIGN(stream_, open_());
      position_ = 0;
    }
    DNC_ASSIGN(const std::uint64_t skipped, stream_->Skip(offset - position_));
    position_ += skipped;
    if (position_ < offset) return Ends();
    DNC_ASSIGN(const std::size_t size, stream_->Read(out));
    position_ += size;
    return size < out.size() ? Status(Ends()) : Status();
  }

 private:
  Error Ends() const {
    return {ErrorCode::kCorrupt, name_ + ": truncated: it ends after " + std::to_string(position_) +
                                     " of " + std::to_string(size_) + " bytes"};
  }

  std::function<Result<std::unique_ptr<ByteStream>>()> open_;
  std::string name_;
  std::uint64_t size_;
  mutable std::unique_ptr<ByteStream> stream_;
  mutable std::uint64_t position_ = 0;
};

}  // namespace

Shape SampleFirstShape(const StoredLayout& layout) {
  Shape shape = layout.shape;
  const auto axis = shape.begin() + static_cast<std::ptrdiff_t>(layout.sample_axis);
  const std::int64_t count = *axis;
  shape.erase(axis);
  if (layout.is_reversed) std::reverse(shape.begin(), shape.end());
  shape.insert(shape.begin(), count);
  return shape;
}

Result<std::size_t> ResolveAxis(const ArrayInfo& info, int axis) {
  const int axes = static_cast<int>(info.shape.size());
  const int resolved = axis < 0 ? axis + axes : axis;
  if (resolved < 0 || resolved >= axes) {
    return Error{ErrorCode::kInvalidArgument,
                 info.name + ": " + info.TypeText() + " has no axis " + std::to_string(axis) +
                     "; --sample-axis is from 0 to " + std::to_string(axes - 1)};
  }
  return static_cast<std::size_t>(resolved);
}

std::unique_ptr<ArrayInput> MakeSlabArray(ArrayInfo info, const StoredLayout& layout,
                                          std::unique_ptr<SlabReader> reader) {
  return std::make_unique<SlabArray>(std::move(info), layout, std::move(reader));
}

std::unique_ptr<SlabReader> OpenFileSlabs(SharedSource file, std::uint64_t data_offset,
                                          const StoredLayout& layout, std::size_t element_bytes) {
  return std::make_unique<FileSlabs>(std::move(file), data_offset, layout, element_bytes);
}

SharedSource MakeRewindable(std::function<Result<std::unique_ptr<ByteStream>>()> open,
                            std::string name, std::uint64_t size) {
  return std::make_shared<RewindableSource>(std::move(open), std::move(name), size);
}

std::uint64_t TileCount(const StoredLayout& layout, std::size_t element_bytes) {
  const Runs runs = RunsOf(layout);
  const std::uint64_t samples = TileSamples(runs, element_bytes, 1);
  return (runs.count + samples - 1) / samples;
}

}  // namespace dnc::source
