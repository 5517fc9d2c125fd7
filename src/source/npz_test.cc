#include "source/npz.h"

#include "source/test_files.h"
#include "source/zip.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using array::DType;
using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

const std::string kX = NpyFile(DType::kUint8, {5, 2}, "aabbccddee");
const std::string kY = NpyFile(DType::kUint8, {5}, "12345");

SharedSource Npz(const std::vector<ZipEntry>& entries) {
  return InMemory(ZipFile(entries), "d.npz");
}

TEST(NpzTest, ReadsStoredDeflatedAndZip64MembersSideBySide) {
  for (const bool is_deflated : {false, true}) {
    for (const bool is_zip64 : {false, true}) {
      auto source = OpenFileSource(
          Npz({{"y.npy", kY, is_deflated, is_zip64}, {"x.npy", kX, is_deflated, is_zip64}}), {});
      ASSERT_THAT(source, Succeeds());
      EXPECT_EQ((*source)->Describe(), "npz x uint8 (5, 2), y uint8 (5,)");
      const auto all = ReadToEnd(source->get(), 2);
      ASSERT_THAT(all, Succeeds());
      EXPECT_EQ(AsText(all->columns[0]), "aabbccddee");
      EXPECT_EQ(AsText(all->columns[1]), "12345");
    }
  }
}

TEST(NpzTest, TakesASingleMemberOfAnyNameAsFeatures) {
  auto source = OpenFileSource(Npz({{"weather.npy", kX}}), {});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns().size(), 1u);
  EXPECT_EQ((*source)->Describe(), "npz weather uint8 (5, 2)");
}

TEST(NpzTest, LeavesOtherMembersOutAndSaysSo) {
  auto source = OpenFileSource(
      Npz({{"x_test.npy", kX}, {"x_train.npy", kX}, {"y_test.npy", kY}, {"y_train.npy", kY}}), {});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->Describe(),
            "npz x_train uint8 (5, 2), y_train uint8 (5,); not read: x_test, y_test");
}

TEST(NpzTest, TakesLabelsFromAFileWhereTheArchiveHasNone) {
  test::TemporaryFolder folder;
  const SourceOptions options{.labels_path = folder / "y.npy"};
  ASSERT_THAT(WriteFileAtomically(options.labels_path, AsBytes(kY)), Succeeds());
  const auto all = OpenAndRead(Npz({{"a.npy", kX}}), options);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[1]), "12345");
  EXPECT_THAT(OpenAndRead(Npz({{"x.npy", kX}, {"y.npy", kY}}), options),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("one too many")));
}

TEST(NpzTest, ListsTheMembersWhereItIsNotClearWhichToTake) {
  EXPECT_THAT(OpenAndRead(Npz({{"x.npy", kX}, {"images.npy", kX}, {"y.npy", kY}})),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("x, images, y")));
  EXPECT_THAT(OpenAndRead(Npz({{"x.npy", kX}, {"label.npy", kY}, {"y.npy", kY}})),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("x, label, y")));
  EXPECT_THAT(OpenAndRead(Npz({{"a.npy", kX}, {"b.npy", kY}})),
              FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("a, b"), HasSubstr("arr_0"))));
}

TEST(NpzTest, TakesEachNamedArrayAsAColumn) {
  SourceOptions options;
  options.table.columns = {"b", "a"};
  auto source = OpenFileSource(Npz({{"a.npy", kX}, {"b.npy", kY}, {"c.npy", kY}}), options);
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->Describe(), "npz b uint8 (5,), a uint8 (5, 2); not read: c");
  ASSERT_EQ((*source)->columns().size(), 2u);
  EXPECT_EQ((*source)->columns()[0].name, "b");
  EXPECT_EQ((*source)->columns()[1].name, "a");
  const auto all = ReadToEnd(source->get(), 2);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[0]), "12345");
  EXPECT_EQ(AsText(all->columns[1]), "aabbccddee");
}

