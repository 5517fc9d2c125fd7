// The inside of Loop, for the few files that use Asio.

#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>

#include "server/loop.h"

namespace dnc::server {

struct Loop::Impl {
  boost::asio::io_context io{1};
  std::map<TimerId, std::unique_ptr<boost::asio::steady_timer>> timers;
  TimerId next_timer = 1;
};

}  // namespace dnc::server
