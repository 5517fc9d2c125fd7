#include "shard/shard_writer.h"

#include "base/hash.h"
#include "shard/shard_format.h"
#include "shard/shard_test_data.h"

namespace dnc::shard {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using test_data::MakeBlock;
using test_data::MakeBlocks;
using test_data::MixedColumns;
using test_data::ReadAll;
using test_data::WriteShard;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ShardWriterTest, WritesWhatTheReaderGivesBack) {
  const auto columns = MixedColumns();
  for (const std::uint64_t samples : {0u, 1u, 6u, 7u, 8u, 14u, 60u}) {
    SCOPED_TRACE(samples);
    const auto blocks = MakeBlocks(columns, samples, 7);
    const Bytes shard = WriteShard(columns, blocks, {.block_samples = 7});
    const MemorySource source(shard);
    const auto reader = ShardReader::Open(&source);
    ASSERT_THAT(reader, Succeeds());
    EXPECT_EQ(reader->summary().columns, columns);
    EXPECT_EQ(reader->summary().samples, samples);
    EXPECT_EQ(reader->summary().block_samples, 7u);
    EXPECT_EQ(reader->summary().block_count, blocks.size());
    const auto read = ReadAll(source);
    ASSERT_THAT(read, Succeeds());
    ASSERT_EQ(read->size(), blocks.size());
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      EXPECT_EQ((*read)[b].sample_count, blocks[b].sample_count);
      EXPECT_EQ((*read)[b].columns, blocks[b].columns);
      EXPECT_EQ((*read)[b].ends, blocks[b].ends);
    }
  }
}

TEST(ShardWriterTest, GivesTheSameBytesForAnyNumberOfThreads) {
  const auto columns = MixedColumns();
  const auto blocks = MakeBlocks(columns, 1000, 30);
  const Bytes expected = WriteShard(columns, blocks, {.block_samples = 30});
  for (const int threads : {2, 3, 8}) {
    EXPECT_EQ(WriteShard(columns, blocks, {.block_samples = 30, .threads = threads}), expected);
  }
}

TEST(ShardWriterTest, HasWrittenTheSameBytesAfterEachBlockForAnyNumberOfThreads) {
  const auto columns = MixedColumns();
  const auto blocks = MakeBlocks(columns, 300, 20);
  std::vector<std::uint64_t> sizes[2];
  for (const int threads : {1, 2}) {
    ShardWriter writer(columns, {.block_samples = 20, .threads = threads},
                       [](ByteSpan) { return Status(); });
    for (const array::SampleBlock& block : blocks) {
      ASSERT_THAT(writer.Append(block), Succeeds());
      sizes[threads - 1].push_back(writer.bytes_written());
    }
    EXPECT_EQ(writer.samples_written(), 300u);
  }
  EXPECT_EQ(sizes[0], sizes[1]);
  EXPECT_GT(sizes[0].back(), 0u);
}

