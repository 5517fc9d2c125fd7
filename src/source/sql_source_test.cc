// Databases in files are tested here; the servers in tests/e2e, where they run.

#include "source/sql_source.h"

#include <sqlite3.h>

#include "base/file.h"
#include "source/test_files.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class SqlSourceTest : public ::testing::Test {
 protected:
  SqlSourceTest() {
    Execute(
        "CREATE TABLE people(age INTEGER, height REAL, town TEXT, born DATE, sick BOOLEAN);"
        "INSERT INTO people VALUES (30, 1.5, 'Bonn', '1990-01-02', 1),"
        "(40, 1.25, 'Aachen', '1980-01-02', 0), (NULL, 0.1, 'Bonn', '1970-01-01', 1);");
  }

  std::string path() const { return folder_ / "a.db"; }

  void Execute(const std::string& statements) {
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open(path().c_str(), &database), SQLITE_OK);
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(database, statements.c_str(), nullptr, nullptr, &message), SQLITE_OK)
        << message;
    sqlite3_close(database);
  }

  Result<array::SampleBlock> Read(const std::string& location, const SourceOptions& options) {
    DNC_ASSIGN(auto source, OpenSource(location, options));
    description_ = source->Describe();
    parameters_ = source->parameters();
    columns_ = source->columns();
    return ReadToEnd(source.get(), 2);
  }

  test::TemporaryFolder folder_;
  std::string description_;
  std::map<std::string, std::string> parameters_;
  std::vector<array::ColumnSpec> columns_;
};

TEST_F(SqlSourceTest, ReadsTheRowsOfAQueryInAFileKnownByItsContent) {
  SourceOptions options{.label_column = "sick"};
  options.query = "SELECT age, height, sick FROM people WHERE age > 0 ORDER BY age DESC";
  const auto all = Read(path(), options);
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<float>(all->columns[0]), ElementsAre(40, 1.25, 30, 1.5));
  EXPECT_THAT(ValuesOf<std::int64_t>(all->columns[1]), ElementsAre(0, 1));
  EXPECT_EQ(description_, "sqlite, 2 rows of 2 numbers and the label \"sick\"");
  EXPECT_EQ(parameters_.at("query"), options.query);
}

TEST_F(SqlSourceTest, ReadsAQueryInAUrl) {
  const auto all = Read("sqlite:///" + path() + "?query=SELECT height FROM people ORDER BY rowid",
                        {.table = {.dtype = array::DType::kFloat64}});
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<double>(all->columns[0]), ElementsAre(1.5, 1.25, 0.1));  // To the last bit.
  EXPECT_THAT(Read("sqlite:///" + path() + "?query=SELECT 1", {.query = "SELECT 2"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("give one of them")));
}

TEST_F(SqlSourceTest, TakesTypesFromTheTableAndNullsByThePolicy) {
  SourceOptions options;
  options.table.missing = MissingPolicy::kMean;
  const auto all = Read(path(), options);  // The only table there is.
  ASSERT_THAT(all, Succeeds());
  const auto& features = columns_[0].features;
  ASSERT_EQ(features.size(), 5u);
  EXPECT_EQ(features[0].name, "age");
  EXPECT_EQ(features[2].kind, array::FeatureKind::kCategory);
  EXPECT_THAT(features[2].categories, ElementsAre("Aachen", "Bonn"));
  EXPECT_EQ(features[3].kind, array::FeatureKind::kDate);
  const auto x = ValuesOf<float>(all->columns[0]);
  EXPECT_EQ(x[10], 35);  // The mean of 30 and 40.
  EXPECT_THAT(Read(path(), {}),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("row 3"), HasSubstr("\"age\""), HasSubstr("NULL"))));
}

TEST_F(SqlSourceTest, AsksWhichTableWhereThereAreSeveral) {
  Execute("CREATE TABLE \"a \"\"b\"(z REAL); INSERT INTO \"a \"\"b\" VALUES (7);");
  EXPECT_THAT(Read(path(), {}), FailsWith(ErrorCode::kInvalidArgument,
                                          AllOf(HasSubstr("a \"b, people"), HasSubstr("--table"))));
  EXPECT_THAT(Read(path(), {.variable = "nobody"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no table nobody")));
  const auto all = Read(path() + ":a \"b", {});
  ASSERT_THAT(all, Succeeds());
  EXPECT_THAT(ValuesOf<float>(all->columns[0]), ElementsAre(7));
  EXPECT_THAT(Read(path(), {.query = "SELECT 1", .variable = "people"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("give one of them")));
}

TEST_F(SqlSourceTest, ChangesNothingWhateverTheQuery) {
  for (const char* query :
       {"DELETE FROM people", "DROP TABLE people", "SELECT 1; DELETE FROM people", "",
        "INSERT INTO people(age) VALUES (1) RETURNING age", "SELECT nothing FROM nowhere"}) {
    SCOPED_TRACE(query);
    if (*query == '\0') continue;
    EXPECT_THAT(Read(path(), {.query = query}),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("a.db")));
  }
  EXPECT_THAT(Read(path(), {.query = "SELECT height FROM people"}), Succeeds());
}

TEST_F(SqlSourceTest, SeesOneStateWhileAnotherWrites) {
  Execute("PRAGMA journal_mode = WAL");
  auto source = OpenSource(path(), {.query = "SELECT height FROM people"});
  ASSERT_THAT(source, Succeeds());
  Execute("DELETE FROM people");
  const auto all = ReadToEnd(source->get(), 1);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(all->sample_count, 3u);
}

TEST_F(SqlSourceTest, RefusesBytesAndDamagedFiles) {
  EXPECT_THAT(Read(path(), {.query = "SELECT x'00ff' AS photo"}),
              FailsWith(ErrorCode::kUnsupported, AllOf(HasSubstr("\"photo\""), HasSubstr("BLOB"))));
  const auto bytes = ReadFile(path(), 1 << 20);
  ASSERT_THAT(bytes, Succeeds());
  const std::string damaged = folder_ / "damaged.db";
  ASSERT_THAT(
      WriteFileAtomically(damaged, AsBytes(bytes->substr(0, 4096) + std::string(4096, 'x'))),
      Succeeds());
  EXPECT_THAT(Read(damaged, {}), FailsWith(ErrorCode::kCorrupt, HasSubstr("damaged.db")));
  EXPECT_THAT(Read("sqlite:///" + (folder_ / "none.db"), {}),
              FailsWith(ErrorCode::kNotFound, HasSubstr("none.db")));
  EXPECT_THAT(OpenAndRead(InMemory(Gzip(*bytes), "a.db.gz")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("decompress it first")));
}

TEST_F(SqlSourceTest, NamesNoPasswordWhereAServerIsNotThere) {
  for (const char* scheme : {"postgresql", "mysql"}) {
    const std::string url = std::string(scheme) + "://ann:hidden@127.0.0.1:1/d";
    EXPECT_THAT(Read(url, {}), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no query")));
    EXPECT_THAT(Read(url, {.query = "SELECT 1"}),
                FailsWith(::testing::AnyOf(ErrorCode::kUnavailable, ErrorCode::kUnsupported),
                          Not(HasSubstr("hidden"))));
    EXPECT_THAT(Read(url, {.labels_path = "y.npy", .query = "SELECT 1"}),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--labels")));
  }
}

}  // namespace
}  // namespace dnc::source
