#include "shard/shard_reader.h"

#include "shard/shard_format.h"
#include "shard/shard_test_data.h"

// A shard comes from machines nobody vouches for, so these tests damage one on
// purpose. It is small enough to spoil every byte and fail every read.

namespace dnc::shard {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using test_data::MakeBlocks;
using test_data::MixedColumns;
using test_data::ReadAll;
using test_data::WriteShard;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

Bytes IntactShard() {
  return WriteShard(MixedColumns(), MakeBlocks(MixedColumns(), 70, 30), {.block_samples = 30});
}

constexpr array::ColumnKind kText = array::ColumnKind::kText;

// A shard whose index and footer the test writes itself, with right checksums.
struct ForgedShard {
  std::vector<std::byte> column_entry = Column("x", array::DType::kUint8, {4});
  std::uint64_t block_offset = kHeaderBytes;
  std::uint32_t block_entry_samples = 2;
  std::uint32_t stored_bytes = 8;
  std::uint32_t raw_bytes = 8;
  std::uint8_t filter = 0;
  std::uint8_t codec = 0;
  Bytes chunk;  // Sevens, if it is empty.
  Footer footer = {.samples = 2, .block_samples = 2, .block_count = 1, .column_count = 1};

  static Bytes Column(std::string_view name, array::DType dtype, const array::Shape& shape,
                      array::ColumnKind kind = array::ColumnKind::kArray) {
    ByteWriter writer;
    writer.Put(static_cast<std::uint8_t>(kind));
    writer.Put(static_cast<std::uint8_t>(dtype));
    writer.Put(static_cast<std::uint8_t>(shape.size()));
    writer.Put(static_cast<std::uint16_t>(name.size()));
    writer.PutBytes(AsBytes(name));
    for (const std::int64_t axis : shape) writer.Put(axis);
    return std::move(writer).Take();
  }

  Bytes Build() const {
    Bytes content = chunk;
    if (content.empty()) content.assign(stored_bytes, std::byte{7});
    ByteWriter index;
    index.PutBytes(column_entry);
    index.Put(block_offset);
    index.Put(block_entry_samples);
    index.Put(stored_bytes);
    index.Put(raw_bytes);
    index.Put(filter);
    index.Put(codec);
    index.Put(Checksum(content));
    ByteWriter shard;
    shard.PutBytes(ShardHeader());
    shard.PutBytes(content);
    Footer whole = footer;
    whole.index_offset = shard.size();
    whole.index_bytes = index.size();
    whole.index_checksum = Checksum(index.bytes());
    shard.PutBytes(index.bytes());
    shard.PutBytes(FormatFooter(whole));
    return std::move(shard).Take();
  }

  auto Read(const ShardLimits& limits = {}) const {
    const Bytes shard = Build();
    return ReadAll(MemorySource(shard), limits);
  }
};

TEST(ShardReaderTest, DecodesOneColumnAsItDecodesAll) {
  const Bytes shard = IntactShard();
  const MemorySource source(shard);
  const auto reader = ShardReader::Open(&source);
  ASSERT_THAT(reader, Succeeds());
  BlockDecoder decoder;
  array::SampleBlock all;
  array::SampleBlock one;
  for (std::uint32_t b = 0; b < reader->summary().block_count; ++b) {
    ASSERT_THAT(decoder.Decode(*reader, b, &all), Succeeds());
    for (std::size_t c = 0; c < all.columns.size(); ++c) {
      ASSERT_THAT(decoder.DecodeColumn(*reader, b, c, &one), Succeeds());
      EXPECT_EQ(one.columns[c], all.columns[c]);
      EXPECT_EQ(one.sample_count, all.sample_count);
    }
  }
}

TEST(ShardReaderTest, RefusesAShardWithAnyOneByteChanged) {
  const Bytes intact = IntactShard();
  for (const std::byte change : {std::byte{0x01}, std::byte{0x40}, std::byte{0xff}}) {
    for (std::size_t offset = 0; offset < intact.size(); ++offset) {
      SCOPED_TRACE(offset);
      Bytes damaged = intact;
      damaged[offset] ^= change;
      EXPECT_THAT(ReadAll(MemorySource(damaged)),
                  FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported)));
    }
  }
}

