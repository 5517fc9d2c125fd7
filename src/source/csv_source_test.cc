#include "source/csv_source.h"

#include "source/csv_reader.h"
#include "source/test_files.h"
#include "source/text.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using array::DType;
using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Records = std::vector<std::vector<std::string>>;

Result<Records> Parse(const std::string& text) {
  const auto file = InMemory(text, "a.csv");
  CsvReader reader(OpenRange(file, {0, file->size()}), {"a.csv"});
  Records records;
  for (;;) {
    DNC_ASSIGN(const bool more, reader.Next());
    if (!more) return records;
    records.emplace_back();
    for (const std::string_view field : reader.fields()) records.back().emplace_back(field);
  }
}

Records Parsed(const std::string& text) {
  const auto records = Parse(text);
  EXPECT_THAT(records, Succeeds());
  return records.ok() ? *records : Records{};
}

TEST(CsvReaderTest, SplitsLinesAndFields) {
  const Records expected = {{"a", "b"}, {"1", ""}, {"", "2"}};
  EXPECT_EQ(Parsed("a,b\n1,\n,2\n"), expected);
  EXPECT_EQ(Parsed("a,b\n1,\n,2"), expected);
  EXPECT_EQ(Parsed("a,b\r\n1,\r\n,2\r\n"), expected);
  EXPECT_EQ(Parsed("\xef\xbb\xbf"
                   "a,b\n\n1,\n\r\n,2\n\n"),
            expected);
  EXPECT_EQ(Parsed(""), Records{});
  EXPECT_EQ(Parsed("\n\r\n"), Records{});
}

TEST(CsvReaderTest, ReadsQuotedFields) {
  EXPECT_EQ(Parsed("\"a,b\",\"say \"\"hi\"\"\",\"two\r\nlines\",\"\"\n"),
            (Records{{"a,b", "say \"hi\"", "two\r\nlines", ""}}));
  EXPECT_EQ(Parsed("\"\"\n"), (Records{{""}}));
  EXPECT_EQ(Parsed("a\"b,c\n"), (Records{{"a\"b", "c"}}));  // A quote within plain text.
  EXPECT_EQ(Parsed("a\rb\n"), (Records{{"a\rb"}}));
}

TEST(CsvReaderTest, RefusesQuotesThatDoNotMatchNamingTheLine) {
  EXPECT_THAT(
      Parse("a\n\"b\nc\n"),
      FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("line 2"), HasSubstr("never closed"))));
  EXPECT_THAT(Parse("a\n\"b\"c\n"),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("line 2"), HasSubstr("behind"))));
}

TEST(CsvReaderTest, CountsLinesWithinQuotesAndAcrossBlankLines) {
  const auto file = InMemory("a\n\n\"b\nc\"\nd\n", "a.csv");
  CsvReader reader(OpenRange(file, {0, file->size()}), {"a.csv"});
  std::vector<std::uint64_t> lines;
  for (;;) {
    const auto more = reader.Next();
    ASSERT_THAT(more, Succeeds());
    if (!*more) break;
    lines.push_back(reader.number());
  }
  EXPECT_THAT(lines, ElementsAre(1, 3, 5));
}

TEST(CsvReaderTest, ReadsRecordsThatCrossItsBuffer) {
  std::string text;
  Records expected;
  for (int i = 0; i < 3; ++i) {
    const std::string wide(200'000 + static_cast<std::size_t>(i), static_cast<char>('a' + i));
    text += "\"" + wide + "\"\"\"," + std::to_string(i) + "\r\n";
    expected.push_back({wide + "\"", std::to_string(i)});
  }
  EXPECT_EQ(Parsed(text), expected);
}

TEST(CsvReaderTest, RefusesARecordBeyondTheLimits) {
  EXPECT_THAT(Parse("a\n\"" + std::string(kCsvRecordBytesMax + 1, 'x')),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("line 2")));
  EXPECT_THAT(Parse(std::string(kCsvFieldCountMax, ',')),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("fields")));
}

