// Feeds the shard reader. The first byte chooses: 0, the rest is a whole file; else the
// rest says what to forge, with right checksums, which a fuzzer would not guess.

#include <algorithm>

#include "base/assert.h"
#include "base/random_access_source.h"
#include "shard/shard_format.h"
#include "shard/shard_reader.h"

namespace {

using dnc::ByteReader;
using dnc::Bytes;
using dnc::ByteSpan;
using dnc::ByteWriter;

Bytes Forge(ByteReader* input) {
  const auto columns = input->Get<std::uint8_t>() % 4u;
  const auto blocks = input->Get<std::uint8_t>() % 4u;
  ByteWriter index;
  for (std::uint32_t c = 0; c < columns; ++c) {
    const auto rank = static_cast<std::uint8_t>(input->Get<std::uint8_t>() % 5u);
    const auto name_bytes = static_cast<std::uint16_t>(input->Get<std::uint8_t>() % 4u);
    index.Put(static_cast<std::uint8_t>(input->Get<std::uint8_t>() % 16u));
    index.Put(rank);
    index.Put(name_bytes);
    index.PutBytes(input->GetBytes(name_bytes));
    for (int axis = 0; axis < rank; ++axis) {
      const bool small = input->Get<std::uint8_t>() % 8u != 0;
      index.Put(small ? input->Get<std::uint8_t>() : input->Get<std::int64_t>());
    }
  }
  ByteWriter shard;
  shard.PutBytes(dnc::shard::ShardHeader());
  dnc::shard::Footer footer;
  for (std::uint32_t b = 0; b < blocks; ++b) {
    const std::uint32_t samples = input->Get<std::uint16_t>();
    footer.samples += samples;
    index.Put(std::uint64_t{shard.size()});
    index.Put(samples);
    for (std::uint32_t c = 0; c < columns; ++c) {
      const ByteSpan stored =
          input->GetBytes(std::min<std::size_t>(input->Get<std::uint16_t>(), input->remaining()));
      shard.PutBytes(stored);
      index.Put(static_cast<std::uint32_t>(stored.size()));
      index.Put(static_cast<std::uint8_t>(input->Get<std::uint8_t>() % 3u));
      index.Put(static_cast<std::uint8_t>(input->Get<std::uint8_t>() % 3u));
      index.Put(dnc::shard::Checksum(stored));
    }
  }
  footer.block_samples = input->Get<std::uint16_t>();
  footer.block_count = blocks;
  footer.column_count = columns;
  footer.index_offset = shard.size();
  footer.index_bytes = index.size();
  footer.index_checksum = dnc::shard::Checksum(index.bytes());
  shard.PutBytes(index.bytes());
  shard.PutBytes(FormatFooter(footer));
  return std::move(shard).Take();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(std::as_bytes(std::span(data, size)));
  const bool whole = input.Get<std::uint8_t>() == 0;
  const ByteSpan rest = input.GetBytes(input.remaining());
  ByteReader choices(rest);
  const Bytes forged = whole ? Bytes() : Forge(&choices);
  const dnc::MemorySource source(whole ? rest : ByteSpan(forged));
  const auto reader = dnc::shard::ShardReader::Open(&source, {.block_bytes_max = 1u << 20});
  if (!reader.ok()) return 0;
  dnc::shard::BlockDecoder decoder;
  dnc::array::SampleBlock block;
  for (std::uint32_t b = 0; b < reader->summary().block_count; ++b) {
    if (!decoder.Decode(*reader, b, &block).ok()) continue;
    DNC_ASSERT(block.sample_count == reader->extent(b).samples);
    for (std::size_t c = 0; c < block.columns.size(); ++c) {
      DNC_ASSERT(block.columns[c].size() ==
                 block.sample_count * reader->summary().columns[c].sample_bytes());
    }
  }
  return 0;
}
