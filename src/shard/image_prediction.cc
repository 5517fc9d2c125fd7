#include "shard/image_prediction.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/assert.h"

namespace dnc::shard {
namespace {

// Vectors of the compiler: SSE2 on x86-64, NEON on ARM, without intrinsics.
using Vector = std::uint8_t __attribute__((vector_size(16)));
constexpr std::size_t kLanes = 16;
using Tile = std::array<Vector, kLanes>;

Vector Load(const std::uint8_t* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}
void Store(Vector vector, std::uint8_t* to) { std::memcpy(to, &vector, sizeof(vector)); }
Vector Min(Vector a, Vector b) { return a < b ? a : b; }
Vector Max(Vector a, Vector b) { return a > b ? a : b; }

// The median of a, b and a + b - c. `up` is max(b - c, 0) and `down` max(c - b, 0), of
// which one is 0: a + up - down is held within 0..255 where the clamp between a and b
// would cut it off anyway.
Vector MedianEdge(Vector a, Vector b, Vector up, Vector down) {
  const Vector raised = a + Min(up, ~a);
  const Vector gradient = Max(raised, down) - down;
  return Max(Min(a, b), Min(Max(a, b), gradient));
}

std::uint8_t MedianEdge(int a, int b, int c) {
  const int least = std::min(a, b);
  const int most = std::max(a, b);
  return static_cast<std::uint8_t>(std::clamp(a + b - c, least, most));
}

// ---- Predicting.

// `above` is the row over it, null for the first one.
void PredictRow(const std::uint8_t* row, const std::uint8_t* above, std::size_t width,
                std::uint8_t* out) {
  if (above == nullptr) {
    out[0] = row[0];
    for (std::size_t x = 1; x < width; ++x) out[x] = static_cast<std::uint8_t>(row[x] - row[x - 1]);
    return;
  }
  out[0] = static_cast<std::uint8_t>(row[0] - above[0]);
  if (width <= kLanes) {
    for (std::size_t x = 1; x < width; ++x) {
      out[x] = static_cast<std::uint8_t>(row[x] - MedianEdge(row[x - 1], above[x], above[x - 1]));
    }
    return;
  }
  for (std::size_t next = 1; next < width; next += kLanes) {
    const std::size_t x = std::min(next, width - kLanes);  // The last ones may overlap.
    const Vector b = Load(above + x);
    const Vector c = Load(above + x - 1);
    const Vector most = Max(b, c);
    Store(Load(row + x) - MedianEdge(Load(row + x - 1), b, most - c, most - b), out + x);
  }
}

void PredictPlane(const std::uint8_t* plane, const ChunkLayout& layout, std::uint8_t* out) {
  const std::size_t width = layout.width;
  for (std::size_t y = 0; y < layout.height; ++y) {
    PredictRow(plane + y * width, y == 0 ? nullptr : plane + (y - 1) * width, width,
               out + y * width);
  }
}

// Differences of colours lie around 0; half of the range is added so that they do not
// wrap where they change sign.
constexpr int kColourOffset = 128;

// The planes of one picture, one behind the other, less green if `colours`.
void SplitPlanes(const std::uint8_t* picture, const ChunkLayout& layout, bool colours,
                 std::uint8_t* planes) {
  const std::size_t size = layout.plane_bytes();
  const std::size_t channels = layout.channels;
  if (layout.planar || channels == 1) {
    std::copy_n(picture, size * channels, planes);
  } else {
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t c = 0; c < channels; ++c) planes[c * size + i] = picture[i * channels + c];
    }
  }
  if (!colours) return;
  const std::uint8_t* green = planes + size;
  for (std::uint8_t* plane : {planes, planes + 2 * size}) {
    for (std::size_t i = 0; i < size; ++i) {
      plane[i] = static_cast<std::uint8_t>(plane[i] - green[i] + kColourOffset);
    }
  }
}

// ---- Restoring.

