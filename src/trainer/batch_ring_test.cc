#include "trainer/batch_ring.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "testing/testing.h"

namespace dnc::trainer {
namespace {

using ::testing::HasSubstr;

UniqueFd Duplicate(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

TEST(BatchRingTest, WhatOneSideWritesTheOtherReads) {
  const BatchRingLayout layout{.slots = 3, .x_bytes = {100, 7}, .y_bytes = {10}};
  Result<BatchRing> parent = BatchRing::Create(layout);
  ASSERT_THAT(parent, test::Succeeds());
  Result<BatchRing> child = BatchRing::Open(Duplicate(parent->fd()), layout);
  ASSERT_THAT(child, test::Succeeds());
  const auto columns = [](const Result<BatchRing>& ring, std::uint32_t slot) {
    std::vector<std::span<std::byte>> all = ring->x(slot);
    for (const std::span<std::byte> column : ring->y(slot)) all.push_back(column);
    return all;
  };
  for (std::uint32_t slot = 0; slot < 3; ++slot) {
    ASSERT_EQ(parent->x(slot).size(), 2u);
    ASSERT_EQ(parent->y(slot).size(), 1u);
    std::uint32_t value = 3 * slot;
    for (const std::span<std::byte> column : columns(parent, slot)) {
      std::memset(column.data(), static_cast<int>(value++), column.size());
    }
  }
  for (std::uint32_t slot = 0; slot < 3; ++slot) {
    const auto found = columns(child, slot);
    EXPECT_EQ(found[0].size(), 100u);
    EXPECT_EQ(found[1].size(), 7u);
    EXPECT_EQ(found[2].size(), 10u);
    for (std::uint32_t i = 0; i < 3; ++i) {
      EXPECT_EQ(found[i].front(), static_cast<std::byte>(3 * slot + i));
      EXPECT_EQ(found[i].back(), static_cast<std::byte>(3 * slot + i));
    }
  }
}

TEST(BatchRingTest, NeitherSideCanShrinkIt) {
  Result<BatchRing> ring = BatchRing::Create({.slots = 2, .x_bytes = {8192}, .y_bytes = {1}});
  ASSERT_THAT(ring, test::Succeeds());
  EXPECT_NE(::ftruncate(ring->fd(), 0), 0);
  EXPECT_NE(::ftruncate(ring->fd(), 1 << 20), 0);
}

TEST(BatchRingTest, RefusesMemoryThatIsSmallerOrNotSealed) {
  const BatchRingLayout layout{.slots = 2, .x_bytes = {4096}, .y_bytes = {64}};
  Result<BatchRing> small = BatchRing::Create({.slots = 1, .x_bytes = {4096}, .y_bytes = {64}});
  ASSERT_THAT(small, test::Succeeds());
  EXPECT_THAT(BatchRing::Open(Duplicate(small->fd()), layout),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("4160 bytes; 8320 were expected")));
  UniqueFd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 1 << 20), 0);
  EXPECT_THAT(BatchRing::Open(std::move(unsealed), layout),
              test::FailsWith(ErrorCode::kCorrupt, HasSubstr("not sealed")));
  EXPECT_THAT(BatchRing::Open(UniqueFd(), layout), test::FailsWith(ErrorCode::kCorrupt));
}

TEST(BatchRingTest, LargeBatchesGetFewerSlots) {
  TrainerOptions options;
  options.batch_size_max = 32;
  options.x = {{"x", array::DType::kUint8, {28, 28}, {}}};
  options.y = {{"y", array::DType::kUint8, {}, {}}};
  EXPECT_EQ(LayoutFor(options).slots, 4u);
  EXPECT_EQ(LayoutFor(options).x_bytes, (std::vector<std::uint64_t>{32u * 784}));
  options.x = {{"x", array::DType::kFloat32, {198, 198, 3}, {}}};
  EXPECT_EQ(LayoutFor(options).slots, 2u);
}

}  // namespace
}  // namespace dnc::trainer
