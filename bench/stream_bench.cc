// Streaming against its limit, on one core: an epoch through the stream (leaves
// verified, blocks decoded, samples shuffled and gathered into batches) and the
// decoding of the same blocks alone, one after another.
//
//   stream_bench LOCATION [MEMORY_BYTES [WINDOW_SAMPLES [SPLIT]]]
//
// Prints one line of JSON. Times are processor times of the whole process, all
// threads, so that other work on the machine counts for neither side; medians of
// five rounds in which both take turns. Each epoch is a stream of its own, since a
// long one would keep decoded samples from epoch to epoch. The window is the
// largest for the memory unless it is given (0: the same). With 0 bytes of memory
// there is no stream: the blocks are decoded once.

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "divide/dataset.h"
#include "shard/shard_reader.h"
#include "stream/allocator.h"
#include "stream/stream.h"

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

// One epoch through a stream. Returns its processor time.
Result<double> StreamOnce(const divide::Dataset& dataset, const stream::StreamOptions& options,
                          array::SampleBlock* batch, stream::StreamStatistics* statistics) {
  const double begin = ProcessorSeconds();
  {
    DNC_ASSIGN(const auto stream,
               stream::Stream::Open(&dataset.manifest, dataset.store.get(), options));
    do {
      DNC_TRY(stream->Next(kBatch, batch));
    } while (batch->sample_count > 0);
    *statistics = stream->statistics();
  }
  return ProcessorSeconds() - begin;
}

// All blocks of a split through the decoder, each over the one before. Returns its
// processor time.
Result<double> DecodeOnce(const std::vector<std::unique_ptr<RandomAccessSource>>& shards) {
  const double begin = ProcessorSeconds();
  shard::BlockDecoder decoder;
  array::SampleBlock block;
  for (const auto& source : shards) {
    DNC_ASSIGN(const shard::ShardReader reader, shard::ShardReader::Open(source.get()));
    for (std::uint32_t b = 0; b < reader.summary().block_count; ++b) {
      DNC_TRY(decoder.Decode(reader, b, &block));
    }
  }
  return ProcessorSeconds() - begin;
}

Result<std::vector<std::unique_ptr<RandomAccessSource>>> OpenShards(const divide::Dataset& dataset,
                                                                    const std::string& split) {
  std::vector<std::unique_ptr<RandomAccessSource>> shards;
  for (const shard::ShardInfo& info : dataset.manifest.shards) {
    if (info.split != split) continue;
    DNC_ASSIGN(auto source, store::OpenObject(dataset.store.get(), info.cid));
    shards.push_back(std::move(source));
  }
  return shards;
}

Status RunDecoding(const divide::Dataset& dataset, const std::string& split) {
  std::uint64_t samples = 0;
  for (const shard::ShardInfo& info : dataset.manifest.shards) {
    if (info.split == split) samples += info.samples;
  }
  DNC_ASSIGN(const auto shards, OpenShards(dataset, split));
  DNC_ASSIGN(const double seconds, DecodeOnce(shards));
  const std::uint64_t raw_bytes = samples * array::SampleBytes(dataset.manifest.columns);
  std::printf("{\"samples\": %llu, \"raw_bytes\": %llu, \"decode_seconds\": %.6f}\n",
              static_cast<unsigned long long>(samples), static_cast<unsigned long long>(raw_bytes),
              seconds);
  return {};
}

Status Run(const Arguments& arguments) {
  stream::BoundHeap();
  DNC_TRY(PinToOneCore());
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(arguments.manifest));
  if (arguments.memory_bytes == 0) return RunDecoding(dataset, arguments.split);
  stream::StreamOptions options;
  options.split = arguments.split;
  options.memory_bytes = arguments.memory_bytes;
  options.window_samples = arguments.window_samples;
  options.batch_samples = kBatch;
  array::SampleBlock batch;

  // The first epoch, in fresh memory: the peak so far is forgotten before it.
  std::ofstream("/proc/self/clear_refs") << "5";
  const std::uint64_t before = MemoryField("VmRSS");
  const Instant begin = MonotonicNow();
  stream::StreamStatistics statistics;
  DNC_TRY(StreamOnce(dataset, options, &batch, &statistics).status());
  const double first_seconds = (MonotonicNow() - begin).seconds();
  const std::uint64_t growth = MemoryField("VmHWM") - before;

  DNC_ASSIGN(const auto shards, OpenShards(dataset, arguments.split));
  // In turns, so that both meet the same machine.
  std::vector<double> stream_seconds;
  std::vector<double> decode_seconds;
  std::vector<double> ratios;
  for (int round = 0; round < kRounds; ++round) {
    options.seed = static_cast<std::uint64_t>(round);
    DNC_ASSIGN(const double decode, DecodeOnce(shards));
    DNC_ASSIGN(const double streamed, StreamOnce(dataset, options, &batch, &statistics));
    decode_seconds.push_back(decode);
    stream_seconds.push_back(streamed);
    ratios.push_back(decode / streamed);
  }
  const auto samples = static_cast<double>(statistics.samples);
  std::printf(
      "{\"samples\": %.0f, \"raw_bytes\": %llu, \"stream_seconds\": %.6f, "
      "\"decode_seconds\": %.6f, \"samples_per_second\": %.0f, \"ratio\": %.4f, "
      "\"first_epoch_seconds\": %.6f, \"budget_bytes\": %llu, \"held_peak_bytes\": %llu, "
      "\"resident_growth_bytes\": %llu, \"fetched_bytes\": %llu}\n",
      samples, static_cast<unsigned long long>(statistics.decoded_bytes), Median(stream_seconds),
      Median(decode_seconds), samples / Median(stream_seconds), Median(ratios), first_seconds,
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
    std::fprintf(stderr, "stream_bench LOCATION [MEMORY_BYTES [WINDOW_SAMPLES [SPLIT]]]\n");
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