Vector ZipLow(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
Vector ZipHigh(Vector a, Vector b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
}

// Rows become columns: four rounds, each of which zips the first half to the second.
void Transpose(Tile* tile) {
  for (int round = 0; round < 4; ++round) {
    Tile zipped;
    for (std::size_t i = 0; i < kLanes / 2; ++i) {
      zipped[2 * i] = ZipLow((*tile)[i], (*tile)[i + kLanes / 2]);
      zipped[2 * i + 1] = ZipHigh((*tile)[i], (*tile)[i + kLanes / 2]);
    }
    *tile = zipped;
  }
}

// Up to sixteen planes that are restored side by side.
class PlaneGroup {
 public:
  PlaneGroup(const ChunkLayout& layout, std::vector<Vector>* above)
      : width_(layout.width), height_(layout.height), above_(above->data()) {}

  void Add(const std::uint8_t* residuals, std::uint8_t* plane) {
    residuals_[count_] = residuals;
    planes_[count_++] = plane;
  }
  bool full() const { return count_ == kLanes; }

  void Restore() {
    for (std::size_t y = 0; y < height_; ++y) {
      Vector left{};
      Vector above_left{};
      for (std::size_t x = 0; x < width_; x += kLanes) {
        const std::size_t count = std::min(kLanes, width_ - x);
        Tile tile = LoadTile(y * width_ + x, count);
        Transpose(&tile);
        if (y == 0) {
          RestoreFirst(x, count, &tile, &left);
        } else {
          RestoreColumns(x, count, &tile, &left, &above_left);
        }
        Transpose(&tile);
        StoreTile(tile, y * width_ + x, count);
      }
    }
    count_ = 0;
  }

 private:
  Tile LoadTile(std::size_t offset, std::size_t count) const {
    Tile tile{};
    if (count == kLanes) {
      for (std::size_t lane = 0; lane < count_; ++lane) {
        tile[lane] = Load(residuals_[lane] + offset);
      }
    } else {
      for (std::size_t lane = 0; lane < count_; ++lane) {
        std::memcpy(&tile[lane], residuals_[lane] + offset, count);
      }
    }
    return tile;
  }

  void StoreTile(const Tile& tile, std::size_t offset, std::size_t count) const {
    if (count == kLanes) {
      for (std::size_t lane = 0; lane < count_; ++lane) Store(tile[lane], planes_[lane] + offset);
    } else {
      for (std::size_t lane = 0; lane < count_; ++lane) {
        std::memcpy(planes_[lane] + offset, &tile[lane], count);
      }
    }
  }

  void RestoreFirst(std::size_t x, std::size_t count, Tile* tile, Vector* left) {
    for (std::size_t k = 0; k < count; ++k) {
      *left += (*tile)[k];
      (*tile)[k] = *left;
      above_[x + k] = *left;
    }
  }

  void RestoreColumns(std::size_t x, std::size_t count, Tile* tile, Vector* left,
                      Vector* above_left) {
    Vector a = *left;
    Vector c = *above_left;
    for (std::size_t k = 0; k < count; ++k) {
      const Vector b = above_[x + k];
      const Vector most = Max(b, c);
      const Vector predicted = x + k == 0 ? b : MedianEdge(a, b, most - c, most - b);
      a = predicted + (*tile)[k];
      (*tile)[k] = a;
      above_[x + k] = a;
      c = b;
    }
    *left = a;
    *above_left = c;
  }

  std::size_t width_;
  std::size_t height_;
  Vector* above_;  // The row above, a vector a column.
  std::size_t count_ = 0;
  std::array<const std::uint8_t*, kLanes> residuals_{};
  std::array<std::uint8_t*, kLanes> planes_{};
};

void AddGreen(const std::uint8_t* planes[3], std::size_t size, std::uint8_t* picture) {
  for (std::size_t i = 0; i < size; ++i) {
    const std::uint8_t green = planes[1][i];
    picture[3 * i] = static_cast<std::uint8_t>(planes[0][i] + green - kColourOffset);
    picture[3 * i + 1] = green;
    picture[3 * i + 2] = static_cast<std::uint8_t>(planes[2][i] + green - kColourOffset);
  }
}

// Planar pictures were restored in place.
void AddGreenPlanar(std::uint8_t* picture, std::size_t size) {
  const std::uint8_t* green = picture + size;
  for (std::uint8_t* plane : {picture, picture + 2 * size}) {
    for (std::size_t i = 0; i < size; ++i) {
      plane[i] = static_cast<std::uint8_t>(plane[i] + green[i] - kColourOffset);
    }
  }
}

const std::uint8_t* Octets(const std::byte* bytes) {
  return reinterpret_cast<const std::uint8_t*>(bytes);
}
std::uint8_t* Octets(std::byte* bytes) { return reinterpret_cast<std::uint8_t*>(bytes); }

}  // namespace

void PredictPictures(ByteSpan raw, const ChunkLayout& layout, bool colours, std::byte* residuals) {
  DNC_ASSERT(layout.is_picture() && (!colours || HasColours(layout)));
  const std::size_t size = layout.plane_bytes();
  const std::size_t channels = layout.channels;
  const std::size_t count = raw.size() / (size * channels);
  DNC_ASSERT(raw.size() == count * size * channels);
  std::vector<std::uint8_t> planes(size * channels);
  for (std::size_t i = 0; i < count; ++i) {
    SplitPlanes(Octets(raw.data()) + i * size * channels, layout, colours, planes.data());
    for (std::size_t c = 0; c < channels; ++c) {
      PredictPlane(planes.data() + c * size, layout, Octets(residuals) + (c * count + i) * size);
    }
  }
}

void RestorePictures(ByteSpan residuals, const ChunkLayout& layout, bool colours, Bytes* scratch,
                     std::span<std::byte> raw) {
  DNC_ASSERT(layout.is_picture() && (!colours || HasColours(layout)));
  DNC_ASSERT(residuals.size() == raw.size());
  const std::size_t size = layout.plane_bytes();
  const std::size_t channels = layout.channels;
  const std::size_t count = raw.size() / (size * channels);
  DNC_ASSERT(raw.size() == count * size * channels);
  // Interleaved pictures are put together from planes that lie like the residuals.
  const bool in_place = layout.planar || channels == 1;
  if (!in_place && scratch->size() < raw.size()) scratch->resize(raw.size());
  std::uint8_t* const planes = in_place ? Octets(raw.data()) : Octets(scratch->data());

  std::vector<Vector> above(layout.width);
  PlaneGroup group(layout, &above);
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = in_place ? i * channels + c : c * count + i;
      group.Add(Octets(residuals.data()) + (c * count + i) * size, planes + place * size);
      if (group.full()) group.Restore();
    }
  }
  group.Restore();

  for (std::size_t i = 0; i < count; ++i) {
    std::uint8_t* picture = Octets(raw.data()) + i * size * channels;
    if (in_place) {
      if (colours) AddGreenPlanar(picture, size);
    } else if (colours) {
      const std::uint8_t* parts[3] = {planes + i * size, planes + (count + i) * size,
                                      planes + (2 * count + i) * size};
      AddGreen(parts, size, picture);
    } else {
      for (std::size_t p = 0; p < size; ++p) {
        for (std::size_t c = 0; c < channels; ++c) {
          picture[p * channels + c] = planes[(c * count + i) * size + p];
        }
      }
    }
  }
}

}  // namespace dnc::shard
