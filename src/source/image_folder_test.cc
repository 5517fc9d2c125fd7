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

TEST_F(ImageFolderTest, KeepsImagesAsTheyAreUnlessASizeIsGiven) {
  const std::string jpeg = image::Jpeg({9, 7}, image::Plain({0, 0, 0}));
  const std::string webp = image::Webp({5, 6}, image::Plain({0, 0, 0}), 80);
  Write(Path("ant", 0), jpeg);
  Write(Path("bee", 2), webp);
  auto source = OpenSource(folder_.path(), {.threads = 2});
  ASSERT_THAT(source, Succeeds());
  EXPECT_THAT((*source)->columns(),
              ElementsAre(array::ColumnSpec{.name = "x", .kind = array::ColumnKind::kImage},
                          array::ColumnSpec{"y", DType::kUint8, {}, {"ant", "bee", "cat"}}));
  EXPECT_EQ((*source)->Describe(), "folder of 18 images in 3 classes");
  std::multiset<std::string> files;
  array::SampleBlock block;
  for (;;) {
    ASSERT_THAT((*source)->Read(5, &block), Succeeds());
    if (block.sample_count == 0) break;
    for (std::uint64_t i = 0; i < block.sample_count; ++i) {
      files.emplace(AsText(block.element(0, i)));
    }
  }
  EXPECT_EQ(files.size(), 18u);
  EXPECT_EQ(files.count(jpeg), 1u);
  EXPECT_EQ(files.count(webp), 1u);
  EXPECT_EQ(files.count(PlainPng(46)), 1u);
}

TEST_F(ImageFolderTest, FindsADamagedImageThoughItIsNotDecoded) {
  const std::string jpeg = image::Jpeg({32, 32}, image::Plain({9, 9, 9}));
  Write(Path("bee", 3), jpeg.substr(0, jpeg.size() - 20));
  auto source = OpenSource(folder_.path(), {});
  ASSERT_THAT(source, Succeeds());
  array::SampleBlock block;
  EXPECT_THAT((*source)->Read(100, &block),
              FailsWith(ErrorCode::kCorrupt, HasSubstr(Path("bee", 3))));
  source = OpenSource(folder_.path(), {.skip_bad = true});
  ASSERT_THAT((*source)->Read(100, &block), Succeeds());
  EXPECT_EQ(block.sample_count, 17u);
  EXPECT_EQ((*source)->skipped().size(), 1u);
}

TEST_F(ImageFolderTest, EndsABlockOfLargeFilesEarly) {
  // Noise, which PNG does not compress: 3 MiB each.
  std::uint32_t state = 1;
  const auto noise = [&](std::uint32_t, std::uint32_t) {
    state = state * 1664525u + 1013904223u;
    return image::Rgb{static_cast<std::uint8_t>(state >> 24),
                      static_cast<std::uint8_t>(state >> 16),
                      static_cast<std::uint8_t>(state >> 8)};
  };
  for (int i = 0; i < 5; ++i) Write(Path("ant", i), image::Png({1024, 1024}, noise));
  auto source = OpenSource(folder_.path(), {.threads = 3});
  ASSERT_THAT(source, Succeeds());
  array::SampleBlock block;
  std::uint64_t samples = 0;
  do {
    ASSERT_THAT((*source)->Read(100, &block), Succeeds());
    EXPECT_LT(block.columns[0].size(), 9u << 20);
    samples += block.sample_count;
  } while (block.sample_count > 0);
  EXPECT_EQ(samples, 18u);
}

TEST_F(ImageFolderTest, CropsAndTurnsGrey) {
  auto source = OpenSource(folder_.path(), {.crop = image::ImageSize{2, 4}});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[0].shape, (array::Shape{4, 2, 3}));
  EXPECT_THAT(ReadToEnd(source->get(), 7), Succeeds());
  source = OpenSource(folder_.path(),
                      {.resize = kSize, .crop = image::ImageSize{2, 1}, .grayscale = true});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[0].shape, (array::Shape{1, 2}));
  EXPECT_EQ((*source)->Describe(),
            "folder of 18 images in 3 classes, resized to 4x4, cropped to 2x1, grayscale");
  const auto all = ReadToEnd(source->get(), 7);
  ASSERT_THAT(all, Succeeds());
  for (std::size_t i = 0; i < 18; ++i) {
    EXPECT_EQ(std::to_integer<int>(all->columns[0][2 * i]) / 20,
              std::to_integer<int>(all->columns[1][i]));
  }
}

