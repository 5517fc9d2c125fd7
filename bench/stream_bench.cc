// Streaming against its limit, on one core: an epoch through the loader (leaves
// verified, blocks decoded, samples shuffled and gathered into batches) and zstd
// alone over the same chunks, already in memory.
//
//   stream_bench MANIFEST [MEMORY_BYTES [WINDOW_SAMPLES [SPLIT]]]
//
// Prints one line of JSON. Times are processor times of the whole process, all
// threads, so that other work on the machine counts for neither side; medians of
// five rounds in which both take turns. The window is the
// largest for the memory unless it is given (0: the same).

#include <sched.h>
#include <time.h>
#include <zstd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "divide/dataset.h"
#include "shard/shard_format.h"
#include "shard/shard_reader.h"
#include "stream/loader.h"

namespace dnc {
namespace {

constexpr std::uint64_t kBatch = 256;
constexpr int kRounds = 5;

struct Arguments {
  std::string manifest;
  std::uint64_t memory_bytes = 64u << 20;
  std::uint64_t window_samples = 0;
  std::string split = "train";
};

// This thread, and those that it starts, on one core: two threads then share what
// one has.
Status PinToOneCore() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
    return Error{ErrorCode::kIo, "sched_getaffinity failed"};
  }
  int last = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) last = cpu;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) {
    return Error{ErrorCode::kIo, "sched_setaffinity failed"};
  }
  return {};
}

// A field of /proc/self/status in bytes: VmRSS, VmHWM.
std::uint64_t MemoryField(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) {
      return std::strtoull(line.c_str() + name.size() + 1, nullptr, 10) << 10;
    }
  }
  return 0;
}

// Processor time of all threads so far.
double ProcessorSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// One epoch through the loader. Returns its processor time.
Result<double> StreamOnce(const shard::Manifest& manifest, const store::ObjectStore& store,
                          std::uint64_t memory_bytes, const stream::PlanOptions& options,
                          std::span<std::byte* const> destinations,
                          stream::LoaderStatistics* statistics) {
  const double begin = ProcessorSeconds();
  {
    DNC_ASSIGN(stream::Plan plan, stream::Plan::Create(&manifest, options));
    DNC_ASSIGN(const auto loader,
               stream::Loader::Open(std::move(plan), &store, {.memory_bytes = memory_bytes}));
    for (;;) {
      DNC_ASSIGN(const std::uint64_t count, loader->Next(kBatch, destinations));
      if (count == 0) break;
    }
    *statistics = loader->statistics();
  }
  return ProcessorSeconds() - begin;
}

struct StoredChunk {
  Bytes bytes;
  std::size_t raw_bytes = 0;
  bool compressed = false;
};

// The chunks of a shard as they are stored, by docs/formats/shard.md.
Status ReadChunks(const RandomAccessSource& source, std::vector<StoredChunk>* chunks) {
  DNC_ASSIGN(const shard::ShardReader reader, shard::ShardReader::Open(&source));
  const shard::ShardSummary& summary = reader.summary();
  const std::size_t entries_bytes =
      summary.block_count *
      (shard::kBlockEntryBytes + summary.columns.size() * shard::kChunkEntryBytes);
  Bytes entries(entries_bytes);
  DNC_TRY(source.ReadAt(source.size() - shard::kFooterBytes - entries_bytes, entries));
  ByteReader index(entries);
  for (std::uint32_t b = 0; b < summary.block_count; ++b) {
    std::uint64_t offset = index.Get<std::uint64_t>();
    const auto samples = index.Get<std::uint32_t>();
    for (const array::ColumnSpec& column : summary.columns) {
      StoredChunk chunk;
      chunk.bytes.resize(index.Get<std::uint32_t>());
      index.Get<std::uint8_t>();  // Filter.
      chunk.compressed = index.Get<std::uint8_t>() == static_cast<int>(shard::Codec::kZstd);
      index.Get<std::uint64_t>();  // Checksum.
      chunk.raw_bytes = samples * column.sample_bytes();
      DNC_TRY(source.ReadAt(offset, chunk.bytes));
      offset += chunk.bytes.size();
      chunks->push_back(std::move(chunk));
    }
  }
  return {};
}

// All chunks through zstd, each over the one before. Returns its processor time.
Result<double> DecodeOnce(const std::vector<StoredChunk>& chunks, ZSTD_DCtx* context, Bytes* out) {
  const double begin = ProcessorSeconds();
  for (const StoredChunk& chunk : chunks) {
    if (!chunk.compressed) {
      std::memcpy(out->data(), chunk.bytes.data(), chunk.raw_bytes);
    } else if (ZSTD_decompressDCtx(context, out->data(), out->size(), chunk.bytes.data(),
                                   chunk.bytes.size()) != chunk.raw_bytes) {
      return Error{ErrorCode::kCorrupt, "a chunk does not give its raw size"};
    }
  }
  return ProcessorSeconds() - begin;
}

