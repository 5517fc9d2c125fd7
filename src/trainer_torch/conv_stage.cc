// Convolutions with the maximum pooling behind them: an image is computed in rows that
// stay in the cache, and only what pooling leaves is kept for the backward pass.

#include <omp.h>

#include <algorithm>
#include <vector>

#include "base/assert.h"
#include "trainer_torch/conv_kernels.h"
#include "trainer_torch/stage.h"

namespace dnc::trainer_torch {

namespace {

using model::Activation;
using model::Layer;
using model::LayerKind;
using model::Padding;

// Weights that stay in the nearest cache while a row is computed.
constexpr std::int64_t kWeightCountMax = 24 << 10 >> 2;

struct Size {
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
  std::int64_t count() const { return height * width * channels; }
  std::int64_t row() const { return width * channels; }
};

Size SizeOf(const array::Shape& shape) { return {shape[0], shape[1], shape[2]}; }

class ConvStage final : public Stage {
 public:
  ConvStage(const model::Model& model, const Layer& conv, const Layer& before, const Layer* pool,
            bool gives_input_gradient, const ConvKernels* kernels, const float* weights)
      : kernels_(kernels),
        input_(SizeOf(before.output_shape)),
        sums_(SizeOf(conv.output_shape)),
        output_(pool == nullptr ? sums_ : SizeOf(pool->output_shape)),
        kernel_height_(conv.kernel_size[0]),
        kernel_width_(conv.kernel_size[1]),
        kernel_index_(conv.first_weight),
        bias_index_(conv.use_bias ? conv.first_weight + 1 : -1),
        kernel_{weights + model.weights[static_cast<std::size_t>(kernel_index_)].offset} {
    if (bias_index_ >= 0) {
      bias_ = weights + model.weights[static_cast<std::size_t>(bias_index_)].offset;
    }
    padded_ = {sums_.height + kernel_height_ - 1, sums_.width + kernel_width_ - 1, input_.channels};
    // The smaller half of the padding comes first, as in TensorFlow.
    top_ = (padded_.height - input_.height) / 2;
    left_ = (padded_.width - input_.width) / 2;
    pool_ = {.channels = sums_.channels,
             .window_height = pool == nullptr ? 1 : pool->kernel_size[0],
             .window_width = pool == nullptr ? 1 : pool->kernel_size[1],
             .outputs = output_.width,
             .row_stride = sums_.row(),
             .relu = conv.activation == Activation::kRelu};
    // All rows with a border where they are convolved again, else those of one row of windows.
    spread_ = sums_;
    if (gives_input_gradient) {
      spread_.height += 2 * (kernel_height_ - 1);
      spread_.width += 2 * (kernel_width_ - 1);
    } else {
      spread_.height = pool_.window_height;
    }
  }

  void Reserve(std::int64_t samples) override {
    places_.resize(static_cast<std::size_t>(samples * output_.count()));
  }

  void Forward(const Pass& pass, const float* input, float* output) override {
    MakeWorkspaces(pass);
    ForSamples(pass, [&](std::int64_t sample, Workspace* work) {
      ForwardOne(Padded(input + sample * input_.count(), work), output + sample * output_.count(),
                 places_.data() + sample * output_.count(), work);
    });
  }

  void Backward(const Pass& pass, const float* input, const float* output, float* gradient,
                float* input_gradient, WeightUpdates* updates) override {
    const bool trains = updates->trains(kernel_index_);
    if (input_gradient != nullptr) TurnKernel();
    MakeWorkspaces(pass);
    for (Workspace& work : workspaces_) {
      work.kernel_gradient.assign(static_cast<std::size_t>(KernelCount()), 0.0f);
      work.bias_gradient.assign(static_cast<std::size_t>(sums_.channels), 0.0f);
    }
    ForSamples(pass, [&](std::int64_t sample, Workspace* work) {
      const float* const image = trains ? Padded(input + sample * input_.count(), work) : nullptr;
      float* const image_gradient =
          input_gradient == nullptr ? nullptr : input_gradient + sample * input_.count();
      const std::int64_t first = sample * output_.count();
      BackwardOne(image, output + first, places_.data() + first, gradient + first, image_gradient,
                  work);
    });
    if (trains) {
      Gather(&Workspace::kernel_gradient, updates->GradientOf(kernel_index_));
      updates->Apply(kernel_index_);
    }
    if (bias_index_ >= 0 && updates->trains(bias_index_)) {
      Gather(&Workspace::bias_gradient, updates->GradientOf(bias_index_));
      updates->Apply(bias_index_);
    }
  }

 private:
  // Of one thread.
  struct Workspace {
    std::vector<float> padded;  // The image with its border of zeros.
    std::vector<float> rows;    // Of sums, as many as one row of windows has.
    std::vector<float> spread;  // The gradient by the sums, with a border of zeros.
    std::vector<float> kernel_gradient;
    std::vector<float> bias_gradient;
  };

