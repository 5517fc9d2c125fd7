#include "array/samples.h"

#include <gtest/gtest.h>

namespace dnc::array {
namespace {

const std::vector<ColumnSpec> kColumns = {
    {"text", DType::kUint8, {}, {}, ColumnKind::kText, {}},
    {"y", DType::kUint16, {}, {}},
};

SampleBlock ThreeSamples() {
  SampleBlock block;
  block.sample_count = 3;
  const ByteSpan text = AsBytes("abbccc");
  const ByteSpan labels = AsBytes("112233");
  block.columns = {Bytes(text.begin(), text.end()), Bytes(labels.begin(), labels.end())};
  block.ends = {{1, 3, 6}};  // None for the last column, which is allowed.
  return block;
}

TEST(SamplesTest, AppendsAnyRange) {
  const SampleBlock from = ThreeSamples();
  SampleBlock to;
  ClearSamples(kColumns, &to);
  AppendSamples(kColumns, from, 1, 3, &to);
  AppendSamples(kColumns, from, 0, 0, &to);
  AppendSamples(kColumns, from, 0, 2, &to);
  EXPECT_EQ(to.sample_count, 4u);
  EXPECT_EQ(AsText(to.columns[0]), "bbcccabb");
  EXPECT_EQ(AsText(to.columns[1]), "22331122");
  EXPECT_EQ(to.ends[0], (std::vector<std::uint32_t>{2, 5, 6, 8}));
  EXPECT_TRUE(to.ends[1].empty());
  EXPECT_EQ(AsText(to.element(0, 3)), "bb");
}

TEST(SamplesTest, ClearingForgetsTheSamples) {
  SampleBlock block = ThreeSamples();
  ClearSamples(kColumns, &block);
  EXPECT_EQ(block.sample_count, 0u);
  EXPECT_EQ(StoredBlockBytes(kColumns, block), 0u);
}

TEST(SamplesTest, CountsTheBytesThatAShardWouldHold) {
  const SampleBlock block = ThreeSamples();
  EXPECT_EQ(StoredSampleBytes(kColumns, block, 0), 1u + 4 + 2);
  EXPECT_EQ(StoredSampleBytes(kColumns, block, 2), 3u + 4 + 2);
  EXPECT_EQ(StoredBlockBytes(kColumns, block), 6u + 12 + 6);
}

}  // namespace
}  // namespace dnc::array
