// A separable resize: each row of the result is first a weighted sum of source rows
// (all columns, in vectors), then each of its pixels a weighted sum along that row.
// Additions and multiplications of floats in one fixed order, never fused, so that
// every processor gives the same bytes.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/assert.h"
#include "image/features.h"

namespace dnc::image {
namespace {

// Which source positions make each position of the result along one axis, and how
// much: position i is made of `taps` positions from first[i] on, with the weights
// from taps * i on. The number is the same for all, so that no loop over it has an
// end that the processor cannot foresee; surplus weights are 0.
struct Axis {
  std::uint32_t taps = 0;
  std::vector<std::uint32_t> first;
  std::vector<float> weights;
};

// A position of the result covers in / out positions of the source, the outer ones
// in part. Counted in units of 1 / out of a source position, so that it is exact.
Axis AreaAxis(std::uint64_t in, std::uint64_t out) {
  Axis axis;
  for (std::uint64_t i = 0; i < out; ++i) {
    const std::uint64_t last = ((i + 1) * in - 1) / out;
    axis.taps = std::max(axis.taps, static_cast<std::uint32_t>(last - i * in / out + 1));
  }
  for (std::uint64_t i = 0; i < out; ++i) {
    const std::uint64_t first = std::min(i * in / out, in - axis.taps);
    axis.first.push_back(static_cast<std::uint32_t>(first));
    for (std::uint64_t j = first; j < first + axis.taps; ++j) {
      const std::uint64_t begin = std::max(i * in, j * out);
      const std::uint64_t end = std::min((i + 1) * in, (j + 1) * out);
      const std::uint64_t overlap = end > begin ? end - begin : 0;
      axis.weights.push_back(static_cast<float>(overlap) / static_cast<float>(in));
    }
  }
  return axis;
}

// Between the centres of the two nearest positions; beyond the outermost ones, those.
Axis LinearAxis(std::uint64_t in, std::uint64_t out) {
  Axis axis;
  axis.taps = in > 1 ? 2 : 1;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  for (std::uint64_t i = 0; i < out; ++i) {
    const double centre =
        std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0, static_cast<double>(in - 1));
    const std::uint64_t first = std::min(static_cast<std::uint64_t>(centre), in - axis.taps);
    const auto fraction = static_cast<float>(centre - static_cast<double>(first));
    axis.first.push_back(static_cast<std::uint32_t>(first));
    axis.weights.push_back(1 - fraction);
    if (axis.taps == 2) axis.weights.push_back(fraction);
  }
  return axis;
}

// Vectors of the compiler: four values, since a pixel has up to three.
using Vector = float __attribute__((vector_size(16)));
using IntVector = std::int32_t __attribute__((vector_size(16)));
constexpr std::size_t kLanes = 4;

// The loops over whole rows are left to the compiler's own vectors (the build
// compiles this file with -O3), once for every processor and once for those with
// vectors of eight, which take half the time.
#define DNC_INLINE inline __attribute__((always_inline))

DNC_INLINE void SetToRow(const std::uint8_t* __restrict row, float weight, std::size_t count,
                         float* __restrict sum) {
  for (std::size_t i = 0; i < count; ++i) sum[i] = static_cast<float>(row[i]) * weight;
}
DNC_INLINE void SetToRows(const std::uint8_t* __restrict row, std::size_t row_bytes,
                          const float* __restrict weights, float* __restrict sum) {
  const std::uint8_t* const next = row + row_bytes;
  const float weight_a = weights[0];
  const float weight_b = weights[1];
  for (std::size_t i = 0; i < row_bytes; ++i) {
    sum[i] = static_cast<float>(row[i]) * weight_a + static_cast<float>(next[i]) * weight_b;
  }
}
DNC_INLINE void AddRow(const std::uint8_t* __restrict row, float weight, std::size_t count,
                       float* __restrict sum) {
  for (std::size_t i = 0; i < count; ++i) sum[i] += static_cast<float>(row[i]) * weight;
}
DNC_INLINE void NarrowRow(const std::int32_t* __restrict values, std::size_t count,
                          std::uint8_t* __restrict out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::uint8_t>(values[i]);
}

// A row of the result, before its columns are summed.
DNC_INLINE void SumRows(const std::uint8_t* row, std::size_t row_bytes, std::uint32_t taps,
                        const float* weights, float* sum) {
  if (taps == 1) return SetToRow(row, weights[0], row_bytes, sum);
  SetToRows(row, row_bytes, weights, sum);
  for (std::uint32_t t = 2; t < taps; ++t) {
    if (weights[t] != 0) AddRow(row + t * row_bytes, weights[t], row_bytes, sum);
  }
}

// Reads up to kLanes - kChannels values past the last pixel of `sum` and writes as
// many past the last one of `out`. kTaps of 0: as many as the axis has.
template <int kChannels, std::uint32_t kTaps>
DNC_INLINE void SumColumns(const float* __restrict sum, const Axis& columns,
                           std::int32_t* __restrict out) {
  const std::uint32_t taps = kTaps == 0 ? columns.taps : kTaps;
  const float* weight = columns.weights.data();
  for (const std::uint32_t first : columns.first) {
    const float* pixel = sum + std::size_t{first} * kChannels;
    Vector total = {0.5f, 0.5f, 0.5f, 0.5f};  // The conversion below cuts.
    for (std::uint32_t t = 0; t < taps; ++t, pixel += kChannels) {
      Vector values;
      std::memcpy(&values, pixel, sizeof values);
      total += values * *weight++;
    }
    const IntVector rounded = __builtin_convertvector(total, IntVector);
    std::memcpy(out, &rounded, sizeof rounded);
    out += kChannels;
  }
}

struct Job {
  const std::uint8_t* in = nullptr;
  std::uint8_t* out = nullptr;
  std::size_t in_row_bytes = 0;
  std::size_t out_row_bytes = 0;
  Axis rows;
  Axis columns;
  std::vector<float> sum;         // A row of the result as wide as the source.
  std::vector<std::int32_t> row;  // One as wide as the result.
};

template <int kChannels, std::uint32_t kTaps>
DNC_INLINE void RunInline(Job* job) {
  const Axis& rows = job->rows;
  for (std::size_t y = 0; y < rows.first.size(); ++y) {
    SumRows(job->in + rows.first[y] * job->in_row_bytes, job->in_row_bytes, rows.taps,
            &rows.weights[y * rows.taps], job->sum.data());
    SumColumns<kChannels, kTaps>(job->sum.data(), job->columns, job->row.data());
    NarrowRow(job->row.data(), job->out_row_bytes, job->out + y * job->out_row_bytes);
  }
}
#undef DNC_INLINE

template <int kChannels, std::uint32_t kTaps>
void RunPlain(Job* job) {
  RunInline<kChannels, kTaps>(job);
}

#if defined(__x86_64__)
template <int kChannels, std::uint32_t kTaps>
__attribute__((target("avx2"))) void RunAvx2(Job* job) {
  RunInline<kChannels, kTaps>(job);
}
const bool kHasAvx2 = __builtin_cpu_supports("avx2") != 0;
#endif

template <int kChannels, std::uint32_t kTaps>
void Run(Job* job) {
#if defined(__x86_64__)
  if (kHasAvx2) return RunAvx2<kChannels, kTaps>(job);
#endif
  RunPlain<kChannels, kTaps>(job);
}

template <int kChannels>
void RunForTaps(Job* job) {
  switch (job->columns.taps) {
    case 2:
      return Run<kChannels, 2>(job);
    case 3:
      return Run<kChannels, 3>(job);
    default:
      return Run<kChannels, 0>(job);
  }
}

}  // namespace

