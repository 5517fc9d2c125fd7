#include "stream/stream.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>
#include <thread>

#include "base/file.h"
#include "base/hash.h"
#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "cli/share.h"
#include "cli/store_options.h"
#include "cli/values.h"
#include "divide/dataset.h"
#include "stream/allocator.h"

namespace dnc::cli {
namespace {

struct StreamCommandOptions {
  std::string location;
  store::StoreOptions store;
  stream::StreamOptions stream;
  std::string memory = "64MiB";
  std::string disk = "256MiB";
  std::string resize;
  std::string state;
  std::string trace;
  std::string share;
  std::vector<std::string> neighbours;
  double state_seconds = 1;
  double rate = 0;
  std::uint64_t samples_max = 0;
  bool in_order = false;
  bool digest = false;
  bool benchmark = false;
  bool json = false;
};

// Resident memory of this process in bytes: VmRSS, or its peak, VmHWM.
std::uint64_t ResidentBytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) {
      return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10) << 10;
    }
  }
  return 0;
}

// What a run of the command adds up to.
struct Run {
  std::uint64_t idle_bytes = 0;  // Resident before anything was opened.
  double first_batch_seconds = 0;
  double seconds = 0;
  std::uint64_t raw_bytes = 0;  // Handed out.
  stream::StreamStatistics statistics;
  stream::Forecast forecast;
  Digest digest;
  std::uint64_t shared_bytes = 0;  // Given to neighbours.
  bool interrupted = false;
};

Result<stream::StreamOptions> MakeStreamOptions(const StreamCommandOptions& options) {
  stream::StreamOptions result = options.stream;
  DNC_ASSIGN(result.memory_bytes, ByteOption("--memory", options.memory));
  DNC_ASSIGN(result.disk_bytes, ByteOption("--disk", options.disk));
  result.shuffle = !options.in_order;
  result.connections = options.store.connections_max;
  if (!options.resize.empty()) {
    DNC_ASSIGN(result.resize, ImageSizeOption("--resize", options.resize));
  }
  if (!options.state.empty() && PathExists(options.state)) {
    DNC_ASSIGN(const std::string text, ReadFile(options.state, 1 << 20));
    DNC_ASSIGN(result.resume, stream::ParsePosition(text, options.state));
  }
  return result;
}

// Bytes of one sample, in a form that tells its columns apart.
void HashSample(const array::SampleBlock& batch, const std::vector<array::ColumnSpec>& columns,
                std::uint64_t i, Sha256Hasher* hasher) {
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].is_array()) {
      const std::size_t bytes = columns[c].sample_bytes();
      hasher->Update(ByteSpan(batch.columns[c]).subspan(i * bytes, bytes));
    } else {
      const ByteSpan element = batch.element(c, i);
      const auto size = static_cast<std::uint64_t>(element.size());
      hasher->Update(std::as_bytes(std::span(&size, 1)));
      hasher->Update(element);
    }
  }
}

// Takes batches to the end, or until the user stops it.
class Consumer {
 public:
  Consumer(const StreamCommandOptions& options, stream::Stream* stream, Progress* progress)
      : options_(options), stream_(stream), progress_(progress), begin_(MonotonicNow()) {}

