// A CAR, in pieces: what is handed on must be the block of its id.

#include "base/assert.h"
#include "ipfs/car.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using dnc::ByteSpan;
  dnc::ipfs::CarReader reader([](const dnc::ipfs::Cid& cid, ByteSpan block) -> dnc::Status {
    DNC_ASSERT(dnc::ipfs::CidOf(cid.codec, block) == cid);
    return {};
  });
  const ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  const std::size_t step = size == 0 ? 1 : 1 + data[0] % 64u;
  for (std::size_t begin = 0; begin < size; begin += step) {
    if (!reader.Feed(bytes.subspan(begin, std::min(step, size - begin))).ok()) return 0;
  }
  static_cast<void>(reader.Finish().ok());
  return 0;
}
