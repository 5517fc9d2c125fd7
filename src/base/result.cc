#include "base/result.h"

#include <array>
#include <string_view>

namespace dnc {
namespace {

struct CodeRow {
  ErrorCode code;
  const char* name;
  int exit_code;
};

constexpr std::array<CodeRow, 14> kCodes = {{
    {ErrorCode::kInvalidArgument, "invalid_argument", 2},
    {ErrorCode::kNotFound, "not_found", 3},
    {ErrorCode::kAlreadyExists, "already_exists", 4},
    {ErrorCode::kCorrupt, "corrupt", 5},
    {ErrorCode::kUnsupported, "unsupported", 6},
    {ErrorCode::kTooLarge, "too_large", 7},
    {ErrorCode::kUnauthenticated, "unauthenticated", 8},
    {ErrorCode::kPermissionDenied, "permission_denied", 9},
    {ErrorCode::kStale, "stale", 10},
    {ErrorCode::kUnavailable, "unavailable", 11},
    {ErrorCode::kResourceExhausted, "resource_exhausted", 12},
    {ErrorCode::kCancelled, "cancelled", 130},
    {ErrorCode::kIo, "io", 13},
    {ErrorCode::kInternal, "internal", 70},
}};

const CodeRow& Row(ErrorCode code) {
  for (const CodeRow& row : kCodes) {
    if (row.code == code) return row;
  }
  AssertionFailed("every ErrorCode has a row", __FILE__, __LINE__);
}

}  // namespace

const char* ErrorCodeName(ErrorCode code) { return Row(code).name; }

std::optional<ErrorCode> ErrorCodeFromName(std::string_view name) {
  for (const CodeRow& row : kCodes) {
    if (name == row.name) return row.code;
  }
  return std::nullopt;
}

int ExitCode(ErrorCode code) { return Row(code).exit_code; }

}  // namespace dnc
