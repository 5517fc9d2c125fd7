#include "trainer/batch_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "base/assert.h"
#include "base/file.h"
#include "base/human.h"

namespace dnc::trainer {

namespace {

constexpr std::uint64_t kCacheLine = 64;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;
// Above this a slot is so long in use that more than two bring nothing.
constexpr std::uint64_t kLargeSlotBytes = 8u << 20;

std::uint64_t RoundUp(std::uint64_t bytes) {
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

std::uint64_t BytesOf(std::span<const std::uint64_t> sizes) {
  std::uint64_t bytes = 0;
  for (const std::uint64_t size : sizes) bytes += RoundUp(size);
  return bytes;
}

}  // namespace

std::uint64_t BatchRingLayout::slot_bytes() const {
  return BytesOf(x_bytes) + BytesOf(y_bytes) + RoundUp(weight_bytes);
}

BatchRingLayout LayoutFor(const TrainerOptions& options) {
  BatchRingLayout layout;
  for (const array::ColumnSpec& column : options.x) {
    layout.x_bytes.push_back(options.batch_size_max * column.sample_bytes());
  }
  for (const array::ColumnSpec& column : options.y) {
    layout.y_bytes.push_back(options.batch_size_max * column.sample_bytes());
  }
  if (options.weighted) layout.weight_bytes = options.batch_size_max * sizeof(float);
  layout.slots = layout.slot_bytes() > kLargeSlotBytes ? 2 : 4;
  return layout;
}

BatchRing::~BatchRing() {
  if (base_ != nullptr) ::munmap(base_, layout_.total_bytes());
}

BatchRing::BatchRing(BatchRing&& other) noexcept { *this = std::move(other); }

BatchRing& BatchRing::operator=(BatchRing&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(layout_, other.layout_);
  std::swap(base_, other.base_);
  return *this;
}

Status BatchRing::Map() {
  // An empty mapping is an error to the kernel; a ring of no bytes needs none.
  if (layout_.total_bytes() == 0) return {};
  void* const base =
      ::mmap(nullptr, layout_.total_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  if (base == MAP_FAILED) {
    return Error{ErrorCode::kResourceExhausted, "cannot map " +
                                                    FormatByteCount(layout_.total_bytes()) +
                                                    " for batches; use a smaller batch_size"};
  }
  base_ = static_cast<std::byte*>(base);
  return {};
}

Result<BatchRing> BatchRing::Create(const BatchRingLayout& layout) {
  BatchRing ring;
  ring.layout_ = layout;
  ring.fd_ = UniqueFd(::memfd_create("dnc-batches", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!ring.fd_) return ErrnoError("cannot create", "memory for batches", errno);
  if (::ftruncate(ring.fd_.get(), static_cast<off_t>(layout.total_bytes())) != 0) {
    return ErrnoError("cannot size", "memory for batches", errno);
  }
  if (::fcntl(ring.fd_.get(), F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0) {
    return ErrnoError("cannot seal", "memory for batches", errno);
  }
  DNC_TRY(ring.Map());
  return ring;
}

Result<BatchRing> BatchRing::Open(UniqueFd fd, const BatchRingLayout& layout) {
  BatchRing ring;
  ring.layout_ = layout;
  ring.fd_ = std::move(fd);
  const int seals = ring.fd_ ? ::fcntl(ring.fd_.get(), F_GET_SEALS) : -1;
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return Error{ErrorCode::kCorrupt, "trainer protocol: the memory for batches is not sealed"};
  }
  // lseek rather than fstat, which needs a system call that the box forbids.
  const off_t size = ::lseek(ring.fd_.get(), 0, SEEK_END);
  if (size < 0 || static_cast<std::uint64_t>(size) < layout.total_bytes()) {
    return Error{ErrorCode::kCorrupt, "trainer protocol: the memory for batches has " +
                                          std::to_string(size) + " bytes; " +
                                          std::to_string(layout.total_bytes()) + " were expected"};
  }
  DNC_TRY(ring.Map());
  return ring;
}

std::vector<std::span<std::byte>> BatchRing::Columns(std::uint32_t slot,
                                                     std::span<const std::uint64_t> sizes,
                                                     std::uint64_t* offset) const {
  DNC_ASSERT(slot < layout_.slots);
  std::vector<std::span<std::byte>> columns;
  for (const std::uint64_t size : sizes) {
    columns.emplace_back();
    if (base_ != nullptr) columns.back() = {base_ + slot * layout_.slot_bytes() + *offset, size};
    *offset += RoundUp(size);
  }
  return columns;
}

std::vector<std::span<std::byte>> BatchRing::x(std::uint32_t slot) const {
  std::uint64_t offset = 0;
  return Columns(slot, layout_.x_bytes, &offset);
}

std::vector<std::span<std::byte>> BatchRing::y(std::uint32_t slot) const {
  std::uint64_t offset = BytesOf(layout_.x_bytes);
  return Columns(slot, layout_.y_bytes, &offset);
}

std::span<float> BatchRing::weights(std::uint32_t slot) const {
  std::uint64_t offset = BytesOf(layout_.x_bytes) + BytesOf(layout_.y_bytes);
  const std::span<std::byte> bytes = Columns(slot, {&layout_.weight_bytes, 1}, &offset)[0];
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

}  // namespace dnc::trainer
