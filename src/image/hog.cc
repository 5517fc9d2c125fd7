// As scikit-image computes it: central differences, the strongest channel of each
// pixel, hard assignment to orientation bins and cells, overlapping blocks. Sums
// and square roots are of the same exact integers; only their rounding differs.
//
// A pixel whose orientation lies on the border of two bins must fall on the side
// on which scikit-image puts it: one vote in another bin is an error far above
// 1e-4. So orientations are its formula in double precision; for uint8, whose
// gradients are pairs of integers, they come from a table. The same holds where two
// channels have equally strong gradients: there the C library's hypot decides,
// whose last bit is not always that of the exact root.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "base/assert.h"
#include "image/features.h"

namespace dnc::image {
namespace {

constexpr int kGradientMax = 255;
constexpr int kTableSide = 2 * kGradientMax + 1;
constexpr std::size_t kRowsHeld = 3;
constexpr double kEpsilon = 1e-5;  // Of the block norms.

// The bin of a gradient's direction, or `orientations` for none (an angle that
// rounds to 180 degrees).
std::uint8_t BinOf(double row, double column, std::uint32_t orientations) {
  double angle = std::atan2(row, column) * (180.0 / std::numbers::pi);
  angle = std::fmod(angle, 180.0);
  if (angle < 0) angle += 180.0;
  const double width = 180.0 / orientations;
  auto bin = static_cast<std::uint32_t>(angle / width);
  while (bin > 0 && angle < width * bin) --bin;
  while (bin < orientations && angle >= width * (bin + 1)) ++bin;
  return static_cast<std::uint8_t>(bin);
}

// One channel of a row and of those that its vertical gradient is of.
struct Rows {
  const std::uint8_t* above;
  const std::uint8_t* row;
  const std::uint8_t* below;
};

// The gradients of a row, pixel by pixel.
struct Gradients {
  explicit Gradients(std::size_t width) : rows(width), columns(width), squares(width) {}

  std::vector<std::int32_t> rows;
  std::vector<std::int32_t> columns;
  std::vector<std::int32_t> squares;  // Of the magnitude.
};

// The loops of these become vectors: simple ones, over arrays that don't overlap.
// They are compiled once for every processor and once for those with vectors of
// eight.
#define DNC_INLINE inline __attribute__((always_inline))

DNC_INLINE void Differentiate(const std::uint8_t* __restrict above,
                              const std::uint8_t* __restrict row,
                              const std::uint8_t* __restrict below, std::size_t width,
                              std::int32_t* __restrict rows, std::int32_t* __restrict columns,
                              std::int32_t* __restrict squares) {
  columns[0] = columns[width - 1] = 0;
  for (std::size_t x = 1; x + 1 < width; ++x) {
    columns[x] = std::int32_t{row[x + 1]} - std::int32_t{row[x - 1]};
  }
  for (std::size_t x = 0; x < width; ++x) {
    rows[x] = std::int32_t{below[x]} - std::int32_t{above[x]};
    squares[x] = rows[x] * rows[x] + columns[x] * columns[x];
  }
}

// Takes another channel's gradients where they are stronger, and notes where two
// different ones are equally strong.
DNC_INLINE void TakeStronger(const std::int32_t* __restrict row,
                             const std::int32_t* __restrict column,
                             const std::int32_t* __restrict square, std::size_t width,
                             std::int32_t* __restrict best_row,
                             std::int32_t* __restrict best_column,
                             std::int32_t* __restrict best_square, std::int32_t* __restrict ties) {
  for (std::size_t x = 0; x < width; ++x) {
    // Of equal squares, those of the same two numbers in any order and sign have
    // the same product.
    const std::int32_t is_equal = -static_cast<std::int32_t>(square[x] == best_square[x]);
    ties[x] |= is_equal & (std::abs(row[x] * column[x]) ^ std::abs(best_row[x] * best_column[x]));
    const std::int32_t is_stronger = -static_cast<std::int32_t>(square[x] > best_square[x]);
    best_row[x] ^= (best_row[x] ^ row[x]) & is_stronger;
    best_column[x] ^= (best_column[x] ^ column[x]) & is_stronger;
    best_square[x] ^= (best_square[x] ^ square[x]) & is_stronger;
  }
}

DNC_INLINE void TakeRoots(const std::int32_t* __restrict squares, std::size_t width,
                          float* __restrict roots) {
  for (std::size_t x = 0; x < width; ++x) roots[x] = std::sqrt(static_cast<float>(squares[x]));
}

struct RowJob {
  std::vector<Rows> channels;
  Gradients strongest;
  Gradients other;
  std::vector<std::int32_t> ties;
  std::vector<float> magnitudes;
};

DNC_INLINE void RunInline(RowJob* job) {
  const std::size_t width = job->magnitudes.size();
  std::fill(job->ties.begin(), job->ties.end(), 0);
  for (std::size_t c = 0; c < job->channels.size(); ++c) {
    Gradients& to = c == 0 ? job->strongest : job->other;
    const Rows& rows = job->channels[c];
    Differentiate(rows.above, rows.row, rows.below, width, to.rows.data(), to.columns.data(),
                  to.squares.data());
    if (c == 0) continue;
    TakeStronger(to.rows.data(), to.columns.data(), to.squares.data(), width,
                 job->strongest.rows.data(), job->strongest.columns.data(),
                 job->strongest.squares.data(), job->ties.data());
  }
  TakeRoots(job->strongest.squares.data(), width, job->magnitudes.data());
}
#undef DNC_INLINE

void RunPlain(RowJob* job) { RunInline(job); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) void RunAvx2(RowJob* job) { RunInline(job); }
const bool kHasAvx2 = __builtin_cpu_supports("avx2") != 0;
#endif

void Run(RowJob* job) {
#if defined(__x86_64__)
  if (kHasAvx2) return RunAvx2(job);
#endif
  RunPlain(job);
}

}  // namespace

struct HogExtractor::Impl {
  Impl(ImageSize image_size, int image_channels, const HogOptions& hog_options)
      : size(image_size),
        channels(static_cast<std::size_t>(image_channels)),
        options(hog_options),
        cells{size.width / options.pixels_per_cell.width,
              size.height / options.pixels_per_cell.height},
        planes(kRowsHeld * size.width * channels),
        job{std::vector<Rows>(channels), Gradients(size.width), Gradients(size.width),
            std::vector<std::int32_t>(size.width), std::vector<float>(size.width)},
        bins(size.width),
        // One bin more: for votes that count nowhere.
        histograms(std::size_t{cells.width} * cells.height * (options.orientations + 1)) {}

