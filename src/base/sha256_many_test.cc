// The way in lanes is our own arithmetic, so it is compared with OpenSSL's over
// every length that pads differently and every number of lanes.

#include "base/sha256_many.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/prng.h"
#include "testing/testing.h"

namespace dnc {
namespace {

using Hash = void (*)(std::span<const ByteSpan>, std::span<Digest>);

void ExpectOpenSslsDigests(const std::vector<std::size_t>& lengths, Hash hash) {
  std::vector<Bytes> contents;
  Prng prng(lengths.size());
  for (const std::size_t length : lengths) {
    Bytes& bytes = contents.emplace_back(length);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(prng.Next());
  }
  const std::vector<ByteSpan> messages(contents.begin(), contents.end());
  std::vector<Digest> digests(messages.size());
  hash(messages, digests);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ(digests[i], Sha256(messages[i])) << "message " << i << " of " << lengths[i];
  }
}

class Sha256InLanesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!internal::CanHashInLanes()) GTEST_SKIP() << "this processor has no AVX-512";
  }
};

TEST_F(Sha256InLanesTest, GivesTheDigestOfEveryLength) {
  for (std::size_t length = 0; length <= 200; ++length) {
    ExpectOpenSslsDigests(std::vector<std::size_t>(8, length), internal::Sha256InLanes);
  }
}

TEST_F(Sha256InLanesTest, HashesMessagesOfDifferentLengthsTogether) {
  ExpectOpenSslsDigests({0, 1, 55, 56, 63, 64, 65, 5000}, internal::Sha256InLanes);
  ExpectOpenSslsDigests({1 << 20, 3, 1 << 20, 64, 119, 120, 128, 700001}, internal::Sha256InLanes);
}

TEST_F(Sha256InLanesTest, TakesFewerMessagesThanLanes) {
  for (std::size_t count = 0; count <= 8; ++count) {
    ExpectOpenSslsDigests(std::vector<std::size_t>(count, 300), internal::Sha256InLanes);
  }
}

TEST(Sha256ManyTest, HashesAnyNumberOfMessages) {
  for (std::size_t count = 0; count <= 20; ++count) {
    std::vector<std::size_t> lengths;
    for (std::size_t i = 0; i < count; ++i) lengths.push_back(i * 97);
    ExpectOpenSslsDigests(lengths, Sha256Many);
  }
}

}  // namespace
}  // namespace dnc
