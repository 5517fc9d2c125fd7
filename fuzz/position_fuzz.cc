// Where a stream stood, as a file or a caller gives it back.

#include "base/assert.h"
#include "stream/position.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto position = dnc::stream::ParsePosition(text, "position");
  if (!position.ok()) return 0;
  const auto again = dnc::stream::ParsePosition(dnc::stream::FormatPosition(*position), "again");
  DNC_ASSERT(again.ok() && *again == *position);
  return 0;
}
