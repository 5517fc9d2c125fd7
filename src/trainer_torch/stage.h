// A layer, or several in one, with its backward pass written by hand: plain loops and
// matrix products over buffers that a Chain (chain.h) allocates once. Stages take
// batches of samples, each a run of floats in Keras's order.

#pragma once

#include <cstdint>
#include <memory>

#include "model/model.h"
#include "trainer_torch/weight_updates.h"

namespace dnc::trainer_torch {

struct Pass {
  std::int64_t samples = 0;
  bool training = false;
  std::uint64_t seed = 0;  // Of the stage, in this batch.
};

class Stage {
 public:
  Stage() = default;
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  virtual ~Stage() = default;

  // Makes room for the next passes of at most so many samples.
  virtual void Reserve(std::int64_t samples) { static_cast<void>(samples); }
  virtual void Forward(const Pass& pass, const float* input, float* output) = 0;
  // After Forward() of the same pass, with the same input and output. `gradient` is the
  // loss's by the output, and is spoiled. Writes the loss's by the input, where
  // `input_gradient` is not null, and updates the stage's weights.
  virtual void Backward(const Pass& pass, const float* input, const float* output, float* gradient,
                        float* input_gradient, WeightUpdates* updates) = 0;
};

// Whether ActivateRows() knows this activation.
bool TakesActivation(model::Activation activation);
// In place, of rows of `width`.
void ActivateRows(model::Activation activation, std::int64_t rows, std::int64_t width,
                  float* values);
// The gradient by what went in from that by what came out, in place.
void ActivationGradient(model::Activation activation, std::int64_t rows, std::int64_t width,
                        const float* output, float* gradient);

// A Dense layer of `rows` rows a sample, with `activation` in place of its own.
std::unique_ptr<Stage> MakeDenseStage(const model::Model& model, const model::Layer& layer,
                                      std::int64_t rows, model::Activation activation,
                                      const float* weights);
// A convolution over images, with its activation and, unless `pool` is null, the maximum
// pooling behind it. Null where there are no loops for it: see conv_kernels.h.
// Requires: IsPoolingOf(*pool, conv).
std::unique_ptr<Stage> MakeConvStage(const model::Model& model, const model::Layer& conv,
                                     const model::Layer& before, const model::Layer* pool,
                                     bool gives_input_gradient, const float* weights);
bool IsPoolingOf(const model::Layer& pool, const model::Layer& conv);
std::unique_ptr<Stage> MakeActivationStage(model::Activation activation, std::int64_t rows,
                                           std::int64_t width);
std::unique_ptr<Stage> MakeDropoutStage(double rate, std::int64_t count);
std::unique_ptr<Stage> MakeRescalingStage(double scale, double offset, std::int64_t count);

}  // namespace dnc::trainer_torch
