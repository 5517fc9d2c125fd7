// The formulas are those of optimizer.cc, which says where they come from.

#include "trainer_torch/device_optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/assert.h"

namespace dnc::trainer_torch {

namespace {

using model::OptimizerKind;

constexpr std::int64_t kAlignment = 64;  // In floats.

// The part of each flat vector that a step works on.
struct Piece {
  at::Tensor w;
  at::Tensor g;
  std::vector<at::Tensor> slots;

  // Undefined where the optimizer has no such slot.
  at::Tensor slot(std::size_t index) const {
    return index < slots.size() ? slots[index] : at::Tensor();
  }
};

struct Numbers {
  explicit Numbers(const model::Optimizer& o)
      : momentum(static_cast<float>(o.momentum)),
        beta_1(static_cast<float>(o.beta_1)),
        beta_2(static_cast<float>(o.beta_2)),
        epsilon(static_cast<float>(o.epsilon)),
        rho(static_cast<float>(o.rho)) {}
  float share_1() const { return 1.0f - beta_1; }
  float share_2() const { return 1.0f - beta_2; }
  float momentum, beta_1, beta_2, epsilon, rho;
};

void Sgd(const Piece& piece, const model::Optimizer& optimizer, float rate) {
  const at::Tensor v = piece.slot(0);
  const float momentum = Numbers(optimizer).momentum;
  if (!v.defined()) {
    piece.w.sub_(piece.g, rate);
    return;
  }
  v.mul_(momentum).sub_(piece.g, rate);
  if (optimizer.nesterov) {
    piece.w.add_(v, momentum).sub_(piece.g, rate);
  } else {
    piece.w.add_(v);
  }
}

// m and v of Adam and Nadam.
void Moments(const Piece& piece, const Numbers& n) {
  piece.slots[0].lerp_(piece.g, n.share_1());
  piece.slots[1].lerp_(at::square(piece.g), n.share_2());
}

void Adam(const Piece& piece, const Numbers& n, float step_rate) {
  Moments(piece, n);
  at::Tensor variance = piece.slots[1];
  if (at::Tensor largest = piece.slot(2); largest.defined()) {
    at::maximum_out(largest, largest, variance);
    variance = largest;
  }
  piece.w.addcdiv_(piece.slots[0], at::sqrt(variance).add_(n.epsilon), -step_rate);
}

void RmsProp(const Piece& piece, const model::Optimizer& optimizer, float rate) {
  const Numbers n(optimizer);
  const bool has_momentum = optimizer.momentum > 0;
  const at::Tensor& v = piece.slots[0];
  const float outside = optimizer.legacy && !has_momentum ? n.epsilon : 0.0f;
  const float inside = outside != 0 ? 0.0f : n.epsilon;
  v.mul_(n.rho).addcmul_(piece.g, piece.g, 1.0f - n.rho);
  at::Tensor divisor;
  if (optimizer.centered) {
    const at::Tensor& mean = piece.slots[has_momentum ? 2 : 1];
    mean.mul_(n.rho).add_(piece.g, 1.0f - n.rho);
    divisor = at::addcmul(v, mean, mean, -1).add_(inside).sqrt_();
  } else {
    divisor = at::add(v, inside).sqrt_();
  }
  if (outside != 0) divisor.add_(outside);
  if (has_momentum) {
    const at::Tensor& u = piece.slots[1];
    u.mul_(n.momentum).addcdiv_(piece.g, divisor, rate);
    piece.w.sub_(u);
  } else {
    piece.w.addcdiv_(piece.g, divisor, -rate);
  }
}

void Adagrad(const Piece& piece, const model::Optimizer& optimizer, float rate) {
  const float epsilon = Numbers(optimizer).epsilon;
  const at::Tensor& a = piece.slots[0];
  a.addcmul_(piece.g, piece.g);
  const at::Tensor divisor =
      optimizer.legacy ? at::sqrt(a).add_(epsilon) : at::add(a, epsilon).sqrt_();
  // Of a weight that never had a gradient this can be 0 / 0.
  piece.w.sub_(at::div(piece.g, divisor).masked_fill_(piece.g == 0, 0), rate);
}

void Adadelta(const Piece& piece, const Numbers& n, float rate) {
  const at::Tensor& a = piece.slots[0];
  const at::Tensor& d = piece.slots[1];
  a.mul_(n.rho).addcmul_(piece.g, piece.g, 1.0f - n.rho);
  const at::Tensor x =
      at::add(d, n.epsilon).sqrt_().mul_(piece.g).div_(at::add(a, n.epsilon).sqrt_());
  d.mul_(n.rho).addcmul_(x, x, 1.0f - n.rho);
  piece.w.sub_(x, rate);
}

void Adamax(const Piece& piece, const Numbers& n, float step_rate) {
  const at::Tensor& m = piece.slots[0];
  at::Tensor u = piece.slots[1];
  m.lerp_(piece.g, n.share_1());
  at::maximum_out(u, u.mul_(n.beta_2), at::abs(piece.g));
  piece.w.addcdiv_(m, at::add(u, n.epsilon), -step_rate);
}

void Nadam(const Piece& piece, const Numbers& n, const StepRates& rates) {
  Moments(piece, n);
  const at::Tensor direction =
      at::mul(piece.slots[0], rates.momentum_part).add_(piece.g, rates.gradient_part);
  const at::Tensor divisor =
      at::div(piece.slots[1], rates.variance_correction).sqrt_().add_(n.epsilon);
  piece.w.addcdiv_(direction, divisor, -rates.rate);
}

void Ftrl(const Piece& piece, const model::Optimizer& o, float rate) {
  const auto power = static_cast<float>(-o.learning_rate_power);
  const auto l1 = static_cast<float>(o.l1_regularization_strength);
  const auto shrinkage = static_cast<float>(2 * o.l2_shrinkage_regularization_strength);
  const float l2 = 2 * (static_cast<float>(o.l2_regularization_strength) +
                        static_cast<float>(o.beta) / (2 * rate));
  const auto raised = [&](const at::Tensor& sum) {
    return power == 0.5f ? at::sqrt(sum) : at::pow(sum, power);
  };
  const at::Tensor& a = piece.slots[0];
  const at::Tensor& l = piece.slots[1];
  const at::Tensor before = raised(a);
  a.addcmul_(piece.g, piece.g);
  const at::Tensor after = raised(a);
  l.add_(piece.g).add_(piece.w, shrinkage);
  l.sub_(at::sub(after, before).div_(rate).mul_(piece.w));
  at::Tensor weights = piece.w;
  at::div_out(weights, at::clamp(l, -l1, l1).sub_(l), at::div(after, rate).add_(l2));
}

void Lion(const Piece& piece, const Numbers& n, float rate) {
  const at::Tensor& m = piece.slots[0];
  piece.w.sub_(at::mul(m, n.beta_1).add_(piece.g, n.share_1()).sign_(), rate);
  m.mul_(n.beta_2).add_(piece.g, n.share_2());
}

void Apply(const Piece& piece, const model::Optimizer& optimizer, const StepRates& rates) {
  const Numbers numbers(optimizer);
  switch (optimizer.kind) {
    case OptimizerKind::kSgd:
      return Sgd(piece, optimizer, rates.rate);
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      return Adam(piece, numbers, rates.step_rate);
    case OptimizerKind::kRmsprop:
      return RmsProp(piece, optimizer, rates.rate);
    case OptimizerKind::kAdagrad:
      return Adagrad(piece, optimizer, rates.rate);
    case OptimizerKind::kAdadelta:
      return Adadelta(piece, numbers, rates.rate);
    case OptimizerKind::kAdamax:
      return Adamax(piece, numbers, rates.step_rate);
    case OptimizerKind::kNadam:
      return Nadam(piece, numbers, rates);
    case OptimizerKind::kFtrl:
      return Ftrl(piece, optimizer, rates.rate);
    case OptimizerKind::kLion:
      return Lion(piece, numbers, rates.rate);
  }
}

// What a gradient of this norm is multiplied by, so that its norm is at most `bound`: on the
// device, without waiting for it.
at::Tensor Shrink(const at::Tensor& norm, double bound) {
  return at::where(norm > bound, bound / norm, at::ones_like(norm));
}

}  // namespace

DeviceLayout::DeviceLayout(const std::vector<model::WeightSpec>& weights,
                           const std::vector<bool>& trained)
    : places_(weights.size()) {
  DNC_ASSERT(trained.size() == weights.size());
  for (const bool wanted : {true, false}) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (trained[i] != wanted) continue;
      places_[i] = {weights[i].offset, size_, static_cast<std::int64_t>(weights[i].count)};
      order_.push_back(i);
      size_ += (places_[i].count + kAlignment - 1) / kAlignment * kAlignment;
    }
  }
}

