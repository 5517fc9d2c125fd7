// Small shards for the tests of this room. Only *_test.cc files include this.

#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/bytes.h"
#include "base/prng.h"
#include "shard/shard_reader.h"
#include "shard/shard_writer.h"
#include "testing/testing.h"

namespace dnc::shard::test_data {

// One column of each size of element, a scalar, one without elements, and two of
// varying lengths.
inline std::vector<array::ColumnSpec> MixedColumns() {
  using array::DType;
  return {{"x", DType::kUint8, {4, 3}, {}},
          {"y", DType::kInt64, {}, {}},
          {"f", DType::kFloat32, {5}, {}},
          {"h", DType::kFloat16, {2, 1, 2}, {}},
          {"none", DType::kFloat64, {0}, {}},
          {"d", DType::kFloat64, {1}, {}},
          {"t", DType::kUint8, {}, {}, array::ColumnKind::kText},
          {"i", DType::kUint8, {}, {}, array::ColumnKind::kImage}};
}

// Slowly rising numbers with a little noise: bytes that compress, and gain by shuffling.
inline array::SampleBlock MakeBlock(const std::vector<array::ColumnSpec>& columns,
                                    std::uint64_t samples, std::uint64_t seed) {
  Prng prng(seed);
  array::SampleBlock block;
  block.sample_count = samples;
  for (const array::ColumnSpec& column : columns) {
    std::vector<std::uint32_t>& ends = block.ends.emplace_back();
    std::uint32_t end = 0;
    for (std::uint64_t i = 0; i < samples && !column.is_array(); ++i) {
      ends.push_back(end += static_cast<std::uint32_t>(prng.Next() % 9));
    }
    Bytes bytes(column.is_array() ? samples * column.sample_bytes() : end);
    const std::size_t size = array::DTypeSize(column.dtype);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const std::size_t byte = i % size;
      bytes[i] = static_cast<std::byte>(byte == 0 ? prng.Next() & 15 : seed + byte);
    }
    block.columns.push_back(std::move(bytes));
  }
  return block;
}

inline std::vector<array::SampleBlock> MakeBlocks(const std::vector<array::ColumnSpec>& columns,
                                                  std::uint64_t samples,
                                                  std::uint32_t block_samples) {
  std::vector<array::SampleBlock> blocks;
  for (std::uint64_t begin = 0; begin < samples; begin += block_samples) {
    blocks.push_back(MakeBlock(columns, std::min<std::uint64_t>(block_samples, samples - begin),
                               blocks.size() + 1));
  }
  return blocks;
}

inline Bytes WriteShard(const std::vector<array::ColumnSpec>& columns,
                        const std::vector<array::SampleBlock>& blocks,
                        const ShardWriterOptions& options) {
  Bytes shard;
  ShardWriter writer(columns, options, [&shard](ByteSpan bytes) {
    shard.insert(shard.end(), bytes.begin(), bytes.end());
    return Status();
  });
  for (const array::SampleBlock& block : blocks)
    EXPECT_THAT(writer.Append(block), test::Succeeds());
  EXPECT_THAT(writer.Finish(), test::Succeeds());
  EXPECT_EQ(writer.bytes_written(), shard.size());
  return shard;
}

inline Result<std::vector<array::SampleBlock>> ReadAll(const RandomAccessSource& source,
                                                       const ShardLimits& limits = {}) {
  DNC_ASSIGN(const ShardReader reader, ShardReader::Open(&source, limits));
  BlockDecoder decoder;
  std::vector<array::SampleBlock> blocks;
  for (std::uint32_t b = 0; b < reader.summary().block_count; ++b) {
    array::SampleBlock block;
    DNC_TRY(decoder.Decode(reader, b, &block));
    blocks.push_back(std::move(block));
  }
  return blocks;
}

}  // namespace dnc::shard::test_data