void Resize(ByteSpan pixels, ImageSize size, int channels, std::span<std::byte> out,
            ImageSize out_size) {
  DNC_ASSERT(channels == 1 || channels == 3);
  DNC_ASSERT(size.width > 0 && size.height > 0 && out_size.width > 0 && out_size.height > 0);
  const auto channel_count = static_cast<std::size_t>(channels);
  DNC_ASSERT(pixels.size() == channel_count * size.width * size.height);
  DNC_ASSERT(out.size() == channel_count * out_size.width * out_size.height);
  if (size == out_size) {
    std::memcpy(out.data(), pixels.data(), out.size());
    return;
  }
  const bool shrinks = size.width >= out_size.width && size.height >= out_size.height;
  const auto axis = shrinks ? AreaAxis : LinearAxis;
  Job job;
  job.in = reinterpret_cast<const std::uint8_t*>(pixels.data());
  job.out = reinterpret_cast<std::uint8_t*>(out.data());
  job.in_row_bytes = channel_count * size.width;
  job.out_row_bytes = channel_count * out_size.width;
  job.rows = axis(size.height, out_size.height);
  job.columns = axis(size.width, out_size.width);
  job.sum.resize(job.in_row_bytes + kLanes);
  job.row.resize(job.out_row_bytes + kLanes);
  channels == 3 ? RunForTaps<3>(&job) : RunForTaps<1>(&job);
}

}  // namespace dnc::image
