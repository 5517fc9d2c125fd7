// The box in which dnc-trainer reads what strangers sent: a model's JSON, weights and
// batches. Once inside, this process can compute, keep memory up to its limit, talk
// over the sockets that it has, and end; it cannot open files or sockets, start
// programs, or touch other processes. The kernel enforces it (seccomp, resource
// limits), for all threads, and it cannot be left.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace dnc::trainer_torch {

// Limits this process's own memory (RLIMIT_DATA), without a box.
// Errors: kResourceExhausted, it already has more; kIo.
Status LimitMemory(std::uint64_t memory_bytes_max);

// Enters the box. Everything that has to be opened or loaded must have been.
// Errors: kUnsupported, a kernel without seccomp.
Status EnterBox();

struct BoxAttempt {
  std::string what;  // "open a file"
  bool denied = false;
};

// Tries what the box forbids, in the calling thread, and says what was denied.
std::vector<BoxAttempt> TryToEscape();

}  // namespace dnc::trainer_torch
