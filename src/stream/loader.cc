#include "stream/loader.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "base/human.h"
#include "stream/memory_need.h"
#include "stream/window_filler.h"

namespace dnc::stream {
namespace {

class ThreadedLoader final : public Loader {
 public:
  ThreadedLoader(Plan plan, const store::ObjectStore* store, const LoaderOptions& options)
      : plan_(std::move(plan)),
        filler_(&plan_, store, options.memory_bytes, &stop_),
        next_window_(options.skip_samples / plan_.options().window_samples),
        consumed_(options.skip_samples % plan_.options().window_samples),
        windows_left_(plan_.window_count() - next_window_),
        thread_([this] { Run(); }) {}

  ~ThreadedLoader() override {
    stop_.store(true, std::memory_order_relaxed);
    {
      // Under the lock, so that the thread is not between its check and its wait.
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Result<std::uint64_t> Next(std::uint64_t sample_count_max,
                             std::span<std::byte* const> destinations) override;
  LoaderStatistics statistics() const override;

 private:
  // The thread's: fills windows in order while fewer than two are in hand.
  void Run();
  // Makes current_ the next window. False at the end of the plan.
  Result<bool> TakeWindow();
  void ReturnWindow();

  Plan plan_;
  std::atomic<bool> stop_ = false;  // Read within Fill(), where no lock is held.
  WindowFiller filler_;             // The thread's alone, but for its counters.

  std::mutex mutex_;
  std::condition_variable changed_;
  // The following five under mutex_. Windows in hand: those filled or being
  // filled that have not come back.
  std::deque<std::unique_ptr<Window>> ready_;
  std::vector<std::unique_ptr<Window>> returned_;
  int in_hand_ = 0;
  Status failure_;  // Of the thread, which has ended then.
  bool stopping_ = false;

  std::uint64_t next_window_;  // The thread's.

  // The caller's.
  std::unique_ptr<Window> current_;
  std::uint64_t consumed_;      // Samples of current_, or of the first window to come.
  std::uint64_t windows_left_;  // That were not yet taken.
  std::uint64_t samples_ = 0;
  Duration waited_;

  std::thread thread_;  // Last: it starts when all else is there.
};

void ThreadedLoader::Run() {
  for (; next_window_ < plan_.window_count(); ++next_window_) {
    std::vector<std::unique_ptr<Window>> returned;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || in_hand_ < 2; });
      if (stopping_) return;
      ++in_hand_;
      returned.swap(returned_);
    }
    // The window just before may share a block with the one to fill: it goes after.
    std::unique_ptr<Window> before;
    for (std::unique_ptr<Window>& window : returned) {
      if (window->index() + 1 == next_window_) {
        before = std::move(window);
      } else {
        filler_.Release(std::move(window));
      }
    }
    Result<std::unique_ptr<Window>> window = filler_.Fill(next_window_);
    if (before != nullptr) filler_.Release(std::move(before));
    {
      const std::lock_guard lock(mutex_);
      if (window.ok()) {
        ready_.push_back(std::move(window).value());
      } else {
        failure_ = window.error();
      }
    }
    changed_.notify_all();
    if (!window.ok()) return;
  }
}

Result<bool> ThreadedLoader::TakeWindow() {
  if (windows_left_ == 0) return false;
  std::unique_lock lock(mutex_);
  if (ready_.empty() && failure_.ok()) {
    const Instant begin = MonotonicNow();
    changed_.wait(lock, [this] { return !ready_.empty() || !failure_.ok(); });
    waited_ = waited_ + (MonotonicNow() - begin);
  }
  // Windows that were filled before the failure are handed out first.
  if (ready_.empty()) return failure_.error();
  current_ = std::move(ready_.front());
  ready_.pop_front();
  --windows_left_;
  return true;
}

void ThreadedLoader::ReturnWindow() {
  {
    const std::lock_guard lock(mutex_);
    returned_.push_back(std::move(current_));
    --in_hand_;
  }
  changed_.notify_all();
  consumed_ = 0;
}

Result<std::uint64_t> ThreadedLoader::Next(std::uint64_t sample_count_max,
                                           std::span<std::byte* const> destinations) {
  DNC_ASSERT(destinations.size() == plan_.manifest().columns.size());
  std::uint64_t done = 0;
  while (done < sample_count_max) {
    if (current_ == nullptr) {
      const Result<bool> taken = TakeWindow();
      // What was gathered is handed out first; the error is still there next time.
      if (!taken.ok() && done == 0) return taken.error();
      if (!taken.ok() || !*taken) break;
    }
    const std::uint64_t count = std::min(sample_count_max - done, current_->samples() - consumed_);
    current_->Gather(consumed_, count, destinations, done);
    consumed_ += count;
    done += count;
    // At once, so that the next window but one is filled while the caller computes.
    if (consumed_ == current_->samples()) ReturnWindow();
  }
  samples_ += done;
  return done;
}

LoaderStatistics ThreadedLoader::statistics() const {
  LoaderStatistics statistics;
  statistics.samples = samples_;
  statistics.fetched_bytes = filler_.fetched_bytes();
  statistics.decoded_bytes = filler_.decoded_bytes();
  statistics.memory_peak_bytes = filler_.memory_peak_bytes();
  statistics.waited = waited_;
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