  std::int64_t KernelRow() const { return kernel_width_ * input_.channels; }
  std::int64_t KernelCount() const { return kernel_height_ * KernelRow() * sums_.channels; }
  bool pads() const { return padded_.count() != input_.count(); }

  static int ThreadsFor(const Pass& pass) {
    return static_cast<int>(std::min<std::int64_t>(omp_get_max_threads(), pass.samples));
  }

  // Before threads work: what fails in them cannot be caught.
  void MakeWorkspaces(const Pass& pass) {
    workspaces_.resize(static_cast<std::size_t>(ThreadsFor(pass)));
    for (Workspace& work : workspaces_) {
      if (pads()) work.padded.resize(static_cast<std::size_t>(padded_.count()));
      work.rows.resize(static_cast<std::size_t>(pool_.window_height * sums_.row()));
      if (pass.training) work.spread.resize(static_cast<std::size_t>(spread_.count()));
    }
  }

  // Calls body(sample, workspace). Each thread has one run of samples, the same each time,
  // so that sums over samples are of the same bits.
  template <typename Body>
  void ForSamples(const Pass& pass, const Body& body) {
    const int threads = static_cast<int>(workspaces_.size());
#pragma omp parallel num_threads(threads)
    {
      const int thread = omp_get_thread_num();
      DNC_ASSERT(omp_get_num_threads() == threads);
      const std::int64_t end = (thread + 1) * pass.samples / threads;
      for (std::int64_t sample = thread * pass.samples / threads; sample < end; ++sample) {
        body(sample, &workspaces_[static_cast<std::size_t>(thread)]);
      }
    }
  }

  const float* Padded(const float* image, Workspace* work) const {
    if (!pads()) return image;
    for (std::int64_t y = 0; y < input_.height; ++y) {
      std::copy_n(image + y * input_.row(), input_.row(),
                  work->padded.data() + (y + top_) * padded_.row() + left_ * input_.channels);
    }
    return work->padded.data();
  }

  // c = start + windows * kernel, over a row of `count` windows, in parts of the kernel that
  // the cache holds. The windows are kernel_height_ by kernel_width_ of `channels`.
  void MultiplyRow(const float* windows, std::int64_t row_stride, std::int64_t channels,
                   const float* kernel, std::int64_t columns, const float* start,
                   std::int64_t count, float* c) const {
    const std::int64_t depth = kernel_width_ * channels;
    const std::int64_t rows_max = std::max<std::int64_t>(kWeightCountMax / (depth * columns), 1);
    for (std::int64_t row = 0; row < kernel_height_; row += rows_max) {
      kernels_->multiply({.count = count,
                          .columns = columns,
                          .rows = std::min(rows_max, kernel_height_ - row),
                          .depth = depth,
                          .a = windows + row * row_stride,
                          .a_step = channels,
                          .a_row = row_stride,
                          .a_inner = 1,
                          .b = kernel + row * depth * columns,
                          .start = row == 0 ? start : c,
                          .start_step = row == 0 ? 0 : columns,
                          .c = c});
    }
  }

  void ForwardOne(const float* image, float* output, std::uint8_t* places, Workspace* work) const {
    for (std::int64_t y = 0; y < output_.height; ++y) {
      for (std::int64_t row = 0; row < pool_.window_height; ++row) {
        MultiplyRow(image + (y * pool_.window_height + row) * padded_.row(), padded_.row(),
                    input_.channels, kernel_, sums_.channels, bias_, sums_.width,
                    work->rows.data() + row * sums_.row());
      }
      kernels_->pool(pool_, work->rows.data(), output + y * output_.row(),
                     places + y * output_.row());
    }
  }

  // `image` is null where the kernel is not trained, `image_gradient` where nobody wants it.
  void BackwardOne(const float* image, const float* output, const std::uint8_t* places,
                   const float* gradient, float* image_gradient, Workspace* work) const {
    const bool whole = image_gradient != nullptr;
    float* const first =
        work->spread.data() +
        (whole ? (kernel_height_ - 1) * spread_.row() + (kernel_width_ - 1) * sums_.channels : 0);
    PoolShape pool = pool_;
    pool.row_stride = spread_.row();
    for (std::int64_t y = 0; y < output_.height; ++y) {
      float* const rows = first + (whole ? y * pool_.window_height * spread_.row() : 0);
      const std::int64_t at = y * output_.row();
      kernels_->unpool(pool, output + at, places + at, gradient + at, rows,
                       work->bias_gradient.data());
      for (std::int64_t row = 0; image != nullptr && row < pool_.window_height; ++row) {
        AddKernelGradient(image + (y * pool_.window_height + row) * padded_.row(),
                          rows + row * spread_.row(), work);
      }
    }
    for (std::int64_t y = 0; whole && y < input_.height; ++y) {
      MultiplyRow(work->spread.data() + (y + top_) * spread_.row() + left_ * spread_.channels,
                  spread_.row(), spread_.channels, turned_.data(), input_.channels, nullptr,
                  input_.width, image_gradient + y * input_.row());
    }
  }