  std::size_t value_count() const { return std::size_t{size.width} * size.height * channels; }
  // Bins and magnitudes of the pixels of one row.
  void ReadRow(const std::uint8_t* pixels, std::size_t y);
  void ReadRow(const double* pixels, std::size_t y);
  void FillTable();
  void SplitChannels(const std::uint8_t* pixels, std::size_t y);
  Rows RowsOf(std::size_t channel, std::size_t y) const;
  void ChooseChannel(std::size_t x, std::size_t y);
  void AddVotes(std::size_t y);
  template <typename T>
  void Compute(const T* pixels, std::span<float> out);
  void NormaliseBlocks(std::span<float> out) const;
  void NormaliseBlock(std::span<float> block) const;

  ImageSize size;
  std::size_t channels;
  HogOptions options;
  ImageSize cells;
  std::vector<std::uint8_t> table;  // Bin by row and column gradient, made when needed.
  std::vector<std::uint8_t> planes;
  RowJob job;
  std::vector<std::uint8_t> bins;
  std::vector<double> histograms;
};

void HogExtractor::Impl::FillTable() {
  table.resize(std::size_t{kTableSide} * kTableSide);
  std::uint8_t* bin = table.data();
  for (int row = -kGradientMax; row <= kGradientMax; ++row) {
    for (int column = -kGradientMax; column <= kGradientMax; ++column) {
      *bin++ = BinOf(row, column, options.orientations);
    }
  }
}

// Row y as a plane for each channel, in the place of row y - 3: three are needed at
// a time.
void HogExtractor::Impl::SplitChannels(const std::uint8_t* pixels, std::size_t y) {
  const std::uint8_t* from = pixels + y * size.width * channels;
  std::uint8_t* to = planes.data() + y % kRowsHeld * size.width * channels;
  const std::size_t width = size.width;
  if (channels == 3) {
    for (std::size_t x = 0; x < width; ++x) {
      to[x] = from[3 * x];
      to[x + width] = from[3 * x + 1];
      to[x + 2 * width] = from[3 * x + 2];
    }
    return;
  }
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t x = 0; x < size.width; ++x) *to++ = from[x * channels + c];
  }
}

