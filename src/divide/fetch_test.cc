// A tree comes back byte for byte, wherever a fetch was stopped; and no manifest, however
// it was made, makes a fetch write outside of its folder.

#include "divide/fetch.h"

#include <gtest/gtest.h>

#include "divide/dataset.h"
#include "divide/dataset_for_test.h"
#include "divide/divide.h"
#include "divide/raw_tree_for_test.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FetchTest : public ::testing::Test {
 protected:
  shard::Manifest DivideIt(source::SampleSource* source, bool raw = true) {
    DivideOptions options;
    options.name = "tree";
    options.shard_bytes = kShardBytesMin;
    options.zstd_level = 1;
    options.threads = 1;
    options.overwrite = true;
    if (raw) options.parameters["content"] = kRawContent;
    auto report = Divide(source, store_.get(), options);
    EXPECT_THAT(report, test::Succeeds());
    return report.ok() ? std::move(report->manifest) : shard::Manifest();
  }
  shard::Manifest DivideTree() {
    MakeTreeForTest(folder_ / "tree");
    auto source = OpenRawSource(folder_ / "tree", false);
    EXPECT_THAT(source, test::Succeeds());
    return DivideIt(source->get());
  }
  Result<FetchProgress> FetchRows(std::vector<RowForTest> rows, const FetchOptions& options = {}) {
    RowsForTest source(std::move(rows));
    const shard::Manifest manifest = DivideIt(&source);
    return FetchFiles(manifest, *store_, folder_ / "to", options);
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<store::ObjectStore> store_ = store::MakeMemoryStore();
};

TEST_F(FetchTest, GivesTheTreeBackByteForByte) {
  const shard::Manifest manifest = DivideTree();
  ASSERT_TRUE(IsRawDataset(manifest));
  EXPECT_GE(manifest.shards.size(), 4u);
  const auto done = FetchFiles(manifest, *store_, folder_ / "to", {});
  ASSERT_THAT(done, test::Succeeds());
  EXPECT_EQ(TreeForTest(folder_ / "to"), TreeForTest(folder_ / "tree"));
  EXPECT_EQ(done->files, 8u);
  EXPECT_EQ(done->folders, 4u);
  EXPECT_EQ(done->links, 3u);
  EXPECT_EQ(done->bytes_done, done->bytes_total);
}