  Status Consume(Run* run) {
    if (!options_.trace.empty()) {
      trace_.open(options_.trace, std::ios::app);
      if (!trace_) return ErrnoError("open", options_.trace, errno);
    }
    array::SampleBlock batch;
    Sha256Hasher digest;
    for (;;) {
      const std::uint64_t epoch = trace_.is_open() ? stream_->position().epoch : 0;
      const std::uint64_t first = Consumed();
      std::uint64_t count = options_.stream.batch_samples;
      if (options_.samples_max > 0) count = std::min(count, options_.samples_max - samples_);
      if (count == 0) break;
      DNC_TRY(stream_->Next(count, &batch));
      if (batch.sample_count == 0) break;
      if (samples_ == 0) run->first_batch_seconds = (MonotonicNow() - begin_).seconds();
      samples_ += batch.sample_count;
      for (const Bytes& column : batch.columns) run->raw_bytes += column.size();
      if (options_.digest) {
        for (std::uint64_t i = 0; i < batch.sample_count; ++i) {
          HashSample(batch, stream_->columns(), i, &digest);
        }
      }
      if (trace_.is_open()) DNC_TRY(Trace(batch, epoch, first));
      DNC_TRY(SaveState(/*now=*/false));
      ShowProgress();
      Pace();
      if (Interrupted()) {
        run->interrupted = true;
        break;
      }
    }
    run->seconds = (MonotonicNow() - begin_).seconds();
    run->statistics = stream_->statistics();
    if (options_.digest) run->digest = digest.Finish();
    return SaveState(/*now=*/true);
  }

 private:
  // Samples of the epoch that this worker has had.
  std::uint64_t Consumed() const {
    if (!trace_.is_open()) return 0;
    const stream::StreamPosition position = stream_->position();
    const std::size_t group = position.rows.size() / options_.stream.workers;
    const auto begin =
        position.rows.begin() + static_cast<std::ptrdiff_t>(options_.stream.worker * group);
    return std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(group), std::uint64_t{0});
  }

  // `epoch` and `first` are of before the batch, which may be the first of the next epoch.
  Status Trace(const array::SampleBlock& batch, std::uint64_t epoch, std::uint64_t first) {
    const stream::StreamPosition position = stream_->position();
    if (position.epoch != epoch) first = 0;
    for (std::uint64_t i = 0; i < batch.sample_count; ++i) {
      Sha256Hasher hasher;
      HashSample(batch, stream_->columns(), i, &hasher);
      trace_ << position.epoch << ' ' << first + i << ' ' << hasher.Finish().Hex().substr(0, 16)
             << '\n';
    }
    trace_.flush();
    if (!trace_) return ErrnoError("write", options_.trace, errno);
    return {};
  }

  Status SaveState(bool now) {
    if (options_.state.empty()) return {};
    const Instant time = MonotonicNow();
    if (!now && (time - saved_).seconds() < options_.state_seconds) return {};
    saved_ = time;
    return WriteFileAtomically(options_.state,
                               AsBytes(stream::FormatPosition(stream_->position()) + "\n"));
  }

  void ShowProgress() {
    if (!progress_->Due()) return;
    const stream::StreamStatistics statistics = stream_->statistics();
    std::uint64_t total = stream_->plan().worker_samples * options_.stream.epochs;
    if (options_.samples_max > 0) total = options_.samples_max;
    char waited[32];
    std::snprintf(
        waited, sizeof waited, ", waited %.0f%%",
        100 * statistics.waited.seconds() / std::max(1e-6, (MonotonicNow() - begin_).seconds()));
    progress_->Show(RateText(samples_, total, "samples", MonotonicNow() - begin_) + waited);
  }

  // As slow as the training that --rate stands for.
  void Pace() const {
    if (options_.rate <= 0) return;
    const Instant due = begin_ + Duration::Microseconds(static_cast<std::int64_t>(
                                     static_cast<double>(samples_) / options_.rate * 1e6));
    const Duration left = due - MonotonicNow();
    if (left.us > 0) std::this_thread::sleep_for(std::chrono::microseconds(left.us));
  }

  const StreamCommandOptions& options_;
  stream::Stream* stream_;
  Progress* progress_;
  const Instant begin_;
  Instant saved_;
  std::uint64_t samples_ = 0;
  std::ofstream trace_;
};

double PerSecond(std::uint64_t count, double seconds) {
  return static_cast<double>(count) / std::max(seconds, 1e-9);
}

