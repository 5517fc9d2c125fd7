#include "shard/shard_writer.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <thread>

#include "base/assert.h"
#include "shard/chunk_codec.h"
#include "shard/chunk_layout.h"
#include "shard/shard_format.h"
#include "shard/shard_reader.h"

namespace dnc::shard {
namespace {

// The raw form of a chunk of samples of varying lengths: their ends, then their bytes.
void JoinEnds(const std::vector<std::uint32_t>& ends, ByteSpan bytes, Bytes* raw) {
  const ByteSpan head = std::as_bytes(std::span(ends));  // Little-endian, as the machine.
  raw->assign(head.begin(), head.end());
  raw->insert(raw->end(), bytes.begin(), bytes.end());
}

// Blocks that may be in the making. The same for any number of threads, so that
// bytes_written() depends on the samples alone.
constexpr std::size_t kBlocksInFlight = 4;

// Of the first block, to choose a method by.
constexpr std::uint64_t kTriedBytes = 256u << 10;
constexpr std::uint64_t kTriedSamplesMin = 4;

}  // namespace

std::uint32_t BlockSamples(const std::vector<array::ColumnSpec>& columns) {
  constexpr std::size_t kBlockBytes = 1u << 20;
  const std::size_t sample_bytes = std::max<std::size_t>(array::SampleBytes(columns), 1);
  return static_cast<std::uint32_t>(std::max<std::size_t>(kBlockBytes / sample_bytes, 1));
}

struct ShardWriter::Impl {
  // A block on its way: copied in, encoded by some thread, written in order.
  struct Slot {
    array::SampleBlock block;
    Bytes stored;
    std::vector<ChunkEntry> chunks;
    std::uint32_t samples = 0;
    bool encoded = false;
  };

