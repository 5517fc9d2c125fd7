#include "update/update.h"

#include <xxhash.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/hash.h"
#include "base/prng.h"
#include "testing/testing.h"

// An update comes from a machine nobody vouches for, and its values must come back
// bit by bit. Values are compared as bits, since NaN is not equal to itself.

namespace dnc::update {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr std::size_t kHeaderBytes = 32;

std::vector<std::uint32_t> BitsOf(std::span<const float> values) {
  std::vector<std::uint32_t> bits(values.size());
  if (!bits.empty()) std::memcpy(bits.data(), values.data(), values.size_bytes());
  return bits;
}

std::vector<float> SmoothValues(std::size_t count) {
  Prng prng(count);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(prng.Normal()) * 1e-3f;
  return values;
}

// Any bits at all: NaN with payloads, infinities, denormals, both zeros.
std::vector<float> ArbitraryValues(std::size_t count, std::uint64_t seed) {
  Prng prng(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    auto bits = static_cast<std::uint32_t>(prng.Next());
    switch (prng.Below(6)) {
      case 0:
        bits |= 0x7f800000u;
        break;  // NaN or infinity.
      case 1:
        bits &= 0x807fffffu;
        break;  // Denormal or zero.
      case 2:
        bits &= 0x80000000u;
        break;  // A zero.
      case 3:
        bits &= 0xff800000u;
        break;  // A power of two, infinity, zero.
      default:
        break;
    }
    std::memcpy(&value, &bits, sizeof(value));
  }
  return values;
}

// A container of one chunk whose form and bytes the test chooses, with right checksums.
Bytes Forge(std::uint64_t count, std::uint32_t form, ByteSpan stored) {
  ByteWriter header;
  header.PutBytes(AsBytes("DNCUPDAT"));
  header.Put(std::uint32_t{1});
  header.Put(std::uint32_t{1});
  header.Put(count);
  header.Put(std::uint64_t{XXH3_64bits(header.bytes().data(), header.size())});
  ByteWriter chunk;
  chunk.Put(static_cast<std::uint32_t>(stored.size()));
  chunk.Put(form);
  chunk.PutBytes(stored);
  ByteWriter all;
  all.PutBytes(header.bytes());
  all.Put(std::uint64_t{XXH3_64bits(chunk.bytes().data(), chunk.size())});
  all.PutBytes(chunk.bytes());
  return std::move(all).Take();
}

TEST(UpdateTest, GivesBackEveryBitOfAnyValues) {
  for (std::uint64_t round = 0; round < 40; ++round) {
    const std::size_t count = round < 20 ? round : Prng(round).Below(5000);
    const std::vector<float> values = ArbitraryValues(count, round);
    const Bytes bytes = Encode(values);
    const auto back = Decode(bytes, count);
    ASSERT_THAT(back, Succeeds());
    EXPECT_EQ(BitsOf(*back), BitsOf(values));
    EXPECT_LE(bytes.size(), EncodedBytesMax(count));
  }
}

TEST(UpdateTest, GivesBackTheValuesThatComparisonWouldMiss) {
  const std::uint32_t bits[] = {0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
                                0xffc00001, 0x7f800001, 0x00000001, 0x807fffff, 0x7f7fffff};
  std::vector<float> values(std::size(bits));
  std::memcpy(values.data(), bits, sizeof(bits));
  const auto back = Decode(Encode(values), values.size());
  ASSERT_THAT(back, Succeeds());
  EXPECT_EQ(BitsOf(*back), std::vector<std::uint32_t>(std::begin(bits), std::end(bits)));
}

TEST(UpdateTest, DecodesChunkByChunk) {
  for (const std::size_t count :
       {std::size_t{kChunkValues} - 1, std::size_t{kChunkValues}, std::size_t{kChunkValues} + 1,
        std::size_t{2} * kChunkValues + 77}) {
    const std::vector<float> values = SmoothValues(count);
    const Bytes bytes = Encode(values);
    auto decoder = Decoder::Open(bytes, count);
    ASSERT_THAT(decoder, Succeeds());
    std::vector<float> joined;
    for (;;) {
      const auto chunk = decoder->Next();
      ASSERT_THAT(chunk, Succeeds());
      if (chunk->empty()) break;
      EXPECT_TRUE(chunk->size() == kChunkValues || joined.size() + chunk->size() == count);
      joined.insert(joined.end(), chunk->begin(), chunk->end());
    }
    EXPECT_EQ(joined, values);
    EXPECT_EQ(*Decode(bytes, count), values);
  }
}

TEST(UpdateTest, MakesTheSameBytesEachTime) {
  const std::vector<float> values = SmoothValues(300'000);
  EXPECT_EQ(Encode(values), Encode(values));
}

TEST(UpdateTest, HoldsNoValues) {
  const Bytes bytes = Encode({});
  EXPECT_EQ(bytes.size(), EncodedBytesMax(0));
  EXPECT_EQ(*Decode(bytes, 0), std::vector<float>());
  Bytes longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_THAT(Decode(longer, 0), FailsWith(ErrorCode::kCorrupt, HasSubstr("follow")));
}

// The bytes as docs/formats/update.md lays them out. Two values do not compress, so
// that nothing depends on the version of zstd.
TEST(UpdateTest, LaysOutTheBytesAsTheFormatSays) {
  const std::vector<float> values = {1.0f, -2.0f};
  EXPECT_EQ(HexEncode(Encode(values)), HexEncode(Forge(2, 0, std::as_bytes(std::span(values)))));
}

TEST(UpdateTest, CompressesDifferencesAndNeverGrows) {
  const std::vector<float> zeros(100'000);
  EXPECT_LT(Encode(zeros).size(), 200u);
  EXPECT_LT(Encode(SmoothValues(100'000)).size(), 380'000u);
  Prng prng(2);
  std::vector<float> noise(100'000);
  for (float& value : noise) {
    const auto bits = static_cast<std::uint32_t>(prng.Next());
    std::memcpy(&value, &bits, sizeof(value));
  }
  EXPECT_EQ(Encode(noise).size(), EncodedBytesMax(100'000));
}

TEST(UpdateTest, RefusesAContainerWithAnyOneByteChanged) {
  for (const std::size_t count : {3u, 400u}) {  // Stored, and compressed.
    std::vector<float> values(count, 0.25f);
    values[1] = 1e-3f;
    const Bytes intact = Encode(values);
    for (std::size_t offset = 0; offset < intact.size(); ++offset) {
      SCOPED_TRACE(offset);
      for (int bit = 0; bit < 8; ++bit) {
        Bytes damaged = intact;
        damaged[offset] ^= static_cast<std::byte>(1 << bit);
        EXPECT_THAT(Decode(damaged, count),
                    FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported)));
      }
    }
  }
}

TEST(UpdateTest, RefusesAContainerCutOffAnywhereOrWithBytesBehindIt) {
  const std::vector<float> values = SmoothValues(50);
  const Bytes intact = Encode(values);
  for (std::size_t size = 0; size < intact.size(); ++size) {
    EXPECT_THAT(Decode(ByteSpan(intact).first(size), 50), FailsWith(ErrorCode::kCorrupt));
  }
  Bytes longer = intact;
  longer.push_back(std::byte{0});
  EXPECT_THAT(Decode(longer, 50), FailsWith(ErrorCode::kCorrupt, HasSubstr("follow")));
}

TEST(UpdateTest, RefusesAContainerCutOffBetweenChunks) {
  const std::vector<float> values = SmoothValues(kChunkValues + 1);
  const Bytes whole = Encode(values);
  const std::size_t first = Encode(std::span(values).first(kChunkValues)).size();
  EXPECT_THAT(Decode(ByteSpan(whole).first(first), values.size()),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("ends within a chunk")));
}

TEST(UpdateTest, NamesBothCountsWhereTheyDiffer) {
  EXPECT_THAT(Decode(Encode(SmoothValues(7)), 9),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("7 values"), HasSubstr("the model has 9"))));
}

TEST(UpdateTest, NamesBothVersionsOfALaterContainer) {
  Bytes later = Encode(SmoothValues(7));
  later[8] = std::byte{2};
  EXPECT_THAT(Decode(later, 7), FailsWith(ErrorCode::kUnsupported,
                                          AllOf(HasSubstr("version 2"), HasSubstr("version 1"))));
}

// The header claims 2^40 values, as the caller expects, but no chunks follow: refused
// before four terabytes are asked for.
TEST(UpdateTest, RefusesAHugeCountWithoutAllocatingIt) {
  const std::uint64_t count = std::uint64_t{1} << 40;
  EXPECT_THAT(Decode(Forge(count, 0, {}), count), FailsWith(ErrorCode::kCorrupt));
}

TEST(UpdateTest, RefusesChunksThatAreNotWhatTheySay) {
  const std::vector<float> values = {1, 2};
  const ByteSpan raw = std::as_bytes(std::span(values));
  ASSERT_THAT(Decode(Forge(2, 0, raw), 2), Succeeds());
  EXPECT_THAT(Decode(Forge(2, 0, raw.first(7)), 2), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(Decode(Forge(2, 1, raw), 2), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(Decode(Forge(2, 2, raw), 2), FailsWith(ErrorCode::kCorrupt, HasSubstr("form")));
  EXPECT_THAT(Decode(Forge(2, 257, raw), 2), FailsWith(ErrorCode::kCorrupt, HasSubstr("form")));
  // A chunk that decodes to another number of values.
  const Bytes other = Encode(std::vector<float>(400, 1.0f));
  const ByteSpan stored = ByteSpan(other).subspan(kHeaderBytes + 16);
  EXPECT_THAT(Decode(Forge(400, 1, stored), 400), Succeeds());
  EXPECT_THAT(Decode(Forge(401, 1, stored), 401), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(Decode(Forge(399, 1, stored), 399), FailsWith(ErrorCode::kCorrupt));
}

TEST(UpdateTest, TellsWhetherAllValuesAreFinite) {
  std::vector<float> values = ArbitraryValues(100, 5);
  for (float& value : values) {
    if (!std::isfinite(value)) value = -std::numeric_limits<float>::max();
  }
  for (std::size_t count = 0; count <= values.size(); ++count) {
    EXPECT_TRUE(AllFinite(std::span(values).first(count)));
  }
  const std::uint32_t wrong_bits[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff};
  for (const std::uint32_t bits : wrong_bits) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::vector<float> spoiled = values;
      std::memcpy(&spoiled[i], &bits, sizeof(bits));
      EXPECT_FALSE(AllFinite(spoiled)) << i;
    }
  }
}

}  // namespace
}  // namespace dnc::update
