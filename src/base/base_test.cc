#include <gtest/gtest.h>

#include <array>
#include <set>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/human.h"
#include "base/id.h"
#include "base/prng.h"
#include "base/random_access_source.h"
#include "base/result.h"
#include "base/time.h"
#include "testing/testing.h"

namespace dnc {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// --- Result and Status.

constexpr std::array kAllCodes = {ErrorCode::kInvalidArgument,
                                  ErrorCode::kNotFound,
                                  ErrorCode::kAlreadyExists,
                                  ErrorCode::kCorrupt,
                                  ErrorCode::kUnsupported,
                                  ErrorCode::kTooLarge,
                                  ErrorCode::kUnauthenticated,
                                  ErrorCode::kPermissionDenied,
                                  ErrorCode::kStale,
                                  ErrorCode::kUnavailable,
                                  ErrorCode::kResourceExhausted,
                                  ErrorCode::kCancelled,
                                  ErrorCode::kIo,
                                  ErrorCode::kInternal};

TEST(ErrorCodeTest, EachHasANameAndAnExitCodeOfItsOwn) {
  std::set<std::string> names;
  std::set<int> exit_codes;
  for (const ErrorCode code : kAllCodes) {
    names.insert(ErrorCodeName(code));
    exit_codes.insert(ExitCode(code));
    EXPECT_EQ(ErrorCodeFromName(ErrorCodeName(code)), code);
    EXPECT_GT(ExitCode(code), 1);
    EXPECT_LT(ExitCode(code), 256);
  }
  EXPECT_EQ(names.size(), kAllCodes.size());
  EXPECT_EQ(exit_codes.size(), kAllCodes.size());
  EXPECT_EQ(ExitCode(ErrorCode::kInvalidArgument), 2);
  EXPECT_EQ(ExitCode(ErrorCode::kCancelled), 130);
  EXPECT_EQ(ErrorCodeFromName("no_such_code"), std::nullopt);
  EXPECT_EQ(ErrorCodeFromName(""), std::nullopt);
}

Result<int> Half(int number) {
  if (number % 2 != 0) return Error{ErrorCode::kInvalidArgument, "odd"};
  return number / 2;
}

Result<std::string> Quarter(int number) {
  DNC_ASSIGN(const int half, Half(number));
  DNC_ASSIGN(const int quarter, Half(half));
  return std::to_string(quarter);
}

Status CheckQuarter(int number) {
  DNC_TRY(Quarter(number));
  return {};
}

TEST(ResultTest, CarriesAValueOrAnErrorThroughCalls) {
  const auto quarter = Quarter(12);
  ASSERT_THAT(quarter, Succeeds());
  EXPECT_EQ(*quarter, "3");
  EXPECT_EQ(quarter->size(), 1u);
  EXPECT_TRUE(quarter.status().ok());
  EXPECT_THAT(Quarter(3), FailsWith(ErrorCode::kInvalidArgument, "odd"));
  EXPECT_THAT(Quarter(6), FailsWith(ErrorCode::kInvalidArgument, "odd"));
  EXPECT_THAT(CheckQuarter(6), FailsWith(ErrorCode::kInvalidArgument, "odd"));
  EXPECT_THAT(CheckQuarter(8), Succeeds());
  EXPECT_THAT(Quarter(6).status(), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(ResultTest, MovesItsValueOut) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  const std::unique_ptr<int> value = std::move(result).value();
  EXPECT_EQ(*value, 5);
}

TEST(ResultTest, AnErrorKeepsItsCodeWithMoreContext) {
  const Error error = Error{ErrorCode::kIo, "no"}.WithContext("x.npy");
  EXPECT_EQ(error.code, ErrorCode::kIo);
  EXPECT_EQ(error.message, "x.npy: no");
}

TEST(ResultDeathTest, TheValueOfAnErrorIsOurOwnBug) {
  EXPECT_DEATH(Half(3).value(), "ok\\(\\)");
  EXPECT_DEATH(static_cast<void>(Half(2).error()), "");
  EXPECT_DEATH(static_cast<void>(Status().error()), "ok\\(\\)");
}

// --- Prng and Permutation: the numbers must never change, since every shuffle and
// every initial weight follows from them.

TEST(PrngTest, GivesTheSameNumbersForEver) {
  // SplitMix64's published first output for seed 0.
  EXPECT_EQ(Mix64(0), 0xe220a8397b1dcdafu);
  Prng prng(42);
  const std::array<std::uint64_t, 4> first = {prng.Next(), prng.Next(), prng.Next(), prng.Next()};
  EXPECT_THAT(first, ElementsAre(0x15780b2e0c2ec716u, 0x6104d9866d113a7eu, 0xae17533239e499a1u,
                                 0xecb8ad4703b360a1u));
  EXPECT_EQ(DeriveSeed(1, 2, 3), 0xd0734750fde362b3u);
  Prng below(7);
  const std::array<std::uint64_t, 4> small = {below.Below(10), below.Below(10), below.Below(10),
                                              below.Below(1'000'000'007)};
  EXPECT_THAT(small, ElementsAre(4, 4, 8, 962768045));
}

TEST(PrngTest, DerivedSeedsDependOnEachArgumentAndItsPlace) {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    for (std::uint64_t a = 0; a < 5; ++a) {
      for (std::uint64_t b = 0; b < 5; ++b) seeds.insert(DeriveSeed(seed, a, b));
    }
  }
  EXPECT_EQ(seeds.size(), 125u);
}

TEST(PrngTest, BelowIsUniformAndInRange) {
  Prng prng(1);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70'000; ++i) ++counts.at(prng.Below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 400);  // Over four sigma.
  EXPECT_EQ(prng.Below(1), 0u);
  const std::uint64_t large = (std::uint64_t{1} << 63) + 1;
  for (int i = 0; i < 100; ++i) EXPECT_LT(prng.Below(large), large);
}

TEST(PrngTest, UnitAndNormalHaveTheMomentsOfTheirDistributions) {
  Prng prng(3);
  double sum = 0;
  double normal_sum = 0;
  double normal_squares = 0;
  constexpr int kCount = 100'000;
  for (int i = 0; i < kCount; ++i) {
    const double unit = prng.Unit();
    ASSERT_GE(unit, 0);
    ASSERT_LT(unit, 1);
    sum += unit;
    const double normal = prng.Normal();
    normal_sum += normal;
    normal_squares += normal * normal;
  }
  EXPECT_NEAR(sum / kCount, 0.5, 0.005);
  EXPECT_NEAR(normal_sum / kCount, 0, 0.015);
  EXPECT_NEAR(normal_squares / kCount, 1, 0.02);
}

TEST(PermutationTest, IsABijectionForEveryCountAndSeed) {
  for (std::uint64_t count = 0; count <= 300; ++count) {
    for (const std::uint64_t seed : {0, 1, 99}) {
      const Permutation permutation(count, seed);
      std::vector<bool> seen(count, false);
      for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t image = permutation(i);
        ASSERT_LT(image, count);
        ASSERT_FALSE(seen[image]) << count << " " << seed;
        seen[image] = true;
      }
    }
  }
}

TEST(PermutationTest, IsABijectionOfALargeCount) {
  constexpr std::uint64_t kCount = 1'000'003;
  const Permutation permutation(kCount, 5);
  std::vector<bool> seen(kCount, false);
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const std::uint64_t image = permutation(i);
    ASSERT_LT(image, kCount);
    ASSERT_FALSE(seen[image]);
    seen[image] = true;
  }
}

TEST(PermutationTest, StaysInRangeForCountsNearTheLargest) {
  for (const std::uint64_t count : {(std::uint64_t{1} << 62) + 1, std::uint64_t{1} << 63}) {
    const Permutation permutation(count, 5);
    std::set<std::uint64_t> images;
    for (std::uint64_t i = 0; i < 1000; ++i) images.insert(permutation(i));
    EXPECT_EQ(images.size(), 1000u);
    EXPECT_LT(*images.rbegin(), count);
  }
}

TEST(PermutationTest, GivesTheSameOrderForEver) {
  const Permutation permutation(10, 0);
  std::vector<std::uint64_t> order;
  for (std::uint64_t i = 0; i < 10; ++i) order.push_back(permutation(i));
  EXPECT_THAT(order, ElementsAre(2, 5, 1, 7, 9, 3, 6, 0, 8, 4));
  EXPECT_EQ(Permutation(60'000, 1)(0), 42398u);
  EXPECT_EQ(Permutation(std::uint64_t{1} << 40, 2)(123'456'789), 908463062498u);
}

TEST(PermutationTest, SpreadsNeighboursFarApart) {
  constexpr std::uint64_t kCount = 10'000;
  const Permutation permutation(kCount, 1);
  std::uint64_t neighbour_count = 0;
  for (std::uint64_t i = 0; i + 1 < kCount; ++i) {
    const std::uint64_t a = permutation(i);
    const std::uint64_t b = permutation(i + 1);
    if ((a > b ? a - b : b - a) < 10) ++neighbour_count;
  }
  EXPECT_LT(neighbour_count, 60u);  // 18 are expected of a random order.
}

// --- Bytes.

TEST(BytesTest, ReadsBackWhatWasWritten) {
  ByteWriter writer;
  writer.Put(std::uint8_t{7});
  writer.Put(std::uint32_t{0x01020304});
  writer.Put(std::int64_t{-2});
  writer.Put(1.5f);
  writer.PutString("shard");
  writer.PutBytes(AsBytes("xy"));
  EXPECT_EQ(writer.size(), 1u + 4 + 8 + 4 + 4 + 5 + 2);
  EXPECT_EQ(HexEncode(ByteSpan(writer.bytes()).subspan(1, 4)), "04030201");
  const Bytes bytes = std::move(writer).Take();
  ByteReader reader(bytes);
  EXPECT_EQ(reader.Get<std::uint8_t>(), 7);
  EXPECT_EQ(reader.Get<std::uint32_t>(), 0x01020304u);
  EXPECT_EQ(reader.Get<std::int64_t>(), -2);
  EXPECT_EQ(reader.Get<float>(), 1.5f);
  EXPECT_EQ(reader.GetString(5), "shard");
  EXPECT_FALSE(reader.AtEnd());
  EXPECT_EQ(AsText(reader.GetBytes(2)), "xy");
  EXPECT_TRUE(reader.AtEnd());
}

TEST(BytesTest, NeverReadsPastTheEndAndStaysFailed) {
  const Bytes bytes(5, std::byte{0xff});
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    ByteReader reader(ByteSpan(bytes).first(size));
    const auto value = reader.Get<std::uint64_t>();
    EXPECT_EQ(value, 0u);
    EXPECT_FALSE(reader.ok());
    EXPECT_FALSE(reader.AtEnd());
    EXPECT_EQ(reader.Get<std::uint8_t>(), 0);  // Also where one byte would be left.
    EXPECT_TRUE(reader.GetBytes(0).empty());
  }
}

TEST(BytesTest, RefusesSizesThatWrapAround) {
  const Bytes bytes(16);
  ByteReader reader(bytes);
  reader.GetBytes(8);
  EXPECT_TRUE(reader.GetBytes(SIZE_MAX).empty());
  EXPECT_FALSE(reader.ok());
}

TEST(BytesTest, RefusesAStringBeyondItsLimitOrTheEnd) {
  ByteWriter writer;
  writer.PutString("abcd");
  EXPECT_EQ(ByteReader(writer.bytes()).GetString(4), "abcd");
  ByteReader limited(writer.bytes());
  EXPECT_EQ(limited.GetString(3), "");
  EXPECT_FALSE(limited.ok());
  ByteReader cut(ByteSpan(writer.bytes()).first(7));
  EXPECT_EQ(cut.GetString(4), "");
  EXPECT_FALSE(cut.ok());
}

TEST(MemorySourceTest, ReadsWithinItsBoundsOnly) {
  const MemorySource source(AsBytes("0123456789"), "ten");
  Bytes out(4);
  ASSERT_THAT(source.ReadAt(6, out), Succeeds());
  EXPECT_EQ(AsText(out), "6789");
  for (const std::uint64_t offset :
       {std::uint64_t{7}, std::uint64_t{10}, std::uint64_t{11}, UINT64_MAX, UINT64_MAX - 2}) {
    EXPECT_THAT(source.ReadAt(offset, out), FailsWith(ErrorCode::kCorrupt, HasSubstr("ten")));
  }
  EXPECT_THAT(source.ReadAt(10, {}), Succeeds());
}

// --- Hashes. The vectors are those of FIPS 180-2 and NIST's example files.

TEST(HashTest, GivesThePublishedDigests) {
  const std::pair<std::string, const char*> vectors[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1'000'000, 'a'),
       "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}};
  for (const auto& [text, hex] : vectors) EXPECT_EQ(Sha256(AsBytes(text)).Hex(), hex);
}

TEST(HashTest, GivesTheSameDigestHoweverTheBytesCome) {
  const std::string text(1000, 'x');
  for (const std::size_t step : {1u, 7u, 64u, 999u}) {
    Sha256Hasher hasher;
    for (std::size_t i = 0; i < text.size(); i += step) {
      hasher.Update(AsBytes(std::string_view(text).substr(i, step)));
    }
    EXPECT_EQ(hasher.Finish(), Sha256(AsBytes(text)));
  }
}

TEST(HashTest, ReadsHexOnlyWhereItIsWhole) {
  const Digest digest = Sha256(AsBytes("abc"));
  EXPECT_EQ(Digest::FromHex(digest.Hex()), digest);
  EXPECT_EQ(Digest::FromHex(digest.Hex().substr(1)), std::nullopt);
  EXPECT_EQ(Digest::FromHex(digest.Hex() + "00"), std::nullopt);
  EXPECT_EQ(Digest::FromHex("g" + digest.Hex().substr(1)), std::nullopt);
  EXPECT_EQ(HexDecode(""), Bytes{});
  EXPECT_EQ(HexDecode("0"), std::nullopt);
  EXPECT_EQ(HexDecode("AB"), std::nullopt);  // One spelling for each digest.
  EXPECT_EQ(HexEncode(AsBytes(std::string("\x00\x7f\xff", 3))), "007fff");
}

// --- Numbers as people read and write them.

TEST(HumanTest, FormatsByteCounts) {
  EXPECT_EQ(FormatByteCount(0), "0 B");
  EXPECT_EQ(FormatByteCount(1023), "1023 B");
  EXPECT_EQ(FormatByteCount(1024), "1 KiB");
  EXPECT_EQ(FormatByteCount(1536), "1.5 KiB");
  EXPECT_EQ(FormatByteCount(16 << 20), "16 MiB");
  EXPECT_EQ(FormatByteCount(std::uint64_t{9} << 28), "2.25 GiB");
}

TEST(HumanTest, ParsesByteCounts) {
  const std::pair<const char*, std::uint64_t> cases[] = {{"0", 0},
                                                         {"4096", 4096},
                                                         {"512B", 512},
                                                         {"1k", 1024},
                                                         {"64KiB", 65536},
                                                         {"64 KiB", 65536},
                                                         {"16mib", 16 << 20},
                                                         {"1.5MiB", 3 << 19},
                                                         {"1GB", 1'000'000'000},
                                                         {"2G", std::uint64_t{2} << 30},
                                                         {"1TiB", std::uint64_t{1} << 40}};
  for (const auto& [text, bytes] : cases) {
    const auto parsed = ParseByteCount(text);
    ASSERT_THAT(parsed, Succeeds()) << text;
    EXPECT_EQ(*parsed, bytes) << text;
  }
}

TEST(HumanTest, RefusesWhatIsNoByteCount) {
  for (const char* text : {"", "MiB", "-1", "-1MiB", "1XB", "1 MiB x", "nan", "inf", "1e30", "0x10",
                           "1,5MiB", "9999999TiB"}) {
    EXPECT_THAT(ParseByteCount(text),
                FailsWith(ErrorCode::kInvalidArgument,
                          AllOf(HasSubstr("\"" + std::string(text) + "\""), HasSubstr("16MiB"))))
        << text;
  }
}

TEST(HumanTest, FormatsDurations) {
  EXPECT_EQ(FormatDuration(Duration::Milliseconds(0)), "0.0 s");
  EXPECT_EQ(FormatDuration(Duration::Milliseconds(420)), "0.4 s");
  EXPECT_EQ(FormatDuration(Duration::Milliseconds(9'960)), "10 s");
  EXPECT_EQ(FormatDuration(Duration::Milliseconds(59'400)), "59 s");
  EXPECT_EQ(FormatDuration(Duration::Milliseconds(59'600)), "1 min 0 s");
  EXPECT_EQ(FormatDuration(Duration::Seconds(200)), "3 min 20 s");
  EXPECT_EQ(FormatDuration(Duration::Minutes(125)), "2 h 5 min");
}

TEST(HumanTest, FormatsCountsWithCommas) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1'000), "1,000");
  EXPECT_EQ(FormatCount(1'234'567), "1,234,567");
  EXPECT_EQ(FormatCount(UINT64_MAX), "18,446,744,073,709,551,615");
}

TEST(HumanTest, FindsTheNameThatWasMeant) {
  const std::vector<std::string> known = {"epochs", "batch_size", "seed", "x"};
  EXPECT_EQ(NearestName("epoch", known), "epochs");
  EXPECT_EQ(NearestName("batchsize", known), "batch_size");
  EXPECT_EQ(NearestName("sede", known), "seed");
  EXPECT_EQ(NearestName("learning_rate", known), "");
  EXPECT_EQ(NearestName("q", known), "");  // A change of every letter is no typo.
  EXPECT_EQ(NearestName("anything", {}), "");
}

// --- Ids and time.

TEST(IdTest, ZeroMeansNone) {
  EXPECT_FALSE(ProjectId{});
  EXPECT_TRUE(ProjectId{1});
  EXPECT_LT(LeaseId{1}, LeaseId{2});
  EXPECT_EQ(LeaseId{3}, LeaseId{3});
  static_assert(!std::is_convertible_v<LeaseId, ProjectId>);
  static_assert(!std::is_convertible_v<std::uint64_t, LeaseId>);
}

TEST(TimeTest, CountsInMicroseconds) {
  EXPECT_EQ(Duration::Seconds(2), Duration::Milliseconds(2000));
  EXPECT_EQ(Duration::Minutes(1) / 4, Duration::Seconds(15));
  EXPECT_EQ((Instant{5} + Duration{7}) - Instant{2}, Duration{10});
  EXPECT_GT(Instant::Never(), Instant{1} + Duration::Minutes(1'000'000));
  EXPECT_DOUBLE_EQ(Duration::Milliseconds(1500).seconds(), 1.5);
}

TEST(TimeTest, TheMonotonicClockNeverGoesBack) {
  Instant last = MonotonicNow();
  for (int i = 0; i < 1000; ++i) {
    const Instant now = MonotonicNow();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(WallNow().us, std::int64_t{1'600'000'000} * 1'000'000);
}

}  // namespace
}  // namespace dnc
