// The parts of a source have every one of its samples once, and each sample stays in the
// split that it would have without parts.

#include "divide/part_source.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "divide/dataset_for_test.h"
#include "divide/divide.h"
#include "divide/merge.h"
#include "divide/verify.h"
#include "shard/shard_reader.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

SourceOpener OpenerOf(std::uint64_t samples, bool count_known = true) {
  return [=]() -> Result<std::unique_ptr<source::SampleSource>> {
    SourceForTest::Options options;
    options.samples = samples;
    options.count_known = count_known;
    return std::unique_ptr<source::SampleSource>(std::make_unique<SourceForTest>(options));
  };
}

Result<std::vector<std::int64_t>> NumbersOf(source::SampleSource* source, std::uint64_t step) {
  std::vector<std::int64_t> numbers;
  array::SampleBlock block;
  for (;;) {
    DNC_TRY(source->Read(step, &block));
    if (block.sample_count == 0) return numbers;
    const std::size_t before = numbers.size();
    numbers.resize(before + block.sample_count);
    std::memcpy(numbers.data() + before, block.columns[1].data(), block.columns[1].size());
  }
}

TEST(PartSourceTest, ReadsAPartAsItIsWritten) {
  EXPECT_EQ(*ParsePart("2/8"), (Part{2, 8}));
  EXPECT_EQ(*ParsePart("1/1"), (Part{1, 1}));
  for (const char* text : {"", "1", "/", "1/", "/2", "0/3", "4/3", "1/2/3", "-1/3", "1/2x", " 1/2",
                           "1/4294967296", "1/2000000"}) {
    EXPECT_THAT(ParsePart(text),
                test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("expected i/n")))
        << text;
  }
}

TEST(PartSourceTest, PartsHaveEverySampleOnceInOrder) {
  for (const bool count_known : {true, false}) {
    for (const std::uint64_t samples : {7, 100, 45'001, 80'000}) {
      for (const std::uint32_t parts : {1, 2, 3, 7}) {
        SCOPED_TRACE(std::to_string(samples) + " in " + std::to_string(parts));
        std::vector<std::int64_t> all;
        for (std::uint32_t i = 1; i <= parts; ++i) {
          const auto part = OpenPart(OpenerOf(samples, count_known), {i, parts}, count_known);
          ASSERT_THAT(part, test::Succeeds());
          EXPECT_EQ(part->first_sample, all.size());
          const auto expected = part->source->sample_count();
          const auto numbers = NumbersOf(part->source.get(), 333);
          ASSERT_THAT(numbers, test::Succeeds());
          EXPECT_EQ(numbers->size(), expected);
          EXPECT_GT(numbers->size(), samples / parts / 2);
          all.insert(all.end(), numbers->begin(), numbers->end());
        }
        std::vector<std::int64_t> expected(samples);
        std::iota(expected.begin(), expected.end(), 0);
        EXPECT_EQ(all, expected);
      }
    }
  }
}

TEST(PartSourceTest, SkipsWithinThePartOnly) {
  const auto part = OpenPart(OpenerOf(100), {1, 4}, true);
  ASSERT_THAT(part, test::Succeeds());
  EXPECT_EQ(*part->source->Skip(20), 20u);
  EXPECT_EQ(*part->source->Skip(20), 5u);
  EXPECT_TRUE(NumbersOf(part->source.get(), 10)->empty());
}

TEST(PartSourceTest, RefusesMorePartsThanSamples) {
  EXPECT_THAT(OpenPart(OpenerOf(3), {1, 4}, true),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("3 samples"), HasSubstr("4 parts"))));
}

