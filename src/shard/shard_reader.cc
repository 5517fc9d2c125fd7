#include "shard/shard_reader.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include "base/assert.h"
#include "shard/chunk_codec.h"
#include "shard/chunk_layout.h"
#include "shard/shard_format.h"

namespace dnc::shard {

struct ShardReader::Impl {
  const RandomAccessSource* source = nullptr;
  ShardSummary summary;
  std::vector<std::size_t> sample_bytes;  // One a column; 0 where lengths vary.
  std::vector<ChunkLayout> layouts;       // Likewise.
  std::vector<BlockEntry> blocks;
  std::vector<ChunkEntry> chunks;  // Block by block, column by column.
  std::uint64_t index_offset = 0;
  bool has_ends = false;  // Some column's samples vary in length.

  std::span<const ChunkEntry> ChunksOf(std::uint32_t block_index) const {
    const std::size_t columns = sample_bytes.size();
    return std::span(chunks).subspan(block_index * columns, columns);
  }
};

namespace {

Error Corrupt(const RandomAccessSource& source, const std::string& what) {
  return {ErrorCode::kCorrupt,
          source.name() + ": not a sound shard: " + what + "; fetch or divide it again"};
}

Result<Footer> ReadFooter(const RandomAccessSource& source, const ShardLimits& limits) {
  const std::uint64_t size = source.size();
  if (size < kHeaderBytes + kFooterBytes) {
    return Corrupt(source, "it has " + std::to_string(size) + " bytes, and the least is " +
                               std::to_string(kHeaderBytes + kFooterBytes));
  }
  std::array<std::byte, kFooterBytes> bytes;
  DNC_TRY(source.ReadAt(size - kFooterBytes, bytes));
  ByteReader reader(bytes);
  Footer footer;
  footer.index_offset = reader.Get<std::uint64_t>();
  footer.index_bytes = reader.Get<std::uint64_t>();
  footer.index_checksum = reader.Get<std::uint64_t>();
  footer.samples = reader.Get<std::uint64_t>();
  footer.block_samples = reader.Get<std::uint32_t>();
  footer.block_count = reader.Get<std::uint32_t>();
  footer.column_count = reader.Get<std::uint32_t>();
  const auto version = reader.Get<std::uint32_t>();
  const auto checksum = reader.Get<std::uint64_t>();
  // The magic and version come first: a later version may lay out the rest anew.
  if (AsText(reader.GetBytes(kFooterMagic.size())) != kFooterMagic) {
    return Corrupt(source, "it does not end as a shard does; it may be truncated");
  }
  if (version != kShardVersion) {
    return Error{ErrorCode::kUnsupported,
                 source.name() + ": a shard of version " + std::to_string(version) +
                     ", but this program reads version " + std::to_string(kShardVersion) +
                     "; update the program"};
  }
  if (checksum != Checksum(ByteSpan(bytes).first(kFooterChecksumOffset))) {
    return Corrupt(source, "the checksum of its footer is wrong");
  }
  if (footer.index_offset < kHeaderBytes || footer.index_bytes > size ||
      footer.index_offset != size - kFooterBytes - footer.index_bytes) {
    return Corrupt(source, "its index does not fit its size of " + std::to_string(size) + " bytes");
  }
  if (footer.block_count > limits.block_count_max) {
    return Corrupt(source, std::to_string(footer.block_count) + " blocks; at most " +
                               std::to_string(limits.block_count_max) + " are read");
  }
  if (footer.column_count == 0 || footer.column_count > limits.column_count_max) {
    return Corrupt(source, std::to_string(footer.column_count) + " columns; expected 1 to " +
                               std::to_string(limits.column_count_max));
  }
  // Bounds what the parsed index takes in memory by what the file has.
  const std::uint64_t least =
      footer.column_count * std::uint64_t{kColumnEntryBytes} +
      footer.block_count *
          (kBlockEntryBytes + std::uint64_t{1} * footer.column_count * kChunkEntryBytes);
  if (footer.index_bytes < least) return Corrupt(source, "its index is too short for its blocks");
  return footer;
}

// Reads and verifies the index; without blocks also the header, which otherwise
// comes with the first block.
Result<Bytes> ReadIndex(const RandomAccessSource& source, const Footer& footer) {
  const std::size_t skipped = footer.block_count == 0 ? kHeaderBytes : 0;
  if (skipped > 0 && footer.index_offset != kHeaderBytes) {
    return Corrupt(source, "it has bytes but no blocks");
  }
  Bytes bytes(footer.index_bytes + skipped);
  DNC_TRY(source.ReadAt(footer.index_offset - skipped, bytes));
  if (skipped > 0) {
    const Bytes header = ShardHeader();
    if (!std::equal(header.begin(), header.end(), bytes.begin())) {
      return Corrupt(source, "its header is damaged");
    }
    bytes.erase(bytes.begin(), bytes.begin() + kHeaderBytes);
  }
  if (Checksum(bytes) != footer.index_checksum) {
    return Corrupt(source, "the checksum of its index is wrong");
  }
  return bytes;
}

Status ParseColumns(const RandomAccessSource& source, const Footer& footer, ByteReader* reader,
                    std::vector<array::ColumnSpec>* columns) {
  std::set<std::string> names;
  for (std::uint32_t c = 0; c < footer.column_count; ++c) {
    array::ColumnSpec column;
    const auto kind = reader->Get<std::uint8_t>();
    const auto dtype = reader->Get<std::uint8_t>();
    const auto rank = reader->Get<std::uint8_t>();
    const auto name_bytes = reader->Get<std::uint16_t>();
    column.name = AsText(reader->GetBytes(name_bytes));
    if (rank > kRankMax || !reader->ok()) return Corrupt(source, "its columns are malformed");
    for (int axis = 0; axis < rank; ++axis) column.shape.push_back(reader->Get<std::int64_t>());
    if (!reader->ok()) return Corrupt(source, "its columns are malformed");
    if (column.name.empty() || column.name.size() > kNameBytesMax ||
        !names.insert(column.name).second) {
      return Corrupt(source, "a column without a name of its own");
    }
    if (dtype >= array::kDTypeCount) {
      return Error{ErrorCode::kUnsupported, source.name() + ": column " + column.name +
                                                " has the unknown dtype " + std::to_string(dtype)};
    }
    if (kind > static_cast<std::uint8_t>(array::ColumnKind::kImage)) {
      return Error{ErrorCode::kUnsupported, source.name() + ": column " + column.name +
                                                " is of the unknown kind " + std::to_string(kind)};
    }
    column.dtype = static_cast<array::DType>(dtype);
    column.kind = static_cast<array::ColumnKind>(kind);
    if (!column.is_array() && (column.dtype != array::DType::kUint8 || rank != 0)) {
      return Corrupt(source, "column " + column.name + " has a shape, but no arrays");
    }
    if (!array::ElementCount(column.shape)) {
      return Corrupt(source, "column " + column.name + " has the impossible shape " +
                                 array::ShapeText(column.shape));
    }
    columns->push_back(std::move(column));
  }
  return {};
}

// Bytes of a sample, a column at a time, such that the arrays of the largest block
// are within the limit.
Result<std::vector<std::size_t>> CheckedSampleBytes(const RandomAccessSource& source,
                                                    const Footer& footer,
                                                    const std::vector<array::ColumnSpec>& columns,
                                                    const ShardLimits& limits) {
  std::vector<std::size_t> sample_bytes;
  const std::uint64_t largest = footer.block_count > 1
                                    ? footer.block_samples
                                    : std::min<std::uint64_t>(footer.samples, footer.block_samples);
  std::uint64_t rest = limits.block_bytes_max / std::max<std::uint64_t>(largest, 1);
  for (const array::ColumnSpec& column : columns) {
    const std::size_t bytes = column.is_array() ? column.sample_bytes() : 0;
    if (bytes > rest) {
      return Corrupt(source, "a block of " + std::to_string(largest) + " samples has more than " +
                                 std::to_string(limits.block_bytes_max) + " bytes, the limit");
    }
    rest -= bytes;
    sample_bytes.push_back(bytes);
  }
  return sample_bytes;
}

Status CheckChunk(const RandomAccessSource& source, std::uint8_t filter, std::uint8_t codec,
                  const ChunkEntry& chunk, const ChunkLayout& layout) {
  if (filter >= kFilterCount || codec >= kCodecCount) {
    return Error{ErrorCode::kUnsupported,
                 source.name() + ": a chunk with filter " + std::to_string(filter) + " and codec " +
                     std::to_string(codec) + ", which this program does not know; update it"};
  }
  const bool stored = codec == static_cast<std::uint8_t>(Codec::kStored);
  const bool sound =
      IsPossible(static_cast<Filter>(filter), static_cast<Codec>(codec), layout) &&
      (stored ? chunk.stored_bytes == chunk.raw_bytes : chunk.stored_bytes < chunk.raw_bytes);
  if (!sound) return Corrupt(source, "a chunk's size or filter does not fit its samples");
  return {};
}

// Whether `bytes` can be what `samples` of a column take.
bool FitsSamples(std::uint64_t bytes, std::uint64_t samples, bool is_array,
                 std::size_t sample_bytes) {
  return is_array ? bytes == samples * sample_bytes : bytes >= samples * sizeof(std::uint32_t);
}

}  // namespace

// The chunks of one block of the index; `offset` moves to where they end in the file.
Status ShardReader::ReadChunks(const RandomAccessSource& source, const BlockEntry& block,
                               const ShardLimits& limits, ByteReader* reader, Impl* impl,
                               std::uint64_t* offset) {
  std::uint64_t raw_bytes = 0;
  for (std::size_t c = 0; c < impl->sample_bytes.size(); ++c) {
    const array::ColumnSpec& column = impl->summary.columns[c];
    ChunkEntry chunk;
    chunk.stored_bytes = reader->Get<std::uint32_t>();
    chunk.raw_bytes = reader->Get<std::uint32_t>();
    const auto filter = reader->Get<std::uint8_t>();
    const auto codec = reader->Get<std::uint8_t>();
    chunk.checksum = reader->Get<std::uint64_t>();
    DNC_TRY(CheckChunk(source, filter, codec, chunk, impl->layouts[c]));
    raw_bytes += chunk.raw_bytes;
    if (!FitsSamples(chunk.raw_bytes, block.samples, column.is_array(), impl->sample_bytes[c])) {
      return Corrupt(source, "a chunk's size does not fit its samples");
    }
    chunk.filter = static_cast<Filter>(filter);
    chunk.codec = static_cast<Codec>(codec);
    *offset += chunk.stored_bytes;
    impl->chunks.push_back(chunk);
  }
  if (raw_bytes > limits.block_bytes_max) {
    return Corrupt(source, "a block of " + std::to_string(raw_bytes) + " bytes; at most " +
                               std::to_string(limits.block_bytes_max) + " are read");
  }
  return {};
}

Result<ShardReader> ShardReader::Open(const RandomAccessSource* source, const ShardLimits& limits) {
  DNC_ASSERT(source != nullptr);
  DNC_ASSIGN(const Footer footer, ReadFooter(*source, limits));
  DNC_ASSIGN(const Bytes index, ReadIndex(*source, footer));
  ByteReader reader(index);
  auto impl = std::make_unique<Impl>();
  DNC_TRY(ParseColumns(*source, footer, &reader, &impl->summary.columns));
  DNC_ASSIGN(impl->sample_bytes,
             CheckedSampleBytes(*source, footer, impl->summary.columns, limits));

  for (const array::ColumnSpec& column : impl->summary.columns) {
    impl->layouts.push_back(LayoutOf(column));
  }
  impl->blocks.reserve(footer.block_count);
  impl->chunks.reserve(std::size_t{footer.block_count} * footer.column_count);
  std::uint64_t offset = kHeaderBytes;
  std::uint64_t samples = 0;
  for (std::uint32_t b = 0; b < footer.block_count; ++b) {
    BlockEntry block;
    block.offset = reader.Get<std::uint64_t>();
    block.samples = reader.Get<std::uint32_t>();
    const bool last = b + 1 == footer.block_count;
    if (block.offset != offset || block.samples == 0 || block.samples > footer.block_samples ||
        (!last && block.samples != footer.block_samples)) {
      return Corrupt(*source, "block " + std::to_string(b) + " is not where or as long as it must");
    }
    DNC_TRY(ReadChunks(*source, block, limits, &reader, impl.get(), &offset));
    samples += block.samples;
    impl->blocks.push_back(block);
  }
  if (!reader.AtEnd() || offset != footer.index_offset || samples != footer.samples ||
      footer.block_samples == 0) {
    return Corrupt(*source, "its index does not add up to its footer");
  }
  impl->has_ends = !array::AllArrays(impl->summary.columns);
  impl->source = source;
  impl->index_offset = footer.index_offset;
  impl->summary.samples = samples;
  impl->summary.block_samples = footer.block_samples;
  impl->summary.block_count = footer.block_count;
  return ShardReader(std::move(impl));
}

ShardReader::ShardReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ShardReader::~ShardReader() = default;
ShardReader::ShardReader(ShardReader&&) noexcept = default;
ShardReader& ShardReader::operator=(ShardReader&&) noexcept = default;

const ShardSummary& ShardReader::summary() const { return impl_->summary; }

BlockExtent ShardReader::extent(std::uint32_t block_index) const {
  DNC_ASSERT(block_index < impl_->blocks.size());
  const BlockEntry& block = impl_->blocks[block_index];
  const std::uint64_t begin = block_index == 0 ? 0 : block.offset;
  const std::uint64_t end = block_index + 1 == impl_->blocks.size()
                                ? impl_->index_offset
                                : impl_->blocks[block_index + 1].offset;
  return {begin, end - begin, block.samples};
}

ChunkSummary ShardReader::chunk(std::uint32_t block_index, std::size_t column) const {
  DNC_ASSERT(block_index < impl_->blocks.size() && column < impl_->sample_bytes.size());
  constexpr const char* kFilterNames[kFilterCount] = {"none",  "byte shuffle", "bit shuffle",
                                                      "delta", "prediction",   "colour prediction"};
  constexpr const char* kCodecNames[kCodecCount] = {"stored", "zstd", "lz4", "jpeg xl"};
  const ChunkEntry& chunk = impl_->ChunksOf(block_index)[column];
  return {chunk.stored_bytes, chunk.raw_bytes, kFilterNames[static_cast<std::size_t>(chunk.filter)],
          kCodecNames[static_cast<std::size_t>(chunk.codec)]};
}

// Smaller chunks are not worth a read of their own.
constexpr std::uint32_t kReadInPlaceMin = 64 << 10;

// Whether a chunk's bytes are read to where they belong.
bool IsReadInPlace(const array::ColumnSpec& column, const ChunkEntry& chunk) {
  return column.is_array() && chunk.codec == Codec::kStored && chunk.raw_bytes >= kReadInPlaceMin &&
         chunk.raw_bytes == chunk.stored_bytes;
}

struct BlockDecoder::Impl {
  ChunkDecoder chunk_decoder;
  Bytes stored;  // Only grows.
  Bytes raw;     // Likewise; of a column of varying lengths.

