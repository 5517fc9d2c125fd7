#include "shard/shard_format.h"

#include <xxhash.h>

#include "base/assert.h"

namespace dnc::shard {

// The format stores a dtype as the value of its enumerator.
static_assert(static_cast<int>(array::DType::kBool) == 0);
static_assert(static_cast<int>(array::DType::kInt8) == 1);
static_assert(static_cast<int>(array::DType::kUint8) == 2);
static_assert(static_cast<int>(array::DType::kInt16) == 3);
static_assert(static_cast<int>(array::DType::kUint16) == 4);
static_assert(static_cast<int>(array::DType::kInt32) == 5);
static_assert(static_cast<int>(array::DType::kUint32) == 6);
static_assert(static_cast<int>(array::DType::kInt64) == 7);
static_assert(static_cast<int>(array::DType::kUint64) == 8);
static_assert(static_cast<int>(array::DType::kFloat16) == 9);
static_assert(static_cast<int>(array::DType::kFloat32) == 10);
static_assert(static_cast<int>(array::DType::kFloat64) == 11);

std::uint64_t Checksum(ByteSpan bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Bytes ShardHeader() {
  ByteWriter writer;
  writer.PutBytes(AsBytes(kHeaderMagic));
  writer.Put(kShardVersion);
  writer.Put(std::uint32_t{0});
  DNC_ASSERT(writer.size() == kHeaderBytes);
  return std::move(writer).Take();
}

Bytes FormatFooter(const Footer& footer) {
  ByteWriter writer;
  writer.Put(footer.index_offset);
  writer.Put(footer.index_bytes);
  writer.Put(footer.index_checksum);
  writer.Put(footer.samples);
  writer.Put(footer.block_samples);
  writer.Put(footer.block_count);
  writer.Put(footer.column_count);
  writer.Put(kShardVersion);
  DNC_ASSERT(writer.size() == kFooterChecksumOffset);
  writer.Put(Checksum(writer.bytes()));
  writer.PutBytes(AsBytes(kFooterMagic));
  DNC_ASSERT(writer.size() == kFooterBytes);
  return std::move(writer).Take();
}

}  // namespace dnc::shard