TEST_F(ImageFolderTest, NamesAnImageSmallerThanTheCrop) {
  auto source = OpenSource(folder_.path(), {.crop = image::ImageSize{9, 4}});
  ASSERT_THAT(source, Succeeds());
  EXPECT_THAT(ReadToEnd(source->get(), 7),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr(".png: "), HasSubstr("cannot be cropped to 9x4"))));
}

TEST_F(ImageFolderTest, RefusesSizesOutsideTheLimits) {
  EXPECT_THAT(OpenSource(folder_.path(), {.grayscale = true}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--resize WIDTHxHEIGHT")));
  EXPECT_THAT(OpenSource(folder_.path(), {.resize = image::ImageSize{0, 4}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("0x4")));
  EXPECT_THAT(OpenSource(folder_.path(), {.resize = image::ImageSize{5000, 5000}}),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("5000x5000")));
}

TEST_F(ImageFolderTest, TakesImagesFromFoldersWithinAClass) {
  Write(folder_ / "cat/small/1.png", PlainPng(55));
  Write(folder_ / "cat/small/very/2.png", PlainPng(56));
  auto source = Open();
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->sample_count(), 20u);
  const auto all = ReadToEnd(source->get(), 100);
  ASSERT_THAT(all, Succeeds());
  const std::vector<int> grey = GreyOf(*all);
  for (std::size_t i = 0; i < grey.size(); ++i) {
    EXPECT_EQ(std::to_integer<int>(all->columns[1][i]), grey[i] / 20);
  }
  std::filesystem::create_directory_symlink("..", folder_ / "cat/above");
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kTooLarge, HasSubstr("deep")));
}

