// The one error channel of the project: Status, or Result<T> for a value or an
// Error. Exceptions of libraries die inside the .cc that calls them.
//
// A code exists only if a caller reacts to it. Each maps once to an exit code
// (ExitCode below) and once to an HTTP status (server). A message names the
// thing, what was found, what was expected and what to do.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/assert.h"

namespace dnc {

enum class ErrorCode {
  kInvalidArgument,    // The caller's or user's input is wrong.
  kNotFound,           // The named thing is not there.
  kAlreadyExists,      // The named thing is there, with other contents.
  kCorrupt,            // Bytes that fail a checksum or break their format.
  kUnsupported,        // Well-formed, but a later version or an unknown kind.
  kTooLarge,           // Beyond a stated limit.
  kUnauthenticated,    // No token, a wrong password, or an expired token.
  kPermissionDenied,   // A valid token, but not for this.
  kStale,              // A lease, version or task that is no longer current.
  kUnavailable,        // A network or server that may work later: retry.
  kResourceExhausted,  // Disk full, memory or file limit reached.
  kCancelled,          // Stopped by the user.
  kIo,                 // The operating system refused an operation.
  kInternal,           // Our own bug, found where it could still be reported.
};

// The code's name for JSON and logs, such as "not_found".
const char* ErrorCodeName(ErrorCode code);
// The inverse; nullopt for a name that is not one.
std::optional<ErrorCode> ErrorCodeFromName(std::string_view name);
// The exit code of a process that ends with this error: 2 for wrong input, 130
// for cancelled, one of its own for each other;
// docs/architecture.md lists them.
int ExitCode(ErrorCode code);

struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;

  // The same error with "`context`: " before its message.
  Error WithContext(std::string_view context) const {
    return {code, std::string(context) + ": " + message};
  }
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}  // NOLINT: implicit on purpose.

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  // Requires: !ok().
  const Error& error() const {
    DNC_ASSERT(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}      // NOLINT: implicit on purpose.
  Result(Error error) : value_(std::move(error)) {}  // NOLINT: implicit on purpose.

  bool ok() const { return std::holds_alternative<T>(value_); }
  explicit operator bool() const { return ok(); }
  // Requires: ok(), for all accessors of the value.
  T& value() & {
    DNC_ASSERT(ok());
    return std::get<T>(value_);
  }
  const T& value() const& {
    DNC_ASSERT(ok());
    return std::get<T>(value_);
  }
  T&& value() && {
    DNC_ASSERT(ok());
    return std::get<T>(std::move(value_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  // Requires: !ok().
  const Error& error() const {
    DNC_ASSERT(!ok());
    return std::get<Error>(value_);
  }
  Status status() const { return ok() ? Status() : Status(error()); }

 private:
  std::variant<T, Error> value_;
};

}  // namespace dnc

// A name of its own for each use, so that uses may nest (in a lambda, say).
#define DNC_CONCAT_INNER_(a, b) a##b
#define DNC_CONCAT_(a, b) DNC_CONCAT_INNER_(a, b)

// DNC_TRY(Status or Result expression): returns its error from this function.
#define DNC_TRY(expression) DNC_TRY_INNER_(DNC_CONCAT_(dnc_try_, __COUNTER__), expression)
#define DNC_TRY_INNER_(status, expression)                               \
  do {                                                                   \
    if (auto status = (expression); !status.ok()) return status.error(); \
  } while (false)

// DNC_ASSIGN(auto x, Result expression): x = the value, or returns the error.
#define DNC_ASSIGN(target, expression) \
  DNC_ASSIGN_INNER_(DNC_CONCAT_(dnc_assign_, __COUNTER__), target, expression)
#define DNC_ASSIGN_INNER_(temporary, target, expression) \
  auto temporary = (expression);                         \
  if (!temporary.ok()) return temporary.error();         \
  target = std::move(temporary).value()
