#include "divide/export.h"

#include <fstream>

#include "divide/dataset_for_test.h"
#include "divide/divide.h"
#include "source/sample_source.h"
#include "testing/testing.h"

// What leaves in a format comes back through the source of that format; that other
// programs read it too is shown in tests/e2e/test_exports.py.

namespace dnc::divide {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kSamples = 700;

class ExportTest : public ::testing::Test {
 protected:
  void Make(bool texts) {
    SourceForTest source({.samples = kSamples, .texts = texts});
    DivideOptions options;
    options.name = "made";
    options.shard_bytes = kShardBytesMin;
    auto report = Divide(&source, store_.get(), options);
    ASSERT_THAT(report, test::Succeeds());
    manifest_ = std::move(report->manifest);
  }

  Result<ExportProgress> Run(sink::Format format, const std::string& to,
                             std::uint64_t shard_bytes = 1u << 20) {
    return Export(manifest_, *store_, {format, "train", to, shard_bytes});
  }

  // All samples of a source, whose columns are found by name.
  array::SampleBlock ReadAll(source::SampleSource* source) {
    array::SampleBlock all;
    array::SampleBlock block;
    array::ClearSamples(source->columns(), &all);
    for (;;) {
      EXPECT_THAT(source->Read(64, &block), test::Succeeds());
      if (block.sample_count == 0) return all;
      array::AppendSamples(source->columns(), block, 0, block.sample_count, &all);
    }
  }

  // Compares the column `name` of a source with that of the test's samples.
  void ExpectColumn(const std::string& location, const std::string& name,
                    const std::string& made_name, const source::SourceOptions& options = {}) {
    auto source = source::OpenSource(location, options);
    ASSERT_THAT(source, test::Succeeds());
    const array::SampleBlock found = ReadAll(source->get());
    SourceForTest made({.samples = kSamples, .texts = manifest_.columns.size() > 3});
    const array::SampleBlock expected = ReadAll(&made);
    ASSERT_EQ(found.sample_count, kSamples);
    const auto index = [](const source::SampleSource& from, const std::string& wanted) {
      for (std::size_t c = 0; c < from.columns().size(); ++c) {
        if (from.columns()[c].name == wanted) return c;
      }
      ADD_FAILURE() << wanted;
      return std::size_t{0};
    };
    EXPECT_EQ(found.columns[index(**source, name)], expected.columns[index(made, made_name)])
        << name;
  }

  std::unique_ptr<store::ObjectStore> store_ = store::MakeMemoryStore();
  shard::Manifest manifest_;
  test::TemporaryFolder folder_;
};

TEST_F(ExportTest, ArraysComeBackFromNpyAndNpz) {
  Make(false);
  ASSERT_THAT(Run(sink::Format::kNpy, folder_ / "npy"), test::Succeeds());
  ExpectColumn(folder_ / "npy/x.npy", "x", "x");
  ExpectColumn(folder_ / "npy/number.npy", "x", "number");
  const auto done = Run(sink::Format::kNpz, folder_ / "all.npz");
  ASSERT_THAT(done, test::Succeeds());
  EXPECT_EQ(done->samples_done, kSamples);
  EXPECT_GT(done->bytes_written, kSamples * 64);
  ExpectColumn(folder_ / "all.npz", "x", "x", {.variable = "x", .labels_variable = "y"});
  ExpectColumn(folder_ / "all.npz", "x", "number", {.variable = "number", .labels_variable = "y"});
}

TEST_F(ExportTest, SamplesComeBackFromWebDatasetAndMds) {
  Make(true);
  ASSERT_THAT(Run(sink::Format::kWebDataset, folder_ / "tars", 1u << 18), test::Succeeds());
  EXPECT_TRUE(std::filesystem::exists(folder_ / "tars/shard-000002.tar"));
  ASSERT_THAT(Run(sink::Format::kMds, folder_ / "mds", 1u << 14), test::Succeeds());
  EXPECT_TRUE(std::filesystem::exists(folder_ / "mds/shard.00002.mds"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "mds/samples.tmp"));
  for (const std::string& location : {folder_ / "tars", folder_ / "mds"}) {
    ExpectColumn(location, "x", "x");
    ExpectColumn(location, "number", "number");
    ExpectColumn(location, "text", "text");
  }
  ExpectColumn(folder_ / "mds", "y", "y");
}

TEST_F(ExportTest, ACsvHasALineASample) {
  Make(true);
  ASSERT_THAT(Run(sink::Format::kCsv, folder_ / "t.csv"), test::Succeeds());
  std::ifstream file(folder_ / "t.csv");
  std::string line;
  std::getline(file, line);
  EXPECT_THAT(line,
              AllOf(::testing::StartsWith("x_0,x_1,"), ::testing::EndsWith("x_51,number,y,text")));
  std::getline(file, line);
  EXPECT_THAT(line, HasSubstr(",0,a,"));  // Number 0, and the name of class 0.
  std::size_t lines = 1;
  while (std::getline(file, line)) ++lines;
  EXPECT_EQ(lines, kSamples);
}

TEST_F(ExportTest, SaysWhatAFormatCannotHold) {
  Make(true);
  EXPECT_THAT(Run(sink::Format::kNpz, folder_ / "a.npz"),
              test::FailsWith(ErrorCode::kUnsupported,
                              AllOf(HasSubstr("text"), HasSubstr("webdataset or mds"))));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / ""));
}

TEST_F(ExportTest, NeverReplacesWhatIsThere) {
  Make(false);
  std::filesystem::create_directory(folder_ / "mine");
  std::ofstream(folder_ / "mine/file") << "mine";
  std::ofstream(folder_ / "a.csv") << "mine";
  for (const auto format : {sink::Format::kNpy, sink::Format::kWebDataset, sink::Format::kMds}) {
    EXPECT_THAT(Run(format, folder_ / "mine"), test::FailsWith(ErrorCode::kAlreadyExists));
  }
  for (const auto format : {sink::Format::kNpz, sink::Format::kCsv}) {
    EXPECT_THAT(Run(format, folder_ / "a.csv"), test::FailsWith(ErrorCode::kAlreadyExists));
  }
}

TEST_F(ExportTest, LeavesNothingWhenItIsStoppedOrTheDataAreWrong) {
  Make(false);
  for (const auto format : {sink::Format::kNpy, sink::Format::kNpz, sink::Format::kCsv,
                            sink::Format::kWebDataset, sink::Format::kMds}) {
    int calls = 0;
    EXPECT_THAT(Export(manifest_, *store_, {format, "train", folder_ / "out", 1u << 20},
                       [&](const ExportProgress&) { return ++calls < 2; }),
                test::FailsWith(ErrorCode::kCancelled));
    EXPECT_TRUE(std::filesystem::is_empty(folder_ / "")) << sink::FormatName(format);
  }
  shard::Manifest wrong = manifest_;
  wrong.shards.pop_back();
  EXPECT_THAT(Export(wrong, *store_, {sink::Format::kNpy, "train", folder_ / "out", 1u << 20}),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("700")));
  EXPECT_THAT(Export(manifest_, *store_, {sink::Format::kNpy, "no", folder_ / "out", 1u << 20}),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("it has train")));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / ""));
}

}  // namespace
}  // namespace dnc::divide
