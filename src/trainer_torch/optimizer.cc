#include "trainer_torch/optimizer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/assert.h"
#include "base/human.h"

namespace dnc::trainer_torch {

namespace {

using model::OptimizerKind;

constexpr std::uint32_t kMagic = 0x4f434e44;  // "DNCO"
constexpr std::uint32_t kVersion = 1;
// Below this, waking threads costs more than they save.
constexpr std::int64_t kParallelCountMin = 1 << 16;

const char* KindName(OptimizerKind kind) { return kind == OptimizerKind::kSgd ? "SGD" : "Adam"; }

void Descend(float* __restrict w, const float* __restrict g, std::int64_t count, float rate) {
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
  for (std::int64_t i = 0; i < count; ++i) w[i] -= rate * g[i];
}

void DescendWithMomentum(float* __restrict w, const float* __restrict g, float* __restrict v,
                         std::int64_t count, float rate, float momentum) {
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
  for (std::int64_t i = 0; i < count; ++i) {
    v[i] = momentum * v[i] - rate * g[i];
    w[i] += v[i];
  }
}

void DescendNesterov(float* __restrict w, const float* __restrict g, float* __restrict v,
                     std::int64_t count, float rate, float momentum) {
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
  for (std::int64_t i = 0; i < count; ++i) {
    v[i] = momentum * v[i] - rate * g[i];
    w[i] += momentum * v[i] - rate * g[i];
  }
}

struct AdamNumbers {
  float rate, beta_1, beta_2, epsilon;
};

void Adam(float* __restrict w, const float* __restrict g, float* __restrict m, float* __restrict v,
          std::int64_t count, AdamNumbers a) {
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
  for (std::int64_t i = 0; i < count; ++i) {
    m[i] += (g[i] - m[i]) * (1.0f - a.beta_1);
    v[i] += (g[i] * g[i] - v[i]) * (1.0f - a.beta_2);
    w[i] -= a.rate * m[i] / (std::sqrt(v[i]) + a.epsilon);
  }
}

void AmsGrad(float* __restrict w, const float* __restrict g, float* __restrict m,
             float* __restrict v, float* __restrict v_max, std::int64_t count, AdamNumbers a) {
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
  for (std::int64_t i = 0; i < count; ++i) {
    m[i] += (g[i] - m[i]) * (1.0f - a.beta_1);
    v[i] += (g[i] * g[i] - v[i]) * (1.0f - a.beta_2);
    v_max[i] = v_max[i] > v[i] ? v_max[i] : v[i];
    w[i] -= a.rate * m[i] / (std::sqrt(v_max[i]) + a.epsilon);
  }
}

}  // namespace

OptimizerState::OptimizerState(const model::Optimizer& optimizer, std::uint64_t weight_count)
    : optimizer_(optimizer), weight_count_(weight_count) {
  for (int i = 0; i < slot_count(); ++i) slots_.emplace_back(weight_count, 0.0f);
}

int OptimizerState::slot_count() const {
  if (optimizer_.kind == OptimizerKind::kSgd) return optimizer_.momentum != 0 ? 1 : 0;
  return optimizer_.amsgrad ? 3 : 2;
}

void OptimizerState::BeginStep() {
  ++step_count_;
  double rate = optimizer_.learning_rate;
  if (optimizer_.kind == OptimizerKind::kAdam) {
    const auto t = static_cast<double>(step_count_);
    rate *= std::sqrt(1 - std::pow(optimizer_.beta_2, t)) / (1 - std::pow(optimizer_.beta_1, t));
  }
  step_rate_ = static_cast<float>(rate);
}

void OptimizerState::Update(float* weights, const float* gradients, std::uint64_t offset,
                            std::uint64_t count) {
  DNC_ASSERT(offset + count <= weight_count_);
  const auto n = static_cast<std::int64_t>(count);
  const auto slot = [&](std::size_t index) { return slots_[index].data() + offset; };
  if (optimizer_.kind == OptimizerKind::kAdam) {
    const AdamNumbers numbers{step_rate_, static_cast<float>(optimizer_.beta_1),
                              static_cast<float>(optimizer_.beta_2),
                              static_cast<float>(optimizer_.epsilon)};
    if (optimizer_.amsgrad) {
      AmsGrad(weights, gradients, slot(0), slot(1), slot(2), n, numbers);
    } else {
      Adam(weights, gradients, slot(0), slot(1), n, numbers);
    }
    return;
  }
  const auto momentum = static_cast<float>(optimizer_.momentum);
  if (slots_.empty()) {
    Descend(weights, gradients, n, step_rate_);
  } else if (optimizer_.nesterov) {
    DescendNesterov(weights, gradients, slot(0), n, step_rate_, momentum);
  } else {
    DescendWithMomentum(weights, gradients, slot(0), n, step_rate_, momentum);
  }
}

void OptimizerState::Reset() {
  step_count_ = 0;
  for (std::vector<float>& slot : slots_) std::fill(slot.begin(), slot.end(), 0.0f);
}

Bytes OptimizerState::Save() const {
  ByteWriter writer;
  writer.Put(kMagic);
  writer.Put(kVersion);
  writer.Put(static_cast<std::uint8_t>(optimizer_.kind));
  writer.Put(static_cast<std::uint8_t>(slot_count()));
  writer.Put(weight_count_);
  writer.Put(step_count_);
  for (const std::vector<float>& slot : slots_) writer.PutBytes(std::as_bytes(std::span(slot)));
  return std::move(writer).Take();
}

Status OptimizerState::Load(ByteSpan bytes) {
  ByteReader reader(bytes);
  const auto magic = reader.Get<std::uint32_t>();
  const auto version = reader.Get<std::uint32_t>();
  const auto kind = reader.Get<std::uint8_t>();
  const auto slots = reader.Get<std::uint8_t>();
  const auto weight_count = reader.Get<std::uint64_t>();
  const auto step_count = reader.Get<std::uint64_t>();
  if (!reader.ok() || magic != kMagic) {
    return Error{ErrorCode::kCorrupt, "not an optimizer state: " + std::to_string(bytes.size()) +
                                          " bytes that do not begin as one"};
  }
  if (version != kVersion) {
    return Error{ErrorCode::kCorrupt, "an optimizer state of version " + std::to_string(version) +
                                          "; this program reads version " +
                                          std::to_string(kVersion)};
  }
  if (kind != static_cast<std::uint8_t>(optimizer_.kind) || slots != slot_count() ||
      weight_count != weight_count_) {
    return Error{ErrorCode::kCorrupt,
                 "the optimizer state does not fit: it has " + std::to_string(slots) +
                     " values for each of " + FormatCount(weight_count) +
                     " weights, but the model's " + KindName(optimizer_.kind) + " has " +
                     std::to_string(slot_count()) + " for each of " + FormatCount(weight_count_)};
  }
  const std::size_t slot_bytes = weight_count_ * sizeof(float);
  if (reader.remaining() != slot_bytes * slots_.size()) {
    return Error{ErrorCode::kCorrupt, "the optimizer state is cut off or too long: " +
                                          std::to_string(bytes.size()) + " bytes"};
  }
  step_count_ = step_count;
  for (std::vector<float>& slot : slots_) {
    const ByteSpan raw = reader.GetBytes(slot_bytes);
    if (!raw.empty()) std::memcpy(slot.data(), raw.data(), raw.size());
  }
  return {};
}

}  // namespace dnc::trainer_torch