  Impl(std::vector<array::ColumnSpec> specs, ShardWriterOptions writer_options, Sink byte_sink)
      : columns(std::move(specs)), options(writer_options), sink(std::move(byte_sink)) {
    DNC_ASSERT(!columns.empty() && options.block_samples > 0 && sink != nullptr);
    for (const array::ColumnSpec& column : columns) {
      DNC_ASSERT(!column.name.empty() && column.name.size() <= kNameBytesMax);
      DNC_ASSERT(column.shape.size() <= kRankMax);
      DNC_ASSERT(column.is_array() ||
                 (column.dtype == array::DType::kUint8 && column.shape.empty()));
      layouts.push_back(LayoutOf(column));
      sample_bytes.push_back(column.is_array() ? column.sample_bytes() : 0);
    }
    encoder.emplace(ZstdLevel());
    for (int i = 0; i < options.threads && options.threads > 1; ++i) {
      workers.emplace_back([this] { Work(); });
    }
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  void Work() {
    ChunkEncoder worker_encoder(ZstdLevel());
    Bytes raw;
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return stopping || !queue.empty(); });
      if (stopping) return;
      Slot* slot = queue.front();
      queue.pop_front();
      lock.unlock();
      EncodeBlock(slot->block, &worker_encoder, &raw, slot);
      lock.lock();
      slot->encoded = true;
      changed.notify_all();
    }
  }

  // `raw` is memory to work in.
  void EncodeBlock(const array::SampleBlock& block, ChunkEncoder* block_encoder, Bytes* raw,
                   Slot* slot) const {
    slot->stored.clear();
    slot->chunks.clear();
    slot->samples = static_cast<std::uint32_t>(block.sample_count);
    for (std::size_t c = 0; c < columns.size(); ++c) {
      ByteSpan chunk = block.columns[c];
      if (!columns[c].is_array()) {
        JoinEnds(block.ends[c], chunk, raw);
        chunk = *raw;
      }
      slot->chunks.push_back(block_encoder->Encode(chunk, layouts[c], methods[c], &slot->stored));
    }
  }

  int ZstdLevel() const {
    constexpr int kSmallestLevel = 19;
    return options.compression == Compression::kSmallest ? kSmallestLevel : options.zstd_level;
  }

  // Images are compressed already.
  ChunkMethod ChooseMethod(std::size_t c, const array::SampleBlock& block) {
    if (columns[c].kind == array::ColumnKind::kImage) return {};
    if (columns[c].is_array()) {
      // A shard tries some methods on its first samples; more of them would cost more
      // than a better choice saves.
      const std::uint64_t tried = std::max<std::uint64_t>(
          kTriedBytes / std::max<std::size_t>(sample_bytes[c], 1), kTriedSamplesMin);
      const std::uint64_t count = std::min(block.sample_count, tried);
      return encoder->ChooseMethod(ByteSpan(block.columns[c]).first(count * sample_bytes[c]),
                                   layouts[c], options.compression);
    }
    JoinEnds(block.ends[c], block.columns[c], &joined);
    return encoder->ChooseMethod(joined, layouts[c], options.compression);
  }

  Status Emit(ByteSpan bytes) {
    if (Status status = sink(bytes); !status.ok()) {
      failure = status.error();
      return status;
    }
    bytes_written += bytes.size();
    return {};
  }

  // Writes the oldest block in flight.
  Status WriteOldest() {
    Slot& slot = slots[blocks.size() % kBlocksInFlight];
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&slot] { return slot.encoded; });
    }
    if (blocks.empty()) DNC_TRY(Emit(ShardHeader()));
    blocks.push_back({bytes_written, slot.samples});
    chunks.insert(chunks.end(), slot.chunks.begin(), slot.chunks.end());
    return Emit(slot.stored);
  }

  Bytes FormatIndex() const {
    ByteWriter writer;
    for (const array::ColumnSpec& column : columns) {
      writer.Put(static_cast<std::uint8_t>(column.kind));
      writer.Put(static_cast<std::uint8_t>(column.dtype));
      writer.Put(static_cast<std::uint8_t>(column.shape.size()));
      writer.Put(static_cast<std::uint16_t>(column.name.size()));
      writer.PutBytes(AsBytes(column.name));
      for (const std::int64_t axis : column.shape) writer.Put(axis);
    }
    const ChunkEntry* chunk = chunks.data();
    for (const BlockEntry& block : blocks) {
      writer.Put(block.offset);
      writer.Put(block.samples);
      for (std::size_t c = 0; c < columns.size(); ++c, ++chunk) {
        writer.Put(chunk->stored_bytes);
        writer.Put(chunk->raw_bytes);
        writer.Put(static_cast<std::uint8_t>(chunk->filter));
        writer.Put(static_cast<std::uint8_t>(chunk->codec));
        writer.Put(chunk->checksum);
      }
    }
    return std::move(writer).Take();
  }

  const std::vector<array::ColumnSpec> columns;
  const ShardWriterOptions options;
  const Sink sink;
  std::vector<std::size_t> sample_bytes;
  std::vector<ChunkLayout> layouts;
  std::vector<ChunkMethod> methods;  // One a column, chosen at the first block.
  std::optional<ChunkEncoder> encoder;
  Bytes joined;  // To work in.

  // Written so far; the block in slots[i % kBlocksInFlight] is number i.
  std::vector<BlockEntry> blocks;
  std::vector<ChunkEntry> chunks;
  std::uint64_t bytes_written = 0;
  std::uint64_t blocks_appended = 0;
  std::uint64_t samples = 0;
  std::uint64_t block_bytes_max = 0;
  bool ended = false;  // A short block came, or Finish.
  std::optional<Error> failure;
  std::array<Slot, kBlocksInFlight> slots;

  std::mutex mutex;  // Guards queue, stopping and each slot's `encoded`.
  std::condition_variable changed;
  std::deque<Slot*> queue;
  bool stopping = false;
  std::vector<std::thread> workers;
};

