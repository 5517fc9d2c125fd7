#include "shard/chunk_layout.h"

namespace dnc::shard {
namespace {

constexpr std::int64_t kSideMin = 4;
constexpr std::int64_t kSideMax = 1 << 20;
constexpr std::int64_t kChannelsMax = 4;

bool IsSide(std::int64_t axis) { return axis >= kSideMin && axis <= kSideMax; }
bool IsChannels(std::int64_t axis) { return axis >= 1 && axis <= kChannelsMax; }

void SetPicture(std::int64_t height, std::int64_t width, std::int64_t channels,
                ChunkLayout* layout) {
  layout->height = static_cast<std::uint32_t>(height);
  layout->width = static_cast<std::uint32_t>(width);
  layout->channels = static_cast<std::uint32_t>(channels);
}

}  // namespace

ChunkLayout LayoutOf(const array::ColumnSpec& column) {
  ChunkLayout layout;
  if (!column.is_array()) return layout;
  layout.element_bytes = array::DTypeSize(column.dtype);
  layout.row_elements = column.sample_bytes() / layout.element_bytes;
  if (column.dtype != array::DType::kUint8) return layout;
  const array::Shape& shape = column.shape;
  if (shape.size() == 2 && IsSide(shape[0]) && IsSide(shape[1])) {
    SetPicture(shape[0], shape[1], 1, &layout);
  } else if (shape.size() == 3 && IsSide(shape[0]) && IsSide(shape[1]) && IsChannels(shape[2])) {
    SetPicture(shape[0], shape[1], shape[2], &layout);
  } else if (shape.size() == 3 && IsChannels(shape[0]) && IsSide(shape[1]) && IsSide(shape[2])) {
    SetPicture(shape[1], shape[2], shape[0], &layout);
    layout.planar = true;
  }
  return layout;
}

}  // namespace dnc::shard
