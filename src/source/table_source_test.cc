#include "source/table_source.h"

#include <cmath>

#include "source/csv_format.h"
#include "source/csv_source.h"
#include "source/table_survey.h"
#include "source/test_files.h"
#include "source/value.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using array::DType;
using array::FeatureKind;
using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::NanSensitiveFloatEq;

Result<std::unique_ptr<SampleSource>> Open(const std::string& text, const TableOptions& table = {},
                                           const std::string& label = "") {
  SourceOptions options;
  options.label_column = label;
  options.table = table;
  return OpenFileSource(InMemory(text, "a.csv"), options);
}

template <typename T = float>
std::vector<T> X(const Result<std::unique_ptr<SampleSource>>& source) {
  EXPECT_THAT(source, Succeeds());
  if (!source.ok()) return {};
  const auto all = ReadToEnd(source->get(), 2);
  EXPECT_THAT(all, Succeeds());
  return all.ok() ? ValuesOf<T>(all->columns[0]) : std::vector<T>();
}

TEST(ValueTest, ParsesNumbersExactlyAsTheCLibraryDoes) {
  for (const char* text : {"0",
                           "-0",
                           "1",
                           "12.5",
                           ".5",
                           "5.",
                           "-1e3",
                           "1E+3",
                           "1e-3",
                           "123456789012345678",
                           "12345678901234567890123",
                           "0.1",
                           "3.14159265358979323846",
                           "1e22",
                           "1e23",
                           "1e-22",
                           "9007199254740993",
                           "1.7976931348623157e308",
                           "4.9e-324",
                           "2.2250738585072014e-308",
                           "0000000000000000000000001",
                           "1e100",
                           "6.02214076e23",
                           "1e-400",
                           "0e999"}) {
    const auto value = ParseNumber(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(*value, std::strtod(text, nullptr)) << text;
    EXPECT_EQ(std::signbit(*value), text[0] == '-') << text;
  }
  EXPECT_EQ(ParseNumber("+7"), 7);
  for (const char* text : {"", "-", "+", ".", "e5", "1e", "1e+", "1e+-5", "+-1", "--1", "0x10",
                           "inf", "nan", "-inf", "1 2", "1,5", "1.2.3", "-.e1", "1f"}) {
    EXPECT_FALSE(ParseNumber(text)) << text;
  }
}

TEST(ValueTest, ParsesRandomNumbersAsTheCLibraryDoes) {
  std::uint64_t state = 1;
  for (int i = 0; i < 20000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const int digits = 1 + static_cast<int>(state >> 60);
    char text[64];
    std::snprintf(text, sizeof text, "%.*g", digits,
                  std::ldexp(static_cast<double>(static_cast<std::int64_t>(state)),
                             -64 + static_cast<int>((state >> 8) % 128)));
    EXPECT_EQ(ParseNumber(text), std::strtod(text, nullptr)) << text;
  }
}

TEST(ValueTest, ParsesDatesOfTheCommonForms) {
  const auto seconds = [](const char* text, DateOrder order = DateOrder::kUnknown) {
    const ParsedDate date = ParseDate(text, order);
    EXPECT_EQ(date.kind, ParsedDate::Kind::kDate) << text;
    return date.seconds;
  };
  const double day = 1614816000;  // 2021-03-04T00:00:00Z
  for (const char* text :
       {"2021-03-04", "2021/03/04", "2021-3-4", "04.03.2021", "4.3.2021", "4 Mar 2021",
        "04-MAR-2021", "4 march 2021", "Mar 4, 2021", "March 4 2021", "2021-03-04T00:00Z",
        "2021-03-04 01:00:00+01:00", "2021-03-03T20:00:00 -0400"}) {
    EXPECT_EQ(seconds(text), day) << text;
  }
  EXPECT_EQ(seconds("2021-03-04T10:20:30.25Z"), day + 37230.25);
  EXPECT_EQ(seconds("2021-03-04 10:20"), day + 37200);
  EXPECT_EQ(seconds("04.03.2021 10:20:30"), day + 37230);
  EXPECT_EQ(seconds("04/03/2021", DateOrder::kDayFirst), day);
  EXPECT_EQ(seconds("03/04/2021", DateOrder::kMonthFirst), day);
  EXPECT_EQ(seconds("03-04-2021", DateOrder::kMonthFirst), day);
  EXPECT_EQ(seconds("0001-01-01"), -62135596800.0);
  EXPECT_EQ(seconds("2020-02-29"), 1582934400);
  EXPECT_EQ(ParseDate("03/04/2021", DateOrder::kUnknown).kind, ParsedDate::Kind::kUnknownOrder);
  for (const char* text :
       {"2021-02-29", "2021-13-01", "2021-00-10", "0000-01-01", "2021-03", "20210304",
        "2021-03-04T24:00", "2021-03-04T10", "2021-03-04x", "2021-03-04T10:20:30.", "1.2.3.4.5",
        "13/13/2021", "12:30:00", "Maybe 4, 2021", "2021-03/04", "4 Mar-2021", "10-20-30-40"}) {
    EXPECT_EQ(ParseDate(text, DateOrder::kUnknown).kind, ParsedDate::Kind::kNone) << text;
  }
}

TEST(CsvFormatTest, FindsTheDelimiter) {
  const auto find = [](const std::string& text) { return FindDelimiter(AsBytes(text), true); };
  EXPECT_EQ(find("a,b\n1,2\n"), ',');
  EXPECT_EQ(find("a\tb\n1\t2\n"), '\t');
  EXPECT_EQ(find("a;b\n1,5;2,5\n"), ';');
  EXPECT_EQ(find("a|b\n1|2\n"), '|');
  EXPECT_EQ(find("text\tmore\nyes, no\tmaybe, so\n"), '\t');
  EXPECT_EQ(find("\"a;b\",c\n\"d;e\",f\n"), ',');
  EXPECT_EQ(find("1\n2\n"), ',');
  EXPECT_EQ(find("a,b,c\n1,2,3\n4,5\n"), ',');  // Uneven: the reader will say where.
}

TEST(CsvFormatTest, FindsOutWhetherTheFirstLineIsAHeader) {
  const auto names = [](const std::string& text) {
    const auto records = SampleRecords(AsBytes(text), true, ',');
    return LooksLikeHeader(records[0], {records.begin() + 1, records.end()}, SIZE_MAX);
  };
  EXPECT_TRUE(names("a,b\n1,2\n"));
  EXPECT_FALSE(names("1,2\n3,4\n"));
  EXPECT_FALSE(names("red,1\nblue,2\n"));
  EXPECT_TRUE(names("colour,count\nred,1\nblue,2\n"));
  EXPECT_TRUE(names("colour,shape\nred,round\nblue,square\nred,square\n"));
  EXPECT_FALSE(names("red,round\nblue,square\nred,square\n"));
  EXPECT_FALSE(names("2021-01-01,1\n2021-01-02,2\n"));
  EXPECT_TRUE(names("day,1\n2021-01-02,2\n"));
  EXPECT_FALSE(names("NA,1\n2,2\n"));
}

TEST(TableSourceTest, TakesEachDelimiterAndCompression) {
  for (const std::string text : {"a\tb\n1\t2\n", "a;b\n1;2\n", "a|b\n1|2\n", "a,b\n1,2\n"}) {
    for (const std::string& file : {text, Gzip(text), Zstd(text), "\xef\xbb\xbf" + text}) {
      EXPECT_THAT(X(Open(file)), ElementsAre(1, 2));
    }
  }
  TableOptions table;
  table.delimiter = ':';
  EXPECT_THAT(X(Open("a:b\n1:2\n", table)), ElementsAre(1, 2));
  EXPECT_EQ((*Open("a\tb\n1\t2\n"))->Describe(), "tsv, 1 lines of 2 numbers");
  EXPECT_EQ((*Open("a\tb\n1\t2\n"))->parameters().at("delimiter"), "tab");
}

TEST(TableSourceTest, ObeysTheUserOnTheHeader) {
  TableOptions table;
  table.header = false;
  EXPECT_THAT(X(Open("1,2\n3,4\n", table)), ElementsAre(1, 2, 3, 4));
  table.header = true;
  auto source = Open("1,2\n3,4\n", table);
  EXPECT_THAT(X(source), ElementsAre(3, 4));
  EXPECT_EQ((*source)->columns()[0].features[0].name, "1");
  table.header = false;
  table.columns = {"a"};
  EXPECT_THAT(Open("a,b\n3,4\n", table),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--no-header")));
}

TEST(TableSourceTest, CategoriesBecomeIndicesOfSortedTextsKeptInTheColumn) {
  auto source = Open("v,colour\n1,red\n2,blue\n3,red\n4,\"green, dark\"\n");
  EXPECT_THAT(X(source), ElementsAre(1, 2, 2, 0, 3, 2, 4, 1));
  const auto& features = (*source)->columns()[0].features;
  EXPECT_EQ(features[0].kind, FeatureKind::kNumber);
  EXPECT_EQ(features[1].kind, FeatureKind::kCategory);
  EXPECT_EQ(features[1].name, "colour");
  EXPECT_THAT(features[1].categories, ElementsAre("blue", "green, dark", "red"));
  EXPECT_EQ((*source)->Describe(), "csv, 4 lines of 2 features (1 category)");
}

TEST(TableSourceTest, RefusesAColumnThatMixesNumbersAndTextsUnlessToldThatItHoldsNames) {
  const std::string text = "v,code\n1,7\n2,b\n";
  EXPECT_THAT(Open(text), FailsWith(ErrorCode::kInvalidArgument,
                                    AllOf(HasSubstr("line 3"), HasSubstr("\"code\""),
                                          HasSubstr("line 2"), HasSubstr("--categories"))));
  EXPECT_THAT(Open("v,code\n1,b\n2,7\n"),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("line 3"), HasSubstr("\"7\" is a number"))));
  EXPECT_THAT(Open("v,day\n1,2021-03-04\n2,soon\n"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"soon\" is not a date")));
  TableOptions table;
  table.category_columns = {"code"};
  auto source = Open(text, table);
  EXPECT_THAT(X(source), ElementsAre(1, 0, 2, 1));
  EXPECT_THAT((*source)->columns()[0].features[1].categories, ElementsAre("7", "b"));
}

