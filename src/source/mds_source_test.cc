#include "source/mds_source.h"

#include <zstd.h>

#include <fstream>

#include "base/hash.h"
#include "source/mds_index.h"
#include "source/test_files.h"
#include "testing/testing.h"

// Small folders, written by hand as MosaicML's writer does; folders that it wrote itself
// are read in tests/e2e/test_exports.py, where it is installed.

namespace dnc::source {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

template <typename T>
std::string Raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

struct Column {
  std::string name;
  std::string encoding;
  std::string size;  // "null", or digits.
};

class MdsTest : public ::testing::Test {
 protected:
  // A shard of samples that are given column by column.
  std::string Shard(const std::vector<std::vector<std::string>>& samples) const {
    std::string data;
    std::vector<std::uint32_t> ends;
    for (const auto& sample : samples) {
      for (std::size_t c = 0; c < columns_.size(); ++c) {
        if (columns_[c].size == "null") data += Raw(static_cast<std::uint32_t>(sample[c].size()));
      }
      for (const std::string& value : sample) data += value;
      ends.push_back(static_cast<std::uint32_t>(data.size()));
    }
    const std::string configuration = "{}";
    auto offset = static_cast<std::uint32_t>(4 + 4 * (samples.size() + 1) + configuration.size());
    std::string file = Raw(static_cast<std::uint32_t>(samples.size())) + Raw(offset);
    for (const std::uint32_t end : ends) file += Raw(offset + end);
    return file + configuration + data;
  }

  std::string ShardEntry(const std::string& file, std::size_t samples, const std::string& name,
                         const std::string& hashes = "{}", const std::string& zip = "null",
                         const std::string& compression = "null") const {
    std::string names, encodings, sizes;
    for (const Column& column : columns_) {
      const char* comma = names.empty() ? "" : ",";
      names += comma + ("\"" + column.name + "\"");
      encodings += comma + ("\"" + column.encoding + "\"");
      sizes += comma + column.size;
    }
    return R"({"column_names":[)" + names + R"(],"column_encodings":[)" + encodings +
           R"(],"column_sizes":[)" + sizes + R"(],"compression":)" + compression +
           R"(,"format":"mds","hashes":[],"samples":)" + std::to_string(samples) +
           R"(,"size_limit":1,"version":2,"raw_data":{"basename":")" + name + R"(","bytes":)" +
           std::to_string(file.size()) + R"(,"hashes":)" + hashes + R"(},"zip_data":)" + zip + "}";
  }

  void WriteIndex(const std::string& shards) {
    Write("index.json", R"({"version":2,"shards":[)" + shards + "]}");
  }
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name) << content;
  }
  Result<std::unique_ptr<SampleSource>> Open(const SourceOptions& options = {}) {
    return OpenSource(folder_ / "", options);
  }

  test::TemporaryFolder folder_;
  std::vector<Column> columns_ = {{"label", "int", "8"}, {"text", "str", "null"}};
};

TEST_F(MdsTest, ReadsNumbersAndTextsOfSeveralShards) {
  const std::string first =
      Shard({{Raw<std::int64_t>(7), "one"}, {Raw<std::int64_t>(-1), "t\u00e4xt"}});
  const std::string second = Shard({{Raw<std::int64_t>(9), ""}});
  Write("a.mds", first);
  Write("b.mds", second);
  WriteIndex(ShardEntry(first, 2, "a.mds") + "," + ShardEntry(second, 1, "b.mds"));
  auto source = Open();
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->sample_count(), 3u);
  EXPECT_EQ((*source)->Describe(), "MDS of 3 samples in 2 shards");
  EXPECT_EQ((*source)->columns()[0].name, "x");
  EXPECT_EQ((*source)->columns()[1].name, "y");
  array::SampleBlock block;
  ASSERT_THAT((*source)->Read(10, &block), Succeeds());
  EXPECT_EQ(AsText(block.columns[0]), "onet\u00e4xt");
  EXPECT_THAT(block.ends[0], ElementsAre(3, 8, 8));
  EXPECT_THAT(ValuesOf<std::int64_t>(block.columns[1]), ElementsAre(7, -1, 9));
  ASSERT_THAT((*source)->Read(10, &block), Succeeds());
  EXPECT_EQ(block.sample_count, 0u);
}