// The first and the last row have no vertical gradient.
Rows HogExtractor::Impl::RowsOf(std::size_t channel, std::size_t y) const {
  const auto at = [&](std::size_t row) {
    return planes.data() + (row % kRowsHeld * channels + channel) * size.width;
  };
  const bool is_inside = y > 0 && y + 1 < size.height;
  return {at(is_inside ? y - 1 : y), at(y), at(is_inside ? y + 1 : y)};
}

// Chooses again, by hypot.
void HogExtractor::Impl::ChooseChannel(std::size_t x, std::size_t y) {
  double strongest = -1;
  for (std::size_t c = 0; c < channels; ++c) {
    const Rows rows = RowsOf(c, y);
    const std::int32_t vertical = std::int32_t{rows.below[x]} - std::int32_t{rows.above[x]};
    const bool is_inside = x > 0 && x + 1 < size.width;
    const std::int32_t column =
        is_inside ? std::int32_t{rows.row[x + 1]} - std::int32_t{rows.row[x - 1]} : 0;
    const double magnitude = std::hypot(vertical, column);
    if (magnitude <= strongest) continue;
    strongest = magnitude;
    job.strongest.rows[x] = vertical;
    job.strongest.columns[x] = column;
  }
}

void HogExtractor::Impl::ReadRow(const std::uint8_t* pixels, std::size_t y) {
  if (table.empty()) FillTable();
  if (y == 0) SplitChannels(pixels, 0);
  if (y + 1 < size.height) SplitChannels(pixels, y + 1);
  for (std::size_t c = 0; c < channels; ++c) job.channels[c] = RowsOf(c, y);
  Run(&job);
  for (std::size_t x = 0; x < size.width; ++x) {
    if (job.ties[x] != 0) ChooseChannel(x, y);
  }
  for (std::size_t x = 0; x < size.width; ++x) {
    bins[x] = table[static_cast<std::size_t>((job.strongest.rows[x] + kGradientMax) * kTableSide +
                                             job.strongest.columns[x] + kGradientMax)];
  }
}

void HogExtractor::Impl::ReadRow(const double* pixels, std::size_t y) {
  const std::size_t row_values = size.width * channels;
  const double* row = pixels + y * row_values;
  const bool has_rows = y > 0 && y + 1 < size.height;
  for (std::size_t x = 0; x < size.width; ++x) {
    const bool has_columns = x > 0 && x + 1 < size.width;
    double strongest = -1;
    double best_row = 0;
    double best_column = 0;
    for (std::size_t i = x * channels; i < (x + 1) * channels; ++i) {
      const double vertical = has_rows ? row[i + row_values] - *(row + i - row_values) : 0;
      const double column = has_columns ? row[i + channels] - row[i - channels] : 0;
      const double magnitude = std::hypot(vertical, column);
      if (!(magnitude > strongest)) continue;
      strongest = magnitude;
      best_row = vertical;
      best_column = column;
    }
    // Without a strongest one they are not numbers, and neither is what comes of them.
    job.magnitudes[x] =
        strongest < 0 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(strongest);
    bins[x] = BinOf(best_row, best_column, options.orientations);
  }
}

void HogExtractor::Impl::AddVotes(std::size_t y) {
  const std::size_t cell_width = options.pixels_per_cell.width;
  const std::size_t stride = options.orientations + 1;
  double* histogram = histograms.data() + y / options.pixels_per_cell.height * cells.width * stride;
  const std::uint8_t* bin = bins.data();
  const float* magnitude = job.magnitudes.data();
  for (std::size_t cell = 0; cell < cells.width; ++cell, histogram += stride) {
    for (std::size_t i = 0; i < cell_width; ++i) histogram[*bin++] += *magnitude++;
  }
}

template <typename T>
void HogExtractor::Impl::Compute(const T* pixels, std::span<float> out) {
  std::fill(histograms.begin(), histograms.end(), 0);
  const std::size_t rows = std::size_t{cells.height} * options.pixels_per_cell.height;
  for (std::size_t y = 0; y < rows; ++y) {
    ReadRow(pixels, y);
    AddVotes(y);
  }
  const double area =
      static_cast<double>(options.pixels_per_cell.width) * options.pixels_per_cell.height;
  for (double& value : histograms) value /= area;
  NormaliseBlocks(out);
}

