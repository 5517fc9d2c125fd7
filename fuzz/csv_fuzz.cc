// A csv file, with its label given in each of the ways there are.

#include "fuzz_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const char* label : {"", "#0", "#1", "y"}) {
    dnc::source::SourceOptions options;
    options.label_column = label;
    dnc::fuzz::ReadEverything(dnc::fuzz::File(data, size), options);
  }
  return 0;
}
