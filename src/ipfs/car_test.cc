#include "ipfs/car.h"

#include "ipfs/dag_pb.h"
#include "testing/testing.h"

// A CAR comes from whoever runs a gateway, so these tests cut and damage one.

namespace dnc::ipfs {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AnyOf;
using ::testing::HasSubstr;

struct Read {
  Status status;
  std::vector<Cid> roots;
  std::vector<std::pair<Cid, std::string>> blocks;
};

Read ReadCar(ByteSpan car, std::size_t piece = SIZE_MAX) {
  Read read;
  CarReader reader([&](const Cid& cid, ByteSpan block) -> Status {
    read.blocks.emplace_back(cid, AsText(block));
    return {};
  });
  while (!car.empty() && read.status.ok()) {
    const std::size_t count = std::min(piece, car.size());
    read.status = reader.Feed(car.first(count));
    car = car.subspan(count);
  }
  if (read.status.ok()) read.status = reader.Finish();
  read.roots = reader.roots();
  return read;
}

Bytes SmallCar() {
  const Cid a = CidOf(Codec::kRaw, AsBytes("block a"));
  const Cid b = CidOf(Codec::kDagPb, AsBytes(std::string(300, 'b')));
  Bytes car;
  AppendCarHeader({a, b}, &car);
  AppendCarBlock(a, AsBytes("block a"), &car);
  AppendCarBlock(b, AsBytes(std::string(300, 'b')), &car);
  return car;
}

// "hello world" as `ipfs dag export` writes it: the header's bytes are fixed.
TEST(CarTest, WritesTheBytesThatKuboWrites) {
  const Cid cid = CidOf(Codec::kRaw, AsBytes("hello world"));
  Bytes car;
  AppendCarHeader({cid}, &car);
  AppendCarBlock(cid, AsBytes("hello world"), &car);
  EXPECT_EQ(HexEncode(car), "3aa265726f6f747381d82a58250001551220" + cid.digest.Hex() +
                                "6776657273696f6e01" + "2f01551220" + cid.digest.Hex() +
                                "68656c6c6f20776f726c64");
}

TEST(CarTest, ReadsItsBlocksHoweverTheBytesCome) {
  const Bytes car = SmallCar();
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100}, SIZE_MAX}) {
    const Read read = ReadCar(car, piece);
    EXPECT_THAT(read.status, Succeeds());
    EXPECT_EQ(read.roots.size(), 2u);
    ASSERT_EQ(read.blocks.size(), 2u);
    EXPECT_EQ(read.blocks[0].first, read.roots[0]);
    EXPECT_EQ(read.blocks[0].second, "block a");
    EXPECT_EQ(read.blocks[1].second, std::string(300, 'b'));
  }
}

TEST(CarTest, RefusesACarWithAnyOneByteChanged) {
  const Bytes intact = SmallCar();
  const std::size_t roots_begin = 18;  // An id of a root is only a hint.
  for (std::size_t i = 0; i < intact.size(); ++i) {
    Bytes damaged = intact;
    damaged[i] ^= std::byte{0x40};
    const Read read = ReadCar(damaged);
    if (read.status.ok()) {
      EXPECT_GE(i, roots_begin);
      EXPECT_NE(read.roots, ReadCar(intact).roots) << i;
    } else {
      EXPECT_THAT(read.status, FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported,
                                               ErrorCode::kTooLarge)));
    }
  }
}

TEST(CarTest, RefusesACarThatIsCutAnywhereButBetweenBlocks) {
  const Bytes intact = SmallCar();
  int whole = 0;
  for (std::size_t size = 0; size < intact.size(); ++size) {
    const Read read = ReadCar(ByteSpan(intact).first(size));
    if (read.status.ok()) {
      ++whole;
    } else {
      EXPECT_THAT(read.status, FailsWith(ErrorCode::kCorrupt)) << size;
    }
  }
  EXPECT_EQ(whole, 2);  // Behind the header, and behind the first block.
}

TEST(CarTest, AllocatesNothingForABlockThatClaimsToBeHuge) {
  Bytes car;
  AppendCarHeader({}, &car);
  PutVarint(std::uint64_t{1} << 50, &car);
  EXPECT_THAT(ReadCar(car).status, FailsWith(ErrorCode::kTooLarge, HasSubstr("block")));
  Bytes header;
  PutVarint(1u << 20, &header);
  EXPECT_THAT(ReadCar(header).status, FailsWith(ErrorCode::kTooLarge, HasSubstr("header")));
}

TEST(CarTest, RefusesAnotherVersion) {
  Bytes car;
  AppendCarHeader({}, &car);
  car.back() = std::byte{2};
  EXPECT_THAT(ReadCar(car).status, FailsWith(ErrorCode::kUnsupported, HasSubstr("version 2")));
}

TEST(CarTest, EndsWithTheErrorOfWhoTakesTheBlocks) {
  CarReader reader([](const Cid&, ByteSpan) -> Status {
    return Error{ErrorCode::kCancelled, "enough"};
  });
  EXPECT_THAT(reader.Feed(SmallCar()), FailsWith(ErrorCode::kCancelled));
}

}  // namespace
}  // namespace dnc::ipfs