  bool DecodeColumn(const array::ColumnSpec& column, const ChunkLayout& layout,
                    const ChunkEntry& chunk, ByteSpan bytes, std::size_t samples, std::size_t c,
                    array::SampleBlock* out) {
    if (column.is_array()) {
      out->columns[c].resize(chunk.raw_bytes);
      return chunk_decoder.Decode(chunk, bytes, layout, out->columns[c]);
    }
    if (raw.size() < chunk.raw_bytes) raw.resize(chunk.raw_bytes);
    const std::span<std::byte> joined = std::span(raw).first(chunk.raw_bytes);
    if (!chunk_decoder.Decode(chunk, bytes, layout, joined)) return false;
    std::vector<std::uint32_t>& ends = out->ends[c];
    ends.resize(samples);
    ByteReader reader(joined);
    for (std::uint32_t& end : ends) end = reader.Get<std::uint32_t>();
    const ByteSpan content = joined.subspan(samples * sizeof(std::uint32_t));
    if (!std::is_sorted(ends.begin(), ends.end()) || ends.back() != content.size()) return false;
    out->columns[c].assign(content.begin(), content.end());
    return true;
  }

  Status Decode(const ShardReader::Impl& shard, std::uint32_t block_index, BlockExtent extent,
                array::SampleBlock* out) {
    const std::span<const ChunkEntry> chunks = shard.ChunksOf(block_index);
    bool in_place = false;
    for (std::size_t c = 0; c < shard.sample_bytes.size(); ++c) {
      in_place = in_place || IsReadInPlace(shard.summary.columns[c], chunks[c]);
    }
    if (in_place) return DecodeChunkByChunk(shard, block_index, extent, out);
    DNC_ASSIGN(std::span<std::byte> rest, ReadStored(shard, extent.offset, extent.bytes));
    if (block_index == 0) {
      DNC_TRY(CheckHeader(shard, rest));
      rest = rest.subspan(kHeaderBytes);
    }
    Prepare(shard, out);
    for (std::size_t c = 0; c < shard.sample_bytes.size(); ++c) {
      const std::size_t bytes = chunks[c].stored_bytes;
      DNC_TRY(DecodeChunk(shard, block_index, rest.first(bytes), extent.samples, c, out));
      rest = rest.subspan(bytes);
    }
    out->sample_count = extent.samples;
    return {};
  }

