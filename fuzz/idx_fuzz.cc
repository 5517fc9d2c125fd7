// An idx file, plain or within gzip.

#include "fuzz_source.h"
#include "source/array_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dnc::source::SharedSource file = dnc::fuzz::File(data, size);
  static_cast<void>(dnc::source::OpenIdx(file));
  dnc::fuzz::ReadEverything(file, {});
  return 0;
}