TEST(TableSourceTest, DatesBecomeSecondsAndTimesOfDayNeedAFloat64) {
  auto days = Open("day\n2021-03-04\n1969-12-31\n");
  EXPECT_THAT(X<float>(days), ElementsAre(1614816000, -86400));
  EXPECT_EQ((*days)->columns()[0].features[0].kind, FeatureKind::kDate);
  auto times = Open("at\n2021-03-04T10:20:31Z\n");
  EXPECT_EQ((*times)->columns()[0].dtype, DType::kFloat64);
  EXPECT_THAT(X<double>(times), ElementsAre(1614853231));
  TableOptions table;
  table.dtype = DType::kFloat32;
  EXPECT_EQ((*Open("at\n2021-03-04T10:20:31Z\n", table))->columns()[0].dtype, DType::kFloat32);
}

TEST(TableSourceTest, RefusesDatesThatMayBeReadTwoWaysUntilToldWhich) {
  const std::string text = "day\n03/04/2021\n";
  EXPECT_THAT(Open(text), FailsWith(ErrorCode::kInvalidArgument,
                                    AllOf(HasSubstr("line 2"), HasSubstr("--date-order"))));
  TableOptions table;
  table.date_order = DateOrder::kMonthFirst;
  EXPECT_THAT(X(Open(text, table)), ElementsAre(1614816000));
}