Result<std::unique_ptr<SampleSource>> Open(const std::string& text, const std::string& label) {
  return OpenFileSource(InMemory(text, "a.csv"), {.label_column = label});
}

TEST(CsvSourceTest, GathersFeaturesAndWholeNumbersAsLabels) {
  auto source = Open("a,label,b\n1,7, 2.5\n-3e2,-8,+4\n", "label");
  ASSERT_THAT(source, Succeeds());
  array::ColumnSpec x{"x", DType::kFloat32, {2}, {}};
  x.features = {{.name = "a"}, {.name = "b"}};
  EXPECT_THAT((*source)->columns(), ElementsAre(x, array::ColumnSpec{"y", DType::kInt64, {}, {}}));
  EXPECT_EQ((*source)->sample_count(), 2u);
  EXPECT_EQ((*source)->Describe(), "csv, 2 lines of 2 numbers and the label \"label\"");
  const auto all = ReadToEnd(source->get(), 1);
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<float>(all->columns[0]), ElementsAre(1, 2.5f, -300, 4));
  EXPECT_THAT(ValuesOf<std::int64_t>(all->columns[1]), ElementsAre(7, -8));
}

TEST(CsvSourceTest, TextLabelsBecomeIndicesOfSortedNames) {
  auto source = Open("f,kind\n1,dog\n2,\"cat, grey\"\n3,dog\n4,\xc3\xa4\n", "kind");
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[1].dtype, DType::kUint8);
  EXPECT_THAT((*source)->columns()[1].class_names, ElementsAre("cat, grey", "dog", "\xc3\xa4"));
  const auto all = ReadToEnd(source->get(), 10);
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<std::uint8_t>(all->columns[1]), ElementsAre(1, 0, 1, 2));
}

TEST(CsvSourceTest, LabelsAreTheNarrowestKindThatHoldsAll) {
  const auto dtype = [](const std::string& labels) {
    auto source = Open("f,y\n" + labels, "y");
    EXPECT_THAT(source, Succeeds());
    return (*source)->columns()[1].dtype;
  };
  EXPECT_EQ(dtype("1,1\n1,-2\n"), DType::kInt64);
  EXPECT_EQ(dtype("1,1\n1,2.0\n"), DType::kFloat32);
  EXPECT_EQ(dtype("1,99999999999999999999\n"), DType::kFloat32);
  EXPECT_EQ(dtype("1,1\n1,2.5\n1,red\n"), DType::kUint8);
  auto source = Open("f,y\n1,1\n1,2.5\n1,red\n", "y");
  EXPECT_THAT((*source)->columns()[1].class_names, ElementsAre("1", "2.5", "red"));
}

TEST(CsvSourceTest, MoreThan256ClassesAreInt64AndMoreThan4096AreRefused) {
  std::string text = "f,y\n";
  for (int i = 0; i < 4096; ++i) text += "0,c" + std::to_string(i) + "\n";
  auto source = Open(text, "y");
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[1].dtype, DType::kInt64);
  EXPECT_EQ((*source)->columns()[1].class_names.size(), 4096u);
  const auto all = ReadToEnd(source->get(), 1000);
  ASSERT_THAT(all, Succeeds());
  const auto& names = (*source)->columns()[1].class_names;
  EXPECT_EQ(names[static_cast<std::size_t>(ValuesOf<std::int64_t>(all->columns[1])[1000])],
            "c1000");
  EXPECT_THAT(Open(text + "0,more\n", "y"),
              FailsWith(ErrorCode::kTooLarge, AllOf(HasSubstr("\"y\""), HasSubstr("4096"))));
}

TEST(CsvSourceTest, RecognisesAHeader) {
  const auto count = [](const std::string& text, const std::string& label) {
    auto source = Open(text, label);
    EXPECT_THAT(source, Succeeds());
    return *(*source)->sample_count();
  };
  EXPECT_EQ(count("1,2\n3,4\n", ""), 2u);
  EXPECT_EQ(count("a,2\n3,4\n", ""), 1u);
  EXPECT_EQ(count(",6,148\n0,1,85\n", ""), 1u);  // pandas leaves the index unnamed.
  EXPECT_EQ(count("1,2\n3,4\n", "2"), 1u);       // Given by name: there is a header.
  EXPECT_EQ(count("5.1,3.5,setosa\n1,2,virginica\n", "#2"), 2u);
  EXPECT_EQ(count("a,b,kind\n1,2,virginica\n", "#2"), 1u);
}

