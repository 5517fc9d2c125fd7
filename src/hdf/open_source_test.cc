#include "hdf/open_source.h"

#include <hdf5.h>

#include "base/file.h"
#include "testing/testing.h"

namespace dnc::hdf {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::HasSubstr;

// A file with one dataset of 100 whole numbers, behind `block_bytes` of others' bytes.
Bytes SmallFile(std::uint64_t block_bytes) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "small.h5";
  {
    const H5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_userblock(creation.id(), block_bytes);
    const H5Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.id(), H5P_DEFAULT),
                        H5Fclose);
    const hsize_t length = 100;
    const H5Handle space(H5Screate_simple(1, &length, nullptr), H5Sclose);
    const H5Handle dataset(H5Dcreate2(file.id(), "numbers", H5T_STD_I32LE, space.id(), H5P_DEFAULT,
                                      H5P_DEFAULT, H5P_DEFAULT),
                           H5Dclose);
    std::int32_t values[100];
    for (int i = 0; i < 100; ++i) values[i] = 3 * i;
    H5Dwrite(dataset.id(), H5T_STD_I32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  }
  const auto text = ReadFile(path, 1 << 20);
  DNC_ASSERT(text.ok());
  return Bytes(AsBytes(*text).begin(), AsBytes(*text).end());
}

std::vector<std::int32_t> Numbers(const H5Handle& file) {
  const QuietH5 quiet;
  const H5Handle dataset(H5Dopen2(file.id(), "numbers", H5P_DEFAULT), H5Dclose);
  std::vector<std::int32_t> values(100);
  if (!dataset.ok() ||
      H5Dread(dataset.id(), H5T_STD_I32LE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) {
    return {};
  }
  return values;
}

TEST(HdfOpenSourceTest, ReadsAFileThatIsOnlyInMemory) {
  for (const std::uint64_t block_bytes : {0, 512, 2048}) {
    const Bytes bytes = SmallFile(block_bytes);
    EXPECT_EQ(FindSignature(bytes), static_cast<std::int64_t>(block_bytes));
    const auto file = OpenSource(std::make_shared<MemorySource>(bytes, "a.h5"));
    ASSERT_THAT(file, Succeeds());
    const auto numbers = Numbers(*file);
    ASSERT_EQ(numbers.size(), 100u);
    EXPECT_EQ(numbers[99], 297);
  }
}

TEST(HdfOpenSourceTest, SeveralFilesAreOpenAtOnceAndOutliveTheirCallersPointer) {
  const Bytes bytes = SmallFile(0);
  auto first = OpenSource(std::make_shared<MemorySource>(bytes, "a.h5"));
  auto second = OpenSource(std::make_shared<MemorySource>(bytes, "a.h5"));
  ASSERT_THAT(first, Succeeds());
  ASSERT_THAT(second, Succeeds());
  *first = H5Handle();
  EXPECT_EQ(Numbers(*second).size(), 100u);
}

TEST(HdfOpenSourceTest, RefusesATruncatedFileAndWhatIsNoHdf5) {
  const Bytes bytes = SmallFile(0);
  for (std::size_t size = 0; size < bytes.size(); size += 64) {
    const auto file =
        OpenSource(std::make_shared<MemorySource>(ByteSpan(bytes).first(size), "cut.h5"));
    EXPECT_THAT(file, FailsWith(ErrorCode::kCorrupt, HasSubstr("cut.h5"))) << size;
  }
  const std::string text = "name,age\nann,3\n";
  EXPECT_EQ(FindSignature(AsBytes(text)), -1);
  EXPECT_EQ(FindSignature({}), -1);
}

TEST(HdfOpenSourceTest, FailsWhereTheSourceFails) {
  const Bytes bytes = SmallFile(0);
  const MemorySource intact(bytes, "a.h5");
  for (int read_index = 0;; ++read_index) {
    ASSERT_LT(read_index, 100) << "never stops reading";
    const auto source = std::make_shared<test::FaultySource>(
        &intact, test::FaultySourceOptions{.fail_read_index = read_index});
    const auto file = OpenSource(source);
    const bool is_read = file.ok() && !Numbers(*file).empty();
    if (!source->fired()) {
      EXPECT_TRUE(is_read);
      break;
    }
    EXPECT_FALSE(is_read) << read_index;
  }
}

}  // namespace
}  // namespace dnc::hdf
