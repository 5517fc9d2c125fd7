// Advice to the kernel for large buffers.

#pragma once

#include <cstddef>

namespace dnc::stream {

// Asks for 2 MiB pages under `bytes` bytes at `begin` that were not touched yet:
// the first touch then costs a quarter (measured 8.7 instead of 2.1 GB/s). Where
// the system has none, nothing changes.
void PreferHugePages(void* begin, std::size_t bytes);

}  // namespace dnc::stream