TEST_F(FetchTest, GivesASingleFileBack) {
  WriteForTest(folder_ / "one.bin", NoiseForTest(4, 100'000), 0600);
  auto source = OpenRawSource(folder_ / "one.bin", false);
  ASSERT_THAT(source, test::Succeeds());
  const shard::Manifest manifest = DivideIt(source->get());
  ASSERT_THAT(FetchFiles(manifest, *store_, folder_ / "to", {}), test::Succeeds());
  const auto tree = TreeForTest(folder_ / "to");
  ASSERT_EQ(tree.size(), 1u);
  EXPECT_EQ(tree.at("one.bin"),
            std::to_string(0600) + " " + ContentForTest(NoiseForTest(4, 100'000)));
}

TEST_F(FetchTest, GoesOnWhereverItWasStopped) {
  const shard::Manifest manifest = DivideTree();
  const auto expected = TreeForTest(folder_ / "tree");
  for (int step = 0;; ++step) {
    ASSERT_LT(step, 1000);
    SCOPED_TRACE(step);
    const std::string to = folder_ / ("to" + std::to_string(step));
    int calls = 0;
    const auto stopped = FetchFiles(manifest, *store_, to, {},
                                    [&](const FetchProgress&) { return calls++ != step; });
    if (calls <= step) {
      EXPECT_THAT(stopped, test::Succeeds());
      break;
    }
    if (stopped.ok()) continue;  // The last call, after the last byte.
    EXPECT_THAT(stopped, test::FailsWith(ErrorCode::kCancelled));
    // Stopped once more right after, which must not lose what was there.
    calls = 0;
    static_cast<void>(FetchFiles(manifest, *store_, to, {}, [&](const FetchProgress&) {
                        return calls++ < 2;
                      }).ok());
    if (PathExists(to + "/.dnc-fetch.json")) {
      ASSERT_THAT(FetchFiles(manifest, *store_, to, {}), test::Succeeds());
    }
    ASSERT_EQ(TreeForTest(to), expected);
    std::filesystem::remove_all(to);
  }
}

TEST_F(FetchTest, LeavesNothingOfAStateThatWasCutOff) {
  const shard::Manifest manifest = DivideTree();
  std::filesystem::create_directories(folder_ / "to");
  WriteForTest(folder_ / "to/.dnc-fetch.tmp", "{");
  ASSERT_THAT(FetchFiles(manifest, *store_, folder_ / "to", {}), test::Succeeds());
  EXPECT_EQ(TreeForTest(folder_ / "to"), TreeForTest(folder_ / "tree"));
}

TEST_F(FetchTest, RefusesAFolderThatHoldsSomethingElse) {
  const shard::Manifest manifest = DivideTree();
  std::filesystem::create_directories(folder_ / "to");
  WriteForTest(folder_ / "to/mine", "keep me");
  EXPECT_THAT(FetchFiles(manifest, *store_, folder_ / "to", {}),
              test::FailsWith(ErrorCode::kAlreadyExists, HasSubstr("not empty")));
  EXPECT_EQ(TreeForTest(folder_ / "to").size(), 1u);
}

TEST_F(FetchTest, RefusesToGoOnWithAnotherTree) {
  const shard::Manifest manifest = DivideTree();
  EXPECT_THAT(FetchFiles(manifest, *store_, folder_ / "to", {}, [](const auto&) { return false; }),
              test::FailsWith(ErrorCode::kCancelled));
  shard::Manifest other = manifest;
  other.name = "another";
  EXPECT_THAT(FetchFiles(other, *store_, folder_ / "to", {}),
              test::FailsWith(ErrorCode::kAlreadyExists, HasSubstr("another tree")));
}

TEST_F(FetchTest, SaysWhichStateItCannotRead) {
  const shard::Manifest manifest = DivideTree();
  std::filesystem::create_directories(folder_ / "to");
  for (const std::string text :
       {"", "[]", "{\"manifest\": 1}", "{\"manifest\": \"\", \"shards_done\": -1}"}) {
    WriteForTest(folder_ / "to/.dnc-fetch.json", text);
    EXPECT_THAT(FetchFiles(manifest, *store_, folder_ / "to", {}),
                test::FailsWith(ErrorCode::kCorrupt, HasSubstr(".dnc-fetch.json")));
  }
}

TEST_F(FetchTest, TakesNoByteThatIsWrong) {
  const shard::Manifest manifest = DivideTree();
  const std::string& key = manifest.shards[2].cid;
  auto bytes = store::GetObject(*store_, key, 1u << 20);
  ASSERT_THAT(bytes, test::Succeeds());
  (*bytes)[bytes->size() / 2] ^= std::byte{1};
  ASSERT_THAT(store::PutObject(store_.get(), key, *bytes), test::Succeeds());
  EXPECT_THAT(FetchFiles(manifest, *store_, folder_ / "to", {}),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr(key)));
}

TEST_F(FetchTest, RefusesADatasetOfSamples) {
  SourceForTest source({.samples = 2000});
  const shard::Manifest manifest = DivideIt(&source, /*raw=*/false);
  EXPECT_FALSE(IsRawDataset(manifest));
  EXPECT_THAT(FetchFiles(manifest, *store_, folder_ / "to", {}),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("not a tree of files")));
}

TEST_F(FetchTest, WritesNothingOutsideOfItsFolder) {
  for (const std::string path : {"../out", "/out", "a/../../out", "a//b", "./a", "a/.", "", "a/",
                                 "..", ".dnc-fetch.json", ".dnc-fetch.part", ".dnc-fetch.tmp"}) {
    SCOPED_TRACE(path);
    for (const RawKind kind : {RawKind::kFile, RawKind::kFolder, RawKind::kLink}) {
      EXPECT_THAT(FetchRows({{path, kind, "x"}}), test::FailsWith(ErrorCode::kCorrupt));
      std::filesystem::remove_all(folder_ / "to");
    }
  }
  EXPECT_THAT(TreeForTest(folder_.path()), IsEmpty());
}

TEST_F(FetchTest, FollowsNoLinkOfTheTreeItself) {
  std::filesystem::create_directories(folder_ / "outside");
  const FetchOptions links{.outside_links = true};
  EXPECT_THAT(
      FetchRows({{"a", RawKind::kLink, folder_ / "outside"}, {"a/b", RawKind::kFile, "x"}}, links),
      test::FailsWith(ErrorCode::kCorrupt, HasSubstr("not there, or a link")));
  std::filesystem::remove_all(folder_ / "to");
  EXPECT_THAT(FetchRows({{"a", RawKind::kLink, folder_ / "outside"},
                         {"a", RawKind::kFolder, ""},
                         {"a/b", RawKind::kFile, "x"}},
                        links),
              test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "outside"));
}

TEST_F(FetchTest, LinksThatLeadOutMustBeAllowed) {
  const std::vector<RowForTest> rows = {{"d", RawKind::kFolder, "", 0, 0, 0755},
                                        {"d/l", RawKind::kLink, "../../etc"}};
  EXPECT_THAT(FetchRows(rows), test::FailsWith(ErrorCode::kPermissionDenied,
                                               AllOf(HasSubstr("d/l"), HasSubstr("../../etc"))));
  std::filesystem::remove_all(folder_ / "to");
  EXPECT_THAT(FetchRows({{"l", RawKind::kLink, "/etc"}}),
              test::FailsWith(ErrorCode::kPermissionDenied));
  std::filesystem::remove_all(folder_ / "to");
  ASSERT_THAT(FetchRows(rows, {.outside_links = true}), test::Succeeds());
  EXPECT_EQ(std::filesystem::read_symlink(folder_ / "to/d/l"), "../../etc");
}

TEST_F(FetchTest, PiecesMustFitTogether) {
  const std::vector<std::vector<RowForTest>> wrong = {
      {{"f", RawKind::kFile, "ab", 4}},                                      // Ends early.
      {{"f", RawKind::kFile, "ab", 4}, {"g", RawKind::kFile, "x"}},          // The same.
      {{"f", RawKind::kFile, "ab", 4}, {"f", RawKind::kFile, "cd", 4, 3}},   // A gap.
      {{"f", RawKind::kFile, "ab", 4}, {"f", RawKind::kFile, "bcd", 4, 1}},  // Overlap.
      {{"f", RawKind::kFile, "ab", 4}, {"f", RawKind::kFile, "cd", 5, 2}},   // Sizes.
      {{"f", RawKind::kFile, "ab", 4}, {"g", RawKind::kFile, "cd", 4, 2}},   // Names.
      {{"f", RawKind::kFile, "abcd", 2}},                                    // Too long.
      {{"f", RawKind::kFile, "cd", 4, 2}},                                   // No start.
      {{"f", RawKind::kFile, "", 4}},                                        // No bytes.
      {{"f", RawKind::kFile, "x", INT64_MAX, INT64_MAX}},                    // Absurd.
      {{"d/f", RawKind::kFile, "x"}},                                        // No folder.
      {{"f", static_cast<RawKind>(7), "x"}},                                 // No kind.
      {{"l", RawKind::kLink, ""}},                                           // To nowhere.
      {{"l", RawKind::kLink, std::string("a\0b", 3)}},
      {{"l", RawKind::kLink, "a"}, {"l", RawKind::kLink, "b"}},
  };
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_THAT(FetchRows(wrong[i]), test::FailsWith(ErrorCode::kCorrupt));
    std::filesystem::remove_all(folder_ / "to");
  }
}

TEST_F(FetchTest, CopiesTheShardsOfADatasetOfSamples) {
  SourceForTest source({.samples = 5000});
  const shard::Manifest manifest = DivideIt(&source, /*raw=*/false);
  ASSERT_GT(manifest.shards.size(), 2u);
  const std::string to = folder_ / "to";
  EXPECT_THAT(FetchShards(manifest, *store_, to,
                          [](const FetchProgress& done) { return done.shards_done < 2; }),
              test::FailsWith(ErrorCode::kCancelled));
  EXPECT_FALSE(PathExists(to + "/manifest.json"));
  const auto done = FetchShards(manifest, *store_, to);
  ASSERT_THAT(done, test::Succeeds());
  EXPECT_GT(done->bytes_kept, 0u);
  EXPECT_EQ(done->bytes_done, done->bytes_total);
  const auto copy = OpenDataset(to);
  ASSERT_THAT(copy, test::Succeeds());
  EXPECT_EQ(shard::FormatManifest(copy->manifest), shard::FormatManifest(manifest));
  for (const shard::ShardInfo& shard : manifest.shards) {
    EXPECT_EQ(*store::GetObject(*copy->store, shard.cid, 1u << 20),
              *store::GetObject(*store_, shard.cid, 1u << 20));
  }
}

TEST_F(FetchTest, MendsShardsThatAreCutOrChanged) {
  SourceForTest source({.samples = 5000});
  const shard::Manifest manifest = DivideIt(&source, /*raw=*/false);
  const std::string to = folder_ / "to";
  ASSERT_THAT(FetchShards(manifest, *store_, to), test::Succeeds());
  const std::string cut = to + "/" + manifest.shards[0].cid;
  const std::string longer = to + "/" + manifest.shards[1].cid;
  std::filesystem::resize_file(cut, 100);
  std::filesystem::resize_file(longer, manifest.shards[1].bytes + 1);
  ASSERT_THAT(FetchShards(manifest, *store_, to), test::Succeeds());
  EXPECT_EQ(std::filesystem::file_size(cut), manifest.shards[0].bytes);
  EXPECT_EQ(std::filesystem::file_size(longer), manifest.shards[1].bytes);
}

TEST_F(FetchTest, RefusesAFolderWithAnotherManifest) {
  SourceForTest source({.samples = 2000});
  const shard::Manifest manifest = DivideIt(&source, /*raw=*/false);
  ASSERT_THAT(FetchShards(manifest, *store_, folder_ / "to"), test::Succeeds());
  shard::Manifest other = manifest;
  other.name = "another";
  EXPECT_THAT(FetchShards(other, *store_, folder_ / "to"),
              test::FailsWith(ErrorCode::kAlreadyExists, HasSubstr("another dataset")));
}

}  // namespace
}  // namespace dnc::divide