  // Of one row of sums: each element of the kernel is multiplied by what it met there.
  void AddKernelGradient(const float* windows, const float* gradient, Workspace* work) const {
    for (std::int64_t row = 0; row < kernel_height_; ++row) {
      float* const c = work->kernel_gradient.data() + row * KernelRow() * sums_.channels;
      kernels_->multiply({.count = KernelRow(),
                          .columns = sums_.channels,
                          .rows = 1,
                          // What hangs over the last window gets no gradient.
                          .depth = pool_.outputs * pool_.window_width,
                          .a = windows + row * padded_.row(),
                          .a_step = 1,
                          .a_row = 0,
                          .a_inner = input_.channels,
                          .b = gradient,
                          .start = c,
                          .start_step = sums_.channels,
                          .c = c});
    }
  }

  // The kernel that convolves gradients: turned by half a turn, its channels exchanged.
  void TurnKernel() {
    turned_.resize(static_cast<std::size_t>(KernelCount()));
    const std::int64_t positions = kernel_height_ * kernel_width_;
    for (std::int64_t position = 0; position < positions; ++position) {
      const float* const from = kernel_ + position * input_.channels * sums_.channels;
      float* const to =
          turned_.data() + (positions - 1 - position) * input_.channels * sums_.channels;
      for (std::int64_t in = 0; in < input_.channels; ++in) {
        for (std::int64_t out = 0; out < sums_.channels; ++out) {
          to[out * input_.channels + in] = from[in * sums_.channels + out];
        }
      }
    }
  }

  // The threads' parts, in their order.
  void Gather(std::vector<float> Workspace::*part, float* sum) const {
    const std::size_t count = (workspaces_[0].*part).size();
    std::fill_n(sum, count, 0.0f);
    for (const Workspace& work : workspaces_) {
      const float* const values = (work.*part).data();
      for (std::size_t i = 0; i < count; ++i) sum[i] += values[i];
    }
  }

  const ConvKernels* kernels_;
  Size input_;
  Size padded_;
  Size sums_;    // What the convolution gives,
  Size output_;  // and what pooling leaves.
  Size spread_;  // Of Workspace::spread.
  std::int64_t kernel_height_;
  std::int64_t kernel_width_;
  std::int64_t top_;  // Of the border.
  std::int64_t left_;
  int kernel_index_;
  int bias_index_;
  const float* kernel_;
  const float* bias_ = nullptr;
  PoolShape pool_;
  std::vector<float> turned_;
  std::vector<std::uint8_t> places_;  // Of the batch's outputs.
  std::vector<Workspace> workspaces_;
};

bool AllAre(const array::Shape& values, std::int64_t wanted) {
  return std::all_of(values.begin(), values.end(), [&](auto value) { return value == wanted; });
}

bool TakesConv(const Layer& conv, const Layer& before) {
  return conv.kind == LayerKind::kConv && conv.rank == 2 && conv.channels_last &&
         conv.groups == 1 && AllAre(conv.strides, 1) && AllAre(conv.dilation_rate, 1) &&
         conv.padding != Padding::kCausal && conv.filters % kChannelBlock == 0 &&
         (conv.activation == Activation::kRelu || conv.activation == Activation::kLinear) &&
         before.output_shape.size() == 3;
}

}  // namespace

bool IsPoolingOf(const Layer& pool, const Layer& conv) {
  if (pool.kind != LayerKind::kMaxPooling || pool.rank != 2 || !pool.channels_last ||
      pool.strides != pool.kernel_size || pool.kernel_size[0] * pool.kernel_size[1] > 256) {
    return false;
  }
  // With padding "same" the last windows may hang over the end.
  return pool.padding == Padding::kValid || (conv.output_shape[0] % pool.kernel_size[0] == 0 &&
                                             conv.output_shape[1] % pool.kernel_size[1] == 0);
}

std::unique_ptr<Stage> MakeConvStage(const model::Model& model, const Layer& conv,
                                     const Layer& before, const Layer* pool,
                                     bool gives_input_gradient, const float* weights) {
  const ConvKernels* const kernels = FindConvKernels();
  if (kernels == nullptr || !TakesConv(conv, before)) return nullptr;
  if (gives_input_gradient && before.output_shape[2] % kChannelBlock != 0) return nullptr;
  return std::make_unique<ConvStage>(model, conv, before, pool, gives_input_gradient, kernels,
                                     weights);
}

}  // namespace dnc::trainer_torch
