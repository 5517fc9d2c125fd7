#include "cli/values.h"

#include "testing/testing.h"

namespace dnc::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ValuesTest, ReadsImageSizes) {
  const auto size = ImageSizeOption("--resize", "198x64");
  ASSERT_THAT(size, test::Succeeds());
  EXPECT_EQ(size->width, 198u);
  EXPECT_EQ(size->height, 64u);
}

TEST(ValuesTest, RefusesWhatIsNoImageSizeNamingTheOption) {
  for (const char* text : {"", "x", "198", "198x", "x198", "0x5", "5x0", "-1x5", "5x5x5", "5 x 5",
                           "16385x1", "99999999999x1"}) {
    EXPECT_THAT(ImageSizeOption("--resize", text),
                test::FailsWith(ErrorCode::kInvalidArgument,
                                AllOf(HasSubstr("--resize"), HasSubstr("198x198"))))
        << text;
  }
}

TEST(ValuesTest, NamesTheOptionOfAWrongByteCount) {
  EXPECT_EQ(*ByteOption("--memory", "64MiB"), 64u << 20);
  EXPECT_THAT(ByteOption("--memory", "lots"),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("--memory"), HasSubstr("lots"))));
}

TEST(ValuesTest, ThereIsACore) { EXPECT_GE(AvailableCores(), 1); }

}  // namespace
}  // namespace dnc::cli
