// Arrays whose samples do not lie one behind the other: Fortran order, another
// sample axis than the first, MATLAB's and HDF5's layouts. They are read in tiles
// of many samples, and put in order in memory.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "source/array_input.h"

namespace dnc::source {

// A tile is at most so large, but for a single sample that is larger. Two of them
// are held: as read, and in order.
inline constexpr std::uint64_t kTileBytesMax = 16 << 20;
// So large where SlabReader::sample_step() asks for more.
inline constexpr std::uint64_t kStepBytesMax = 32 << 20;
// Compressed data is decompressed from its start for every tile.
inline constexpr std::uint64_t kCompressedPassesMax = 256;

// An array as it is stored: in C order of `shape`, slowest axis first.
struct StoredLayout {
  array::Shape shape;
  std::size_t sample_axis = 0;
  // The array's own axes are those of `shape` in reverse, as in Fortran order: a
  // sample is transposed.
  bool is_reversed = false;
  bool is_big_endian = false;
};

class SlabReader {
 public:
  virtual ~SlabReader() = default;
  // Fills `out` with samples [first, first + count) in the stored order: all axes,
  // of which the sample axis is cut to that range.
  // Errors: kCorrupt, kIo.
  virtual Status ReadSlab(std::uint64_t first, std::uint64_t count, std::span<std::byte> out) = 0;
  // A tile is best a multiple of so many samples: they are stored as one.
  virtual std::uint64_t sample_step() const { return 1; }
};

// The array's shape with the sample axis moved to the front.
array::Shape SampleFirstShape(const StoredLayout& layout);

// Resolves an axis as a user gives it, negative from the end.
// Errors: kInvalidArgument, there is no such axis.
Result<std::size_t> ResolveAxis(const ArrayInfo& info, int axis);

// Requires: info.shape is SampleFirstShape(layout).
std::unique_ptr<ArrayInput> MakeSlabArray(ArrayInfo info, const StoredLayout& layout,
                                          std::unique_ptr<SlabReader> reader);

// Slabs of an array whose elements begin at `data_offset` of a file.
std::unique_ptr<SlabReader> OpenFileSlabs(SharedSource file, std::uint64_t data_offset,
                                          const StoredLayout& layout, std::size_t element_bytes);

// A stream as a file: reading forward skips, reading backward opens it again. Reads
// in ascending order cost one pass. Not thread-safe.
SharedSource MakeRewindable(std::function<Result<std::unique_ptr<ByteStream>>()> open,
                            std::string name, std::uint64_t size);

// How many tiles a SlabArray reads such an array in.
std::uint64_t TileCount(const StoredLayout& layout, std::size_t element_bytes);

}  // namespace dnc::source
