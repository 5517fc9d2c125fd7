// Fills windows on a thread of its own, so that one is decoded while another is
// consumed: at most two are in hand at a time.

#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "stream/visit.h"
#include "stream/window.h"
#include "stream/window_filler.h"

namespace dnc::stream {

class WindowPump {
 public:
  // The windows to visit, in order; nullopt at the end. Called by the pump's thread, each
  // time once the one before is being filled.
  using Next = std::function<Result<std::optional<WindowVisit>>()>;

  // As WindowFiller. The thread starts at once.
  WindowPump(const shard::Manifest* manifest, const store::ObjectStore* store,
             const FillerOptions& options, Next next);
  ~WindowPump();
  WindowPump(const WindowPump&) = delete;
  WindowPump& operator=(const WindowPump&) = delete;

  // The next window; null at the end. Waits for it.
  // Errors: those of `next` and of WindowFiller::Fill, after the windows before.
  Result<std::unique_ptr<Window>> Take();
  // Whether Take() would not wait.
  bool Ready() const;
  // Waits until Take() would not, or `timeout` has passed; returns which.
  bool WaitReady(Duration timeout) const;
  // Takes back a window that was consumed.
  void Return(std::unique_ptr<Window> window);
  // Ends what waits in Take(), with kCancelled. From any thread.
  void Stop();

  const WindowFiller& filler() const { return filler_; }
  Duration waited() const;  // That Take() waited.

 private:
  void Run();
  Result<std::unique_ptr<Window>> FillNext(std::vector<std::unique_ptr<Window>> returned);

  const Next next_;
  std::atomic<bool> stop_ = false;    // Read within Fill(), where no lock is held.
  WindowFiller filler_;               // The thread's alone, but for its counters.
  std::optional<WindowVisit> visit_;  // The thread's: the one to fill.

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  // Under mutex_. Windows in hand: those filled or being filled that have not come back.
  std::deque<std::unique_ptr<Window>> ready_;
  std::vector<std::unique_ptr<Window>> returned_;
  int in_hand_ = 0;
  bool ended_ = false;  // The thread has, after the last window or a failure.
  Status failure_;
  Duration waited_;

  std::thread thread_;  // Last: it starts when all else is there.
};

}  // namespace dnc::stream
