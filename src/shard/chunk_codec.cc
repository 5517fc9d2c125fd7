#include "shard/chunk_codec.h"

// For an entropy code without a search for repetitions.
#define ZSTD_STATIC_LINKING_ONLY
#include <lz4.h>
#include <zstd.h>

#include <cstring>
#include <vector>

#include "base/assert.h"
#include "base/byte_shuffle.h"
#include "shard/element_filters.h"
#include "shard/image_prediction.h"
#include "shard/picture_codec.h"

namespace dnc::shard {
namespace {

// Rows of more elements than that are no time series of a few values.
constexpr std::size_t kDeltaRowMax = 64;

// The first `size` bytes of a scratch buffer that only grows, so that nothing is
// zero-filled over and over.
std::span<std::byte> Grow(std::size_t size, Bytes* buffer) {
  if (buffer->size() < size) buffer->resize(size);
  return std::span(*buffer).first(size);
}

std::size_t DeltaStride(const ChunkLayout& layout) {
  return layout.row_elements > 0 && layout.row_elements <= kDeltaRowMax ? layout.row_elements : 1;
}

// What the filter makes of `raw`, in `out`.
void Apply(Filter filter, ByteSpan raw, const ChunkLayout& layout, Bytes* scratch, std::byte* out) {
  switch (filter) {
    case Filter::kNone:
      return;
    case Filter::kByteShuffle:
      return ShuffleBytes(raw, layout.element_bytes, out);
    case Filter::kBitShuffle:
      return ShuffleBits(raw, layout.element_bytes, scratch, out);
    case Filter::kDelta: {
      const std::span<std::byte> differences = Grow(raw.size(), scratch);
      SubtractEarlier(raw, layout.element_bytes, DeltaStride(layout), differences.data());
      return ShuffleBytes(differences, layout.element_bytes, out);
    }
    case Filter::kPrediction:
    case Filter::kColourPrediction:
      return PredictPictures(raw, layout, filter == Filter::kColourPrediction, out);
  }
}

void Undo(Filter filter, ByteSpan filtered, const ChunkLayout& layout, Bytes* scratch,
          std::span<std::byte> raw) {
  switch (filter) {
    case Filter::kNone:
      return;
    case Filter::kByteShuffle:
      return UnshuffleBytes(filtered, layout.element_bytes, raw.data());
    case Filter::kBitShuffle:
      return UnshuffleBits(filtered, layout.element_bytes, scratch, raw.data());
    case Filter::kDelta:
      UnshuffleBytes(filtered, layout.element_bytes, raw.data());
      return AddEarlier(layout.element_bytes, DeltaStride(layout), raw);
    case Filter::kPrediction:
    case Filter::kColourPrediction:
      return RestorePictures(filtered, layout, filter == Filter::kColourPrediction, scratch, raw);
  }
}

// What is tried, the quickest to decode first.
std::vector<ChunkMethod> Methods(const ChunkLayout& layout, Compression compression) {
  std::vector<ChunkMethod> methods = {{Filter::kNone, Codec::kStored}};
  if (compression == Compression::kNone) return methods;
  const bool wide = layout.element_bytes > 1;
  const Codec codec = compression == Compression::kFast ? Codec::kLz4 : Codec::kZstd;
  methods.push_back({Filter::kNone, codec});
  if (wide) methods.push_back({Filter::kByteShuffle, codec});
  if (codec == Codec::kLz4) return methods;
  if (wide) methods.push_back({Filter::kBitShuffle, codec});
  if (wide || !layout.is_picture()) methods.push_back({Filter::kDelta, codec});
  if (layout.is_picture()) {
    const Filter filter = HasColours(layout) ? Filter::kColourPrediction : Filter::kPrediction;
    methods.push_back({filter, codec, true});
    methods.push_back({filter, codec});
    if (HasColours(layout)) methods.push_back({Filter::kPrediction, codec});
  }
  if (compression == Compression::kSmallest && CanHoldPictures(layout)) {
    methods.push_back({Filter::kNone, Codec::kJpegXl});
  }
  return methods;
}

}  // namespace

bool IsPossible(Filter filter, Codec codec, const ChunkLayout& layout) {
  if (codec == Codec::kStored) return filter == Filter::kNone;
  if (codec == Codec::kJpegXl) return filter == Filter::kNone && CanHoldPictures(layout);
  switch (filter) {
    case Filter::kNone:
    case Filter::kDelta:
    case Filter::kBitShuffle:
      return true;
    case Filter::kByteShuffle:
      return layout.element_bytes > 1;
    case Filter::kPrediction:
      return layout.is_picture();
    case Filter::kColourPrediction:
      return layout.is_picture() && HasColours(layout);
  }
  return false;
}

struct ChunkEncoder::Impl {
  int level = 0;
  ZSTD_CCtx* context = ZSTD_createCCtx();
  Bytes filtered;
  Bytes scratch;
  Bytes compressed;

  ~Impl() { ZSTD_freeCCtx(context); }

