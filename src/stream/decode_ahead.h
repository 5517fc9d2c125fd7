// Images decoded and resized ahead of the caller by threads of their own, a chunk of
// samples at a time, into a ring of a fixed number of bytes. Private to this room.

#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"
#include "image/image.h"
#include "shard/manifest.h"
#include "stream/batches.h"

namespace dnc::stream {

struct DecodeOptions {
  image::ImageSize size;
  int threads = 1;
  std::uint64_t chunk_samples = 1;
  std::uint64_t chunk_count = 2;  // At least 2.
  std::uint32_t reuse_max = 0;
};

// How a ring of so many bytes is divided among so many threads.
DecodeOptions SpreadRing(std::uint64_t ring_bytes, std::uint64_t sample_bytes, int threads);

// `manifest` and `pump` must outlive the batches, which must end before the pump.
// Errors: kResourceExhausted, no memory or thread.
Result<std::unique_ptr<Batches>> MakeDecodedBatches(const shard::Manifest* manifest,
                                                    WindowPump* pump, const DecodeOptions& options);

}  // namespace dnc::stream
