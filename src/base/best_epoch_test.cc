#include "base/best_epoch.h"

#include <limits>
#include <vector>

#include "testing/testing.h"

namespace dnc {
namespace {

using ::testing::HasSubstr;

// The rule over a whole training: the best epoch, and the one that it ends after.
struct Ending {
  std::uint32_t best = 0;
  std::uint32_t last = 0;
};
Ending Follow(Monitor monitor, const std::vector<int>& figures, int min_delta,
              std::uint32_t patience) {
  BestSoFar counted;
  for (const int figure : figures) {
    counted.Add(counted.best != 0 &&
                IsBetter(monitor, figure, figures[counted.best - 1], min_delta));
    if (counted.OutOfPatience(patience)) break;
  }
  return {counted.best, counted.epochs};
}

TEST(BestEpochTest, StopsWhenPatienceEpochsPassedWithoutABetterOne) {
  const std::vector<int> losses = {9, 7, 7, 8, 6, 6, 6, 6, 1};
  const Ending two = Follow(Monitor::kLoss, losses, 0, 2);
  EXPECT_EQ(two.best, 2u);
  EXPECT_EQ(two.last, 4u);
  const Ending three = Follow(Monitor::kValidationLoss, losses, 0, 3);
  EXPECT_EQ(three.best, 5u);
  EXPECT_EQ(three.last, 8u);
  const Ending never = Follow(Monitor::kLoss, losses, 0, 9);
  EXPECT_EQ(never.best, 9u);
  EXPECT_EQ(never.last, 9u);
}

TEST(BestEpochTest, BetterIsByMoreThanMinDelta) {
  EXPECT_EQ(Follow(Monitor::kLoss, {9, 7, 5}, 2, 9).best, 3u);  // By 4, of the first.
  EXPECT_EQ(Follow(Monitor::kLoss, {9, 7, 6}, 3, 9).best, 1u);
  EXPECT_EQ(Follow(Monitor::kAccuracy, {5, 7, 8}, 2, 9).best, 3u);
  EXPECT_EQ(Follow(Monitor::kValidationAccuracy, {5, 4, 3}, 0, 9).best, 1u);
  EXPECT_FALSE(IsBetter(Monitor::kLoss, std::numeric_limits<double>::quiet_NaN(), 1.0, 0.0));
}

TEST(BestEpochTest, APatienceOfNoneIsOneOfOne) {
  EXPECT_EQ(Follow(Monitor::kLoss, {9, 8, 8, 1}, 0, 0).last, 3u);
}

TEST(MonitorTest, NamesAreKerass) {
  for (const Monitor monitor : {Monitor::kLoss, Monitor::kAccuracy, Monitor::kValidationLoss,
                                Monitor::kValidationAccuracy}) {
    const Result<Monitor> parsed = ParseMonitor(MonitorName(monitor));
    ASSERT_THAT(parsed, test::Succeeds());
    EXPECT_EQ(*parsed, monitor);
  }
  EXPECT_THAT(ParseMonitor("val_los"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("val_loss")));
}

}  // namespace
}  // namespace dnc
