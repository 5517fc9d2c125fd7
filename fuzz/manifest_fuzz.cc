// Feeds the manifest's parser; what it takes must come back as it is.

#include "base/assert.h"
#include "shard/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto manifest = dnc::shard::ParseManifest(text, "manifest");
  if (!manifest.ok()) return 0;
  const std::string formatted = FormatManifest(*manifest);
  const auto again = dnc::shard::ParseManifest(formatted, "manifest");
  DNC_ASSERT(again.ok() && FormatManifest(*again) == formatted);
  return 0;
}
