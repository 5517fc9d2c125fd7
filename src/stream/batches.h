// Where batches come from: gathered straight out of the windows, or out of chunks that
// were decoded ahead (decode_ahead.h). Private to this room.

#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/time.h"
#include "stream/destination.h"
#include "stream/window_pump.h"

namespace dnc::stream {

struct Gathered {
  std::uint64_t samples = 0;  // 0: at the end.
  std::uint64_t repeated = 0;
  std::uint64_t epoch = 0;  // Of all of them.
};

class Batches {
 public:
  virtual ~Batches() = default;
  // As Stream::Next; what varies is put behind what the destinations hold.
  virtual Result<Gathered> Next(std::uint64_t sample_count_max,
                                std::span<const Destination> destinations) = 0;
  // Whether Next would not wait; waits for that, at most `timeout`.
  virtual bool WaitUntilReady(Duration timeout) = 0;
  virtual Duration waited() const = 0;
};

// `pump` must outlive the batches. A window is repeated while the next one is not there,
// up to `reuse_max` times.
std::unique_ptr<Batches> MakeDirectBatches(WindowPump* pump, std::uint32_t reuse_max);

}  // namespace dnc::stream