TEST_F(ImageFolderTest, RefusesClassesWithoutImages) {
  ASSERT_THAT(MakeDirectories(folder_ / "dog/small"), Succeeds());
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kInvalidArgument,
                                AllOf(HasSubstr("dog"), HasSubstr("without images"))));
  std::filesystem::rename(folder_ / "dog", folder_ / "dog\xe4");
  EXPECT_THAT(Open(), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("UTF-8")));
  EXPECT_THAT(Open({.label_column = "kind"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--labels FILE")));
}

// A table of labels beside the images of the folders above.
class LabelsTableTest : public ImageFolderTest {
 protected:
  Result<std::unique_ptr<SampleSource>> OpenTable(const std::string& text,
                                                  const std::string& label_column = "") {
    Write(table_, text);
    return Open({.labels_path = table_, .label_column = label_column});
  }
  // The labels by the grey of their images.
  template <typename T>
  std::map<int, T> Labels(const std::string& text, const std::string& label_column = "") {
    auto source = OpenTable(text, label_column);
    EXPECT_THAT(source, Succeeds());
    if (!source.ok()) return {};
    columns_ = (*source)->columns();
    description_ = (*source)->Describe();
    const auto all = ReadToEnd(source->get(), 2);
    EXPECT_THAT(all, Succeeds());
    const std::vector<int> grey = GreyOf(*all);
    const auto values = ValuesOf<T>(all->columns[1]);
    std::map<int, T> labels;
    for (std::size_t i = 0; i < grey.size(); ++i) labels[grey[i]] = values[i];
    return labels;
  }

  const std::string table_ = folder_ / "labels.csv";
  std::vector<array::ColumnSpec> columns_;
  std::string description_;
};

using Bytes8 = std::map<int, std::uint8_t>;

TEST_F(LabelsTableTest, GivesClassesSortedByName) {
  EXPECT_EQ(Labels<std::uint8_t>("file,label\nant/0.png,wasp\ncat/1.png,dog\nbee/0.png,wasp\n"),
            (Bytes8{{0, 1}, {41, 0}, {20, 1}}));
  EXPECT_THAT(columns_[1].class_names, ElementsAre("dog", "wasp"));
  EXPECT_EQ(description_, "folder of 3 images in 2 classes, resized to 4x4");
}

TEST_F(LabelsTableTest, NeedsNoHeaderAndNoExtension) {
  EXPECT_EQ(Labels<std::uint8_t>("ant/0.png,b\nant/1.png,a\n"), (Bytes8{{0, 1}, {1, 0}}));
  EXPECT_EQ(Labels<std::uint8_t>("id,breed\nant/0,b\nant/1,a\n"), (Bytes8{{0, 1}, {1, 0}}));
}

TEST_F(LabelsTableTest, KeepsNumbersAsNumbers) {
  EXPECT_EQ(Labels<std::int64_t>("file,label\nant/0.png,-7\nant/1.png,5000000000\n"),
            (std::map<int, std::int64_t>{{0, -7}, {1, 5'000'000'000}}));
  EXPECT_EQ(columns_[1].dtype, DType::kInt64);
  EXPECT_EQ(description_, "folder of 2 images with labels of labels.csv, resized to 4x4");
  EXPECT_EQ(Labels<float>("file,label\nant/0.png,1\nant/1.png,0.5\n"),
            (std::map<int, float>{{0, 1.0f}, {1, 0.5f}}));
}

TEST_F(LabelsTableTest, FindsItsColumnsByNameOrOption) {
  const std::string table = "sender,Label,image,kids\n9,b,ant/0.png,x\n8,a,ant/1.png,y\n";
  EXPECT_EQ(Labels<std::uint8_t>(table), (Bytes8{{0, 1}, {1, 0}}));
  EXPECT_EQ(Labels<std::uint8_t>(table, "kids"), (Bytes8{{0, 0}, {1, 1}}));
  EXPECT_EQ(Labels<std::int64_t>(table, "#0"), (std::map<int, std::int64_t>{{0, 9}, {1, 8}}));
}

TEST_F(LabelsTableTest, SaysWhatIsWrongWithATable) {
  const auto refuses = [&](const std::string& text, ErrorCode code, const std::string& message,
                           const std::string& label_column = "") {
    EXPECT_THAT(OpenTable(text, label_column), FailsWith(code, HasSubstr(message))) << text;
  };
  const ErrorCode wrong = ErrorCode::kInvalidArgument;
  refuses("file,label\n", wrong, "no images below");
  refuses("file\nant/0.png\n", wrong, "one field (file)");
  refuses("file,a,b\nant/0.png,1,2\n", wrong, "(file, a, b); name it (--label-column");
  refuses("file,label\nant/0.png,1\n", wrong, "no column \"c\"; its first line is file, label",
          "c");
  refuses("file,label\nant/0.png,1\n/etc/passwd,2\n", wrong, "line 3: \"/etc/passwd\" is no path");
  refuses("file,label\nant/../../0.png,1\n", wrong, "line 2");
  refuses("file,label\nant/9.png,1\n", ErrorCode::kNotFound, "ant/9.png: no such image");
  refuses("file,label\nant/0.png,\n", wrong, "is empty");
  refuses("file,label\nant/0.png,1,2\n", wrong, "line 2");
  EXPECT_THAT(Open({.labels_path = folder_ / "none.csv"}), FailsWith(ErrorCode::kNotFound));
}

TEST(ImageFolderListingTest, RefusesFoldersWithoutClasses) {
  test::TemporaryFolder folder;
  const SourceOptions options{.resize = kSize};
  EXPECT_THAT(OpenSource(folder.path(), options),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("an empty folder")));
  Write(folder / "1.png", PlainPng(1));
  EXPECT_THAT(OpenSource(folder.path(), options),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("1 files, but no folders"), HasSubstr("cat/1.jpg"),
                              HasSubstr("--labels labels.csv"))));
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