TEST_F(MdsTest, ReadsEveryFormOfArrayAndNumber) {
  columns_ = {
      {"a", "ndarray", "null"}, {"b", "ndarray:int16", "null"}, {"c", "ndarray:uint8:2,3", "6"},
      {"d", "float32", "4"},    {"e", "str_int", "null"},       {"f", "str_decimal", "null"},
      {"g", "pil", "null"},     {"h", "bytes", "null"},         {"i", "list[jpeg]", "null"}};
  const std::string dynamic = Raw<std::uint8_t>(34) + Raw<std::uint8_t>(2 << 2 | 1) +
                              Raw<std::uint16_t>(1) + Raw<std::uint16_t>(2) + Raw(1.5f) +
                              Raw(-2.0f);
  const std::string shaped = Raw<std::uint8_t>(1 << 2) + Raw<std::uint8_t>(2) +
                             Raw<std::int16_t>(5) + Raw<std::int16_t>(-5);
  const std::string pixels =
      Raw<std::uint32_t>(2) + Raw<std::uint32_t>(1) + Raw<std::uint32_t>(3) + "RGB" + Ramp(6);
  const std::string shard =
      Shard({{dynamic, shaped, Ramp(6), Raw(0.25f), "-12", "1e3", pixels, "raw", "opaque"}});
  Write("s", shard);
  WriteIndex(ShardEntry(shard, 1, "s"));
  auto source = Open();
  ASSERT_THAT(source, Succeeds());
  const auto& columns = (*source)->columns();
  EXPECT_EQ(columns[0].shape, (array::Shape{1, 2}));
  EXPECT_EQ(columns[0].dtype, array::DType::kFloat32);
  EXPECT_EQ(columns[1].shape, (array::Shape{2}));
  EXPECT_EQ(columns[2].shape, (array::Shape{2, 3}));
  EXPECT_EQ(columns[6].shape, (array::Shape{1, 2, 3}));
  array::SampleBlock block;
  ASSERT_THAT((*source)->Read(1, &block), Succeeds());
  EXPECT_THAT(ValuesOf<float>(block.columns[0]), ElementsAre(1.5f, -2.0f));
  EXPECT_THAT(ValuesOf<std::int16_t>(block.columns[1]), ElementsAre(5, -5));
  EXPECT_THAT(ValuesOf<std::int64_t>(block.columns[4]), ElementsAre(-12));
  EXPECT_THAT(ValuesOf<double>(block.columns[5]), ElementsAre(1000.0));
  EXPECT_EQ(AsText(block.columns[6]), Ramp(6));
  EXPECT_EQ(AsText(block.columns[8]), "opaque");
}

TEST_F(MdsTest, ReadsShardsCompressedByZstd) {
  const std::string raw = Shard({{Raw<std::int64_t>(1), std::string(5000, 'z')}});
  std::string zip(ZSTD_compressBound(raw.size()), '\0');
  zip.resize(ZSTD_compress(zip.data(), zip.size(), raw.data(), raw.size(), 3));
  Write("s.zstd", zip);
  WriteIndex(ShardEntry(
      raw, 1, "s", "{}",
      R"({"basename":"s.zstd","bytes":)" + std::to_string(zip.size()) + R"(,"hashes":{}})",
      R"("zstd:3")"));
  auto source = Open();
  ASSERT_THAT(source, Succeeds());
  array::SampleBlock block;
  ASSERT_THAT((*source)->Read(1, &block), Succeeds());
  EXPECT_EQ(block.columns[0].size(), 5000u);
}

TEST_F(MdsTest, ChecksTheHashesOfTheIndex) {
  const std::string shard = Shard({{Raw<std::int64_t>(1), "abc"}});
  Write("s", shard);
  const std::string digest = Sha256(AsBytes(shard)).Hex();
  WriteIndex(ShardEntry(shard, 1, "s", R"({"sha256":")" + digest + R"("})"));
  EXPECT_THAT(Open(), Succeeds());
  std::string changed = shard;
  changed.back() ^= 1;
  Write("s", changed);
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kCorrupt, HasSubstr("sha256")));
  WriteIndex(ShardEntry(shard, 1, "s", R"({"xxh64":"0000000000000000"})"));
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kCorrupt, HasSubstr("xxh64")));
}

TEST_F(MdsTest, RefusesPicklesAndUnknownEncodingsByName) {
  for (const char* encoding : {"pkl", "uint128", "ndarray:complex64", "ndarray:uint8:0"}) {
    columns_ = {{"thing", encoding, "null"}};
    const std::string shard = Shard({{"x"}});
    Write("s", shard);
    WriteIndex(ShardEntry(shard, 1, "s"));
    EXPECT_THAT(Open(), FailsWith(ErrorCode::kUnsupported, HasSubstr("thing"))) << encoding;
  }
}

TEST_F(MdsTest, RefusesDamagedShardsAndIndexes) {
  const std::string shard = Shard({{Raw<std::int64_t>(1), "abc"}, {Raw<std::int64_t>(2), "defgh"}});
  WriteIndex(ShardEntry(shard, 2, "s"));
  for (std::size_t size = 0; size < shard.size(); ++size) {
    Write("s", shard.substr(0, size));
    EXPECT_FALSE(Open().ok());
  }
  // Every byte changed: an error or other values, never a crash.
  for (std::size_t i = 0; i < shard.size(); ++i) {
    std::string changed = shard;
    changed[i] ^= static_cast<char>(0xff);
    Write("s", changed);
    auto source = Open();
    if (!source.ok()) continue;
    array::SampleBlock block;
    static_cast<void>((*source)->Read(10, &block).ok());
  }
  Write("s", shard);
  WriteIndex(ShardEntry(shard, 3, "s"));
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kCorrupt, HasSubstr("table of samples")));
  WriteIndex(ShardEntry(shard, 2, "../s"));
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kCorrupt, HasSubstr("not the name of a file")));
  Write("index.json", "{\"version\":1,\"shards\":[]}");
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kUnsupported, HasSubstr("version")));
  Write("index.json", "[]");
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kCorrupt, HasSubstr("shards")));
  WriteIndex("");
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("without samples")));
  WriteIndex(ShardEntry(shard, 2, "gone"));
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kNotFound, HasSubstr("gone")));
}

TEST_F(MdsTest, FindsTheLabelByOption) {
  const std::string shard = Shard({{Raw<std::int64_t>(1), "abc"}});
  Write("s", shard);
  WriteIndex(ShardEntry(shard, 1, "s"));
  auto source = Open({.label_column = "text"});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[1].kind, array::ColumnKind::kText);
  EXPECT_THAT(
      Open({.label_column = "no"}),
      FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("\"no\""), HasSubstr("label, text"))));
  EXPECT_THAT(Open({.resize = image::ImageSize{4, 4}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no single column of images")));
}

}  // namespace
}  // namespace dnc::source
