// The URL of a database.

#include "sql/url.h"

#include <cstdint>

#include "base/assert.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto url = dnc::sql::ParseUrl({reinterpret_cast<const char*>(data), size});
  DNC_ASSERT(url.ok() || !url.error().message.empty());
  if (url.ok()) dnc::sql::WithoutPassword(*url, url->path);
  return 0;
}
