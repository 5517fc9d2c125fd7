#include "update/update.h"

#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/assert.h"
#include "base/byte_shuffle.h"

namespace dnc::update {
namespace {

constexpr std::string_view kMagic = "DNCUPDAT";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 32;
constexpr std::size_t kChunkHeaderBytes = 16;
// Measured on the difference of a network trained on Fashion-MNIST (docs/formats/update.md):
// level 1 is twice as fast as 3 and, with three planes that hardly compress, smaller too.
constexpr int kZstdLevel = 1;

enum class Form : std::uint32_t { kStored = 0, kShuffledZstd = 1 };

std::uint64_t Checksum(ByteSpan bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Error Corrupt(const std::string& what) {
  return {ErrorCode::kCorrupt, "not a sound update: " + what + "; send or fetch it again"};
}

template <typename T>
void PutAt(T value, std::byte* to) {
  std::memcpy(to, &value, sizeof(value));
}

// Keeps its zstd context and buffers from one chunk to the next.
class ChunkEncoder {
 public:
  ChunkEncoder() { DNC_ASSERT(context_ != nullptr); }
  ~ChunkEncoder() { ZSTD_freeCCtx(context_); }
  ChunkEncoder(const ChunkEncoder&) = delete;
  ChunkEncoder& operator=(const ChunkEncoder&) = delete;

  void Append(std::span<const float> values, Bytes* out) {
    const ByteSpan raw = std::as_bytes(values);
    planes_.resize(raw.size());
    ShuffleBytes(raw, sizeof(float), planes_.data());
    compressed_.resize(ZSTD_compressBound(raw.size()));
    const std::size_t size = ZSTD_compressCCtx(context_, compressed_.data(), compressed_.size(),
                                               planes_.data(), planes_.size(), kZstdLevel);
    DNC_ASSERT(!ZSTD_isError(size));  // The bound is enough, and memory is there.
    const bool smaller = size < raw.size();
    const ByteSpan stored = smaller ? ByteSpan(compressed_).first(size) : raw;
    const std::size_t begin = out->size();
    std::byte header[kChunkHeaderBytes] = {};
    PutAt(static_cast<std::uint32_t>(stored.size()), header + 8);
    PutAt(static_cast<std::uint32_t>(smaller ? Form::kShuffledZstd : Form::kStored), header + 12);
    out->insert(out->end(), header, header + kChunkHeaderBytes);
    out->insert(out->end(), stored.begin(), stored.end());
    PutAt(Checksum(ByteSpan(*out).subspan(begin + 8)), out->data() + begin);
  }

 private:
  ZSTD_CCtx* const context_ = ZSTD_createCCtx();
  Bytes planes_;
  Bytes compressed_;
};

}  // namespace

Bytes Encode(std::span<const float> values, Encoding encoding) {
  DNC_ASSERT(encoding == Encoding::kFloat32);
  ByteWriter header;
  header.PutBytes(AsBytes(kMagic));
  header.Put(kVersion);
  header.Put(static_cast<std::uint32_t>(encoding));
  header.Put(static_cast<std::uint64_t>(values.size()));
  header.Put(Checksum(header.bytes()));
  Bytes out = std::move(header).Take();
  DNC_ASSERT(out.size() == kHeaderBytes);

  out.reserve(EncodedBytesMax(values.size()));  // Only what is written is ever touched.
  ChunkEncoder encoder;
  while (!values.empty()) {
    const std::size_t count = std::min<std::size_t>(values.size(), kChunkValues);
    encoder.Append(values.first(count), &out);
    values = values.subspan(count);
  }
  return out;
}

std::uint64_t EncodedBytesMax(std::uint64_t count) {
  const std::uint64_t chunks = count / kChunkValues + (count % kChunkValues != 0 ? 1 : 0);
  return kHeaderBytes + chunks * kChunkHeaderBytes + count * sizeof(float);
}

struct Decoder::Impl {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  Bytes planes;
  std::vector<float> values;