// The bytes as docs/formats/shard.md lays them out, put together by hand. Two bytes
// cannot be compressed, so that nothing depends on the version of zstd.
TEST(ShardWriterTest, LaysOutTheBytesAsTheFormatSays) {
  const std::vector<array::ColumnSpec> columns = {{"y", array::DType::kUint16, {}, {}},
                                                  {"ab", array::DType::kBool, {2, 1}, {}}};
  array::SampleBlock block;
  block.sample_count = 1;
  block.columns = {{std::byte{1}, std::byte{2}}, {std::byte{3}, std::byte{4}}};
  const Bytes shard = WriteShard(columns, {block}, {.block_samples = 9});

  ByteWriter index;
  index.PutBytes(AsBytes(std::string_view("\x00\x04\x00\x01\x00y", 6)));
  index.PutBytes(
      AsBytes(std::string_view("\x00\x00\x02\x02\x00"
                               "ab",
                               7)));
  index.Put(std::uint64_t{2});
  index.Put(std::uint64_t{1});
  index.Put(std::uint64_t{16});  // Where the block begins.
  index.Put(std::uint32_t{1});   // Its samples.
  for (const Bytes& column : block.columns) {
    index.Put(std::uint32_t{2});
    index.Put(std::uint32_t{2});
    index.Put(std::uint8_t{0});
    index.Put(std::uint8_t{0});
    index.Put(Checksum(column));
  }
  ByteWriter footer;
  footer.Put(std::uint64_t{20});
  footer.Put(std::uint64_t{index.size()});
  footer.Put(Checksum(index.bytes()));
  footer.Put(std::uint64_t{1});
  footer.Put(std::uint32_t{9});
  footer.Put(std::uint32_t{1});
  footer.Put(std::uint32_t{2});
  footer.Put(std::uint32_t{1});
  footer.Put(Checksum(footer.bytes()));
  ByteWriter expected;
  expected.PutBytes(AsBytes(std::string_view("DNCSHARD\x01\0\0\0\0\0\0\0\x01\x02\x03\x04", 20)));
  expected.PutBytes(index.bytes());
  expected.PutBytes(footer.bytes());
  expected.PutBytes(AsBytes("DNCSHEND"));
  EXPECT_EQ(HexEncode(shard), HexEncode(expected.bytes()));
}

// XXH3-64 as its authors publish it, for an empty input, pins the hash function.
TEST(ShardWriterTest, ChecksumsByXxh3) { EXPECT_EQ(Checksum({}), 0x2d06800538d394c2u); }

// The filter and codec of a shard with one column and one block.
std::pair<std::string, std::string> MethodOf(const array::ColumnSpec& column, const Bytes& elements,
                                             Compression compression) {
  array::SampleBlock block;
  block.sample_count = elements.size() / column.sample_bytes();
  block.columns = {elements};
  const auto samples = static_cast<std::uint32_t>(block.sample_count);
  const Bytes shard =
      WriteShard({column}, {block}, {.block_samples = samples, .compression = compression});
  const MemorySource source(shard);
  const auto blocks = ReadAll(source);
  EXPECT_THAT(blocks, Succeeds());
  EXPECT_EQ((*blocks)[0].columns[0], elements);
  const auto reader = ShardReader::Open(&source);
  EXPECT_THAT(reader, Succeeds());
  EXPECT_EQ(reader->chunk(0, 0).raw_bytes, elements.size());
  return {reader->chunk(0, 0).filter, reader->chunk(0, 0).codec};
}

TEST(ShardWriterTest, ChoosesWhatMakesAColumnSmallest) {
  ByteWriter rising;
  ByteWriter repeated;
  ByteWriter flags;
  Prng prng(3);
  std::vector<std::int32_t> words(7);
  for (std::int32_t& word : words) word = static_cast<std::int32_t>(prng.Next());
  for (int i = 0; i < 4096; ++i) {
    rising.Put(static_cast<std::int32_t>(i * 1000 + static_cast<int>(prng.Below(100))));
    repeated.Put(words[prng.Below(words.size())]);
    flags.Put(static_cast<std::int32_t>(prng.Below(2) * 0x10001));
  }
  const array::ColumnSpec column = {"x", array::DType::kInt32, {}, {}};
  using Method = std::pair<std::string, std::string>;
  EXPECT_EQ(MethodOf(column, rising.bytes(), Compression::kBalanced), Method("delta", "zstd"));
  EXPECT_EQ(MethodOf(column, repeated.bytes(), Compression::kBalanced), Method("none", "zstd"));
  EXPECT_EQ(MethodOf(column, flags.bytes(), Compression::kBalanced), Method("bit shuffle", "zstd"));
  EXPECT_EQ(MethodOf(column, rising.bytes(), Compression::kFast), Method("byte shuffle", "lz4"));
  EXPECT_EQ(MethodOf(column, rising.bytes(), Compression::kNone), Method("none", "stored"));
}

