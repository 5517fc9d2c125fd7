// The one thread on which connections, accounts and the scheduler's state live. The
// Asio loop is inside loop.cc and http_server.cc; all else posts to it from here.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/time.h"

namespace dnc::server {

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs what is posted, on the calling thread, until Stop().
  void Run();
  // Thread-safe. What is posted and not yet run is dropped with the loop.
  void Stop();
  // Thread-safe: runs `task` on the loop's thread, in the order of the calls.
  void Post(std::function<void()> task);

  using TimerId = std::uint64_t;
  // Both on the loop's thread only.
  TimerId After(Duration delay, std::function<void()> task);
  void CancelTimer(TimerId timer);  // Of one that is over: does nothing.

  struct Impl;  // Keeps Asio out of this header; see asio_loop.h.
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::server
