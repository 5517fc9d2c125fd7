#include "provider/lane.h"

#include <utility>

#include "base/assert.h"

namespace dnc::provider {

Lane::Lane() : thread_([this] { Run(); }) {}

Lane::~Lane() { End(); }

void Lane::End() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    cancelled_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Lane::Post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    DNC_ASSERT(!next_ && !ending_);
    next_ = std::move(work);
    cancelled_ = false;
  }
  changed_.notify_all();
}

void Lane::Cancel() { cancelled_ = true; }

void Lane::Run() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return ending_ || next_; });
      if (ending_) return;
      work = std::exchange(next_, nullptr);
    }
    work();
  }
}

}  // namespace dnc::provider
