// Feeds the decoder of update containers. The first byte chooses: 0, the rest is a
// whole container; else the rest becomes the chunks of one, with right checksums.

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "shard/shard_format.h"
#include "update/update.h"

namespace {

using dnc::ByteReader;
using dnc::Bytes;
using dnc::ByteSpan;
using dnc::ByteWriter;
using dnc::shard::Checksum;  // XXH3-64, as update containers use it.

Bytes Forge(ByteReader* input, std::uint64_t count) {
  ByteWriter container;
  container.PutBytes(dnc::AsBytes("DNCUPDAT"));
  container.Put(std::uint32_t{1});
  container.Put(std::uint32_t{1});
  container.Put(count);
  container.Put(Checksum(container.bytes()));
  while (input->ok() && input->remaining() > 0) {
    ByteWriter chunk;
    const std::uint32_t form = input->Get<std::uint8_t>() % 3u;
    const ByteSpan stored =
        input->GetBytes(std::min<std::size_t>(input->Get<std::uint16_t>(), input->remaining()));
    chunk.Put(static_cast<std::uint32_t>(stored.size()));
    chunk.Put(form);
    chunk.PutBytes(stored);
    container.Put(Checksum(chunk.bytes()));
    container.PutBytes(chunk.bytes());
  }
  return std::move(container).Take();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(std::as_bytes(std::span(data, size)));
  const bool whole = input.Get<std::uint8_t>() == 0;
  // Small counts mostly, and some across two chunks.
  std::uint64_t count = input.Get<std::uint16_t>() % 1024u;
  if (input.Get<std::uint8_t>() % 16u == 0) count += dnc::update::kChunkValues;
  const ByteSpan rest = input.GetBytes(input.remaining());
  ByteReader chunks(rest);
  const Bytes forged = whole ? Bytes() : Forge(&chunks, count);
  const ByteSpan bytes = whole ? rest : ByteSpan(forged);
  const auto values = dnc::update::Decode(bytes, count);
  if (!values.ok()) return 0;
  DNC_ASSERT(values->size() == count);
  dnc::update::AllFinite(*values);
  const auto again = dnc::update::Decode(dnc::update::Encode(*values), count);
  DNC_ASSERT(again.ok());
  DNC_ASSERT(count == 0 || std::memcmp(again->data(), values->data(), count * sizeof(float)) == 0);
  return 0;
}
