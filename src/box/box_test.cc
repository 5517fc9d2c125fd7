#include "box/box.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <thread>

#include "testing/testing.h"

namespace dnc::box {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::HasSubstr;

constexpr int kSecondsMax = 20;

Bytes Of(const std::string& text) {
  const ByteSpan bytes = AsBytes(text);
  return {bytes.begin(), bytes.end()};
}

TEST(RunBoxedTest, GivesWhatTheBodyReturns) {
  const std::string long_text(3'000'000, 'x');
  const Result<Bytes> bytes =
      RunBoxed("it", long_text.size(), kSecondsMax, [&] { return Of(long_text); });
  ASSERT_THAT(bytes, Succeeds());
  EXPECT_EQ(AsText(*bytes), long_text);
  const Result<Bytes> none = RunBoxed("it", 0, kSecondsMax, [] { return Bytes(); });
  ASSERT_THAT(none, Succeeds());
  EXPECT_TRUE(none->empty());
}

TEST(RunBoxedTest, ErrorsComeBackWithCodeAndMessage) {
  EXPECT_THAT(RunBoxed("it", 10, kSecondsMax,
                       []() -> Result<Bytes> {
                         return Error{ErrorCode::kUnsupported, "of a kind that is long"};
                       }),
              FailsWith(ErrorCode::kUnsupported, "of a kind that is long"));
  EXPECT_THAT(RunBoxed("it", 10, kSecondsMax, []() -> Result<Bytes> { throw std::bad_alloc(); }),
              FailsWith(ErrorCode::kResourceExhausted));
  EXPECT_THAT(RunBoxed("it", 10, kSecondsMax, [] { return Bytes(1'000'000); }),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("it gave more than 10 B")));
}

TEST(RunBoxedTest, ACrashIsAnError) {
  EXPECT_THAT(RunBoxed("model.h5", 10, kSecondsMax,
                       []() -> Result<Bytes> {
                         ::signal(SIGSEGV, SIG_DFL);
                         ::raise(SIGSEGV);
                         return Bytes();
                       }),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("model.h5 crashed")));
  EXPECT_THAT(RunBoxed("model.h5", 10, kSecondsMax,
                       []() -> Result<Bytes> {
                         ::_exit(3);
                         return Bytes();
                       }),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("model.h5 crashed")));
}

TEST(RunBoxedTest, WhatNeverEndsIsEnded) {
  EXPECT_THAT(RunBoxed("model.h5", 10, 1,
                       []() -> Result<Bytes> {
                         for (std::atomic<int> i = 0;; ++i) {
                         }
                       }),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("model.h5 took more than 1 s")));
}

TEST(RunBoxedTest, TheBoxIsClosed) {
  const Result<Bytes> attempts = RunBoxed("it", 4096, kSecondsMax, []() -> Result<Bytes> {
    std::string open;
    for (const BoxAttempt& attempt : TryToEscape()) {
      if (!attempt.denied) open += attempt.what + "; ";
    }
    return Of(open);
  });
  ASSERT_THAT(attempts, Succeeds());
  EXPECT_EQ(AsText(*attempts), "");
}

TEST(RunBoxedTest, FilesThatAreOpenCanBeRead) {
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  const Result<Bytes> magic = RunBoxed("it", 16, kSecondsMax, [&]() -> Result<Bytes> {
    Bytes bytes(4);
    if (::pread(file, bytes.data(), bytes.size(), 0) != 4) return Bytes();
    return bytes;
  });
  ::close(file);
  ASSERT_THAT(magic, Succeeds());
  EXPECT_EQ(AsText(*magic),
            "\x7f"
            "ELF");
}

TEST(RunBoxedTest, WorksBesideOtherThreads) {
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) {
      void* volatile memory = ::malloc(1000);
      ::free(memory);
    }
  });
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(RunBoxed("it", 100, kSecondsMax, [] { return Of(std::string(50, 'y')); }),
                Succeeds());
  }
  done = true;
  other.join();
}

}  // namespace
}  // namespace dnc::box
