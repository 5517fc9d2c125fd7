// A few threads for what would hold up the loop: folds, password hashes, syncs.

#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dnc::server {

class Workers {
 public:
  explicit Workers(int threads);
  // Waits for the jobs that run, and drops those that wait.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Thread-safe. Jobs start in the order of the calls.
  void Post(std::function<void()> job);
  // Waits until no job runs or waits.
  void WaitIdle();

 private:
  void RunThread();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  int running_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace dnc::server