at::Tensor DeviceLayout::Place(std::span<const float> values, at::Device device) const {
  const at::Tensor flat = at::zeros({size_}, at::kFloat);
  for (const PlaceOf& place : places_) {
    if (place.count == 0) continue;
    std::memcpy(flat.data_ptr<float>() + place.offset, values.data() + place.keras_offset,
                static_cast<std::size_t>(place.count) * sizeof(float));
  }
  return flat.to(device);
}

void DeviceLayout::Take(const at::Tensor& flat, std::span<float> values) const {
  const at::Tensor host = flat.to(at::kCPU);
  for (const PlaceOf& place : places_) {
    if (place.count == 0) continue;
    std::memcpy(values.data() + place.keras_offset, host.data_ptr<float>() + place.offset,
                static_cast<std::size_t>(place.count) * sizeof(float));
  }
}

DeviceOptimizer::DeviceOptimizer(const model::Optimizer& optimizer, std::uint64_t weight_count,
                                 DeviceLayout layout, at::Device device)
    : optimizer_(optimizer),
      weight_count_(weight_count),
      layout_(std::move(layout)),
      device_(device),
      gradient_(at::zeros({layout_.size()}, at::TensorOptions(at::kFloat).device(device))),
      gap_(at::zeros({kAlignment}, at::TensorOptions(at::kFloat).device(device))) {
  Reset();
}

