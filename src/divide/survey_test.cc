#include "divide/survey.h"

#include "divide/dataset_for_test.h"
#include "divide/divide.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

TEST(SurveyTest, SaysHowColumnsAreStored) {
  SourceForTest source({.samples = 20'000, .texts = true});
  const auto store = store::MakeMemoryStore();
  DivideOptions options;
  options.name = "made";
  options.shard_bytes = 256u << 10;
  const auto report = Divide(&source, store.get(), options);
  ASSERT_THAT(report, test::Succeeds());
  const auto survey = SurveyStorage(report->manifest, *store, 3);
  ASSERT_THAT(survey, test::Succeeds());
  EXPECT_EQ(survey->shards, 3u);
  ASSERT_EQ(survey->columns.size(), 4u);
  // x does not compress, the number does by its differences.
  EXPECT_EQ(survey->columns[0].methods.begin()->first, "none, stored");
  EXPECT_EQ(survey->columns[0].stored_bytes, survey->columns[0].raw_bytes);
  EXPECT_EQ(survey->columns[1].methods.begin()->first, "delta, zstd");
  EXPECT_LT(survey->columns[1].stored_bytes * 4, survey->columns[1].raw_bytes);
  for (const ColumnSurvey& column : survey->columns) EXPECT_GT(column.raw_bytes, 0u);
  EXPECT_GT(survey->columns[0].decoded_bytes_per_second, 0);
}

TEST(SurveyTest, FindsADamagedShard) {
  SourceForTest source({.samples = 2000});
  const auto store = store::MakeMemoryStore();
  DivideOptions options;
  options.name = "made";
  const auto report = Divide(&source, store.get(), options);
  ASSERT_THAT(report, test::Succeeds());
  const std::string cid = report->manifest.shards[0].cid;
  Bytes bytes = *store::GetObject(*store, cid, 1u << 30);
  bytes[bytes.size() / 2] ^= std::byte{1};
  ASSERT_THAT(store::PutObject(store.get(), cid, bytes), test::Succeeds());
  EXPECT_THAT(SurveyStorage(report->manifest, *store), test::FailsWith(ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace dnc::divide
