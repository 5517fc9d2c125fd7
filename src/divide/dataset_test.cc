#include "divide/dataset.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "divide/dataset_for_test.h"
#include "divide/divide.h"
#include "divide/verify.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::HasSubstr;

shard::Manifest DivideInto(const std::string& folder) {
  auto store = store::OpenDirectoryStore(folder);
  EXPECT_THAT(store, test::Succeeds());
  SourceForTest source({.samples = 3000});
  DivideOptions options;
  options.name = "made up";
  options.shard_bytes = kShardBytesMin;
  auto report = Divide(&source, store->get(), options);
  EXPECT_THAT(report, test::Succeeds());
  return std::move(report->manifest);
}

TEST(DatasetTest, OpensAFolderAManifestAndAFileUrl) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "divided";
  const shard::Manifest manifest = DivideInto(path);
  for (const std::string& name : {path, path + "/", path + "/manifest.json", "file://" + path,
                                  "file://" + path + "/manifest.json"}) {
    SCOPED_TRACE(name);
    const auto dataset = OpenDataset(name);
    ASSERT_THAT(dataset, test::Succeeds());
    EXPECT_EQ(shard::FormatManifest(dataset->manifest), shard::FormatManifest(manifest));
    EXPECT_THAT(Verify(dataset->manifest, *dataset->store), test::Succeeds());
  }
}

TEST(DatasetTest, OpensAManifestOfAnotherNameBesideTheShards) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "divided";
  shard::Manifest manifest = DivideInto(path);
  manifest.name = "renamed";
  const std::string name = path + "/my manifest (2).json";
  ASSERT_THAT(WriteFileAtomically(name, AsBytes(shard::FormatManifest(manifest))),
              test::Succeeds());
  const auto dataset = OpenDataset(name);
  ASSERT_THAT(dataset, test::Succeeds());
  EXPECT_EQ(dataset->manifest.name, "renamed");
  EXPECT_THAT(Verify(dataset->manifest, *dataset->store), test::Succeeds());
}

TEST(DatasetTest, FindsShardsOnTheMirrorsOfTheManifest) {
  const test::TemporaryFolder folder;
  shard::Manifest manifest = DivideInto(folder / "shards");
  ASSERT_THAT(MakeDirectories(folder / "elsewhere/deep"), test::Succeeds());
  manifest.mirrors = {"../../missing", "../../shards"};
  ASSERT_THAT(WriteFileAtomically(folder / "elsewhere/deep/manifest.json",
                                  AsBytes(shard::FormatManifest(manifest))),
              test::Succeeds());
  std::vector<std::string> reports;
  store::StoreOptions options;
  options.report = [&](const Error& error) { reports.push_back(error.message); };
  const auto dataset = OpenDataset(folder / "elsewhere/deep", options);
  ASSERT_THAT(dataset, test::Succeeds());
  EXPECT_THAT(Verify(dataset->manifest, *dataset->store), test::Succeeds());
  EXPECT_THAT(reports, ::testing::Contains(HasSubstr("missing")));
}

TEST(DatasetTest, SaysWhatIsMissingAndCreatesNothing) {
  const test::TemporaryFolder folder;
  EXPECT_THAT(OpenDataset(folder / "none"),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("none is not there")));
  EXPECT_FALSE(PathExists(folder / "none"));
  EXPECT_THAT(OpenDataset(folder.path()),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("has no manifest.json")));
  ASSERT_THAT(WriteFileAtomically(folder / "manifest.json", AsBytes("[]")), test::Succeeds());
  EXPECT_THAT(LoadManifest(folder.path()),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("manifest.json")));
}

TEST(DatasetTest, SplitsAUrlIntoStoreAndKey) {
  const std::vector<std::tuple<std::string, std::string, std::string>> places = {
      {"https://host/fm", "https://host/fm", "manifest.json"},
      {"https://host/fm/", "https://host/fm", "manifest.json"},
      {"https://host", "https://host", "manifest.json"},
      {"https://host/fm/manifest.json", "https://host/fm", "manifest.json"},
      {"s3://bucket/a/v2.json", "s3://bucket/a", "v2.json"},
      {"s3://bucket.json", "s3://bucket.json", "manifest.json"},
      {"ipfs://bafy", "ipfs://bafy", "manifest.json"},
  };
  for (const auto& [location, store, key] : places) {
    SCOPED_TRACE(location);
    const ManifestPlace place = PlaceOfManifest(location);
    EXPECT_EQ(place.store, store);
    EXPECT_EQ(place.key, key);
  }
}

}  // namespace
}  // namespace dnc::divide