TEST(NpzTest, RefusesColumnsThatAreNotThereOrDoNotFit) {
  const SharedSource npz =
      Npz({{"a.npy", kX}, {"b.npy", NpyFile(DType::kUint8, {4}, "1234")}, {"g/a.npy", kX}});
  const auto open = [&](std::vector<std::string> columns, const std::string& variable = "") {
    SourceOptions options{.variable = variable};
    options.table.columns = std::move(columns);
    return OpenAndRead(npz, options);
  };
  EXPECT_THAT(open({"a", "d"}), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"d\"")));
  EXPECT_THAT(open({"a", "b"}), FailsWith(ErrorCode::kInvalidArgument,
                                          "d.npz(a.npy): 5 samples, but d.npz(b.npy) has 4"));
  EXPECT_THAT(open({"a", "g/a"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("two arrays called a")));
  EXPECT_THAT(open({"a"}, "b"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("--variable")));
}

TEST(NpzTest, RefusesLabelsOfAnotherLength) {
  EXPECT_THAT(OpenAndRead(Npz({{"x.npy", kX}, {"y.npy", NpyFile(DType::kUint8, {4}, "1234")}})),
              FailsWith(ErrorCode::kInvalidArgument,
                        "d.npz(x.npy): 5 samples, but d.npz(y.npy) has 4 labels"));
}

TEST(NpzTest, RefusesAZipWithoutArrays) {
  EXPECT_THAT(OpenAndRead(Npz({{"readme.txt", "hello"}})),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("np.savez")));
  EXPECT_THAT(OpenAndRead(Npz({})), FailsWith(ErrorCode::kUnsupported));
}

TEST(NpzTest, RefusesEncryptedMembersAndOtherMethods) {
  EXPECT_THAT(OpenAndRead(Npz({{.name = "x.npy", .data = kX, .flags = 1}})),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("encrypted")));
  EXPECT_THAT(OpenAndRead(Npz({{.name = "x.npy", .data = kX, .method = 14}})),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("method 14")));
}

TEST(NpzTest, RefusesAMemberWhoseArrayIsTruncatedOrTooLong) {
  EXPECT_THAT(OpenAndRead(Npz({{"x.npy", kX.substr(0, kX.size() - 1)}})),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("10 bytes"), HasSubstr("has 9"))));
  EXPECT_THAT(OpenAndRead(Npz({{"x.npy", kX + "f"}})),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("more data")));
}

TEST(NpzTest, ADamagedByteNeverGivesOtherSamples) {
  for (const bool is_deflated : {false, true}) {
    const std::string intact = ZipFile({{"x.npy", kX, is_deflated}, {"y.npy", kY, is_deflated}});
    for (std::size_t offset = 0; offset < intact.size(); ++offset) {
      SCOPED_TRACE(offset);
      std::string damaged = intact;
      damaged[offset] = static_cast<char>(damaged[offset] ^ 0x04);
      const auto all = OpenAndRead(InMemory(damaged, "d.npz"));
      if (!all.ok()) continue;
      // A date, or the name of the labels: then the features stand alone.
      EXPECT_EQ(AsText(all->columns[0]), "aabbccddee");
      if (all->columns.size() > 1) {
        EXPECT_EQ(AsText(all->columns[1]), "12345");
      }
    }
  }
}

TEST(NpzTest, RefusesAnArchiveCutAnywhere) {
  const std::string intact = ZipFile({{"x.npy", kX}});
  for (std::size_t size = 0; size < intact.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_FALSE(OpenAndRead(InMemory(intact.substr(0, size), "d.npz")).ok());
  }
}

TEST(ZipTest, RefusesADirectoryBeyondItsLimits) {
  std::string zip = ZipFile({{"x.npy", kX}});
  const std::size_t end = zip.size() - 22;
  zip[end + 10] = '\x01';  // The number of members.
  zip[end + 11] = '\x20';
  EXPECT_THAT(zip::ReadDirectory(*InMemory(zip, "d.npz")),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("8193 members")));
}

}  // namespace
}  // namespace dnc::source