nlohmann::json RunJson(const Run& run, const stream::StreamPlan& plan,
                       const StreamCommandOptions& options) {
  const stream::StreamStatistics& statistics = run.statistics;
  nlohmann::json json = {
      {"samples", statistics.samples},
      {"samples_repeated", statistics.samples_repeated},
      {"seconds", run.seconds},
      {"samples_per_second", PerSecond(statistics.samples, run.seconds)},
      {"bytes_per_second", PerSecond(run.raw_bytes, run.seconds)},
      {"first_batch_seconds", run.first_batch_seconds},
      {"waited_seconds", statistics.waited.seconds()},
      {"waiting_share", statistics.waited.seconds() / std::max(run.seconds, 1e-9)},
      {"raw_bytes", run.raw_bytes},
      {"fetched_bytes", statistics.fetched_bytes},
      {"neighbour_bytes", statistics.neighbour_bytes},
      {"cache_bytes", statistics.cache_bytes},
      {"decoded_bytes", statistics.decoded_bytes},
      {"leaves_rejected", statistics.leaves_rejected},
      {"memory",
       {{"budget_held_peak_bytes", statistics.memory_peak_bytes},
        {"idle_bytes", run.idle_bytes},
        {"resident_peak_bytes", ResidentBytes("VmHWM")}}},
      {"disk_bytes", statistics.disk_bytes},
      {"plan",
       {{"window_samples", plan.window_samples},
        {"run_blocks", plan.run_blocks},
        {"lanes", plan.lanes},
        {"epoch_samples", plan.epoch_samples},
        {"worker_samples", plan.worker_samples},
        {"memory_needed_bytes", plan.memory_needed_bytes},
        {"disk_leaves", plan.disk_leaves},
        {"memory", plan.memory_text}}},
      {"forecast",
       {{"epoch_bytes", run.forecast.epoch_bytes},
        {"later_epoch_bytes", run.forecast.later_epoch_bytes},
        {"link_bytes_per_second", run.forecast.link_bytes_per_second},
        {"link_samples_per_second", run.forecast.link_samples_per_second},
        {"epoch_download_seconds", run.forecast.epoch_download.seconds()},
        {"waiting_share", run.forecast.waiting_share}}},
      {"shared_bytes", run.shared_bytes},
      {"interrupted", run.interrupted}};
  if (options.digest) json["digest"] = run.digest.Hex();
  return json;
}

void PrintRun(const Run& run, const StreamCommandOptions& options) {
  const stream::StreamStatistics& statistics = run.statistics;
  const std::uint64_t peak = ResidentBytes("VmHWM");
  std::printf(
      "samples     %s in %s: %s/s, %s/s\n", FormatCount(statistics.samples).c_str(),
      FormatDuration(Duration::Microseconds(static_cast<std::int64_t>(run.seconds * 1e6))).c_str(),
      FormatCount(static_cast<std::uint64_t>(PerSecond(statistics.samples, run.seconds))).c_str(),
      FormatByteCount(static_cast<std::uint64_t>(PerSecond(run.raw_bytes, run.seconds))).c_str());
  if (statistics.samples_repeated > 0) {
    std::printf("repeated    %s of them\n", FormatCount(statistics.samples_repeated).c_str());
  }
  std::printf("waiting     %.1f%% of the time; the first batch after %.3f s\n",
              100 * statistics.waited.seconds() / std::max(run.seconds, 1e-9),
              run.first_batch_seconds);
  std::printf("memory      %s above the idle process, of a budget of %s\n",
              FormatByteCount(peak - std::min(peak, run.idle_bytes)).c_str(),
              options.memory.c_str());
  std::printf("disk        %s, of a budget of %s\n", FormatByteCount(statistics.disk_bytes).c_str(),
              options.disk.c_str());
  std::printf("downloaded  %s, from the cache %s\n",
              FormatByteCount(statistics.fetched_bytes).c_str(),
              FormatByteCount(statistics.cache_bytes).c_str());
  if (!options.neighbours.empty()) {
    std::printf("neighbours  gave %s\n", FormatByteCount(statistics.neighbour_bytes).c_str());
  }
  if (!options.share.empty()) {
    std::printf("shared      %s\n", FormatByteCount(run.shared_bytes).c_str());
  }
  if (statistics.leaves_rejected > 0) {
    std::printf("rejected    %s leaves, fetched again from another mirror\n",
                FormatCount(statistics.leaves_rejected).c_str());
  }
  if (options.digest) std::printf("digest      %s\n", run.digest.Hex().c_str());
}