std::vector<DeviceOptimizer::Run> DeviceOptimizer::Gather(std::span<const at::Tensor> gradients) {
  DNC_ASSERT(gradients.size() == layout_.tensor_count());
  std::vector<Run> runs;
  std::vector<at::Tensor> parts;  // Of the last run.
  const auto finish = [&] {
    if (parts.empty()) return;
    at::Tensor gathered = gradient_.narrow(0, runs.back().begin, runs.back().count);
    at::cat_out(gathered, parts);
    parts.clear();
  };
  for (const std::size_t i : layout_.order()) {
    if (!gradients[i].defined()) {
      finish();
      continue;
    }
    const std::int64_t count = layout_.count(i);
    if (count == 0) continue;
    if (parts.empty()) runs.push_back({layout_.offset(i), 0});
    parts.push_back(gradients[i].reshape({-1}));
    const std::int64_t gap = (kAlignment - count % kAlignment) % kAlignment;
    if (gap > 0) parts.push_back(gap_.narrow(0, 0, gap));
    runs.back().count = layout_.offset(i) + count + gap - runs.back().begin;
  }
  finish();
  return runs;
}

void DeviceOptimizer::Clip(const std::vector<Run>& runs, std::span<const at::Tensor> gradients) {
  if (runs.empty()) return;
  if (optimizer_.global_clipnorm != 0) {
    std::vector<at::Tensor> norms;
    for (const Run& run : runs) norms.push_back(gradient_.narrow(0, run.begin, run.count).norm());
    gradient_.mul_(Shrink(at::stack(norms).norm(), optimizer_.global_clipnorm));
  } else if (optimizer_.clipvalue != 0) {
    gradient_.clamp_(-optimizer_.clipvalue, optimizer_.clipvalue);
  } else if (optimizer_.clipnorm != 0) {
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (!gradients[i].defined() || layout_.count(i) == 0) continue;
      const at::Tensor gradient = gradient_.narrow(0, layout_.offset(i), layout_.count(i));
      gradient.mul_(Shrink(gradient.norm(), optimizer_.clipnorm));
    }
  }
}

void DeviceOptimizer::Update(const at::Tensor& weights, const Run& run, const StepRates& rates) {
  const auto part = [&](const at::Tensor& flat) { return flat.narrow(0, run.begin, run.count); };
  Piece piece{part(weights), part(gradient_), {}};
  for (const at::Tensor& slot : slots_) piece.slots.push_back(part(slot));
  const float decay = static_cast<float>(optimizer_.weight_decay) * rates.rate;
  if (decay != 0) piece.w.sub_(piece.w, decay);
  Apply(piece, optimizer_, rates);
}

void DeviceOptimizer::Step(const at::Tensor& weights, std::span<const at::Tensor> gradients) {
  const at::NoGradGuard no_grad;
  const StepRates rates = BeginOptimizerStep(optimizer_, &counters_);
  const std::vector<Run> runs = Gather(gradients);
  Clip(runs, gradients);
  for (const Run& run : runs) Update(weights, run, rates);
}

void DeviceOptimizer::SetSlots(const model::OptimizerSlots& state) {
  counters_.step_count = state.step_count;
  counters_.momentum_product = state.momentum_product;
  slots_.clear();
  for (const std::vector<float>& slot : state.slots) {
    slots_.push_back(layout_.Place(slot, device_));
  }
}

void DeviceOptimizer::Reset() { SetSlots(model::InitialSlots(optimizer_, weight_count_)); }

Bytes DeviceOptimizer::Save() const {
  model::OptimizerSlots state = model::InitialSlots(optimizer_, weight_count_);
  state.step_count = counters_.step_count;
  state.momentum_product = counters_.momentum_product;
  for (std::size_t i = 0; i < slots_.size(); ++i) layout_.Take(slots_[i], state.slots[i]);
  return model::EncodeOptimizerState(optimizer_, weight_count_, state);
}

Status DeviceOptimizer::Load(ByteSpan bytes) {
  model::OptimizerSlots state = model::InitialSlots(optimizer_, weight_count_);
  DNC_TRY(model::DecodeOptimizerState(optimizer_, weight_count_, bytes, &state));
  SetSlots(state);
  return {};
}

}  // namespace dnc::trainer_torch