ShardWriter::ShardWriter(std::vector<array::ColumnSpec> columns, ShardWriterOptions options,
                         Sink sink)
    : impl_(std::make_unique<Impl>(std::move(columns), options, std::move(sink))) {}
ShardWriter::~ShardWriter() = default;
ShardWriter::ShardWriter(ShardWriter&&) noexcept = default;
ShardWriter& ShardWriter::operator=(ShardWriter&&) noexcept = default;

Status ShardWriter::Append(const array::SampleBlock& block) {
  Impl& writer = *impl_;
  if (writer.failure) return *writer.failure;
  DNC_ASSERT(!writer.ended);
  DNC_ASSERT(block.sample_count > 0 && block.sample_count <= writer.options.block_samples);
  DNC_ASSERT(block.columns.size() == writer.columns.size());
  std::uint64_t raw_bytes = 0;
  for (std::size_t c = 0; c < writer.columns.size(); ++c) {
    raw_bytes += block.columns[c].size();
    if (writer.columns[c].is_array()) {
      DNC_ASSERT(block.columns[c].size() == block.sample_count * writer.sample_bytes[c]);
      continue;
    }
    DNC_ASSERT(c < block.ends.size() && block.ends[c].size() == block.sample_count);
    DNC_ASSERT(block.ends[c].back() == block.columns[c].size());
    raw_bytes += block.sample_count * sizeof(std::uint32_t);
  }
  if (raw_bytes > kBlockBytesMax) {
    return Error{ErrorCode::kTooLarge, "a block of " + std::to_string(block.sample_count) +
                                           " samples has " + std::to_string(raw_bytes) +
                                           " bytes; a shard's block holds at most " +
                                           std::to_string(kBlockBytesMax) +
                                           ": use fewer samples a block, or smaller ones"};
  }
  if (writer.blocks_appended - writer.blocks.size() == kBlocksInFlight) {
    DNC_TRY(writer.WriteOldest());
  }
  if (writer.methods.empty()) {
    for (std::size_t c = 0; c < writer.columns.size(); ++c) {
      writer.methods.push_back(writer.ChooseMethod(c, block));
    }
  }
  Impl::Slot& slot = writer.slots[writer.blocks_appended % kBlocksInFlight];
  if (writer.workers.empty()) {
    writer.EncodeBlock(block, &*writer.encoder, &writer.joined, &slot);
    slot.encoded = true;
  } else {
    slot.block = block;  // Into the memory of the block before.
    const std::lock_guard lock(writer.mutex);
    slot.encoded = false;
    writer.queue.push_back(&slot);
    writer.changed.notify_all();
  }
  ++writer.blocks_appended;
  writer.block_bytes_max = std::max(writer.block_bytes_max, raw_bytes);
  writer.samples += block.sample_count;
  writer.ended = block.sample_count < writer.options.block_samples;
  return {};
}

Status ShardWriter::Finish() {
  Impl& writer = *impl_;
  if (writer.failure) return *writer.failure;
  while (writer.blocks.size() < writer.blocks_appended) DNC_TRY(writer.WriteOldest());
  if (writer.blocks.empty()) DNC_TRY(writer.Emit(ShardHeader()));
  writer.ended = true;
  const Bytes index = writer.FormatIndex();
  const Footer footer = {.index_offset = writer.bytes_written,
                         .index_bytes = index.size(),
                         .index_checksum = Checksum(index),
                         .samples = writer.samples,
                         .block_samples = writer.options.block_samples,
                         .block_count = static_cast<std::uint32_t>(writer.blocks.size()),
                         .column_count = static_cast<std::uint32_t>(writer.columns.size())};
  DNC_TRY(writer.Emit(index));
  return writer.Emit(FormatFooter(footer));
}

std::uint64_t ShardWriter::bytes_written() const { return impl_->bytes_written; }
std::uint64_t ShardWriter::block_bytes_max() const { return impl_->block_bytes_max; }
std::uint64_t ShardWriter::samples_written() const { return impl_->samples; }

}  // namespace dnc::shard
