// A MATLAB file of format 5: the elements, compressed or not, and the arrays within.

#include "fuzz_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dnc::fuzz::ReadEverything(dnc::fuzz::File(data, size), {});
  return 0;
}