// Leaves by their own ids from machines near by; null: none was named.
Result<std::unique_ptr<store::ObjectStore>> OpenNeighbours(const StreamCommandOptions& options) {
  if (options.neighbours.empty()) return std::unique_ptr<store::ObjectStore>();
  store::StoreOptions near = options.store;
  near.mirrors.clear();
  near.ipfs_gateways = options.neighbours;
  // One that is gone or slow costs little: what it has is in the store too.
  near.attempts_max = 1;
  near.stall_timeout = Duration::Seconds(5);
  near.report = {};  // That one has not all of it is normal.
  return store::OpenStore("ipfs://", near);
}

Result<std::unique_ptr<LeafShare>> StartShare(const StreamCommandOptions& options,
                                              const stream::Stream& stream, Progress* progress) {
  if (options.share.empty()) return std::unique_ptr<LeafShare>();
  if (stream.plan().disk_leaves == 0) {
    return Error{ErrorCode::kInvalidArgument,
                 "--share: nothing is kept on this disk that could be shared; stream from "
                 "another machine, with --disk of 2MiB or more"};
  }
  DNC_ASSIGN(auto share, LeafShare::Start(options.share, &stream));
  progress->Print(
      "sharing leaves on port " + std::to_string(share->port()) +
      "; neighbours add --neighbour http://THIS-MACHINE:" + std::to_string(share->port()));
  return share;
}

Status StreamDataset(const StreamCommandOptions& options) {
  stream::BoundHeap();
  Run run;
  run.idle_bytes = ResidentBytes("VmRSS");
  Progress progress(options.json);
  DNC_ASSIGN(const divide::Dataset dataset, divide::OpenDataset(options.location, options.store));
  DNC_ASSIGN(stream::StreamOptions stream_options, MakeStreamOptions(options));
  stream_options.warn = [](const std::string& warning) {
    std::fprintf(stderr, "dnc: %s\n", warning.c_str());
  };
  DNC_ASSIGN(const auto neighbours, OpenNeighbours(options));
  stream_options.neighbours = neighbours.get();
  DNC_ASSIGN(const auto stream,
             stream::Stream::Open(&dataset.manifest, dataset.store.get(), stream_options));
  DNC_ASSIGN(const auto share, StartShare(options, *stream, &progress));
  if (stream_options.resume.has_value()) {
    const stream::StreamPosition position = stream->position();
    progress.Print("going on from " + options.state + ": epoch " +
                   std::to_string(position.epoch + 1) + ", sample " +
                   FormatCount(position.samples_consumed()));
  }
  if (options.benchmark) progress.Print("memory: " + stream->plan().memory_text);
  DNC_ASSIGN(run.forecast, stream->Foresee(options.rate));
  if (options.benchmark || run.forecast.waiting_share > 0.01) {
    progress.Print(run.forecast.Text());
  }
  DNC_TRY(Consumer(options, stream.get(), &progress).Consume(&run));
  if (share != nullptr) run.shared_bytes = share->bytes_given();
  if (options.json) {
    PrintJson(RunJson(run, stream->plan(), options));
  } else {
    PrintRun(run, options);
  }
  if (run.interrupted) {
    return Error{ErrorCode::kCancelled,
                 options.state.empty() ? "stopped" : "stopped; run it again to go on"};
  }
  return {};
}