  Impl() { DNC_ASSERT(context != nullptr); }
  ~Impl() { ZSTD_freeDCtx(context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status Decode(Form form, ByteSpan stored, std::span<float> out) {
    const std::span<std::byte> raw = std::as_writable_bytes(out);
    if (form == Form::kStored) {
      if (stored.size() != raw.size()) return Corrupt("a stored chunk of a wrong size");
      std::memcpy(raw.data(), stored.data(), raw.size());
      return {};
    }
    if (form != Form::kShuffledZstd) return Corrupt("a chunk of an unknown form");
    planes.resize(raw.size());
    const std::size_t size =
        ZSTD_decompressDCtx(context, planes.data(), planes.size(), stored.data(), stored.size());
    if (ZSTD_isError(size) || size != raw.size()) return Corrupt("a chunk of wrong contents");
    UnshuffleBytes(planes, sizeof(float), raw.data());
    return {};
  }
};

Decoder::Decoder(ByteSpan rest, std::uint64_t remaining_values)
    : rest_(rest), remaining_values_(remaining_values), impl_(std::make_unique<Impl>()) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

Result<Decoder> Decoder::Open(ByteSpan bytes, std::uint64_t expected_count) {
  ByteReader reader(bytes);
  const std::string_view magic = AsText(reader.GetBytes(kMagic.size()));
  if (magic != kMagic) return Corrupt("it does not begin as one does");
  const auto version = reader.Get<std::uint32_t>();
  const auto encoding = reader.Get<std::uint32_t>();
  const auto count = reader.Get<std::uint64_t>();
  const auto checksum = reader.Get<std::uint64_t>();
  if (!reader.ok()) return Corrupt("it ends within its header");
  if (version != kVersion) {
    return Error{ErrorCode::kUnsupported, "an update of version " + std::to_string(version) +
                                              ", but this program reads version " +
                                              std::to_string(kVersion) + "; update the program"};
  }
  if (checksum != Checksum(bytes.first(kHeaderBytes - 8))) {
    return Corrupt("the checksum of its header is wrong");
  }
  if (encoding != static_cast<std::uint32_t>(Encoding::kFloat32)) {
    return Error{ErrorCode::kUnsupported, "an update of the unknown encoding " +
                                              std::to_string(encoding) + "; update the program"};
  }
  if (count != expected_count) {
    return Error{ErrorCode::kInvalidArgument, "an update of " + std::to_string(count) +
                                                  " values, but the model has " +
                                                  std::to_string(expected_count)};
  }
  if (count == 0 && reader.remaining() > 0) return Corrupt("bytes follow its last value");
  return Decoder(bytes.subspan(kHeaderBytes), count);
}

Status Decoder::DecodeNext(std::span<float> out) {
  ByteReader reader(rest_);
  const auto checksum = reader.Get<std::uint64_t>();
  const auto stored_bytes = reader.Get<std::uint32_t>();
  const auto form = reader.Get<std::uint32_t>();
  const ByteSpan stored = reader.GetBytes(stored_bytes);
  if (!reader.ok()) return Corrupt("it ends within a chunk");
  if (checksum != Checksum(rest_.subspan(8, 8 + stored.size()))) {
    return Corrupt("the checksum of a chunk is wrong");
  }
  DNC_TRY(impl_->Decode(static_cast<Form>(form), stored, out));
  rest_ = rest_.subspan(kChunkHeaderBytes + stored.size());
  remaining_values_ -= out.size();
  if (remaining_values_ == 0 && !rest_.empty()) return Corrupt("bytes follow its last value");
  return {};
}

Result<std::span<const float>> Decoder::Next() {
  const auto count =
      static_cast<std::size_t>(std::min<std::uint64_t>(remaining_values_, kChunkValues));
  if (count == 0) return std::span<const float>();
  impl_->values.resize(count);
  DNC_TRY(DecodeNext(impl_->values));
  return std::span<const float>(impl_->values);
}

Result<std::vector<float>> Decode(ByteSpan bytes, std::uint64_t expected_count) {
  DNC_ASSIGN(Decoder decoder, Decoder::Open(bytes, expected_count));
  // A chunk needs at least its header, so that a short container allocates nothing.
  const std::uint64_t chunks = (bytes.size() - kHeaderBytes) / kChunkHeaderBytes;
  if (expected_count / kChunkValues > chunks) return Corrupt("it ends within a chunk");
  std::vector<float> values(expected_count);
  std::span<float> rest = values;
  while (!rest.empty()) {
    const std::span<float> chunk = rest.first(std::min<std::size_t>(rest.size(), kChunkValues));
    DNC_TRY(decoder.DecodeNext(chunk));
    rest = rest.subspan(chunk.size());
  }
  return values;
}

bool AllFinite(std::span<const float> values) {
  // A value is not finite if its exponent bits are all ones: adding one at their end
  // then carries into the bit above. Lanes of a fixed number let it vectorise.
  constexpr std::size_t kLanes = 16;
  std::uint32_t carried[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    std::uint32_t bits[kLanes];
    std::memcpy(bits, values.data() + i, sizeof(bits));
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      carried[lane] |= (bits[lane] & 0x7fffffffu) + 0x00800000u;
    }
  }
  std::uint32_t any = 0;
  for (const std::uint32_t lane : carried) any |= lane;
  for (; i < values.size(); ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, values.data() + i, sizeof(bits));
    any |= (bits & 0x7fffffffu) + 0x00800000u;
  }
  return (any & 0x80000000u) == 0;
}

}  // namespace dnc::update
