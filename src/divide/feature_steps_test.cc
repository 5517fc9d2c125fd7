// Steps change the features and nothing else, say in the manifest what they did, and
// refuse what they have no meaning for.

#include "divide/feature_steps.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "array/samples.h"
#include "base/prng.h"
#include "divide/dataset_for_test.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Samples of "x" of one type, made by a function of (sample, element), and a label.
class FeaturesForTest final : public source::SampleSource {
 public:
  template <typename T>
  static std::unique_ptr<FeaturesForTest> Make(array::DType dtype, array::Shape shape,
                                               std::uint64_t samples, bool count_known = true) {
    auto source = std::make_unique<FeaturesForTest>();
    source->columns_ = {{"x", dtype, std::move(shape), {}}, {"y", array::DType::kInt64, {}, {}}};
    source->samples_ = samples;
    source->count_known_ = count_known;
    const std::size_t elements = source->columns_[0].sample_bytes() / sizeof(T);
    Prng prng(3);
    source->x_.resize(samples * elements * sizeof(T));
    for (std::size_t i = 0; i < samples * elements; ++i) {
      const auto value = static_cast<T>(prng.Below(100) + i % elements);
      std::memcpy(source->x_.data() + i * sizeof(T), &value, sizeof value);
    }
    return source;
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override {
    return count_known_ ? std::optional(samples_) : std::nullopt;
  }
  std::string Describe() const override { return "features for tests"; }
  const std::vector<source::SkippedInput>& skipped() const override { return skipped_; }
  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    array::ClearSamples(columns_, block);
    const std::uint64_t count = std::min(sample_count_max, samples_ - next_);
    const std::size_t bytes = columns_[0].sample_bytes();
    block->columns[0].assign(x_.begin() + static_cast<long>(next_ * bytes),
                             x_.begin() + static_cast<long>((next_ + count) * bytes));
    block->columns[1].resize(count * 8);
    for (std::uint64_t i = 0; i < count; ++i, ++next_) {
      std::memcpy(block->columns[1].data() + i * 8, &next_, 8);
    }
    block->sample_count = count;
    return {};
  }

 private:
  std::vector<array::ColumnSpec> columns_;
  std::vector<source::SkippedInput> skipped_;
  Bytes x_;
  std::uint64_t samples_ = 0;
  std::uint64_t next_ = 0;
  bool count_known_ = true;
};

template <typename T>
SourceOpener OpenerOf(array::DType dtype, const array::Shape& shape, std::uint64_t samples,
                      bool count_known = true) {
  return [=]() -> Result<std::unique_ptr<source::SampleSource>> {
    return std::unique_ptr<source::SampleSource>(
        FeaturesForTest::Make<T>(dtype, shape, samples, count_known));
  };
}

// All of "x", and whether the labels are as they were.
template <typename T>
std::vector<T> FeaturesOf(source::SampleSource* source, std::uint64_t step) {
  std::vector<T> all;
  array::SampleBlock block;
  std::int64_t label = 0;
  for (;;) {
    EXPECT_THAT(source->Read(step, &block), test::Succeeds());
    if (block.sample_count == 0) return all;
    const std::size_t before = all.size();
    all.resize(before + block.columns[0].size() / sizeof(T));
    std::memcpy(all.data() + before, block.columns[0].data(), block.columns[0].size());
    for (std::uint64_t i = 0; i < block.sample_count; ++i, ++label) {
      EXPECT_EQ(std::memcmp(block.columns[1].data() + i * 8, &label, 8), 0);
    }
  }
}

template <typename T>
void ExpectStandardised(array::DType dtype) {
  SCOPED_TRACE(array::DTypeName(dtype));
  const SourceOpener open = OpenerOf<T>(dtype, {3}, 1000);
  const auto standardiser = LearnStandardiser(open, StandardiseOptions());
  ASSERT_THAT(standardiser, test::Succeeds());
  ASSERT_EQ(standardiser->mean.size(), 3u);
  std::vector<shard::FeatureStep> steps;
  const auto source = MakeStandardisedSource(*open(), *standardiser, &steps);
  EXPECT_EQ(source->columns()[0].dtype, array::DType::kFloat32);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].numbers.at("mean"), standardiser->mean);
  const std::vector<float> x = FeaturesOf<float>(source.get(), 77);
  ASSERT_EQ(x.size(), 3000u);
  for (std::size_t element = 0; element < 3; ++element) {
    double sum = 0;
    double squares = 0;
    for (std::size_t i = element; i < x.size(); i += 3) {
      sum += x[i];
      squares += double{x[i]} * x[i];
    }
    EXPECT_NEAR(sum / 1000, 0, 1e-6);
    EXPECT_NEAR(squares / 1000, 1, 1e-6);
  }
}