  Status DecodeChunkByChunk(const ShardReader::Impl& shard, std::uint32_t block_index,
                            BlockExtent extent, array::SampleBlock* out) {
    std::uint64_t offset = extent.offset;
    if (block_index == 0) {
      DNC_ASSIGN(const ByteSpan header, ReadStored(shard, offset, kHeaderBytes));
      DNC_TRY(CheckHeader(shard, header));
      offset += kHeaderBytes;
    }
    Prepare(shard, out);
    for (std::size_t c = 0; c < shard.sample_bytes.size(); ++c) {
      const ChunkEntry& chunk = shard.ChunksOf(block_index)[c];
      ByteSpan bytes;
      if (IsReadInPlace(shard.summary.columns[c], chunk)) {
        out->columns[c].resize(chunk.raw_bytes);
        DNC_TRY(shard.source->ReadAt(offset, out->columns[c]));
        bytes = out->columns[c];
      } else {
        DNC_ASSIGN(bytes, ReadStored(shard, offset, chunk.stored_bytes));
      }
      DNC_TRY(DecodeChunk(shard, block_index, bytes, extent.samples, c, out));
      offset += chunk.stored_bytes;
    }
    out->sample_count = extent.samples;
    return {};
  }

  Status DecodeOne(const ShardReader::Impl& shard, std::uint32_t block_index, BlockExtent extent,
                   std::size_t column, array::SampleBlock* out) {
    std::uint64_t offset = extent.offset + (block_index == 0 ? kHeaderBytes : 0);
    for (std::size_t c = 0; c < column; ++c) offset += shard.ChunksOf(block_index)[c].stored_bytes;
    const std::size_t bytes = shard.ChunksOf(block_index)[column].stored_bytes;
    DNC_ASSIGN(const ByteSpan chunk, ReadStored(shard, offset, bytes));
    Prepare(shard, out);
    DNC_TRY(DecodeChunk(shard, block_index, chunk, extent.samples, column, out));
    out->sample_count = extent.samples;
    return {};
  }