TEST(CsvSourceTest, ChoosesTheLabelByNumber) {
  const auto open = [](const std::string& label) { return Open("9,1\n8,2\n", label); };
  auto source = open("#0");
  ASSERT_THAT(source, Succeeds());
  const auto all = ReadToEnd(source->get(), 5);
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<std::int64_t>(all->columns[1]), ElementsAre(9, 8));
  EXPECT_THAT(open("#2"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("#0 to #1")));
}

TEST(CsvSourceTest, NamesTheNearestColumnWhereTheLabelIsUnknown) {
  EXPECT_THAT(Open("age,class\n1,2\n", "clas"),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("did you mean \"class\""), HasSubstr("age, class"))));
  EXPECT_THAT(Open("a,a\n1,2\n", "a"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("such as #0")));
}

TEST(CsvSourceTest, RefusesARaggedLineWithItsNumberAndBothCounts) {
  EXPECT_THAT(Open("a,b\n1,2\n1,2,3\n", "b"),
              FailsWith(ErrorCode::kInvalidArgument, "a.csv: line 3: 3 fields, but line 1 has 2"));
  EXPECT_THAT(Open("a,b\n1,2\n\n1\n", "b"),
              FailsWith(ErrorCode::kInvalidArgument, "a.csv: line 4: 1 fields, but line 1 has 2"));
}

TEST(CsvSourceTest, RefusesTextInANumericColumnNamingPlaceAndText) {
  EXPECT_THAT(
      Open("a,b\n1,2\nten,2\n", "b"),
      FailsWith(ErrorCode::kInvalidArgument,
                AllOf(HasSubstr("line 3"), HasSubstr("column \"a\""), HasSubstr("\"ten\""))));
  for (const char* text : {"0x10", "1,5", "1 2", "--1", "+-1", "1e", "inf", "1e39"}) {
    EXPECT_THAT(Open("a,b\n1,2\n\"" + std::string(text) + "\",2\n", "b"),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("line 3")))
        << text;
  }
}

TEST(CsvSourceTest, TakesNumbersTooSmallForAFloatAsZero) {
  auto source = Open("a\n1e-400\n1e-50\n", "");
  ASSERT_THAT(source, Succeeds());
  const auto all = ReadToEnd(source->get(), 5);
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<float>(all->columns[0]), ElementsAre(0, 0));
}

TEST(CsvSourceTest, RefusesMissingValuesNamingLineAndColumn) {
  for (const char* text : {"", " ", "NA", "nan", "?"}) {
    EXPECT_THAT(Open("a,b\n1,2\n" + std::string(text) + ",2\n", "b"),
                FailsWith(ErrorCode::kInvalidArgument,
                          AllOf(HasSubstr("line 3"), HasSubstr("\"a\""), HasSubstr("missing"))))
        << text;
    EXPECT_THAT(Open("a,b\n1,2\n1," + std::string(text) + "\n", "b"),
                FailsWith(ErrorCode::kInvalidArgument,
                          AllOf(HasSubstr("line 3"), HasSubstr("\"b\""), HasSubstr("missing"))))
        << text;
  }
}

TEST(CsvSourceTest, RefusesFilesWithoutSamplesOrFeatures) {
  EXPECT_THAT(Open("a,b\n", "b"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("only a header")));
  EXPECT_THAT(Open("b\n1\n", "b"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("only column")));
}

TEST(CsvSourceTest, RefusesNamesThatAreNotUtf8) {
  EXPECT_THAT(Open("a,\xe4\n1,2\n", ""),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("iconv")));
  EXPECT_THAT(Open("a,b\n1,\xe4\n", "b"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("UTF-8")));
}

