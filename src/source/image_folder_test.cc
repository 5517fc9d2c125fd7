#include "source/image_folder.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "image/test_images.h"
#include "source/test_files.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using array::DType;
using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr image::ImageSize kSize{4, 4};

void Write(const std::string& path, const std::string& bytes) {
  ASSERT_THAT(MakeDirectories(std::filesystem::path(path).parent_path()), Succeeds());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string PlainPng(int value) {
  const auto v = static_cast<std::uint8_t>(value);
  return image::Png({8, 8}, image::Plain({v, v, v}));
}

// Three classes with 5, 6 and 7 images, whose grey is 20 times the class plus the number.
class ImageFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* names[] = {"ant", "bee", "cat"};
    for (int c = 0; c < 3; ++c) {
      for (int i = 0; i < 5 + c; ++i) {
        Write(Path(names[c], i), PlainPng(20 * c + i));
      }
    }
  }
  std::string Path(const std::string& name, int i) const {
    return folder_ / (name + "/" + std::to_string(i) + ".png");
  }
  Result<std::unique_ptr<SampleSource>> Open(SourceOptions options = {}) const {
    options.resize = kSize;
    return OpenSource(folder_.path(), options);
  }

  test::TemporaryFolder folder_;
};

std::vector<int> GreyOf(const array::SampleBlock& block) {
  std::vector<int> grey;
  for (std::size_t i = 0; i < block.columns[0].size(); i += 48) {
    grey.push_back(std::to_integer<int>(block.columns[0][i]));
  }
  return grey;
}

TEST_F(ImageFolderTest, GivesEveryImageOnceWithTheLabelOfItsFolder) {
  auto source = Open();
  ASSERT_THAT(source, Succeeds());
  EXPECT_THAT((*source)->columns(),
              ElementsAre(array::ColumnSpec{"x", DType::kUint8, {4, 4, 3}, {}},
                          array::ColumnSpec{"y", DType::kUint8, {}, {"ant", "bee", "cat"}}));
  EXPECT_EQ((*source)->sample_count(), 18u);
  EXPECT_EQ((*source)->Describe(), "folder of 18 images in 3 classes, resized to 4x4");
  const auto all = ReadToEnd(source->get(), 4);
  ASSERT_THAT(all, Succeeds());
  const std::vector<int> grey = GreyOf(*all);
  EXPECT_EQ(std::set<int>(grey.begin(), grey.end()).size(), 18u);
  for (std::size_t i = 0; i < grey.size(); ++i) {
    EXPECT_EQ(std::to_integer<int>(all->columns[1][i]), grey[i] / 20);
  }
}

TEST_F(ImageFolderTest, TheOrderFollowsFromTheSeedWhateverTheThreads) {
  std::map<std::uint64_t, std::vector<int>> orders;
  for (const std::uint64_t seed : {0, 1}) {
    for (const int threads : {1, 2, 5}) {
      for (const std::uint64_t step : {1, 7, 100}) {
        auto source = Open({.seed = seed, .threads = threads});
        ASSERT_THAT(source, Succeeds());
        const auto all = ReadToEnd(source->get(), step);
        ASSERT_THAT(all, Succeeds());
        const std::vector<int> grey = GreyOf(*all);
        EXPECT_EQ(orders.emplace(seed, grey).first->second, grey);
      }
    }
  }
  EXPECT_NE(orders[0], orders[1]);
  EXPECT_FALSE(std::is_sorted(orders[0].begin(), orders[0].end()));
}

TEST_F(ImageFolderTest, LeavesOutHiddenEntriesAndFilesBesideTheFolders) {
  Write(folder_ / "LICENSE", "text");
  Write(folder_ / ".cache/1.png", "text");
  Write(folder_ / "ant/.DS_Store", "text");
  auto source = Open();
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->sample_count(), 18u);
}

TEST_F(ImageFolderTest, RecognisesImagesByContentNotByName) {
  Write(Path("ant", 0), image::Jpeg({8, 8}, image::Plain({0, 0, 0})));
  auto source = Open();
  ASSERT_THAT(source, Succeeds());
  EXPECT_THAT(ReadToEnd(source->get(), 100), Succeeds());
}

TEST_F(ImageFolderTest, NamesACorruptImageWithTheReasonAgainAndAgain) {
  const std::string jpeg = image::Jpeg({32, 32}, image::Plain({9, 9, 9}));
  Write(Path("bee", 3), jpeg.substr(0, jpeg.size() - 20));
  auto source = Open();
  ASSERT_THAT(source, Succeeds());
  const auto expected = FailsWith(
      ErrorCode::kCorrupt,
      AllOf(HasSubstr(Path("bee", 3)), HasSubstr("corrupt JPEG"), HasSubstr("--skip-bad")));
  EXPECT_THAT(ReadToEnd(source->get(), 100), expected);
  EXPECT_THAT(ReadToEnd(source->get(), 100), expected);
}

