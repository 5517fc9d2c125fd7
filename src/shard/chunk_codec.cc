#include "shard/chunk_codec.h"

#include <zstd.h>

#include <cstring>

#include "base/assert.h"
#include "base/byte_shuffle.h"

namespace dnc::shard {
namespace {

// The first `size` bytes of a scratch buffer that only grows, so that nothing is
// zero-filled over and over.
std::span<std::byte> Grow(std::size_t size, Bytes* buffer) {
  if (buffer->size() < size) buffer->resize(size);
  return std::span(*buffer).first(size);
}

}  // namespace

struct ChunkEncoder::Impl {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  Bytes shuffled;
  Bytes compressed;

  ~Impl() { ZSTD_freeCCtx(context); }

  ByteSpan Compress(ByteSpan raw, std::size_t element_bytes, Filter filter) {
    if (filter == Filter::kByteShuffle) {
      const std::span<std::byte> planes = Grow(raw.size(), &shuffled);
      ShuffleBytes(raw, element_bytes, planes.data());
      raw = planes;
    }
    const std::span<std::byte> out = Grow(ZSTD_compressBound(raw.size()), &compressed);
    const std::size_t size =
        ZSTD_compress2(context, out.data(), out.size(), raw.data(), raw.size());
    DNC_ASSERT(!ZSTD_isError(size));  // The bound is enough, and memory is there.
    return out.first(size);
  }
};

ChunkEncoder::ChunkEncoder(int zstd_level) : impl_(std::make_unique<Impl>()) {
  DNC_ASSERT(impl_->context != nullptr);
  DNC_ASSERT(
      !ZSTD_isError(ZSTD_CCtx_setParameter(impl_->context, ZSTD_c_compressionLevel, zstd_level)));
}

ChunkEncoder::~ChunkEncoder() = default;

ChunkEntry ChunkEncoder::Encode(ByteSpan raw, std::size_t element_bytes, Filter filter,
                                Bytes* out) {
  ByteSpan stored = raw;
  ChunkEntry entry;
  if (!raw.empty()) {
    const ByteSpan compressed = impl_->Compress(raw, element_bytes, filter);
    if (compressed.size() < raw.size()) {
      stored = compressed;
      entry.filter = filter;
      entry.codec = Codec::kZstd;
    }
  }
  entry.raw_bytes = static_cast<std::uint32_t>(raw.size());
  entry.stored_bytes = static_cast<std::uint32_t>(stored.size());
  entry.checksum = Checksum(stored);
  out->insert(out->end(), stored.begin(), stored.end());
  return entry;
}

ChunkEntry ChunkEncoder::EncodeStored(ByteSpan raw, Bytes* out) {
  ChunkEntry entry;
  entry.raw_bytes = entry.stored_bytes = static_cast<std::uint32_t>(raw.size());
  entry.checksum = Checksum(raw);
  out->insert(out->end(), raw.begin(), raw.end());
  return entry;
}

Filter ChunkEncoder::ChooseFilter(ByteSpan raw, std::size_t element_bytes) {
  if (element_bytes == 1 || raw.empty()) return Filter::kNone;
  const std::size_t plain = impl_->Compress(raw, element_bytes, Filter::kNone).size();
  const std::size_t shuffled = impl_->Compress(raw, element_bytes, Filter::kByteShuffle).size();
  return shuffled < plain ? Filter::kByteShuffle : Filter::kNone;
}

struct ChunkDecoder::Impl {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  Bytes planes;

  ~Impl() { ZSTD_freeDCtx(context); }
};

ChunkDecoder::ChunkDecoder() : impl_(std::make_unique<Impl>()) {
  DNC_ASSERT(impl_->context != nullptr);
}

ChunkDecoder::~ChunkDecoder() = default;

bool ChunkDecoder::Decode(const ChunkEntry& entry, ByteSpan stored, std::size_t element_bytes,
                          std::span<std::byte> raw) {
  if (stored.size() != entry.stored_bytes || Checksum(stored) != entry.checksum) return false;
  if (entry.codec == Codec::kStored) {
    if (stored.size() != raw.size()) return false;
    if (!raw.empty()) std::memcpy(raw.data(), stored.data(), raw.size());
    return true;
  }
  const bool shuffled = entry.filter == Filter::kByteShuffle;
  const std::span<std::byte> target = shuffled ? Grow(raw.size(), &impl_->planes) : raw;
  const std::size_t size = ZSTD_decompressDCtx(impl_->context, target.data(), target.size(),
                                               stored.data(), stored.size());
  if (ZSTD_isError(size) || size != raw.size()) return false;
  if (shuffled) UnshuffleBytes(target, element_bytes, raw.data());
  return true;
}

}  // namespace dnc::shard
