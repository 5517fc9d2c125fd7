// Helpers for tests: matchers for Status and Result, a temporary folder, and a
// source that fails on purpose. Only *_test.cc files include this.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "base/random_access_source.h"
#include "base/result.h"

namespace dnc::test {

inline const Error* ErrorOf(const Status& status) {
  return status.ok() ? nullptr : &status.error();
}
template <typename T>
const Error* ErrorOf(const Result<T>& result) {
  return result.ok() ? nullptr : &result.error();
}

MATCHER(Succeeds, negation ? "fails" : "succeeds") {
  const Error* error = ErrorOf(arg);
  if (error != nullptr) {
    *result_listener << ErrorCodeName(error->code) << ": " << error->message;
  }
  return error == nullptr;
}

// FailsWith(code, a matcher or text of the message).
MATCHER_P(FailsWithCode, code, "") {
  const Error* error = ErrorOf(arg);
  if (error == nullptr) {
    *result_listener << "it succeeded";
    return false;
  }
  *result_listener << ErrorCodeName(error->code) << ": " << error->message;
  return ::testing::ExplainMatchResult(::testing::Matcher<ErrorCode>(code), error->code,
                                       result_listener);
}
MATCHER_P2(FailsWithMessage, code, message, "") {
  const Error* error = ErrorOf(arg);
  if (error == nullptr) {
    *result_listener << "it succeeded";
    return false;
  }
  *result_listener << ErrorCodeName(error->code) << ": " << error->message;
  return ::testing::ExplainMatchResult(::testing::Matcher<ErrorCode>(code), error->code,
                                       result_listener) &&
         ::testing::ExplainMatchResult(::testing::Matcher<std::string>(message), error->message,
                                       result_listener);
}
template <typename Code>
auto FailsWith(Code code) {
  return FailsWithCode(code);
}
template <typename Code, typename Message>
auto FailsWith(Code code, Message message) {
  return FailsWithMessage(code, message);
}

// A folder that is removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dnc-test-XXXXXX").string();
    DNC_ASSERT(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

struct FaultySourceOptions {
  int fail_read_index = 0;
  ErrorCode code = ErrorCode::kUnavailable;
};

// Passes reads on, but fails the one of the given number.
class FaultySource final : public RandomAccessSource {
 public:
  FaultySource(const RandomAccessSource* inner, FaultySourceOptions options)
      : inner_(inner), options_(options) {}

  std::uint64_t size() const override { return inner_->size(); }
  const std::string& name() const override { return inner_->name(); }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    if (read_index_++ == options_.fail_read_index) {
      fired_ = true;
      return Error{options_.code, "fault on purpose"};
    }
    return inner_->ReadAt(offset, out);
  }
  bool fired() const { return fired_; }

 private:
  const RandomAccessSource* inner_;
  FaultySourceOptions options_;
  mutable int read_index_ = 0;
  mutable bool fired_ = false;
};

}  // namespace dnc::test
