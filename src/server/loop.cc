#include "server/loop.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "server/asio_loop.h"

namespace dnc::server {

Loop::Loop() : impl_(std::make_unique<Impl>()) {}
Loop::~Loop() = default;

void Loop::Run() {
  const auto work = boost::asio::make_work_guard(impl_->io);
  impl_->io.run();
}

void Loop::Stop() { impl_->io.stop(); }

void Loop::Post(std::function<void()> task) { boost::asio::post(impl_->io, std::move(task)); }

Loop::TimerId Loop::After(Duration delay, std::function<void()> task) {
  const TimerId id = impl_->next_timer++;
  auto& timer = impl_->timers[id];
  timer =
      std::make_unique<boost::asio::steady_timer>(impl_->io, std::chrono::microseconds(delay.us));
  timer->async_wait([this, id, task = std::move(task)](const boost::system::error_code& error) {
    if (error || impl_->timers.erase(id) == 0) return;
    task();
  });
  return id;
}

void Loop::CancelTimer(TimerId timer) { impl_->timers.erase(timer); }

}  // namespace dnc::server
