// Keras's update rules as libtorch operations over one flat vector of weights on any device:
// few kernels a step, whatever the number of layers. The formulas are those of optimizer.h, and
// so are the bytes of its state: what was trained on one device goes on on another, to the same
// weights but for rounding.
//
// The flat vector has an order of its own (DeviceLayout), so that the weights that are trained
// are one piece of it. Not thread-safe.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"
#include "model/optimizer_state.h"
#include "trainer_torch/optimizer.h"

namespace dnc::trainer_torch {

// Where each tensor of a model lies in the flat vector: those that are trained first, each at a
// multiple of 256 bytes, as GPUs' matrix products want it. What lies between them is 0.
class DeviceLayout {
 public:
  // `trained` has an element for each of `weights`.
  DeviceLayout(const std::vector<model::WeightSpec>& weights, const std::vector<bool>& trained);

  std::int64_t size() const { return size_; }  // Of the flat vector.
  std::size_t tensor_count() const { return places_.size(); }
  std::int64_t offset(std::size_t weight) const { return places_[weight].offset; }
  std::int64_t count(std::size_t weight) const { return places_[weight].count; }
  // All tensors, by where they lie.
  const std::vector<std::size_t>& order() const { return order_; }

  // A flat vector on `device` with these values, which are in Keras's order; and back.
  at::Tensor Place(std::span<const float> values, at::Device device) const;
  void Take(const at::Tensor& flat, std::span<float> values) const;

 private:
  struct PlaceOf {
    std::uint64_t keras_offset = 0;
    std::int64_t offset = 0;
    std::int64_t count = 0;
  };
  std::vector<PlaceOf> places_;
  std::vector<std::size_t> order_;
  std::int64_t size_ = 0;
};

class DeviceOptimizer {
 public:
  // The initial state. `weight_count` is the model's.
  DeviceOptimizer(const model::Optimizer& optimizer, std::uint64_t weight_count,
                  DeviceLayout layout, at::Device device);

  // One step of the weights whose gradient is defined, with clipping; others, and what the
  // optimizer keeps of them, do not change. `gradients` has an element for each tensor of the
  // model, of its size. Does not wait for the device.
  void Step(const at::Tensor& weights, std::span<const at::Tensor> gradients);

  void Reset();
  // As OptimizerState's. Both wait for the device.
  Bytes Save() const;
  Status Load(ByteSpan bytes);

 private:
  // A piece of the flat vectors without a gap, with whole tensors.
  struct Run {
    std::int64_t begin = 0;
    std::int64_t count = 0;
  };
  // Gathers the gradients into gradient_.
  std::vector<Run> Gather(std::span<const at::Tensor> gradients);
  void Clip(const std::vector<Run>& runs, std::span<const at::Tensor> gradients);
  void Update(const at::Tensor& weights, const Run& run, const StepRates& rates);
  void SetSlots(const model::OptimizerSlots& state);

  model::Optimizer optimizer_;
  std::uint64_t weight_count_;
  DeviceLayout layout_;
  at::Device device_;
  model::OptimizerSlots counters_;  // Without slots.
  std::vector<at::Tensor> slots_;
  at::Tensor gradient_;
  at::Tensor gap_;  // Zeros, between tensors.
};

}  // namespace dnc::trainer_torch