TEST(StandardiseTest, GivesMean0AndDeviation1OfEveryType) {
  ExpectStandardised<std::uint8_t>(array::DType::kUint8);
  ExpectStandardised<std::int8_t>(array::DType::kInt8);
  ExpectStandardised<std::int16_t>(array::DType::kInt16);
  ExpectStandardised<std::uint16_t>(array::DType::kUint16);
  ExpectStandardised<std::int32_t>(array::DType::kInt32);
  ExpectStandardised<std::uint32_t>(array::DType::kUint32);
  ExpectStandardised<std::int64_t>(array::DType::kInt64);
  ExpectStandardised<std::uint64_t>(array::DType::kUint64);
  ExpectStandardised<float>(array::DType::kFloat32);
  ExpectStandardised<double>(array::DType::kFloat64);
}

TEST(StandardiseTest, ImagesShareOneMean) {
  const SourceOpener open = OpenerOf<std::uint8_t>(array::DType::kUint8, {4, 5}, 100);
  const auto standardiser = LearnStandardiser(open, StandardiseOptions());
  ASSERT_THAT(standardiser, test::Succeeds());
  EXPECT_EQ(standardiser->mean.size(), 1u);
  EXPECT_EQ(standardiser->standard_deviation.size(), 1u);
}

TEST(StandardiseTest, LearnsFromTheFirstSplitAloneHoweverItIsCounted) {
  StandardiseOptions options;
  options.splits = {{"train", 0.5}, {"test", 0.5}};
  options.seed = 9;
  const auto all = LearnStandardiser(OpenerOf<float>(array::DType::kFloat32, {3}, 2500), {});
  const auto known = LearnStandardiser(OpenerOf<float>(array::DType::kFloat32, {3}, 2500), options);
  const auto counted =
      LearnStandardiser(OpenerOf<float>(array::DType::kFloat32, {3}, 2500, false), options);
  ASSERT_THAT(known, test::Succeeds());
  ASSERT_THAT(counted, test::Succeeds());
  EXPECT_EQ(known->mean, counted->mean);
  EXPECT_NE(known->mean, all->mean);
}

TEST(StandardiseTest, CanBeStopped) {
  StandardiseOptions options;
  options.progress = [](std::uint64_t) { return false; };
  EXPECT_THAT(LearnStandardiser(OpenerOf<float>(array::DType::kFloat32, {3}, 100), options),
              test::FailsWith(ErrorCode::kCancelled));
}

TEST(StandardiseTest, RefusesWhatIsNoNumber) {
  EXPECT_THAT(LearnStandardiser(OpenerOf<std::uint16_t>(array::DType::kFloat16, {3}, 10), {}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("float16")));
}

TEST(HogTest, IsTheExtractorsOfEveryImage) {
  image::HogOptions options;
  options.pixels_per_cell = {4, 4};
  options.cells_per_block = {2, 2};
  std::vector<shard::FeatureStep> steps;
  const auto open = OpenerOf<std::uint8_t>(array::DType::kUint8, {16, 12, 3}, 50);
  const auto source = MakeHogSource(*open(), options, &steps);
  ASSERT_THAT(source, test::Succeeds());
  const auto length = image::HogLength({12, 16}, options);
  ASSERT_THAT(length, test::Succeeds());
  EXPECT_EQ((*source)->columns()[0].shape, (array::Shape{static_cast<std::int64_t>(*length)}));
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].texts.at("options"), image::FormatHogOptions(options));
  EXPECT_EQ(steps[0].numbers.at("size"), (std::vector<double>{12, 16}));
  const std::vector<float> found = FeaturesOf<float>(source->get(), 7);
  const auto plain = open();
  const auto pixels = FeaturesOf<std::uint8_t>(plain->get(), 1000);
  ASSERT_EQ(found.size(), 50 * *length);
  image::HogExtractor extractor({12, 16}, 3, options);
  std::vector<float> expected(*length);
  for (std::size_t i = 0; i < 50; ++i) {
    extractor.Compute(std::as_bytes(std::span(pixels)).subspan(i * 576, 576), expected);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(),
                           found.begin() + static_cast<long>(i * *length)))
        << i;
  }
}

TEST(HogTest, RefusesWhatIsNoImage) {
  std::vector<shard::FeatureStep> steps;
  EXPECT_THAT(MakeHogSource(*OpenerOf<float>(array::DType::kFloat32, {16, 16}, 1)(), {}, &steps),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("hog"), HasSubstr("float32 (16, 16)"))));
  EXPECT_THAT(MakeHogSource(*OpenerOf<std::uint8_t>(array::DType::kUint8, {9}, 1)(), {}, &steps),
              test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(MakeHogSource(*OpenerOf<std::uint8_t>(array::DType::kUint8, {4, 4}, 1)(), {}, &steps),
              test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_TRUE(steps.empty());
}

}  // namespace
}  // namespace dnc::divide
