#include "server/log.h"

#define SPDLOG_COMPILED_LIB
#define SPDLOG_FMT_EXTERNAL
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

namespace dnc::server {
namespace {

spdlog::logger& Logger() {
  static const auto logger = [] {
    auto made =
        std::make_shared<spdlog::logger>("dnc", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    return made;
  }();
  return *logger;
}

}  // namespace

Log::Log(bool enabled) : enabled_(enabled) {}

void Log::Info(const std::string& message) const {
  if (enabled_) Logger().info("{}", message);
}

void Log::Warn(const std::string& message) const {
  if (enabled_) Logger().warn("{}", message);
}

}  // namespace dnc::server