TEST(ShardReaderTest, RefusesAShardWithoutBlocksWithAnyOneByteChanged) {
  const Bytes intact = WriteShard(MixedColumns(), {}, {});
  ASSERT_THAT(ReadAll(MemorySource(intact)), Succeeds());
  for (std::size_t offset = 0; offset < intact.size(); ++offset) {
    SCOPED_TRACE(offset);
    Bytes damaged = intact;
    damaged[offset] ^= std::byte{0x10};
    EXPECT_THAT(ReadAll(MemorySource(damaged)),
                FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported)));
  }
}

TEST(ShardReaderTest, RefusesAShardCutOffAnywhereOrWithBytesBehindIt) {
  const Bytes intact = IntactShard();
  for (std::size_t size = 0; size < intact.size(); ++size) {
    EXPECT_THAT(ReadAll(MemorySource(ByteSpan(intact).first(size))),
                FailsWith(ErrorCode::kCorrupt));
  }
  Bytes longer = intact;
  longer.push_back(std::byte{0});
  EXPECT_THAT(ReadAll(MemorySource(longer)), FailsWith(ErrorCode::kCorrupt));
}

TEST(ShardReaderTest, PassesOnTheSourceErrorWhicheverReadFails) {
  const Bytes shard = IntactShard();
  const MemorySource intact(shard);
  int fired_count = 0;
  for (int read_index = 0;; ++read_index) {
    ASSERT_LT(read_index, 100) << "the reader never stops reading";
    test::FaultySource source(&intact, {.fail_read_index = read_index});
    const auto blocks = ReadAll(source);
    if (!source.fired()) break;  // Past the last read: nothing went wrong.
    ++fired_count;
    EXPECT_THAT(blocks, FailsWith(ErrorCode::kUnavailable));
  }
  EXPECT_EQ(fired_count, 2 + 3) << "two reads to open, and one for each of three blocks";
}

TEST(ShardReaderTest, LoadsNoBlockWhenDecodingFails) {
  Bytes damaged = IntactShard();
  damaged[kHeaderBytes + 3] ^= std::byte{1};
  const MemorySource source(damaged, "s1");
  const auto reader = ShardReader::Open(&source);
  ASSERT_THAT(reader, Succeeds());
  BlockDecoder decoder;
  array::SampleBlock block;
  ASSERT_THAT(decoder.Decode(*reader, 1, &block), Succeeds());
  EXPECT_EQ(block.sample_count, 30u);
  EXPECT_THAT(decoder.Decode(*reader, 0, &block),
              FailsWith(ErrorCode::kCorrupt,
                        AllOf(HasSubstr("s1"), HasSubstr("block 0"), HasSubstr("column x"))));
  EXPECT_EQ(block.sample_count, 0u);
  ASSERT_THAT(decoder.Decode(*reader, 2, &block), Succeeds());
  EXPECT_EQ(block.sample_count, 10u);
}

TEST(ShardReaderTest, DecodesABlockFromTheBytesOfItsExtentAlone) {
  const Bytes shard = IntactShard();
  const MemorySource whole(shard);
  const auto reader = ShardReader::Open(&whole);
  ASSERT_THAT(reader, Succeeds());
  std::uint64_t end = 0;
  for (std::uint32_t b = 0; b < 3; ++b) {
    const BlockExtent extent = reader->extent(b);
    EXPECT_EQ(extent.offset, end) << "extents lie end to end from byte 0";
    EXPECT_EQ(extent.samples, b < 2 ? 30u : 10u);
    end = extent.offset + extent.bytes;
    Bytes rest(shard.size());  // Zero but for the extent, the index and the footer.
    const auto index_begin =
        static_cast<std::ptrdiff_t>(reader->extent(2).offset + reader->extent(2).bytes);
    std::copy_n(shard.begin() + static_cast<std::ptrdiff_t>(extent.offset), extent.bytes,
                rest.begin() + static_cast<std::ptrdiff_t>(extent.offset));
    std::copy(shard.begin() + index_begin, shard.end(), rest.begin() + index_begin);
    const MemorySource part(rest);
    const auto part_reader = ShardReader::Open(&part);
    ASSERT_THAT(part_reader, Succeeds());
    BlockDecoder decoder;
    array::SampleBlock block;
    EXPECT_THAT(decoder.Decode(*part_reader, b, &block), Succeeds());
    EXPECT_EQ(block.columns, MakeBlocks(MixedColumns(), 70, 30)[b].columns);
  }
}

