#include "shard/weighting.h"

#include <array>
#include <limits>

#include "testing/testing.h"

namespace dnc::shard {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// Labels 0, 1 and 7, of which the second split alone has the last.
Manifest Counted() {
  Manifest manifest;
  manifest.columns = {{.name = "x", .dtype = array::DType::kFloat32, .shape = {2}},
                      {.name = "y", .dtype = array::DType::kUint8, .shape = {}}};
  for (const char* name : {"train", "validation"}) {
    SplitInfo split{.name = name, .samples = 8};
    split.statistics.resize(2);
    split.statistics[1].class_counts = {{0, 6}, {1, 2}};
    manifest.splits.push_back(split);
  }
  manifest.splits[1].statistics[1].class_counts[7] = 1;
  return manifest;
}

TEST(WeightingTest, ClassesAreThoseThatAreNamedOrCountedInAnySplit) {
  EXPECT_THAT(*ResolveClassWeights({{"7", 2}, {"0", 0}}, Counted()),
              ElementsAre(Pair(0, 0.0f), Pair(7, 2.0f)));
  EXPECT_THAT(
      ResolveClassWeights({{"2", 1}}, Counted()),
      FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"2\" is no class; there are 0, 1, 7")));
  Manifest named = Counted();
  named.columns[1].class_names = {"hat", "shirt", "2"};
  // A name goes before a number.
  EXPECT_THAT(*ResolveClassWeights({{"shirt", 3}, {"2", 4}}, named),
              ElementsAre(Pair(1, 3.0f), Pair(2, 4.0f)));
  EXPECT_THAT(ResolveClassWeights({{"boot", 1}}, named),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("there are hat, shirt, 2")));
  // Where nothing is known of the classes, any number may be one.
  Manifest unknown = Counted();
  for (SplitInfo& split : unknown.splits) split.statistics.clear();
  EXPECT_THAT(ResolveClassWeights({{"99", 1}}, unknown), Succeeds());
  EXPECT_THAT(ResolveClassWeights({{"hat", 1}}, unknown), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(WeightingTest, RefusesAClassNamedTwiceAndWhatIsNoWeight) {
  Manifest manifest = Counted();
  manifest.columns[1].class_names = {"hat", "shirt"};
  EXPECT_THAT(ResolveClassWeights({{"1", 1}, {"shirt", 2}}, manifest),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("class 1")));
  for (const double weight : {-1.0, 1e39, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(ResolveClassWeights({{"hat", weight}}, manifest),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("hat")));
  }
  manifest.columns.pop_back();
  EXPECT_THAT(ResolveClassWeights({{"1", 1}}, manifest),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no labels")));
  EXPECT_THAT(ResolveClassWeights({}, manifest), Succeeds());
}

TEST(WeightingTest, AManyNumberedLabelIsNoClass) {
  Manifest manifest = Counted();
  manifest.columns[1].shape = {3};
  EXPECT_THAT(ResolveWeighting(manifest, "train", std::array{1}, {.by_class = {{0, 1.0f}}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("one number of a class")));
}

}  // namespace
}  // namespace dnc::shard
