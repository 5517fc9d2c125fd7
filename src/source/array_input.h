// One array whose first axis counts samples, read in order: an npy or idx file,
// either of them inside gzip, or a member of an npz. Elements become
// little-endian in C order. Bytes are not trusted: sizes are checked against the
// file where it states its own, and against kSampleBytesMax everywhere.
//
// An ArrayInput is not thread-safe; two over one SharedSource are independent.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "array/dtype.h"
#include "array/shape.h"
#include "base/bytes.h"
#include "base/result.h"
#include "source/byte_stream.h"

namespace dnc::source {

// One sample must fit a block of a shard.
inline constexpr std::uint64_t kSampleBytesMax = 64 << 20;

struct ArrayInfo {
  std::string name;    // For messages: a path, or archive and member.
  std::string format;  // "npy", "idx", "idx.gz".
  array::DType dtype = array::DType::kUint8;
  array::Shape shape;  // Of the whole array; at least one axis.

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

 protected:
  explicit ArrayInput(ArrayInfo info);

 private:
  ArrayInfo info_;
  std::size_t sample_bytes_;
};

enum class ArrayKind { kNone, kNpy, kIdx, kGzip };

// What the first bytes of a file say; kNone for anything that is no single array.
ArrayKind RecogniseArray(ByteSpan start);

// An npy file, also in Fortran order as long as a buffer of kFortranBufferBytes
// holds enough samples to read it in runs.
// Errors: those of array::ReadNpyHeader; kInvalidArgument, no samples;
// kUnsupported, a Fortran order that would be read too slowly; kTooLarge, a sample.
Result<std::unique_ptr<ArrayInput>> OpenNpy(SharedSource source);
inline constexpr std::uint64_t kFortranBufferBytes = 8 << 20;

// An idx file (the format of MNIST).
// Errors: kCorrupt, not one, or not exactly as long as its header says;
// kInvalidArgument, no samples; kTooLarge.
Result<std::unique_ptr<ArrayInput>> OpenIdx(SharedSource source);

// gzip that holds an idx or an npy.
// Errors: as above; kUnsupported, it holds something else.
Result<std::unique_ptr<ArrayInput>> OpenGzipArray(SharedSource source);

// An npy that comes as a stream of `size` bytes: a member of an npz. Fortran order
// only if all of it fits kFortranBufferBytes.
// Errors: those of OpenNpy and of the stream.
Result<std::unique_ptr<ArrayInput>> OpenNpyStream(std::unique_ptr<ByteStream> stream,
                                                  std::uint64_t size, const std::string& name);

// Whichever of the kinds above the content is.
// Errors: as above; kUnsupported, another kind of file.
Result<std::unique_ptr<ArrayInput>> OpenArray(SharedSource source);

}  // namespace dnc::source
