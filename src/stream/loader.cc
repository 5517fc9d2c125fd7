#include "stream/loader.h"

#include <algorithm>
#include <exception>
#include <optional>

#include "base/human.h"
#include "stream/memory_need.h"
#include "stream/visit.h"
#include "stream/window_pump.h"

namespace dnc::stream {
namespace {

// The windows of a plan, from the one on in which `skip_samples` ends.
WindowPump::Next PlanWindows(const Plan* plan, std::uint64_t skip_samples) {
  return [plan,
          window = skip_samples /
                   plan->options().window_samples]() mutable -> Result<std::optional<WindowVisit>> {
    if (window == plan->window_count()) return std::optional<WindowVisit>();
    WindowVisit visit;
    visit.number = window;
    visit.epoch = plan->options().epoch;
    visit.ordinal = window;
    visit.slices = plan->WindowSlices(window);
    visit.order = plan->options().shuffle ? VisitOrder(plan->WindowOrder(window))
                                          : VisitOrder::InOrder(plan->WindowSamples(window));
    ++window;
    return std::optional<WindowVisit>(std::move(visit));
  };
}

class ThreadedLoader final : public Loader {
 public:
  ThreadedLoader(Plan plan, const store::ObjectStore* store, const LoaderOptions& options)
      : plan_(std::move(plan)),
        consumed_(options.skip_samples % plan_.options().window_samples),
        pump_(&plan_.manifest(), store, FillerOptionsOf(plan_, options.memory_bytes),
              PlanWindows(&plan_, options.skip_samples)) {}

  Result<std::uint64_t> Next(std::uint64_t sample_count_max,
                             std::span<std::byte* const> destinations) override;
  LoaderStatistics statistics() const override;

 private:
  static FillerOptions FillerOptionsOf(const Plan& plan, std::uint64_t memory_bytes) {
    FillerOptions options;
    options.budget =
        SpreadMemory(plan.manifest(), plan.options().split, MemoryNeedOf(plan), memory_bytes);
    return options;
  }

  const Plan plan_;
  std::unique_ptr<Window> current_;
  std::uint64_t consumed_;  // Samples of current_, or of the first window to come.
  std::uint64_t samples_ = 0;
  WindowPump pump_;  // Last: its thread uses the plan.
};

Result<std::uint64_t> ThreadedLoader::Next(std::uint64_t sample_count_max,
                                           std::span<std::byte* const> destinations) {
  DNC_ASSERT(destinations.size() == plan_.manifest().columns.size());
  std::vector<Destination> columns(destinations.size());
  for (std::size_t c = 0; c < columns.size(); ++c) columns[c].rows = destinations[c];
  std::uint64_t done = 0;
  while (done < sample_count_max) {
    if (current_ == nullptr) {
      Result<std::unique_ptr<Window>> taken = pump_.Take();
      // What was gathered is handed out first; the error is still there next time.
      if (!taken.ok() && done == 0) return taken.error();
      if (!taken.ok() || *taken == nullptr) break;
      current_ = std::move(taken).value();
    }
    const std::uint64_t count = std::min(sample_count_max - done, current_->samples() - consumed_);
    DNC_TRY(current_->Gather(consumed_, count, columns, done));
    consumed_ += count;
    done += count;
    // At once, so that the next window but one is filled while the caller computes.
    if (consumed_ == current_->samples()) {
      pump_.Return(std::move(current_));
      consumed_ = 0;
    }
  }
  samples_ += done;
  return done;
}

LoaderStatistics ThreadedLoader::statistics() const {
  LoaderStatistics statistics;
  statistics.samples = samples_;
  statistics.fetched_bytes = pump_.filler().leaf_counters().fetched_bytes;
  statistics.decoded_bytes = pump_.filler().decoded_bytes();
  statistics.memory_peak_bytes = pump_.filler().memory_peak_bytes();
  statistics.waited = pump_.waited();
  return statistics;
}

// Of a plan that was consumed to its end.
class EmptyLoader final : public Loader {
 public:
  Result<std::uint64_t> Next(std::uint64_t, std::span<std::byte* const>) override {
    return std::uint64_t{0};
  }
  LoaderStatistics statistics() const override { return {}; }
};

}  // namespace

std::uint64_t MemoryNeeded(const Plan& plan) { return MemoryNeedOf(plan).total(); }

Result<std::uint64_t> WindowForMemory(const shard::Manifest& manifest, const std::string& split,
                                      std::uint64_t memory_bytes) {
  PlanOptions options;
  options.split = split;
  DNC_ASSIGN(const Plan plan, Plan::Create(&manifest, options));
  const auto need = [&](std::uint64_t window_samples) {
    return MemoryNeedOf(manifest, split, plan.sequence(), window_samples);
  };
  if (const MemoryNeed least = need(1); least.total() > memory_bytes) {
    return Error{ErrorCode::kInvalidArgument,
                 "streaming split \"" + split + "\" needs at least " + least.Text() + "; given " +
                     FormatByteCount(memory_bytes) + "; give more memory"};
  }
  // An eighth is left for leaves, up to a batch: they are then hashed together, and
  // fetched less often.
  const MemoryNeed least = need(1);
  const std::uint64_t leaves = std::min((kLeafBatch - 1) * least.leaf_bytes, memory_bytes / 8);
  const std::uint64_t rest = std::max(least.total(), memory_bytes - leaves);
  std::uint64_t fits = 1;
  std::uint64_t too_large = plan.sequence().sample_count() + 1;
  while (fits + 1 < too_large) {
    const std::uint64_t middle = fits + (too_large - fits) / 2;
    (need(middle).total() <= rest ? fits : too_large) = middle;
  }
  return fits;
}

Result<std::unique_ptr<Loader>> Loader::Open(Plan plan, const store::ObjectStore* store,
                                             const LoaderOptions& options) {
  if (options.skip_samples > plan.sample_count()) {
    return Error{ErrorCode::kInvalidArgument, "cannot skip " + FormatCount(options.skip_samples) +
                                                  " samples of a plan of " +
                                                  FormatCount(plan.sample_count())};
  }
  if (!array::AllArrays(plan.manifest().columns)) {
    return Error{ErrorCode::kUnsupported,
                 "dataset \"" + plan.manifest().name +
                     "\" has columns of varying lengths, which only a Stream gives"};
  }
  const MemoryNeed need = MemoryNeedOf(plan);
  if (need.total() > options.memory_bytes) {
    return Error{ErrorCode::kInvalidArgument, "streaming needs " + need.Text() + "; given " +
                                                  FormatByteCount(options.memory_bytes) +
                                                  "; give more memory or a smaller window"};
  }
  std::unique_ptr<Loader> loader;
  if (options.skip_samples == plan.sample_count()) {
    loader = std::make_unique<EmptyLoader>();
  } else {
    try {
      loader = std::make_unique<ThreadedLoader>(std::move(plan), store, options);
    } catch (const std::exception& failure) {
      return Error{ErrorCode::kResourceExhausted,
                   std::string("cannot start streaming: ") + failure.what() +
                       "; free memory or threads, or give a smaller budget"};
    }
  }
  return loader;
}

}  // namespace dnc::stream