void HogExtractor::Impl::NormaliseBlocks(std::span<float> out) const {
  const ImageSize block = options.cells_per_block;
  const std::size_t orientations = options.orientations;
  const std::size_t block_values = orientations * block.width * block.height;
  std::size_t at = 0;
  for (std::size_t y = 0; y + block.height <= cells.height; ++y) {
    for (std::size_t x = 0; x + block.width <= cells.width; ++x) {
      float* value = out.data() + at;
      for (std::size_t cell_y = y; cell_y < y + block.height; ++cell_y) {
        for (std::size_t cell_x = x; cell_x < x + block.width; ++cell_x) {
          const double* histogram =
              histograms.data() + (cell_y * cells.width + cell_x) * (orientations + 1);
          for (std::size_t o = 0; o < orientations; ++o) {
            *value++ = static_cast<float>(histogram[o]);
          }
        }
      }
      NormaliseBlock(out.subspan(at, block_values));
      at += block_values;
    }
  }
}

namespace {

// Sums in eight lanes, so that the compiler may use vectors: in one fixed order.
template <typename Term>
double Sum(std::span<const float> values, Term term) {
  constexpr std::size_t kLanes = 8;
  std::array<float, kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) sums[lane] += term(values[i + lane]);
  }
  double sum = 0;
  for (const float lane : sums) sum += lane;
  for (; i < values.size(); ++i) sum += term(values[i]);
  return sum;
}

double SquareSum(std::span<const float> values) {
  return Sum(values, [](float value) { return value * value; });
}

void Scale(std::span<float> values, double factor) {
  const auto scale = static_cast<float>(factor);
  for (float& value : values) value *= scale;
}

}  // namespace

void HogExtractor::Impl::NormaliseBlock(std::span<float> block) const {
  switch (options.block_norm) {
    case BlockNorm::kL1:
    case BlockNorm::kL1Sqrt:
      Scale(block, 1 / (Sum(block, [](float value) { return value; }) + kEpsilon));
      if (options.block_norm == BlockNorm::kL1Sqrt) {
        for (float& value : block) value = std::sqrt(value);
      }
      return;
    case BlockNorm::kL2:
      return Scale(block, 1 / std::sqrt(SquareSum(block) + kEpsilon * kEpsilon));
    case BlockNorm::kL2Hys:
      Scale(block, 1 / std::sqrt(SquareSum(block) + kEpsilon * kEpsilon));
      for (float& value : block) value = std::min(value, 0.2f);
      return Scale(block, 1 / std::sqrt(SquareSum(block) + kEpsilon * kEpsilon));
  }
}

HogExtractor::HogExtractor(ImageSize size, int channels, const HogOptions& options) {
  DNC_ASSERT(channels > 0 && HogLength(size, options).ok());
  impl_ = std::make_unique<Impl>(size, channels, options);
}
HogExtractor::~HogExtractor() = default;
HogExtractor::HogExtractor(HogExtractor&&) noexcept = default;

void HogExtractor::Compute(ByteSpan pixels, std::span<float> out) {
  DNC_ASSERT(pixels.size() == impl_->value_count());
  DNC_ASSERT(out.size() == *HogLength(impl_->size, impl_->options));
  if (!impl_->options.transform_sqrt) {
    impl_->Compute(reinterpret_cast<const std::uint8_t*>(pixels.data()), out);
    return;
  }
  std::vector<double> roots(pixels.size());
  std::transform(pixels.begin(), pixels.end(), roots.begin(),
                 [](std::byte pixel) { return std::sqrt(static_cast<double>(pixel)); });
  impl_->Compute(roots.data(), out);
}

void HogExtractor::Compute(std::span<const double> pixels, std::span<float> out) {
  DNC_ASSERT(pixels.size() == impl_->value_count());
  DNC_ASSERT(out.size() == *HogLength(impl_->size, impl_->options));
  if (!impl_->options.transform_sqrt) return impl_->Compute(pixels.data(), out);
  std::vector<double> roots(pixels.size());
  std::transform(pixels.begin(), pixels.end(), roots.begin(),
                 [](double pixel) { return std::sqrt(pixel); });
  impl_->Compute(roots.data(), out);
}

}  // namespace dnc::image
