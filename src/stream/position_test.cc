// A position may come from a file that anything wrote.

#include "stream/position.h"

#include <gtest/gtest.h>

#include "testing/testing.h"

namespace dnc::stream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

StreamPosition Example() {
  StreamPosition position;
  position.data = Sha256(AsBytes("data"));
  position.split = "a \"split\"";
  position.shuffle = false;
  position.seed = UINT64_MAX;
  position.window_samples = 64;
  position.run_blocks = 3;
  position.epoch = 5;
  position.rows = {7, 6, 6};
  position.samples_repeated = 12;
  return position;
}

std::string Replaced(const std::string& from, const std::string& to) {
  std::string text = FormatPosition(Example());
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(PositionTest, ComesBackAsItWas) {
  const std::string text = FormatPosition(Example());
  EXPECT_EQ(text.find('\n'), std::string::npos);
  const auto parsed = ParsePosition(text, "run.json");
  ASSERT_THAT(parsed, test::Succeeds());
  EXPECT_EQ(*parsed, Example());
  EXPECT_EQ(parsed->samples_consumed(), 19u);
}

TEST(PositionTest, RefusesALaterVersion) {
  EXPECT_THAT(
      ParsePosition(Replaced("\"version\":1", "\"version\":2"), "run.json"),
      test::FailsWith(ErrorCode::kUnsupported, AllOf(HasSubstr("run.json"), HasSubstr("2"))));
}

TEST(PositionTest, RefusesWhatIsNoPositionNamingTheField) {
  const std::vector<std::pair<std::string, std::string>> spoiled = {
      {"\"rows\":[7,6,6]", "\"rows\":[]"},
      {"\"rows\":[7,6,6]", "\"rows\":[7,-6,6]"},
      {"\"rows\":[7,6,6]", "\"rows\":7"},
      {"\"window_samples\":64", "\"window_samples\":0"},
      {"\"window_samples\":64", "\"window_samples\":1e3"},
      {"\"run_blocks\":3", "\"run_blocks\":4294967296"},
      {"\"shuffle\":false", "\"shuffle\":0"},
      {"\"epoch\":5", "\"era\":5"},
      {"\"data\":\"", "\"data\":\"x"}};
  for (const auto& [from, to] : spoiled) {
    SCOPED_TRACE(to);
    const std::string field = from.substr(0, from.find(':'));
    EXPECT_THAT(
        ParsePosition(Replaced(from, to), "run.json"),
        test::FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("run.json"), HasSubstr(field))));
  }
}

TEST(PositionTest, RefusesAnyTextThatIsCut) {
  const std::string text = FormatPosition(Example());
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_THAT(ParsePosition(text.substr(0, size), "p"), test::FailsWith(ErrorCode::kCorrupt));
  }
  EXPECT_THAT(ParsePosition(std::string(2 << 20, '['), "p"), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(ParsePosition(std::string(1 << 19, '['), "p"), test::FailsWith(ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace dnc::stream