// Reads as one text first, as another later.
class ChangingFile final : public RandomAccessSource {
 public:
  ChangingFile(std::string first, std::string later)
      : first_(std::move(first)), later_(std::move(later)) {
    DNC_ASSERT(first_.size() == later_.size());
  }
  std::uint64_t size() const override { return first_.size(); }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    // Recognition, then the first pass, then the second.
    const std::string& text = reads_++ < 2 ? first_ : later_;
    return MemorySource(AsBytes(text)).ReadAt(offset, out);
  }
  const std::string& name() const override { return name_; }

 private:
  std::string first_;
  std::string later_;
  std::string name_ = "a.csv";
  mutable int reads_ = 0;
};

TEST(CsvSourceTest, NoticesAFileThatChangesBetweenItsTwoPasses) {
  const char* changes[] = {"a,b\n1,2\n11,x\n", "a,b\n1,2\n,11,\n", "a,b\n1,2\n    \n"};
  for (const char* later : changes) {
    EXPECT_FALSE(OpenAndRead(std::make_shared<ChangingFile>("a,b\n1,2\n11,2\n", later),
                             {.label_column = "b"})
                     .ok())
        << later;
  }
}

TEST(CsvSourceTest, ReadsThePimaData) {
  const std::string folder = SharedData("pima");
  if (!PathExists(folder)) GTEST_SKIP() << folder << " is not there";
  auto source = OpenSource(folder + "/dataset1.csv", {.label_column = "#9"});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[0].shape, array::Shape{9});
  EXPECT_EQ((*source)->columns()[1].dtype, DType::kInt64);
  const auto all = ReadToEnd(source->get(), 100);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(all->sample_count, 384u);
}

TEST(TextTest, TellsUtf8FromOtherBytes) {
  for (const char* text : {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
  }
  for (const char* text : {"\xe4", "\xc0\x80", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                           "\xe0\x80\x80", "\xf0\x80\x80\x80", "\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(text));
  }
}

TEST(TextTest, ShowsOnlyWhatIsPrintable) {
  EXPECT_EQ(Printable("a\n\x1b[31m\xe4\xc3\xa4", 60), "a??[31m?\xc3\xa4");
  EXPECT_EQ(Printable("abcdef", 4), "abcd...");
  EXPECT_EQ(Printable("abc\xc3\xa4", 4), "abc...");
}

TEST(SampleSourceTest, RefusesUnknownKindsListingTheKnownOnes) {
  for (const std::string& bytes : {std::string("{\"a\": 1}"), std::string("<html>"),
                                   std::string(64, '\0'), std::string("MZ\x90\x00\x03", 5)}) {
    EXPECT_THAT(OpenAndRead(InMemory(bytes, "data.bin")),
                FailsWith(ErrorCode::kUnsupported,
                          AllOf(HasSubstr("data.bin"), HasSubstr("npy, idx, npz"))));
  }
  EXPECT_THAT(OpenAndRead(InMemory("\xff\xd8\xff\xe0", "cat.jpg")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("a single image")));
  EXPECT_THAT(OpenAndRead(InMemory("", "empty")), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(SampleSourceTest, RefusesOptionsThatTheKindHasNoUseFor) {
  const std::string npy = NpyFile(DType::kUint8, {1}, "a");
  EXPECT_THAT(OpenAndRead(InMemory(npy, "x.npy"), {.label_column = "y"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--labels FILE")));
  EXPECT_THAT(OpenAndRead(InMemory("a\n1\n", "x.csv"), {.labels_path = "y.npy"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--label-column")));
  EXPECT_THAT(OpenAndRead(InMemory("a\n1\n", "x.csv"), {.resize = image::ImageSize{8, 8}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--resize")));
}

TEST(SampleSourceTest, SaysThatAFileIsNotThere) {
  EXPECT_THAT(OpenSource("/nonexistent/x.npy", {}),
              FailsWith(ErrorCode::kNotFound, HasSubstr("/nonexistent/x.npy")));
}

}  // namespace
}  // namespace dnc::source
