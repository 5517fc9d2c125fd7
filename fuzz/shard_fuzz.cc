// Feeds the shard reader. The first byte chooses: 0, the rest is a whole file; else the
// rest says what to forge, with right checksums, which a fuzzer would not guess.

#include <algorithm>
#include <vector>

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
  std::vector<std::uint64_t> sample_bytes;  // One a column; 0 where samples vary.
  for (std::uint32_t c = 0; c < columns; ++c) {
    const auto kind = static_cast<std::uint8_t>(input->Get<std::uint8_t>() % 5u);
    const auto rank = static_cast<std::uint8_t>(input->Get<std::uint8_t>() % 5u);
    const auto name_bytes = static_cast<std::uint16_t>(input->Get<std::uint8_t>() % 4u);
    const auto dtype = static_cast<std::uint8_t>(input->Get<std::uint8_t>() % 14u);
    index.Put(kind);
    index.Put(dtype);
    index.Put(rank);
    index.Put(name_bytes);
    index.PutBytes(input->GetBytes(name_bytes));
    std::uint64_t bytes = dtype < dnc::array::kDTypeCount
                              ? dnc::array::DTypeSize(static_cast<dnc::array::DType>(dtype))
                              : 1;
    for (int axis = 0; axis < rank; ++axis) {
      const bool small = input->Get<std::uint8_t>() % 8u != 0;
      const std::int64_t length = small ? input->Get<std::uint8_t>() : input->Get<std::int64_t>();
      index.Put(length);
      bytes *= static_cast<std::uint64_t>(length);
    }
    sample_bytes.push_back(kind == 0 ? bytes : 0);
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
      const bool right = sample_bytes[c] > 0 && input->Get<std::uint8_t>() % 8u != 0;
      index.Put(right ? static_cast<std::uint32_t>(samples * sample_bytes[c])
                      : input->Get<std::uint16_t>() * 1u);
      index.Put(
          static_cast<std::uint8_t>(input->Get<std::uint8_t>() % (dnc::shard::kFilterCount + 1u)));
      index.Put(
          static_cast<std::uint8_t>(input->Get<std::uint8_t>() % (dnc::shard::kCodecCount + 1u)));
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
      const auto& column = reader->summary().columns[c];
      if (column.is_array()) {
        DNC_ASSERT(block.columns[c].size() == block.sample_count * column.sample_bytes());
      } else {
        DNC_ASSERT(block.ends[c].size() == block.sample_count &&
                   (block.sample_count == 0 || block.ends[c].back() == block.columns[c].size()));
      }
    }
  }
  return 0;
}
