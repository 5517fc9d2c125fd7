// An idx file, plain or within gzip.

#include "fuzz_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dnc::fuzz::ReadEverything(dnc::fuzz::File(data, size), {});
  return 0;
}
