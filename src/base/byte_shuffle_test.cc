#include "base/byte_shuffle.h"

#include "base/prng.h"
#include "testing/testing.h"

namespace dnc {
namespace {

Bytes RandomBytes(std::size_t size) {
  Prng prng(size);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(prng.Next());
  return bytes;
}

TEST(ByteShuffleTest, PutsTheFirstByteOfEveryElementFirst) {
  const Bytes elements = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                          std::byte{5}, std::byte{6}, std::byte{7}, std::byte{8}};
  Bytes planes(8);
  ShuffleBytes(elements, 4, planes.data());
  EXPECT_EQ(planes, (Bytes{std::byte{1}, std::byte{5}, std::byte{2}, std::byte{6}, std::byte{3},
                           std::byte{7}, std::byte{4}, std::byte{8}}));
}

// Every count around the 16 elements that the vector loop takes at once.
TEST(ByteShuffleTest, MatchesTheDefinitionAndComesBackForEveryCount) {
  for (const std::size_t element_bytes : {1u, 2u, 4u, 8u}) {
    for (std::size_t count = 0; count < 70; ++count) {
      SCOPED_TRACE(testing::Message() << count << " elements of " << element_bytes);
      const Bytes elements = RandomBytes(count * element_bytes);
      Bytes planes(elements.size());
      ShuffleBytes(elements, element_bytes, planes.data());
      for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t b = 0; b < element_bytes; ++b) {
          ASSERT_EQ(planes[b * count + i], elements[i * element_bytes + b]);
        }
      }
      Bytes back(elements.size());
      UnshuffleBytes(planes, element_bytes, back.data());
      ASSERT_EQ(back, elements);
    }
  }
}

}  // namespace
}  // namespace dnc