Status Run(const Arguments& arguments) {
  DNC_TRY(PinToOneCore());
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(arguments.manifest));
  const shard::Manifest& manifest = dataset.manifest;
  stream::PlanOptions options;
  options.split = arguments.split;
  options.window_samples = arguments.window_samples;
  if (options.window_samples == 0) {
    DNC_ASSIGN(options.window_samples,
               stream::WindowForMemory(manifest, arguments.split, arguments.memory_bytes));
  }
  std::vector<Bytes> batches;
  std::vector<std::byte*> destinations;
  for (const array::ColumnSpec& column : manifest.columns) {
    destinations.push_back(batches.emplace_back(kBatch * column.sample_bytes()).data());
  }

  // The first epoch, in fresh memory: the peak so far is forgotten before it.
  std::ofstream("/proc/self/clear_refs") << "5";
  const std::uint64_t before = MemoryField("VmRSS");
  const Instant begin = MonotonicNow();
  stream::LoaderStatistics statistics;
  DNC_TRY(StreamOnce(manifest, *dataset.store, arguments.memory_bytes, options, destinations,
                     &statistics)
              .status());
  const double first_seconds = (MonotonicNow() - begin).seconds();
  const std::uint64_t growth = MemoryField("VmHWM") - before;

  std::vector<StoredChunk> chunks;
  for (const shard::ShardInfo& info : manifest.shards) {
    if (info.split != arguments.split) continue;
    DNC_ASSIGN(const auto source, store::OpenObject(dataset.store.get(), info.cid));
    DNC_TRY(ReadChunks(*source, &chunks));
  }
  std::size_t raw_bytes_max = 0;
  for (const StoredChunk& chunk : chunks) raw_bytes_max = std::max(raw_bytes_max, chunk.raw_bytes);
  Bytes out(raw_bytes_max);
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(),
                                                                     &ZSTD_freeDCtx);
  // In turns, so that both meet the same machine.
  std::vector<double> loader_seconds;
  std::vector<double> zstd_seconds;
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; ++round) {
    options.epoch = static_cast<std::uint64_t>(round);
    DNC_ASSIGN(const double zstd, DecodeOnce(chunks, context.get(), &out));
    DNC_ASSIGN(const double loader, StreamOnce(manifest, *dataset.store, arguments.memory_bytes,
                                               options, destinations, &statistics));
    zstd_seconds.push_back(zstd);
    loader_seconds.push_back(loader);
    ratios.push_back(zstd / loader);
  }
  const auto samples = static_cast<double>(statistics.samples);
  std::printf(
      "{\"samples\": %.0f, \"raw_bytes\": %.0f, \"loader_seconds\": %.6f, \"zstd_seconds\": %.6f, "
      "\"samples_per_second\": %.0f, \"ratio\": %.4f, \"first_epoch_seconds\": %.6f, "
      "\"window_samples\": %llu, \"budget_bytes\": %llu, \"held_peak_bytes\": %llu, "
      "\"resident_growth_bytes\": %llu, \"fetched_bytes\": %llu}\n",
      samples, samples * static_cast<double>(array::SampleBytes(manifest.columns)),
      Median(loader_seconds), Median(zstd_seconds), samples / Median(loader_seconds),
      Median(ratios), first_seconds, static_cast<unsigned long long>(options.window_samples),
      static_cast<unsigned long long>(arguments.memory_bytes),
      static_cast<unsigned long long>(statistics.memory_peak_bytes),
      static_cast<unsigned long long>(growth),
      static_cast<unsigned long long>(statistics.fetched_bytes));
  return {};
}

}  // namespace
}  // namespace dnc

int main(int argc, char** argv) {
  if (argc < 2 || argc > 5) {
    std::fprintf(stderr, "stream_bench MANIFEST [MEMORY_BYTES [WINDOW_SAMPLES [SPLIT]]]\n");
    return 2;
  }
  dnc::Arguments arguments;
  arguments.manifest = argv[1];
  if (argc > 2) arguments.memory_bytes = std::strtoull(argv[2], nullptr, 10);
  if (argc > 3) arguments.window_samples = std::strtoull(argv[3], nullptr, 10);
  if (argc > 4) arguments.split = argv[4];
  const dnc::Status status = dnc::Run(arguments);
  if (!status.ok()) {
    std::fprintf(stderr, "stream_bench: %s\n", status.error().message.c_str());
    return dnc::ExitCode(status.error().code);
  }
  return 0;
}
