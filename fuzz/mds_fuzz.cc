// An MDS folder: the first two bytes say how long index.json is, the rest is the file "s"
// that it may name.

#include <cstdlib>
#include <fstream>
#include <string>

#include "fuzz_source.h"
#include "source/mds_index.h"
#include "source/mds_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string folder = [] {
    std::string path = "/tmp/dnc-mds-fuzz-XXXXXX";
    DNC_ASSERT(::mkdtemp(path.data()) != nullptr);
    return path;
  }();
  if (size < 2) return 0;
  const std::size_t index_bytes = std::min<std::size_t>(data[0] | data[1] << 8, size - 2);
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  // Without a shard in its own folder it is the index alone that is read.
  const auto shards = dnc::source::ParseMdsIndex(text.substr(0, index_bytes), "index");
  if (!shards.ok()) return 0;
  std::ofstream(folder + "/index.json") << text.substr(0, index_bytes);
  std::ofstream(folder + "/s") << text.substr(index_bytes);
  auto source = dnc::source::OpenMds(folder, {});
  if (source.ok()) dnc::fuzz::ReadSource(source->get());
  return 0;
}
