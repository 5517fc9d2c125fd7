// The box in which this program reads what strangers sent with code that is not made
// for it, such as HDF5 and libtorch. Once inside, a process can compute, keep memory up
// to its limit, use the descriptors that it has, and end; it cannot open files or
// sockets, start programs, or touch other processes. The kernel enforces it (seccomp,
// resource limits), for all threads, and it cannot be left.

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc::box {

// Limits this process's own memory (RLIMIT_DATA), without a box.
// Errors: kResourceExhausted, it already has more; kIo.
Status LimitMemory(std::uint64_t memory_bytes_max);

// Enters the box. Everything that has to be opened or loaded must have been.
// Errors: kUnsupported, a kernel without seccomp.
Status EnterBox();

// Runs `body` in a boxed copy of this process and gives the bytes that it returned, which
// are as foreign as what it read. `what` is named if the copy crashes. What is to be read
// must be open before. The copy has this thread alone: `body` must not wait for another.
// Errors: those of `body`; kCorrupt, it crashed, took more than `seconds_max` of processor
// time, or returned more than `bytes_max`; those of EnterBox; kResourceExhausted.
Result<Bytes> RunBoxed(const std::string& what, std::uint64_t bytes_max, int seconds_max,
                       const std::function<Result<Bytes>()>& body);

struct BoxAttempt {
  std::string what;  // "open a file"
  bool denied = false;
};

// Tries what the box forbids, in the calling thread, and says what was denied.
std::vector<BoxAttempt> TryToEscape();

}  // namespace dnc::box
