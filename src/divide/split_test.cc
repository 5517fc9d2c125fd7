#include "divide/split.h"

#include <gtest/gtest.h>

#include <vector>

#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// How many of `samples` fall into each split.
std::vector<std::uint64_t> Sizes(const std::vector<SplitFraction>& splits, std::uint64_t samples,
                                 std::uint64_t seed = 0) {
  SplitAssigner assigner(splits, seed);
  std::vector<std::uint64_t> sizes(splits.size(), 0);
  while (samples > 0) {
    const std::uint64_t window = std::min(samples, kSplitWindow);
    assigner.BeginWindow(window);
    for (std::uint64_t i = 0; i < window; ++i) ++sizes.at(assigner.Split(i));
    samples -= window;
  }
  return sizes;
}

TEST(SplitAssignerTest, GivesEachSplitExactlyItsFraction) {
  const std::vector<SplitFraction> splits = {{"train", 0.9}, {"validation", 0.1}};
  EXPECT_THAT(Sizes(splits, 60000), ElementsAre(54000, 6000));
  EXPECT_THAT(Sizes({{"a", 0.7}, {"b", 0.2}, {"c", 0.1}}, 12000), ElementsAre(8400, 2400, 1200));
}

TEST(SplitAssignerTest, RoundsTheTotalsWhateverTheLastWindowHolds) {
  const std::vector<SplitFraction> splits = {{"train", 0.9}, {"validation", 0.1}};
  EXPECT_THAT(Sizes(splits, 68), ElementsAre(61, 7));
  EXPECT_THAT(Sizes(splits, 3068), ElementsAre(2761, 307));
  EXPECT_THAT(Sizes({{"a", 1.0 / 3}, {"b", 1.0 / 3}, {"c", 1.0 / 3}}, 60001),
              ElementsAre(20000, 20001, 20000));
}

TEST(SplitAssignerTest, DoesNotDriftWithATinyFraction) {
  const auto sizes =
      Sizes({{"a", 1.0 / 3}, {"tiny", 0.0005}, {"b", 1 - 1.0 / 3 - 0.0005}}, 1000000);
  EXPECT_NEAR(static_cast<double>(sizes[1]), 500, 1);
}

TEST(SplitAssignerTest, SpreadsASplitEvenlyOverTheSource) {
  SplitAssigner assigner({{"train", 0.9}, {"validation", 0.1}}, 7);
  for (int window = 0; window < 20; ++window) {
    assigner.BeginWindow(kSplitWindow);
    int validation = 0;
    int in_first_half = 0;
    for (std::uint64_t i = 0; i < kSplitWindow; ++i) {
      if (assigner.Split(i) == 0) continue;
      ++validation;
      in_first_half += i < kSplitWindow / 2 ? 1 : 0;
    }
    EXPECT_EQ(validation, 100);
    EXPECT_NEAR(in_first_half, 50, 25);
  }
}

TEST(SplitAssignerTest, IsAFunctionOfTheSeedAndDiffersBetweenWindows) {
  const auto assign = [](std::uint64_t seed) {
    SplitAssigner assigner({{"a", 0.5}, {"b", 0.5}}, seed);
    std::vector<std::vector<std::uint32_t>> windows;
    for (int window = 0; window < 2; ++window) {
      assigner.BeginWindow(100);
      windows.emplace_back();
      for (std::uint64_t i = 0; i < 100; ++i) windows.back().push_back(assigner.Split(i));
    }
    return windows;
  };
  EXPECT_EQ(assign(1), assign(1));
  EXPECT_NE(assign(1), assign(2));
  EXPECT_NE(assign(1)[0], assign(1)[1]);
}

TEST(ParseSplitsTest, ReadsNamesAndFractions) {
  const auto splits = ParseSplits("train=0.8,validation=0.1,test=0.1");
  ASSERT_THAT(splits, test::Succeeds());
  EXPECT_THAT(*splits, ElementsAre(SplitFraction{"train", 0.8}, SplitFraction{"validation", 0.1},
                                   SplitFraction{"test", 0.1}));
}

TEST(ParseSplitsTest, RefusesWhatIsNotAListOfSplits) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "NAME=FRACTION"},
      {"train", "NAME=FRACTION"},
      {"train=", "NAME=FRACTION"},
      {"train=0.5x,b=0.5", "NAME=FRACTION"},
      {"train=1,", "NAME=FRACTION"},
      {"=1", "no name"},
      {"a=0.5,a=0.5", "twice"},
      {"a=0.5,b=0.4", "sum to 0.9"},
      {"a=1.5,b=-0.5", "1.5"},
      {"a=1,b=0", "more than 0"},
      {"a=nan", "more than 0"},
      {"../a=1", "not a name"},
      {std::string(65, 'a') + "=1", "not a name"},
  };
  for (const auto& [text, message] : wrong) {
    SCOPED_TRACE(text);
    EXPECT_THAT(ParseSplits(text),
                test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr(message)));
  }
  EXPECT_THAT(CheckSplits({}), test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("none")));
}

TEST(ParseSplitsTest, ToleratesFractionsThatBinaryNumbersRound) {
  EXPECT_THAT(ParseSplits("a=0.1,b=0.2,c=0.7"), test::Succeeds());
  EXPECT_THAT(ParseSplits("a=0.333333333,b=0.333333333,c=0.333333334"), test::Succeeds());
}

}  // namespace
}  // namespace dnc::divide
