// A thread that runs one piece of work after another, each of which can be told to
// end soon. The daemon has one for the work, and one each for renewing and giving back leases.

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace dnc::provider {

class Lane {
 public:
  Lane();
  ~Lane();  // End().
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Runs `work` on the lane's thread, not cancelled at first. May be called as soon as
  // the work before has reported its end, though it has not returned yet.
  void Post(std::function<void()> work);

  // Sets cancelled() until the next Post(). Called by the thread that posts.
  void Cancel();

  // Cancels what runs and waits for its end; what was not begun is dropped. Nothing may
  // be posted after it.
  void End();

  // Whether the work should end soon. Lives as long as the lane.
  const std::atomic<bool>* cancelled() const { return &cancelled_; }

 private:
  void Run();

  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> next_;  // Empty: none.
  bool ending_ = false;
  std::thread thread_;  // Last: it uses all above.
};

}  // namespace dnc::provider
