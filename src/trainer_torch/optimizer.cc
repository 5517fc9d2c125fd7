// Formulas: keras/optimizers/{sgd,adam,adamw,rmsprop,adagrad,adadelta,adamax,nadam,
// ftrl,lion}.py of Keras 2.15, update_step() for dense gradients, which Keras 3 has
// unchanged; keras/optimizers/legacy/ there for optimizer_v2, where it differs.
// Clipping: _clip_gradients() of optimizer.py, with tf.clip_by_norm and
// tf.clip_by_global_norm; weight decay: _apply_weight_decay(), before the update.

#include "trainer_torch/optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace dnc::trainer_torch {

namespace {

using model::OptimizerKind;

// Below this, waking threads costs more than they save.
constexpr std::int64_t kParallelCountMin = 1 << 16;
// Sums are made of blocks of this size, so that threads do not change them.
constexpr std::int64_t kSumBlock = 1 << 14;

struct Tensor {
  float* weights;
  const float* gradients;
  std::int64_t count;
  float decay;  // What is taken from each weight first, as a share of it.
};

// weights[i] = rule(i, weights[i] after its decay, gradients[i]).
template <typename Rule>
void ForEach(const Tensor& tensor, Rule rule) {
  float* const w = tensor.weights;
  const float* const g = tensor.gradients;
  const std::int64_t count = tensor.count;
  const float decay = tensor.decay;
  if (decay == 0) {
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
    for (std::int64_t i = 0; i < count; ++i) w[i] = rule(i, w[i], g[i]);
  } else {
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
    for (std::int64_t i = 0; i < count; ++i) w[i] = rule(i, w[i] - w[i] * decay, g[i]);
  }
}

struct Numbers {
  explicit Numbers(const model::Optimizer& o)
      : momentum(static_cast<float>(o.momentum)),
        beta_1(static_cast<float>(o.beta_1)),
        beta_2(static_cast<float>(o.beta_2)),
        epsilon(static_cast<float>(o.epsilon)),
        rho(static_cast<float>(o.rho)) {}
  float momentum, beta_1, beta_2, epsilon, rho;
};

// v = momentum v - lr g; w += v, or with Nesterov w += momentum v - lr g.
void Sgd(const Tensor& tensor, const model::Optimizer& optimizer, float rate, float* v) {
  const float momentum = Numbers(optimizer).momentum;
  if (v == nullptr) {
    ForEach(tensor, [=](std::int64_t, float w, float g) { return w - rate * g; });
  } else if (optimizer.nesterov) {
    ForEach(tensor, [=](std::int64_t i, float w, float g) {
      v[i] = momentum * v[i] - rate * g;
      return w + (momentum * v[i] - rate * g);
    });
  } else {
    ForEach(tensor, [=](std::int64_t i, float w, float g) {
      v[i] = momentum * v[i] - rate * g;
      return w + v[i];
    });
  }
}

// m += (g - m)(1 - beta_1); v += (g^2 - v)(1 - beta_2); w -= lr_t m / (sqrt(v) + epsilon)
// with lr_t = lr sqrt(1 - beta_2^t) / (1 - beta_1^t); amsgrad: over the largest v.
void Adam(const Tensor& tensor, const Numbers& n, float step_rate, float* m, float* v,
          float* v_max) {
  const float share_1 = 1.0f - n.beta_1;
  const float share_2 = 1.0f - n.beta_2;
  const float epsilon = n.epsilon;
  if (v_max == nullptr) {
    ForEach(tensor, [=](std::int64_t i, float w, float g) {
      m[i] += (g - m[i]) * share_1;
      v[i] += (g * g - v[i]) * share_2;
      return w - step_rate * m[i] / (std::sqrt(v[i]) + epsilon);
    });
  } else {
    ForEach(tensor, [=](std::int64_t i, float w, float g) {
      m[i] += (g - m[i]) * share_1;
      v[i] += (g * g - v[i]) * share_2;
      v_max[i] = v_max[i] > v[i] ? v_max[i] : v[i];
      return w - step_rate * m[i] / (std::sqrt(v_max[i]) + epsilon);
    });
  }
}

// v = rho v + (1 - rho) g^2; centered: a = rho a + (1 - rho) g and v - a^2 in place of
// v; w -= lr g / sqrt(v + epsilon), or with momentum u = momentum u + that, w -= u.
// Legacy without momentum: lr g / (sqrt(v) + epsilon).
void RmsProp(const Tensor& tensor, const model::Optimizer& optimizer, float rate, float* v,
             float* u, float* a) {
  const Numbers n(optimizer);
  const float rho = n.rho;
  const float momentum = n.momentum;
  const float outside = optimizer.legacy && u == nullptr ? n.epsilon : 0.0f;
  const float inside = outside != 0 ? 0.0f : n.epsilon;
  const auto increment = [=](std::int64_t i, float g, float mean) {
    v[i] = rho * v[i] + (1.0f - rho) * g * g;
    return rate * g / (std::sqrt(v[i] - mean * mean + inside) + outside);
  };
  const auto centre = [=](std::int64_t i, float g) {
    a[i] = rho * a[i] + (1.0f - rho) * g;
    return a[i];
  };
  if (u == nullptr && a == nullptr) {
    ForEach(tensor, [=](std::int64_t i, float w, float g) { return w - increment(i, g, 0); });
  } else if (u == nullptr) {
    ForEach(tensor,
            [=](std::int64_t i, float w, float g) { return w - increment(i, g, centre(i, g)); });
  } else if (a == nullptr) {
    ForEach(tensor, [=](std::int64_t i, float w, float g) {
      u[i] = momentum * u[i] + increment(i, g, 0);
      return w - u[i];
    });
  } else {
    ForEach(tensor, [=](std::int64_t i, float w, float g) {
      u[i] = momentum * u[i] + increment(i, g, centre(i, g));
      return w - u[i];
    });
  }
}

// a += g^2; w -= lr g / sqrt(a + epsilon); legacy: / (sqrt(a) + epsilon).
void Adagrad(const Tensor& tensor, const model::Optimizer& optimizer, float rate, float* a) {
  const float epsilon = Numbers(optimizer).epsilon;
  const float inside = optimizer.legacy ? 0.0f : epsilon;
  const float outside = optimizer.legacy ? epsilon : 0.0f;
  ForEach(tensor, [=](std::int64_t i, float w, float g) {
    a[i] += g * g;
    // A weight that never had a gradient: with a legacy epsilon of 0 this would be 0 / 0.
    return g == 0 ? w : w - rate * g / (std::sqrt(a[i] + inside) + outside);
  });
}

// a = rho a + (1 - rho) g^2; x = sqrt(d + epsilon) / sqrt(a + epsilon) g;
// d = rho d + (1 - rho) x^2; w -= lr x.
void Adadelta(const Tensor& tensor, const Numbers& n, float rate, float* a, float* d) {
  const float rho = n.rho;
  const float epsilon = n.epsilon;
  ForEach(tensor, [=](std::int64_t i, float w, float g) {
    a[i] = rho * a[i] + (1.0f - rho) * g * g;
    const float x = std::sqrt(d[i] + epsilon) * g / std::sqrt(a[i] + epsilon);
    d[i] = rho * d[i] + (1.0f - rho) * x * x;
    return w - rate * x;
  });
}

// m as Adam's; u = max(beta_2 u, |g|); w -= lr / (1 - beta_1^t) m / (u + epsilon).
void Adamax(const Tensor& tensor, const Numbers& n, float step_rate, float* m, float* u) {
  const float share_1 = 1.0f - n.beta_1;
  const float beta_2 = n.beta_2;
  const float epsilon = n.epsilon;
  ForEach(tensor, [=](std::int64_t i, float w, float g) {
    m[i] += (g - m[i]) * share_1;
    const float faded = beta_2 * u[i];
    const float size = std::abs(g);
    u[i] = faded > size ? faded : size;
    return w - step_rate * m[i] / (u[i] + epsilon);
  });
}

struct NadamParts {
  float gradient, momentum, variance_correction;
};

// m and v as Adam's; w -= lr (momentum part m + gradient part g) / (sqrt(v / (1 -
// beta_2^t)) + epsilon); for the parts see BeginNadamStep().
void Nadam(const Tensor& tensor, const Numbers& n, float rate, NadamParts parts, float* m,
           float* v) {
  const float share_1 = 1.0f - n.beta_1;
  const float share_2 = 1.0f - n.beta_2;
  const float epsilon = n.epsilon;
  ForEach(tensor, [=](std::int64_t i, float w, float g) {
    m[i] += (g - m[i]) * share_1;
    v[i] += (g * g - v[i]) * share_2;
    const float direction = parts.momentum * m[i] + parts.gradient * g;
    return w - rate * direction / (std::sqrt(v[i] / parts.variance_correction) + epsilon);
  });
}

// n = a + g^2; l += g + 2 shrinkage w - (n^p - a^p) / lr w with p = -learning_rate_power;
// w = (clip(l, -l1, l1) - l) / (n^p / lr + 2 l2 + beta / lr); a = n.
void Ftrl(const Tensor& tensor, const model::Optimizer& o, float rate, float* a, float* l) {
  const auto power = static_cast<float>(-o.learning_rate_power);
  const auto l1 = static_cast<float>(o.l1_regularization_strength);
  const auto shrinkage = static_cast<float>(2 * o.l2_shrinkage_regularization_strength);
  const float l2 = 2 * (static_cast<float>(o.l2_regularization_strength) +
                        static_cast<float>(o.beta) / (2 * rate));
  const auto step = [=](std::int64_t i, float w, float g, float before, float after) {
    l[i] += g + shrinkage * w - (after - before) / rate * w;
    const float clipped = std::min(std::max(l[i], -l1), l1);
    return (clipped - l[i]) / (after / rate + l2);
  };
  if (power == 0.5f) {
    ForEach(tensor, [=](std::int64_t i, float w, float g) {
      const float sum = a[i] + g * g;
      const float result = step(i, w, g, std::sqrt(a[i]), std::sqrt(sum));
      a[i] = sum;
      return result;
    });
  } else {
    ForEach(tensor, [=](std::int64_t i, float w, float g) {
      const float sum = a[i] + g * g;
      const float result = step(i, w, g, std::pow(a[i], power), std::pow(sum, power));
      a[i] = sum;
      return result;
    });
  }
}

// w -= lr sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g.
void Lion(const Tensor& tensor, const Numbers& n, float rate, float* m) {
  const float beta_1 = n.beta_1;
  const float beta_2 = n.beta_2;
  ForEach(tensor, [=](std::int64_t i, float w, float g) {
    const float direction = m[i] * beta_1 + g * (1.0f - beta_1);
    m[i] = m[i] * beta_2 + g * (1.0f - beta_2);
    const float sign = (direction > 0 ? 1.0f : 0.0f) - (direction < 0 ? 1.0f : 0.0f);
    return w - rate * sign;
  });
}

double SumOfSquares(std::span<const float> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  const std::int64_t block_count = (count + kSumBlock - 1) / kSumBlock;
  std::vector<double> sums(static_cast<std::size_t>(block_count));
#pragma omp parallel for schedule(static) if (count >= kParallelCountMin)
  for (std::int64_t block = 0; block < block_count; ++block) {
    const std::int64_t end = std::min(count, (block + 1) * kSumBlock);
    double sum = 0;
    for (std::int64_t i = block * kSumBlock; i < end; ++i) {
      const double value = values[static_cast<std::size_t>(i)];
      sum += value * value;
    }
    sums[static_cast<std::size_t>(block)] = sum;
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

void Scale(std::span<float> values, float factor) {
  float* const v = values.data();
  const auto count = static_cast<std::int64_t>(values.size());
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
  for (std::int64_t i = 0; i < count; ++i) v[i] *= factor;
}

void ClipByValue(std::span<float> values, float bound) {
  float* const v = values.data();
  const auto count = static_cast<std::int64_t>(values.size());
#pragma omp parallel for simd schedule(static) if (count >= kParallelCountMin)
  for (std::int64_t i = 0; i < count; ++i) v[i] = std::min(std::max(v[i], -bound), bound);
}

// With the momentum mu_t = beta_1 (1 - 0.96^(t schedule_decay) / 2) and P_t the product
// of mu_1 to mu_t: g's part is (1 - mu_t) / (1 - P_t), m's mu_(t+1) / (1 - P_(t+1)).
void BeginNadamStep(const model::Optimizer& optimizer, float step, model::OptimizerSlots* state,
                    StepRates* rates) {
  const auto beta_1 = static_cast<float>(optimizer.beta_1);
  const auto schedule_decay = static_cast<float>(optimizer.schedule_decay);
  const auto momentum = [&](float t) {
    return beta_1 * (1.0f - 0.5f * std::pow(0.96f, schedule_decay * t));
  };
  const float now = momentum(step);
  const float next = momentum(step + 1);
  const float product = static_cast<float>(state->momentum_product) * now;
  state->momentum_product = product;
  rates->gradient_part = (1.0f - now) / (1.0f - product);
  rates->momentum_part = next / (1.0f - product * next);
}

}  // namespace

StepRates BeginOptimizerStep(const model::Optimizer& optimizer, model::OptimizerSlots* state) {
  StepRates rates;
  rates.rate = static_cast<float>(model::LearningRateAt(optimizer, state->step_count));
  ++state->step_count;
  rates.step_rate = rates.rate;
  // In float32 as Keras does, which rounds 1 - beta_2^t by up to 6e-5 of itself.
  const auto t = static_cast<float>(state->step_count);
  const float faded_1 = std::pow(static_cast<float>(optimizer.beta_1), t);
  const float faded_2 = std::pow(static_cast<float>(optimizer.beta_2), t);
  if (optimizer.kind == OptimizerKind::kAdam || optimizer.kind == OptimizerKind::kAdamW) {
    rates.step_rate = rates.rate * std::sqrt(1 - faded_2) / (1 - faded_1);
  } else if (optimizer.kind == OptimizerKind::kAdamax) {
    rates.step_rate = rates.rate / (1 - faded_1);
  } else if (optimizer.kind == OptimizerKind::kNadam) {
    rates.variance_correction = 1 - faded_2;
    BeginNadamStep(optimizer, t, state, &rates);
  }
  return rates;
}

OptimizerState::OptimizerState(const model::Optimizer& optimizer, std::uint64_t weight_count)
    : optimizer_(optimizer),
      weight_count_(weight_count),
      state_(model::InitialSlots(optimizer, weight_count)) {}

void OptimizerState::BeginStep() { rates_ = BeginOptimizerStep(optimizer_, &state_); }

bool OptimizerState::is_plain() const {
  return optimizer_.kind == OptimizerKind::kSgd && state_.slots.empty() &&
         optimizer_.weight_decay == 0 && optimizer_.clipvalue == 0 && optimizer_.clipnorm == 0 &&
         optimizer_.global_clipnorm == 0;
}

void OptimizerState::ClipTogether(std::span<const std::span<float>> gradients) const {
  double squares = 0;
  for (const std::span<float> tensor : gradients) squares += SumOfSquares(tensor);
  const double bound = optimizer_.global_clipnorm;
  const double norm = std::sqrt(squares);
  if (!(norm > bound)) return;
  for (const std::span<float> tensor : gradients) Scale(tensor, static_cast<float>(bound / norm));
}

void OptimizerState::Update(float* weights, float* gradients, std::uint64_t offset,
                            std::uint64_t count) {
  DNC_ASSERT(offset + count <= weight_count_);
  if (optimizer_.clipvalue != 0) {
    ClipByValue({gradients, count}, static_cast<float>(optimizer_.clipvalue));
  } else if (optimizer_.clipnorm != 0) {
    const double norm = std::sqrt(SumOfSquares({gradients, count}));
    if (norm > optimizer_.clipnorm) {
      Scale({gradients, count}, static_cast<float>(optimizer_.clipnorm / norm));
    }
  }
  const Tensor tensor{weights, gradients, static_cast<std::int64_t>(count),
                      static_cast<float>(optimizer_.weight_decay) * rates_.rate};
  const auto slot = [&](std::size_t index) -> float* {
    return index < state_.slots.size() ? state_.slots[index].data() + offset : nullptr;
  };
  const Numbers numbers(optimizer_);
  const float rate = rates_.rate;
  switch (optimizer_.kind) {
    case OptimizerKind::kSgd:
      return Sgd(tensor, optimizer_, rate, slot(0));
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      return Adam(tensor, numbers, rates_.step_rate, slot(0), slot(1), slot(2));
    case OptimizerKind::kRmsprop: {
      float* const momentum = optimizer_.momentum > 0 ? slot(1) : nullptr;
      float* const mean = optimizer_.centered ? slot(momentum != nullptr ? 2 : 1) : nullptr;
      return RmsProp(tensor, optimizer_, rate, slot(0), momentum, mean);
    }
    case OptimizerKind::kAdagrad:
      return Adagrad(tensor, optimizer_, rate, slot(0));
    case OptimizerKind::kAdadelta:
      return Adadelta(tensor, numbers, rate, slot(0), slot(1));
    case OptimizerKind::kAdamax:
      return Adamax(tensor, numbers, rates_.step_rate, slot(0), slot(1));
    case OptimizerKind::kNadam:
      return Nadam(tensor, numbers, rate,
                   {rates_.gradient_part, rates_.momentum_part, rates_.variance_correction},
                   slot(0), slot(1));
    case OptimizerKind::kFtrl:
      return Ftrl(tensor, optimizer_, rate, slot(0), slot(1));
    case OptimizerKind::kLion:
      return Lion(tensor, numbers, rate, slot(0));
  }
}

void OptimizerState::Reset() { state_ = model::InitialSlots(optimizer_, weight_count_); }

Bytes OptimizerState::Save() const {
  return model::EncodeOptimizerState(optimizer_, weight_count_, state_);
}

Status OptimizerState::Load(ByteSpan bytes) {
  return model::DecodeOptimizerState(optimizer_, weight_count_, bytes, &state_);
}

}  // namespace dnc::trainer_torch