TEST_F(ImageFolderTest, LeavesOutAndListsBadImagesWhereAsked) {
  Write(Path("bee", 3), "no image");
  Write(Path("cat", 0), PlainPng(40).substr(0, 60));
  for (const std::uint64_t step : {1, 5, 100}) {
    auto source = Open({.skip_bad = true});
    ASSERT_THAT(source, Succeeds());
    const auto all = ReadToEnd(source->get(), step);
    ASSERT_THAT(all, Succeeds());
    EXPECT_EQ(all->sample_count, 16u);
    std::map<std::string, std::string> skipped;
    for (const SkippedInput& input : (*source)->skipped()) skipped[input.name] = input.reason;
    ASSERT_EQ(skipped.size(), 2u);
    EXPECT_EQ(skipped[Path("bee", 3)], "neither JPEG nor PNG nor WebP");
    EXPECT_THAT(skipped[Path("cat", 0)], HasSubstr("corrupt PNG"));
    const std::vector<int> grey = GreyOf(*all);
    EXPECT_EQ(std::count(grey.begin(), grey.end(), 23), 0);
  }
}

TEST_F(ImageFolderTest, FailsWhereNoImageIsGood) {
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 5 + c; ++i) Write(Path(std::string(1, "abc"[c]) + "x", i), "bad");
  }
  for (const char* name : {"ant", "bee", "cat"}) std::filesystem::remove_all(folder_ / name);
  auto source = Open({.skip_bad = true});
  ASSERT_THAT(source, Succeeds());
  EXPECT_THAT(ReadToEnd(source->get(), 4),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("none of its 18 files")));
}

TEST_F(ImageFolderTest, DoesNotSkipWhatTheSystemRefusesToRead) {
  std::filesystem::remove(Path("ant", 2));
  std::filesystem::create_symlink("nowhere", Path("ant", 2));
  auto source = Open({.skip_bad = true});
  ASSERT_THAT(source, Succeeds());
  EXPECT_THAT(ReadToEnd(source->get(), 100),
              FailsWith(ErrorCode::kNotFound, HasSubstr(Path("ant", 2))));
}

TEST_F(ImageFolderTest, CanBeClosedAtAnyMoment) {
  for (std::uint64_t count = 0; count < 18; ++count) {
    auto source = Open({.threads = 3});
    ASSERT_THAT(source, Succeeds());
    array::SampleBlock block;
    EXPECT_THAT((*source)->Read(count, &block), Succeeds());
    EXPECT_EQ(block.sample_count, count);
  }
}

TEST_F(ImageFolderTest, NeedsASizeWithinLimits) {
  EXPECT_THAT(OpenSource(folder_.path(), {}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--resize WIDTHxHEIGHT")));
  EXPECT_THAT(OpenSource(folder_.path(), {.resize = image::ImageSize{0, 4}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("0x4")));
  EXPECT_THAT(OpenSource(folder_.path(), {.resize = image::ImageSize{5000, 5000}}),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("5000x5000")));
}

TEST_F(ImageFolderTest, RefusesLabelsBesideTheFolders) {
  EXPECT_THAT(Open({.labels_path = "y.npy"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--labels")));
}

TEST_F(ImageFolderTest, RefusesClassesWithoutImagesOrWithFoldersInside) {
  ASSERT_THAT(MakeDirectories(folder_ / "dog"), Succeeds());
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kInvalidArgument,
                                AllOf(HasSubstr("dog"), HasSubstr("without images"))));
  ASSERT_THAT(MakeDirectories(folder_ / "dog/small"), Succeeds());
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("holds the folder small")));
  std::filesystem::rename(folder_ / "dog", folder_ / "dog\xe4");
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("UTF-8")));
}

TEST(ImageFolderListingTest, RefusesFoldersWithoutClasses) {
  test::TemporaryFolder folder;
  const SourceOptions options{.resize = kSize};
  EXPECT_THAT(OpenSource(folder.path(), options),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("an empty folder")));
  Write(folder / "1.png", PlainPng(1));
  EXPECT_THAT(OpenSource(folder.path(), options),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("1 files, but no folders"), HasSubstr("cat/1.jpg"))));
}

TEST(ImageFolderListingTest, LabelsOfMoreThan256ClassesAreInt64) {
  test::TemporaryFolder folder;
  for (int c = 0; c < 257; ++c) {
    Write(folder / (std::to_string(1000 + c) + "/a"), PlainPng(c % 256));
  }
  auto source = OpenSource(folder.path(), {.resize = kSize});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[1].dtype, DType::kInt64);
  const auto all = ReadToEnd(source->get(), 50);
  ASSERT_THAT(all, Succeeds());
  const std::vector<int> grey = GreyOf(*all);
  const auto labels = ValuesOf<std::int64_t>(all->columns[1]);
  ASSERT_EQ(labels.size(), 257u);
  for (std::size_t i = 0; i < labels.size(); ++i) EXPECT_EQ(labels[i] % 256, grey[i]);
}

TEST(ImageFolderListingTest, ReadsRealPhotos) {
  const std::string folder = SharedData("clothing/validation");
  if (!PathExists(folder)) GTEST_SKIP() << folder << " is not there";
  auto source = OpenSource(folder, {.resize = image::ImageSize{32, 32}, .threads = 2});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[1].class_names.size(), 10u);
  const auto all = ReadToEnd(source->get(), 100);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(all->sample_count, *(*source)->sample_count());
}

}  // namespace
}  // namespace dnc::source