TEST(ShardReaderTest, NamesBothVersionsOfALaterShard) {
  Bytes later = IntactShard();
  later[later.size() - kFooterBytes + 44] = std::byte{2};
  EXPECT_THAT(ReadAll(MemorySource(later, "s1")),
              FailsWith(ErrorCode::kUnsupported,
                        AllOf(HasSubstr("s1"), HasSubstr("version 2"), HasSubstr("version 1"))));
}

TEST(ShardReaderTest, ReadsAForgedShardThatIsSound) {
  EXPECT_THAT(ForgedShard().Read(), Succeeds());
}

// Sound checksums do not make an index true.
TEST(ShardReaderTest, RefusesAnIndexThatContradictsItself) {
  std::vector<ForgedShard> forged(24);
  forged[0].block_offset = kHeaderBytes + 1;
  forged[1].block_entry_samples = 3;
  forged[2].block_entry_samples = 0;
  forged[3].footer.samples = 3;
  forged[4].footer.block_samples = 0;
  forged[5].footer.block_samples = 1;
  forged[6].footer.block_count = 2;
  forged[7].footer.block_count = 0;
  forged[8].footer.block_count = 1u << 20;
  forged[9].footer.column_count = 0;
  forged[10].footer.column_count = 2;
  forged[11].stored_bytes = 7;
  forged[12].stored_bytes = 9;
  forged[13].codec = 1;   // Compressed, but not smaller.
  forged[14].filter = 1;  // Shuffled, but stored.
  forged[15].column_entry = ForgedShard::Column("", array::DType::kUint8, {4});
  forged[16].column_entry = ForgedShard::Column("x", array::DType::kUint8, {-4});
  forged[17].column_entry = ForgedShard::Column("x", array::DType::kUint8, array::Shape(33, 1));
  forged[18].column_entry = ForgedShard::Column(std::string(1025, 'x'), array::DType::kUint8, {4});
  forged[19].footer.block_count = UINT32_MAX;
  forged[20].raw_bytes = forged[20].stored_bytes = 9;  // Two samples of four bytes.
  forged[21].column_entry = ForgedShard::Column("x", array::DType::kUint8, {4}, kText);
  forged[23].filter = 4;  // A prediction, where there are no pictures.
  forged[23].codec = 1;
  forged[23].stored_bytes = 7;
  forged[22].column_entry = ForgedShard::Column("x", array::DType::kInt8, {}, kText);
  for (std::size_t i = 0; i < forged.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_THAT(forged[i].Read(), FailsWith(ErrorCode::kCorrupt));
  }
}

TEST(ShardReaderTest, RefusesTwoColumnsOfOneName) {
  ForgedShard forged;
  const Bytes once = forged.column_entry;
  forged.column_entry.insert(forged.column_entry.end(), once.begin(), once.end());
  forged.footer.column_count = 2;
  forged.footer.block_count = 0;
  forged.footer.samples = 0;
  forged.stored_bytes = forged.raw_bytes = 0;
  EXPECT_THAT(forged.Read(), FailsWith(ErrorCode::kCorrupt, HasSubstr("name of its own")));
}

