#include "sql/url.h"

#include "testing/testing.h"

namespace dnc::sql {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(DatabaseUrlTest, ReadsEveryPartAndDecodesIt) {
  const auto url = ParseUrl(
      "postgresql://an%20n:p%40ss%3aw@db.example:5433/shop?query=SELECT 1+1&sslmode=require");
  ASSERT_THAT(url, Succeeds());
  EXPECT_EQ(url->scheme, "postgresql");
  EXPECT_EQ(url->user, "an n");
  EXPECT_EQ(url->password, "p@ss:w");
  EXPECT_EQ(url->host, "db.example");
  EXPECT_EQ(url->port, "5433");
  EXPECT_EQ(url->path, "shop");
  EXPECT_EQ(url->parameters.at("query"), "SELECT 1+1");
  EXPECT_EQ(url->parameters.at("sslmode"), "require");
  EXPECT_EQ(url->shown, "postgresql://an n@db.example:5433/shop");
}

TEST(DatabaseUrlTest, LeavesOutWhatIsNotThere) {
  const auto url = ParseUrl("mysql:///shop");
  ASSERT_THAT(url, Succeeds());
  EXPECT_EQ(url->user + url->password + url->host + url->port, "");
  EXPECT_EQ(url->path, "shop");
  const auto file = ParseUrl("sqlite:////data/a.db?query=SELECT a FROM t WHERE b = 'x?y'");
  ASSERT_THAT(file, Succeeds());
  EXPECT_EQ(file->path, "/data/a.db");
  EXPECT_EQ(file->parameters.at("query"), "SELECT a FROM t WHERE b = 'x?y'");
  const auto six = ParseUrl("postgresql://[::1]:99/d");
  ASSERT_THAT(six, Succeeds());
  EXPECT_EQ(six->host, "::1");
  EXPECT_EQ(six->port, "99");
}

TEST(DatabaseUrlTest, RefusesWhatIsMalformedWithoutShowingThePassword) {
  for (const char* text :
       {"shop", "postgresql://ann:secret@host:x/d", "postgresql://ann:secret@host:99999/d",
        "postgresql://ann:sec%ret@host/d", "postgresql://ann:secret@host/d?query",
        "postgresql://ann:secret@host/d?query=a&query=b", "postgresql://ann:secret@host/d%2",
        "postgresql://ann:secret@host/d?query=a LIKE '%'",
        "postgresql://ann:secret@host/d?query=a%00b"}) {
    SCOPED_TRACE(text);
    EXPECT_THAT(ParseUrl(text), FailsWith(ErrorCode::kInvalidArgument, Not(HasSubstr("sec"))));
  }
  EXPECT_THAT(
      ParseUrl("mysql://h/d?query=a LIKE '%'"),
      FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("%25"), HasSubstr("--query"))));
}

TEST(DatabaseUrlTest, TakesThePasswordOutOfOthersMessages) {
  const auto url = ParseUrl("mysql://ann:secret@h/d");
  ASSERT_THAT(url, Succeeds());
  EXPECT_EQ(WithoutPassword(*url, "no secretsecret here"), "no ...... here");
  EXPECT_EQ(WithoutPassword(*ParseUrl("mysql://h/d"), "as it is"), "as it is");
}

}  // namespace
}  // namespace dnc::sql