  Result<std::span<std::byte>> ReadStored(const ShardReader::Impl& shard, std::uint64_t offset,
                                          std::size_t bytes) {
    if (stored.size() < bytes) stored.resize(bytes);
    const std::span<std::byte> read = std::span(stored).first(bytes);
    DNC_TRY(shard.source->ReadAt(offset, read));
    return read;
  }

  static Status CheckHeader(const ShardReader::Impl& shard, ByteSpan bytes) {
    const Bytes header = ShardHeader();
    if (!std::equal(header.begin(), header.end(), bytes.begin())) {
      return Corrupt(*shard.source, "its header is damaged");
    }
    return {};
  }

  static void Prepare(const ShardReader::Impl& shard, array::SampleBlock* out) {
    out->columns.resize(shard.sample_bytes.size());
    out->ends.resize(shard.has_ends ? shard.sample_bytes.size() : 0);
  }

  Status DecodeChunk(const ShardReader::Impl& shard, std::uint32_t block_index, ByteSpan bytes,
                     std::size_t samples, std::size_t c, array::SampleBlock* out) {
    if (DecodeColumn(shard.summary.columns[c], shard.layouts[c], shard.ChunksOf(block_index)[c],
                     bytes, samples, c, out)) {
      return {};
    }
    return Corrupt(*shard.source, "block " + std::to_string(block_index) + ", column " +
                                      shard.summary.columns[c].name +
                                      ": its checksum or contents are wrong");
  }
};

BlockDecoder::BlockDecoder() : impl_(std::make_unique<Impl>()) {}
BlockDecoder::~BlockDecoder() = default;

Status BlockDecoder::Decode(const ShardReader& reader, std::uint32_t block_index,
                            array::SampleBlock* out) {
  out->sample_count = 0;
  return impl_->Decode(*reader.impl_, block_index, reader.extent(block_index), out);
}

Status BlockDecoder::DecodeColumn(const ShardReader& reader, std::uint32_t block_index,
                                  std::size_t column, array::SampleBlock* out) {
  out->sample_count = 0;
  return impl_->DecodeOne(*reader.impl_, block_index, reader.extent(block_index), column, out);
}

}  // namespace dnc::shard
