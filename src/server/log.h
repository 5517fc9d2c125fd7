// One line an event that an administrator wants to see, on stderr.

#pragma once

#include <string>

namespace dnc::server {

class Log {
 public:
  explicit Log(bool enabled);
  void Info(const std::string& message) const;
  void Warn(const std::string& message) const;

 private:
  bool enabled_;
};

}  // namespace dnc::server
