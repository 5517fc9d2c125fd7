#include "stream/allocator.h"

#include <malloc.h>

namespace dnc::stream {

void BoundHeap() {
  // Otherwise the threshold grows to 32 MiB with the first large block that is freed, and
  // blocks below it stay in the heap, in holes that the next do not fit.
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 10);
  ::mallopt(M_ARENA_MAX, 2);
}

}  // namespace dnc::stream