TEST(TableSourceTest, RefusesDecimalCommasUntilToldToTakeThem) {
  const std::string text = "a;b\n1,5;2,25\n";
  EXPECT_THAT(Open(text), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--decimal-comma")));
  TableOptions table;
  table.decimal_comma = true;
  EXPECT_THAT(X(Open(text, table)), ElementsAre(1.5, 2.25));
}

TEST(TableSourceTest, ObeysEachPolicyForMissingValues) {
  const std::string text = "v,kind\n1,a\n,b\n4,NA\n";
  EXPECT_THAT(Open(text), FailsWith(ErrorCode::kInvalidArgument,
                                    AllOf(HasSubstr("line 3"), HasSubstr("--missing"))));
  TableOptions table;
  table.missing = MissingPolicy::kDrop;
  auto dropped = Open(text, table);
  EXPECT_THAT(X(dropped), ElementsAre(1, 0));
  EXPECT_EQ((*dropped)->sample_count(), 1u);
  EXPECT_THAT((*dropped)->Describe(), HasSubstr("left out for missing values: 2 lines"));
  EXPECT_EQ((*dropped)->parameters().at("missing"), "drop");

  table.missing = MissingPolicy::kMean;
  auto mean = Open(text, table);
  EXPECT_THAT(X(mean), ElementsAre(1, 1, 2.5, 2, 4, 0));
  EXPECT_THAT((*mean)->columns()[0].features[1].categories, ElementsAre("", "a", "b"));
  EXPECT_THAT((*mean)->Describe(), HasSubstr("2 missing values"));

  table.missing = MissingPolicy::kNan;
  const float nan = std::nanf("");
  EXPECT_THAT(X(Open(text, table)),
              ElementsAre(1, 0, NanSensitiveFloatEq(nan), 1, 4, NanSensitiveFloatEq(nan)));

  table.missing = MissingPolicy::kNumber;
  table.missing_number = -1;
  auto number = Open(text, table);
  EXPECT_THAT(X(number), ElementsAre(1, 1, -1, 2, 4, 0));
  EXPECT_EQ((*number)->parameters().at("missing"), "-1");
}

TEST(TableSourceTest, TakesTheTextsForMissingValuesFromTheUser) {
  TableOptions table;
  table.missing = MissingPolicy::kDrop;
  table.missing_texts = {{"-999", "none"}};
  EXPECT_THAT(X(Open("a,b\n1,2\n-999,3\n4,none\n5,6\n,7\n", table)), ElementsAre(1, 2, 5, 6));
  EXPECT_THAT(Open("a\n1\nNA\n", table),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"NA\"")));
  table.missing = MissingPolicy::kMean;
  EXPECT_THAT(X(Open("a\n1\n-999\n3\n", table)), ElementsAre(1, 2, 3));
}

