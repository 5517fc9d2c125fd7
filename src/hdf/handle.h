// What all that reads or writes HDF5 shares: ids that close themselves, and HDF5's
// error stack as text instead of on stderr. HDF5 itself stays in the .cc.

#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/result.h"

namespace dnc::hdf {

// Owns one id (a hid_t) and the function that closes it. Negative: none.
class H5Handle {
 public:
  using Closer = int (*)(std::int64_t);

  H5Handle() = default;
  H5Handle(std::int64_t id, Closer closer) : id_(id), closer_(closer) {}
  ~H5Handle() { Close(); }
  H5Handle(H5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  H5Handle& operator=(H5Handle&& other) noexcept {
    if (this != &other) {
      Close();
      id_ = std::exchange(other.id_, -1);
      closer_ = other.closer_;
    }
    return *this;
  }

  std::int64_t id() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  void Close() {
    const std::int64_t id = std::exchange(id_, -1);
    if (id >= 0) closer_(id);
  }

  std::int64_t id_ = -1;
  Closer closer_ = nullptr;
};

// Keeps HDF5 from printing on stderr, in this thread and scope.
class QuietH5 {
 public:
  QuietH5();
  ~QuietH5();
  QuietH5(const QuietH5&) = delete;
  QuietH5& operator=(const QuietH5&) = delete;

 private:
  int (*function_)(std::int64_t, void*) = nullptr;
  void* data_ = nullptr;
};

// What HDF5's error stack gives as the cause, in one line.
std::string LastH5Failure();

}  // namespace dnc::hdf
