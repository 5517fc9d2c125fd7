// Assertions for our own bugs only: always on, in every build. What a user, a
// file or the network did wrong is an Error (base/result.h), never an assertion.

#pragma once

namespace dnc {

// Prints the expression and place, then aborts.
[[noreturn]] void AssertionFailed(const char* expression, const char* file, int line);

}  // namespace dnc

#define DNC_ASSERT(expression)                          \
  (static_cast<bool>(expression) ? static_cast<void>(0) \
                                 : ::dnc::AssertionFailed(#expression, __FILE__, __LINE__))