TEST(PartSourceTest, CountingCanBeStopped) {
  EXPECT_THAT(OpenPart(OpenerOf(10'000, false), {1, 2}, true,
                       [](std::uint64_t count) { return count < 5000; }),
              test::FailsWith(ErrorCode::kCancelled));
}

TEST(PartSourceTest, PassesOnWhatTheSourceSays) {
  const SourceOpener failing = []() -> Result<std::unique_ptr<source::SampleSource>> {
    return Error{ErrorCode::kNotFound, "x.npy is not there"};
  };
  EXPECT_THAT(OpenPart(failing, {1, 2}, true), test::FailsWith(ErrorCode::kNotFound));
}

// ---- Parts that were divided, and joined.

class MergeTest : public ::testing::Test {
 protected:
  static DivideOptions Options() {
    DivideOptions options;
    options.name = "made up";
    options.shard_bytes = kShardBytesMin;
    options.zstd_level = 1;
    options.threads = 1;
    options.splits = {{"train", 0.8}, {"test", 0.2}};
    options.seed = 5;
    return options;
  }
  shard::Manifest Whole(std::uint64_t samples) {
    SourceForTest source({.samples = samples});
    DivideOptions options = Options();
    options.manifest_key = "whole.json";
    auto report = Divide(&source, store_.get(), options);
    EXPECT_THAT(report, test::Succeeds());
    return report->manifest;
  }
  shard::Manifest PartOf(std::uint64_t samples, Part part) {
    auto opened = OpenPart(OpenerOf(samples), part, true);
    EXPECT_THAT(opened, test::Succeeds());
    DivideOptions options = Options();
    const std::string name = std::to_string(part.index) + "/" + std::to_string(part.count);
    options.manifest_key = "part-" + std::to_string(part.index) + ".json";
    options.journal_name = "dividing-" + std::to_string(part.index);
    options.first_split_window = opened->first_split_window;
    options.parameters["part"] = name;
    auto report = Divide(opened->source.get(), store_.get(), options);
    EXPECT_THAT(report, test::Succeeds());
    return report->manifest;
  }
  std::vector<std::int64_t> Numbers(const shard::Manifest& manifest, const std::string& split) {
    std::vector<std::int64_t> numbers;
    shard::BlockDecoder decoder;
    array::SampleBlock block;
    for (const shard::ShardInfo& info : manifest.shards) {
      if (info.split != split) continue;
      const auto source = store::OpenObject(store_.get(), info.cid);
      const auto reader = shard::ShardReader::Open(source->get());
      for (std::uint32_t b = 0; b < reader->summary().block_count; ++b) {
        EXPECT_THAT(decoder.Decode(*reader, b, &block), test::Succeeds());
        const std::size_t before = numbers.size();
        numbers.resize(before + block.sample_count);
        std::memcpy(numbers.data() + before, block.columns[1].data(), block.columns[1].size());
      }
    }
    return numbers;
  }

  std::unique_ptr<store::ObjectStore> store_ = store::MakeMemoryStore();
};

TEST_F(MergeTest, PartsJoinToTheSplitsOfTheWhole) {
  constexpr std::uint64_t kSamples = 63'210;
  const shard::Manifest whole = Whole(kSamples);
  const auto merged = MergeManifests(
      {PartOf(kSamples, {3, 3}), PartOf(kSamples, {1, 3}), PartOf(kSamples, {2, 3})});
  ASSERT_THAT(merged, test::Succeeds());
  for (const char* split : {"train", "test"}) {
    EXPECT_EQ(Numbers(*merged, split), Numbers(whole, split)) << split;
    EXPECT_EQ(merged->FindSplit(split)->samples, whole.FindSplit(split)->samples);
  }
  for (std::size_t s = 0; s < whole.splits.size(); ++s) {
    for (std::size_t c = 0; c < whole.columns.size(); ++c) {
      const shard::ColumnStatistics& a = merged->splits[s].statistics[c];
      const shard::ColumnStatistics& b = whole.splits[s].statistics[c];
      EXPECT_EQ(a.count, b.count);
      EXPECT_EQ(a.min, b.min);
      EXPECT_EQ(a.max, b.max);
      EXPECT_EQ(a.class_counts, b.class_counts);
      EXPECT_NEAR(a.mean, b.mean, 1e-12 * b.max);
      EXPECT_NEAR(a.standard_deviation, b.standard_deviation, 1e-12 * b.max);
      ASSERT_EQ(a.element_mean.size(), b.element_mean.size());
    }
  }
  EXPECT_THAT(Verify(*merged, *store_, {}), test::Succeeds());
}

TEST_F(MergeTest, SmallPartsHaveEverySampleOnce) {
  const auto merged = MergeManifests({PartOf(2001, {1, 2}), PartOf(2001, {2, 2})});
  ASSERT_THAT(merged, test::Succeeds());
  std::vector<std::int64_t> all = Numbers(*merged, "train");
  const std::vector<std::int64_t> others = Numbers(*merged, "test");
  all.insert(all.end(), others.begin(), others.end());
  std::sort(all.begin(), all.end());
  std::vector<std::int64_t> expected(2001);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
}

TEST_F(MergeTest, NamesThePartThatIsMissingOrTwiceThere) {
  const shard::Manifest one = PartOf(3000, {1, 3});
  const shard::Manifest three = PartOf(3000, {3, 3});
  EXPECT_THAT(MergeManifests({one, three}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("2/3")));
  EXPECT_THAT(MergeManifests({one, three, one}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("1/3 comes twice")));
  EXPECT_THAT(MergeManifests({one, Whole(2000)}), test::FailsWith(ErrorCode::kInvalidArgument));
}

TEST_F(MergeTest, NamesTheColumnThatDiffers) {
  const shard::Manifest one = Whole(3000);
  shard::Manifest other = one;
  other.columns[0].shape = {53};
  EXPECT_THAT(
      MergeManifests({one, other}),
      test::FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("column x"), HasSubstr("53"))));
  other = one;
  other.columns[2].class_names = {"d"};
  EXPECT_THAT(MergeManifests({one, other}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("classes")));
  other = one;
  other.steps.push_back({"hog", "x", {}, {}});
  EXPECT_THAT(MergeManifests({one, other}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("steps")));
}

}  // namespace
}  // namespace dnc::divide
