#include "stream/huge_pages.h"

#include <sys/mman.h>

#include <cstdint>

namespace dnc::stream {

void PreferHugePages(void* begin, std::size_t bytes) {
  constexpr std::uintptr_t kPageBytes = 4096;
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t first = (address + kPageBytes - 1) / kPageBytes * kPageBytes;
  const std::uintptr_t end = (address + bytes) / kPageBytes * kPageBytes;
  // Advice only: an error changes nothing that a caller could act on.
  if (end > first) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
}

}  // namespace dnc::stream
