#include "stream/window_pump.h"

#include <chrono>
#include <exception>

namespace dnc::stream {

WindowPump::WindowPump(const shard::Manifest* manifest, const store::ObjectStore* store,
                       const FillerOptions& options, Next next)
    : next_(std::move(next)),
      filler_(manifest, store, options, &stop_),
      thread_([this] { Run(); }) {}

WindowPump::~WindowPump() {
  Stop();
  thread_.join();
}

void WindowPump::Stop() {
  stop_.store(true, std::memory_order_relaxed);
  filler_.Wake();
  {
    // Under the lock, so that nobody is between a check and a wait.
    const std::lock_guard lock(mutex_);
  }
  changed_.notify_all();
}

Result<std::unique_ptr<Window>> WindowPump::FillNext(
    std::vector<std::unique_ptr<Window>> returned) {
  // The window just before may share a block with the one to fill: it goes after.
  std::unique_ptr<Window> before;
  for (std::unique_ptr<Window>& window : returned) {
    if (window->number() + 1 == visit_->number) {
      before = std::move(window);
    } else {
      filler_.Release(std::move(window));
    }
  }
  const WindowVisit visit = std::move(*visit_);
  DNC_ASSIGN(visit_, next_());
  Result<std::unique_ptr<Window>> window =
      filler_.Fill(visit, visit_.has_value() ? &*visit_ : nullptr);
  if (before != nullptr) filler_.Release(std::move(before));
  return window;
}

void WindowPump::Run() {
  const auto end = [this](Status failure) {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      failure_ = std::move(failure);
    }
    changed_.notify_all();
  };
  try {
    Result<std::optional<WindowVisit>> first = next_();
    if (!first.ok()) return end(first.error());
    visit_ = std::move(first).value();
    while (visit_.has_value()) {
      std::vector<std::unique_ptr<Window>> returned;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stop_.load() || in_hand_ < 2; });
        if (stop_.load()) break;
        ++in_hand_;
        returned.swap(returned_);
      }
      Result<std::unique_ptr<Window>> window = FillNext(std::move(returned));
      if (!window.ok()) return end(window.error());
      {
        const std::lock_guard lock(mutex_);
        ready_.push_back(std::move(window).value());
      }
      changed_.notify_all();
    }
    end({});
  } catch (const std::exception& failure) {
    end(Error{ErrorCode::kResourceExhausted,
              std::string("no memory while streaming: ") + failure.what()});
  }
}

Result<std::unique_ptr<Window>> WindowPump::Take() {
  std::unique_lock lock(mutex_);
  const auto there = [this] { return !ready_.empty() || ended_ || stop_.load(); };
  if (!there()) {
    const Instant begin = MonotonicNow();
    changed_.wait(lock, there);
    waited_ = waited_ + (MonotonicNow() - begin);
  }
  // Windows that were filled before a failure are handed out first.
  if (!ready_.empty()) {
    std::unique_ptr<Window> window = std::move(ready_.front());
    ready_.pop_front();
    return window;
  }
  if (!failure_.ok()) return failure_.error();
  if (!ended_) return Error{ErrorCode::kCancelled, "loading was stopped"};
  return std::unique_ptr<Window>();
}

bool WindowPump::Ready() const {
  const std::lock_guard lock(mutex_);
  return !ready_.empty() || ended_;
}

bool WindowPump::WaitReady(Duration timeout) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::microseconds(timeout.us),
                           [this] { return !ready_.empty() || ended_ || stop_.load(); });
}

void WindowPump::Return(std::unique_ptr<Window> window) {
  {
    const std::lock_guard lock(mutex_);
    returned_.push_back(std::move(window));
    --in_hand_;
  }
  changed_.notify_all();
}

Duration WindowPump::waited() const {
  const std::lock_guard lock(mutex_);
  return waited_;
}

}  // namespace dnc::stream