// Smooth pictures with a little noise.
TEST(ShardWriterTest, PredictsPictures) {
  Prng prng(9);
  Bytes pictures;
  for (int i = 0; i < 9; ++i) {
    for (int y = 0; y < 64; ++y) {
      for (int x = 0; x < 64; ++x) {
        const int shade = 2 * x + y + static_cast<int>(prng.Below(9));
        for (int c = 0; c < 3; ++c) {
          pictures.push_back(static_cast<std::byte>(shade + static_cast<int>(prng.Below(4))));
        }
      }
    }
  }
  using Method = std::pair<std::string, std::string>;
  const array::ColumnSpec column = {"x", array::DType::kUint8, {64, 64, 3}, {}};
  EXPECT_EQ(MethodOf(column, pictures, Compression::kBalanced),
            Method("colour prediction", "zstd"));
  EXPECT_EQ(MethodOf(column, pictures, Compression::kSmallest), Method("none", "jpeg xl"));
}

TEST(ShardWriterTest, StoresWhatDoesNotCompress) {
  const std::vector<array::ColumnSpec> columns = {{"x", array::DType::kUint8, {1000}, {}}};
  array::SampleBlock block;
  block.sample_count = 1;
  block.columns.emplace_back(1000);
  Prng prng(5);
  for (std::byte& b : block.columns[0]) b = static_cast<std::byte>(prng.Next());
  const Bytes shard = WriteShard(columns, {block}, {.block_samples = 1});
  EXPECT_EQ(shard.size(), kHeaderBytes + 1000 + (kColumnEntryBytes + 1 + 8) + kBlockEntryBytes +
                              kChunkEntryBytes + kFooterBytes);
}

TEST(ShardWriterTest, ReportsTheSinksErrorAndStops) {
  const auto columns = MixedColumns();
  const auto blocks = MakeBlocks(columns, 60, 5);
  for (const int threads : {1, 2}) {
    for (int good_writes = 0;; ++good_writes) {
      ASSERT_LT(good_writes, 100);
      int writes = 0;
      bool fired = false;
      ShardWriter writer(columns, {.block_samples = 5, .threads = threads},
                         [&](ByteSpan) -> Status {
                           EXPECT_FALSE(fired) << "the sink was called again after it failed";
                           fired = writes++ == good_writes;
                           if (fired) return Error{ErrorCode::kResourceExhausted, "disk full"};
                           return {};
                         });
      Status status;
      for (const array::SampleBlock& block : blocks) {
        if (status = writer.Append(block); !status.ok()) break;
      }
      const Status finish = writer.Finish();
      if (!fired) {
        EXPECT_THAT(finish, Succeeds());
        break;
      }
      EXPECT_THAT(finish, FailsWith(ErrorCode::kResourceExhausted, "disk full"));
    }
  }
}

TEST(ShardWriterTest, RefusesABlockThatNoReaderWouldTake) {
  const std::vector<array::ColumnSpec> columns = {
      {"x", array::DType::kUint8, {static_cast<std::int64_t>(kBlockBytesMax) + 1}, {}}};
  array::SampleBlock block;
  block.sample_count = 1;
  block.columns.emplace_back(kBlockBytesMax + 1);
  ShardWriter writer(columns, {}, [](ByteSpan) { return Status(); });
  EXPECT_THAT(writer.Append(block),
              FailsWith(ErrorCode::kTooLarge,
                        AllOf(HasSubstr("67108865 bytes"), HasSubstr("at most 67108864"))));
}

TEST(ShardWriterTest, MakesBlocksOfUpToOneMebibyte) {
  EXPECT_EQ(BlockSamples(
                {{"x", array::DType::kUint8, {28, 28}, {}}, {"y", array::DType::kUint8, {}, {}}}),
            1335u);
  EXPECT_EQ(BlockSamples({{"x", array::DType::kFloat32, {1024, 1024}, {}}}), 1u);
  EXPECT_EQ(BlockSamples({{"x", array::DType::kFloat32, {0}, {}}}), 1u << 20);
}

}  // namespace
}  // namespace dnc::shard