TEST(TableSourceTest, AMissingLabelIsAnErrorUnlessRowsAreDropped) {
  const std::string text = "a,y\n1,0\n2,\n3,1\n";
  for (const MissingPolicy policy : {MissingPolicy::kError, MissingPolicy::kMean}) {
    TableOptions table;
    table.missing = policy;
    EXPECT_THAT(Open(text, table, "y"),
                FailsWith(ErrorCode::kInvalidArgument,
                          AllOf(HasSubstr("line 3"), HasSubstr("label is missing"))));
  }
  TableOptions table;
  table.missing = MissingPolicy::kDrop;
  EXPECT_THAT(X(Open(text, table, "y")), ElementsAre(1, 3));
}

TEST(TableSourceTest, TakesTheColumnsThatAreNamedInTheirOrder) {
  const std::string text = "a,b,c,y\n1,2,3,0\n4,5,6,1\n";
  TableOptions table;
  table.columns = {"c", "#0"};
  EXPECT_THAT(X(Open(text, table, "y")), ElementsAre(3, 1, 6, 4));
  table.columns = {};
  table.drop_columns = {"b", "c"};
  EXPECT_THAT(X(Open(text, table, "y")), ElementsAre(1, 4));
  table.columns = {"b"};
  EXPECT_THAT(Open(text, table, "y"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--drop-columns drops b")));
  table.columns = {"a", "a"};
  EXPECT_THAT(Open(text, table, "y"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("twice")));
  table.columns = {"colour"};
  EXPECT_THAT(Open(text, table, "y"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--columns")));
  table.columns = {};
  table.drop_columns = {"y"};
  EXPECT_THAT(Open(text, table, "y"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("dropped")));
  table.drop_columns = {"a", "b", "c"};
  EXPECT_THAT(Open(text, table, "y"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no column")));
}

TEST(TableSourceTest, HoldsFloat64WhereAsked) {
  TableOptions table;
  table.dtype = DType::kFloat64;
  EXPECT_THAT(X<double>(Open("a\n0.1\n1e300\n", table)), ElementsAre(0.1, 1e300));
  EXPECT_THAT(Open("a\n0.1\n1e300\n"),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("line 3"), HasSubstr("--dtype float64"))));
  EXPECT_THAT(Open("a\n1e309\n"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("float64")));
}

TEST(TableSourceTest, RefusesTextsThatNoManifestWouldHold) {
  std::string text = "v,name\n";
  for (std::size_t i = 0; i <= kClassCountMax; ++i) text += "1,n" + std::to_string(i) + "\n";
  EXPECT_THAT(Open(text), FailsWith(ErrorCode::kTooLarge,
                                    AllOf(HasSubstr("\"name\""), HasSubstr("--drop-columns"))));
  EXPECT_THAT(Open("v,name\n1," + std::string(300, 'x') + "\n"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("300 bytes")));
  EXPECT_THAT(Open("v,name\n1,\xe4\n"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("iconv")));
}

TEST(TableSourceTest, ReadsAHeaderLongerThanTheStartThatIsLookedAt) {
  std::string names;
  std::string values;
  for (int i = 0; i < 20000; ++i) {
    names += (i == 0 ? "" : ",") + ("column" + std::to_string(i));
    values += (i == 0 ? "" : ",") + std::to_string(i % 7);
  }
  auto source = Open(names + "\n" + values + "\n");
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[0].features[19999].name, "column19999");
}

TEST(TableSourceTest, SkipsRowsWithoutReadingTheirValues) {
  auto source = Open("a\n1\n2\n3\n4\n");
  ASSERT_THAT(source, Succeeds());
  const auto skipped = (*source)->Skip(3);
  ASSERT_THAT(skipped, Succeeds());
  EXPECT_EQ(*skipped, 3u);
  EXPECT_THAT(X(source), ElementsAre(4));
  EXPECT_EQ((*source)->bytes().done, 10u);
  EXPECT_EQ((*source)->bytes().total, 10u);
}

TEST(TableSourceTest, StopsTheSurveyWhereTheUserAsksForIt) {
  SourceOptions options;
  options.survey_progress = [](const SourceBytes&) { return false; };
  EXPECT_THAT(OpenFileSource(InMemory("a\n1\n", "a.csv"), options),
              FailsWith(ErrorCode::kCancelled));
}

// ---- From a pipe.

Result<std::unique_ptr<SampleSource>> OpenThroughPipe(const std::string& text,
                                                      const SourceOptions& options = {}) {
  const auto file = InMemory(text, "x");
  DNC_ASSIGN(const Input input, OpenPipe(OpenRange(file, {0, file->size()}), "standard input"));
  return OpenCsv(input, options);
}

// One line more than a pipe is surveyed for.
std::string LongTable(const std::string& last) {
  std::string text = "v,kind,y\n";
  for (std::uint64_t i = 0; i < kPipeRows; ++i) {
    text += std::to_string(i) + (i % 2 == 0 ? ",a,yes\n" : ",b,no\n");
  }
  return text + last;
}

TEST(TablePipeTest, KnowsAllOfAShortTable) {
  for (const std::string& text : {std::string("a,b\n1,x\n2,y\n"), Gzip("a,b\n1,x\n2,y\n")}) {
    auto source = OpenThroughPipe(text);
    ASSERT_THAT(source, Succeeds());
    EXPECT_EQ((*source)->sample_count(), 2u);
    EXPECT_THAT(X(source), ElementsAre(1, 0, 2, 1));
  }
  SourceOptions options;
  options.table.missing = MissingPolicy::kMean;
  EXPECT_THAT(X(OpenThroughPipe("a\n1\n?\n3\n", options)), ElementsAre(1, 2, 3));
}

TEST(TablePipeTest, GoesOnBehindTheRowsThatItHeld) {
  SourceOptions options;
  options.label_column = "y";
  auto source = OpenThroughPipe(LongTable("7,b,no\n"), options);
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->sample_count(), std::nullopt);
  EXPECT_THAT((*source)->columns()[1].class_names, ElementsAre("no", "yes"));
  const auto all = ReadToEnd(source->get(), 4096);
  ASSERT_THAT(all, Succeeds());
  ASSERT_EQ(all->sample_count, kPipeRows + 1);
  const auto x = ValuesOf<float>(all->columns[0]);
  EXPECT_EQ(x[2 * kPipeRows - 2], kPipeRows - 1);
  EXPECT_EQ(x[2 * kPipeRows], 7);
  EXPECT_EQ(x[2 * kPipeRows + 1], 1);
  EXPECT_EQ(std::to_integer<int>(all->columns[1].back()), 0);
}

TEST(TablePipeTest, NamesTheLineThatDoesNotFitWhatCameBefore) {
  SourceOptions options;
  options.label_column = "y";
  const std::string line = "line " + std::to_string(kPipeRows + 2);
  for (const char* last : {"red,a,no\n", "1,c,no\n", "1,a,maybe\n", "1,a\n", ",a,no\n", "1,a,\n"}) {
    auto source = OpenThroughPipe(LongTable(last), options);
    ASSERT_THAT(source, Succeeds());
    EXPECT_THAT(
        ReadToEnd(source->get(), 4096),
        FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("standard input"), HasSubstr(line))))
        << last;
  }
}

TEST(TablePipeTest, RefusesAMeanThatWouldNeedAllRows) {
  SourceOptions options;
  options.table.missing = MissingPolicy::kMean;
  EXPECT_THAT(OpenThroughPipe(LongTable("1,a,no\n"), options),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("save it to a file")));
}

TEST(TablePipeTest, FindsTheHeaderOfWideTablesToo) {
  std::string names;
  std::string values;
  for (int i = 0; i < 20000; ++i) {
    names += (i == 0 ? "" : ",") + ("column" + std::to_string(i));
    values += (i == 0 ? "" : ",") + std::to_string(i % 7);
  }
  auto source = OpenThroughPipe(names + "\n" + values + "\n");
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->sample_count(), 1u);
  EXPECT_EQ(X(source)[8], 1);
}

}  // namespace
}  // namespace dnc::source