  void Set(ZSTD_cParameter parameter, int value) {
    DNC_ASSERT(!ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)));
  }

  ByteSpan CompressByZstd(ByteSpan bytes, bool literals_only) {
    ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
    Set(ZSTD_c_compressionLevel, literals_only ? 1 : level);
    if (literals_only) {
      // Repetitions of seven bytes at least, looked for in steps as large as there are.
      Set(ZSTD_c_strategy, ZSTD_fast);
      Set(ZSTD_c_minMatch, 7);
      Set(ZSTD_c_targetLength, ZSTD_TARGETLENGTH_MAX);
      Set(ZSTD_c_literalCompressionMode, ZSTD_ps_enable);
    }
    const std::span<std::byte> out = Grow(ZSTD_compressBound(bytes.size()), &compressed);
    const std::size_t size =
        ZSTD_compress2(context, out.data(), out.size(), bytes.data(), bytes.size());
    DNC_ASSERT(!ZSTD_isError(size));  // The bound is enough, and memory is there.
    return out.first(size);
  }

  ByteSpan CompressByLz4(ByteSpan bytes) {
    const int bound = LZ4_compressBound(static_cast<int>(bytes.size()));
    DNC_ASSERT(bound > 0);
    const std::span<std::byte> out = Grow(static_cast<std::size_t>(bound), &compressed);
    const int size = LZ4_compress_default(reinterpret_cast<const char*>(bytes.data()),
                                          reinterpret_cast<char*>(out.data()),
                                          static_cast<int>(bytes.size()), bound);
    DNC_ASSERT(size > 0);
    return out.first(static_cast<std::size_t>(size));
  }

  // Valid until the next call. Requires: raw is not empty.
  ByteSpan Compress(ByteSpan raw, const ChunkLayout& layout, const ChunkMethod& method) {
    if (method.codec == Codec::kStored) return raw;
    if (method.codec == Codec::kJpegXl) {
      compressed.clear();
      EncodePictures(raw, layout, &compressed);
      return compressed;
    }
    ByteSpan bytes = raw;
    if (method.filter != Filter::kNone) {
      const std::span<std::byte> out = Grow(raw.size(), &filtered);
      Apply(method.filter, raw, layout, &scratch, out.data());
      bytes = out;
    }
    return method.codec == Codec::kLz4 ? CompressByLz4(bytes)
                                       : CompressByZstd(bytes, method.literals_only);
  }
};

ChunkEncoder::ChunkEncoder(int zstd_level) : impl_(std::make_unique<Impl>()) {
  DNC_ASSERT(impl_->context != nullptr && zstd_level >= 1 && zstd_level <= ZSTD_maxCLevel());
  impl_->level = zstd_level;
}

ChunkEncoder::~ChunkEncoder() = default;

ChunkEntry ChunkEncoder::Encode(ByteSpan raw, const ChunkLayout& layout, const ChunkMethod& method,
                                Bytes* out) {
  DNC_ASSERT(IsPossible(method.filter, method.codec, layout));
  ByteSpan stored = raw;
  ChunkEntry entry;
  if (!raw.empty()) {
    const ByteSpan compressed = impl_->Compress(raw, layout, method);
    if (compressed.size() < raw.size()) {
      stored = compressed;
      entry.filter = method.filter;
      entry.codec = method.codec;
    }
  }
  entry.raw_bytes = static_cast<std::uint32_t>(raw.size());
  entry.stored_bytes = static_cast<std::uint32_t>(stored.size());
  entry.checksum = Checksum(stored);
  out->insert(out->end(), stored.begin(), stored.end());
  return entry;
}

ChunkMethod ChunkEncoder::ChooseMethod(ByteSpan raw, const ChunkLayout& layout,
                                       Compression compression) {
  ChunkMethod best;
  if (raw.empty()) return best;
  std::size_t least = SIZE_MAX;
  for (const ChunkMethod& method : Methods(layout, compression)) {
    const std::size_t size = impl_->Compress(raw, layout, method).size();
    if (size < least) {
      least = size;
      best = method;
    }
  }
  return best;
}

struct ChunkDecoder::Impl {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  Bytes filtered;
  Bytes scratch;

  ~Impl() { ZSTD_freeDCtx(context); }

  // Fills all of `out`.
  bool Decompress(Codec codec, ByteSpan stored, std::span<std::byte> out) {
    if (codec == Codec::kLz4) {
      const int size = LZ4_decompress_safe(
          reinterpret_cast<const char*>(stored.data()), reinterpret_cast<char*>(out.data()),
          static_cast<int>(stored.size()), static_cast<int>(out.size()));
      return size >= 0 && static_cast<std::size_t>(size) == out.size();
    }
    const std::size_t size =
        ZSTD_decompressDCtx(context, out.data(), out.size(), stored.data(), stored.size());
    return !ZSTD_isError(size) && size == out.size();
  }
};

ChunkDecoder::ChunkDecoder() : impl_(std::make_unique<Impl>()) {
  DNC_ASSERT(impl_->context != nullptr);
}

ChunkDecoder::~ChunkDecoder() = default;

bool ChunkDecoder::Decode(const ChunkEntry& entry, ByteSpan stored, const ChunkLayout& layout,
                          std::span<std::byte> raw) {
  if (stored.size() != entry.stored_bytes || Checksum(stored) != entry.checksum) return false;
  if (entry.codec == Codec::kStored) {
    if (stored.size() != raw.size()) return false;
    if (!raw.empty() && stored.data() != raw.data())
      std::memcpy(raw.data(), stored.data(), raw.size());
    return true;
  }
  if (raw.empty()) return false;  // Nothing is smaller than nothing.
  if (entry.codec == Codec::kJpegXl) return DecodePictures(stored, layout, &impl_->scratch, raw);
  const bool plain = entry.filter == Filter::kNone;
  const std::span<std::byte> target = plain ? raw : Grow(raw.size(), &impl_->filtered);
  if (!impl_->Decompress(entry.codec, stored, target)) return false;
  Undo(entry.filter, target, layout, &impl_->scratch, raw);
  return true;
}

}  // namespace dnc::shard