TEST(ShardReaderTest, RefusesIdsThatItDoesNotKnow) {
  ForgedShard filter;
  filter.filter = 6;
  EXPECT_THAT(filter.Read(), FailsWith(ErrorCode::kUnsupported, HasSubstr("filter 6")));
  ForgedShard codec;
  codec.codec = 4;
  EXPECT_THAT(codec.Read(), FailsWith(ErrorCode::kUnsupported, HasSubstr("codec 4")));
  ForgedShard dtype;
  dtype.column_entry = ForgedShard::Column("x", static_cast<array::DType>(12), {4});
  EXPECT_THAT(dtype.Read(), FailsWith(ErrorCode::kUnsupported, HasSubstr("dtype 12")));
  ForgedShard kind;
  kind.column_entry =
      ForgedShard::Column("x", array::DType::kUint8, {}, static_cast<array::ColumnKind>(4));
  EXPECT_THAT(kind.Read(), FailsWith(ErrorCode::kUnsupported, HasSubstr("kind 4")));
}

// Two samples of varying lengths: their ends, then their bytes.
TEST(ShardReaderTest, RefusesEndsThatDoNotAscendToTheEnd) {
  struct Case {
    std::vector<std::uint32_t> ends;
    std::uint32_t content_bytes;
    bool sound;
  };
  for (const Case& c : {Case{{0, 0}, 0, true}, Case{{1, 3}, 3, true}, Case{{3, 3}, 3, true},
                        Case{{3, 1}, 3, false}, Case{{1, 2}, 3, false}, Case{{1, 4}, 3, false},
                        Case{{UINT32_MAX, 3}, 3, false}, Case{{4}, 0, false}}) {
    SCOPED_TRACE(::testing::PrintToString(c.ends));
    ForgedShard forged;
    forged.column_entry = ForgedShard::Column("x", array::DType::kUint8, {}, kText);
    ByteWriter chunk;
    for (const std::uint32_t end : c.ends) chunk.Put(end);
    chunk.PutBytes(Bytes(c.content_bytes));
    forged.chunk = chunk.bytes();
    forged.stored_bytes = forged.raw_bytes = static_cast<std::uint32_t>(chunk.size());
    if (c.sound) {
      EXPECT_THAT(forged.Read(), Succeeds());
    } else {
      EXPECT_THAT(forged.Read(), FailsWith(ErrorCode::kCorrupt));
    }
  }
}

TEST(ShardReaderTest, RefusesCompressedBytesThatAreNotThem) {
  ForgedShard forged;
  forged.codec = 1;
  forged.stored_bytes = 7;
  EXPECT_THAT(forged.Read(), FailsWith(ErrorCode::kCorrupt, HasSubstr("block 0")));
}

TEST(ShardReaderTest, RefusesSizesBeyondTheLimits) {
  EXPECT_THAT(ForgedShard().Read({.block_bytes_max = 8}), Succeeds());
  EXPECT_THAT(ForgedShard().Read({.block_bytes_max = 7}),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("the limit")));
  EXPECT_THAT(ForgedShard().Read({.block_count_max = 0}),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("1 blocks; at most 0")));
  EXPECT_THAT(ForgedShard().Read({.column_count_max = 0}), FailsWith(ErrorCode::kCorrupt));
}

// One stored byte that stands for a petabyte: refused before anything is allocated.
TEST(ShardReaderTest, RefusesABombWithoutAllocatingIt) {
  ForgedShard forged;
  forged.column_entry = ForgedShard::Column("x", array::DType::kFloat64, {std::int64_t{1} << 47});
  forged.codec = 1;
  forged.stored_bytes = 1;
  EXPECT_THAT(forged.Read(), FailsWith(ErrorCode::kCorrupt, HasSubstr("the limit")));
  ForgedShard samples;
  samples.block_entry_samples = samples.footer.block_samples = UINT32_MAX;
  samples.footer.samples = UINT32_MAX;
  EXPECT_THAT(samples.Read(), FailsWith(ErrorCode::kCorrupt, HasSubstr("the limit")));
}

TEST(ShardReaderTest, RefusesWhatIsNoShard) {
  EXPECT_THAT(ReadAll(MemorySource({}, "s1")),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("s1"), HasSubstr("0 bytes"))));
  EXPECT_THAT(ReadAll(MemorySource(Bytes(1000))), FailsWith(ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace dnc::shard
