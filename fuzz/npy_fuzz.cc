// An npy file: its header, and its elements in either order.

#include "array/npy_header.h"
#include "fuzz_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dnc::source::SharedSource file = dnc::fuzz::File(data, size);
  const auto header = dnc::array::ReadNpyHeader(*file);
  if (header.ok()) {
    // What is written for an accepted header reads back the same.
    const dnc::Bytes formatted = dnc::array::FormatNpyHeader(header->dtype, header->shape);
    const auto again = dnc::array::ParseNpyHeader(formatted, "again");
    DNC_ASSERT(again.ok() && again->shape == header->shape && again->dtype == header->dtype);
  }
  dnc::fuzz::ReadEverything(file, {});
  return 0;
}
