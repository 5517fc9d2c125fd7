// One array, read sample after sample: an npy or idx file, either of them inside
// gzip or zstd or from a pipe, or an array inside a larger file. Elements become
// little-endian in C order. Bytes are not trusted: sizes are checked against the
// file where it states its own, and against kSampleBytesMax everywhere.
//
// An ArrayInput is not thread-safe; two over one SharedSource are independent.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "array/dtype.h"
#include "array/shape.h"
#include "base/bytes.h"
#include "base/result.h"
#include "source/input.h"

namespace dnc::source {

// One sample must fit a block of a shard.
inline constexpr std::uint64_t kSampleBytesMax = 64 << 20;

struct ArrayInfo {
  std::string name;    // For messages: a path, or archive and member.
  std::string format;  // "npy", "idx.gz".
  array::DType dtype = array::DType::kUint8;
  array::Shape shape;  // Of the whole array, the samples' axis first.

  std::uint64_t sample_count() const { return static_cast<std::uint64_t>(shape[0]); }
  array::Shape sample_shape() const { return {shape.begin() + 1, shape.end()}; }
  // "uint8 (60000, 28, 28)".
  std::string TypeText() const;
};

class ArrayInput {
 public:
  virtual ~ArrayInput() = default;

  const ArrayInfo& info() const { return info_; }
  std::size_t sample_bytes() const { return sample_bytes_; }

  // Fills `out` with the next samples.
  // Requires: out.size() is a multiple of sample_bytes(), and no more samples are
  // asked for than remain.
  // Errors: kCorrupt, the data ends early, is damaged, or (with the last sample)
  // goes on beyond its stated size; those of the source.
  virtual Status Read(std::span<std::byte> out) = 0;

  // Passes over samples; fewer only at the end. Returns how many.
  // Errors: those of Read.
  virtual Result<std::uint64_t> Skip(std::uint64_t sample_count) = 0;

  // How many bytes of its file were read so far, about.
  virtual std::uint64_t position() const = 0;

 protected:
  explicit ArrayInput(ArrayInfo info);

 private:
  ArrayInfo info_;
  std::size_t sample_bytes_;
};

enum class ArrayKind { kNone, kNpy, kIdx };

// What the first bytes of a file say; kNone for anything that is no single array.
ArrayKind RecogniseArray(ByteSpan start);

// Reverses the bytes of each element: big-endian to little-endian.
void SwapElements(std::span<std::byte> bytes, std::size_t element_bytes);

// Errors: kInvalidArgument, a single number, or no samples; kTooLarge, one sample.
Status CheckSamples(const ArrayInfo& info);

// An npy or idx. `sample_axis` as the user gives it; the first without.
//
// Fortran order and other axes are read in tiles (slab_array.h): at any place of a
// file; with one pass over the data a tile where it is compressed; in one tile
// from a pipe.
// Errors: those of array::ParseNpyHeader and CheckSamples; kCorrupt, truncated, or
// (idx, and what is compressed) longer than its header says; kUnsupported, neither
// npy nor idx, or a layout that would take too many passes.
Result<std::unique_ptr<ArrayInput>> OpenArray(const Input& input,
                                              std::optional<int> sample_axis = std::nullopt);

}  // namespace dnc::source