void AddBudgetOptions(CLI::App* command, StreamCommandOptions* options) {
  command
      ->add_option("--memory", options->memory,
                   "Memory of this process beyond what it takes when idle")
      ->capture_default_str();
  command
      ->add_option("--disk", options->disk,
                   "Disk for what costs a download; not used for a folder on this machine")
      ->capture_default_str();
  command->add_option("--cache", options->stream.cache_folder,
                      "Folder where the cache stays from run to run (default: none is kept)");
  command
      ->add_option("--share", options->share,
                   "Let neighbours fetch what the cache holds, by HTTP, while this runs")
      ->expected(0, 1)
      ->default_str(kShareAddress)
      ->type_name("HOST:PORT");
  command
      ->add_option("--neighbour", options->neighbours,
                   "A machine near by that runs with --share, asked before the dataset's store "
                   "(repeatable)")
      ->type_name("URL")
      ->allow_extra_args(false);
  command->add_option("--reuse", options->stream.reuse_max,
                      "Repeat samples that are here, at most so many times, instead of waiting");
}

void AddOrderOptions(CLI::App* command, StreamCommandOptions* options) {
  stream::StreamOptions* const stream = &options->stream;
  command->add_option("--split", stream->split, "Split to stream")->capture_default_str();
  command->add_option("--epochs", stream->epochs, "Epochs; 0: without end")->capture_default_str();
  command->add_option("--batch-size", stream->batch_samples, "Samples a batch")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 24))
      ->capture_default_str();
  command->add_option("--seed", stream->seed, "Seed of the shuffle")->capture_default_str();
  command->add_flag("--in-order", options->in_order, "Do not shuffle");
  command->add_option("--rank", stream->worker, "Number of this worker, from 0")
      ->capture_default_str();
  command->add_option("--workers", stream->workers, "Workers that share the samples")
      ->capture_default_str();
  command->add_option("--lanes", stream->lanes,
                      "A multiple of every number of workers that shall see the same order "
                      "(default: 8)");
  command->add_option("--window", stream->window_samples,
                      "Samples that are shuffled together (default: what the memory holds)");
  command->add_option("--resize", options->resize, "Decode images to WIDTHxHEIGHT");
  command->add_option("--threads", stream->decode_threads,
                      "Threads that decode images (default: one a core)");
}

}  // namespace

void AddStream(Registry* registry) {
  const auto options = std::make_shared<StreamCommandOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "stream",
       .description = "Stream a dataset in a fixed amount of memory and disk, and say how fast",
       .examples =
           "  dnc stream ./shards --benchmark\n"
           "  dnc stream s3://bucket/photos --resize 224x224 --epochs 3 --cache ~/.cache/dnc\n"
           "  dnc stream https://host/set --memory 32MiB --disk 1GiB --state run.json\n"
           "  dnc stream https://host/set --share\n"
           "  dnc stream https://host/set --neighbour http://next-door:7071\n"
           "  dnc stream ./shards --rank 1 --workers 4 --digest"},
      [options] { return StreamDataset(*options); });
  command->add_option("LOCATION", options->location, "A dataset: a folder, a manifest, or a URL")
      ->required();
  AddOrderOptions(command, options.get());
  AddBudgetOptions(command, options.get());
  command->add_option("--state", options->state,
                      "File for the position: kept up to date, and gone on from if it is there");
  command->add_option("--state-every", options->state_seconds, "Seconds between writes of it")
      ->capture_default_str();
  command->add_option("--samples", options->samples_max, "Stop after so many samples");
  command->add_option("--rate", options->rate,
                      "Take so many samples a second, as a training would");
  command->add_option("--trace", options->trace,
                      "Append a line a sample to a file: epoch, number, hash");
  command->add_flag("--digest", options->digest, "Show a digest of the sequence of samples");
  command->add_flag("--benchmark", options->benchmark, "Show the plan and the forecast too");
  command->add_flag("--json", options->json, "Print JSON");
  AddStoreOptions(command, &options->store);
}

}  // namespace dnc::cli
