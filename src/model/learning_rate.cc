// Learning-rate schedules. Formulas: keras/optimizers/schedules/learning_rate_schedule.py
// of Keras 2.15, and optimizer_v2's _decayed_lr for `decay`. They are computed in
// float32 as Keras does, so that the steps at which a staircase falls are the same.

#include <algorithm>
#include <cmath>

#include "model/model.h"

namespace dnc::model {
namespace {

float Cosine(float fraction) {
  return 0.5f * (1.0f + std::cos(static_cast<float>(M_PI) * fraction));
}

float PiecewiseConstant(const LearningRateSchedule& s, std::uint64_t step) {
  std::size_t i = 0;
  while (i < s.boundaries.size() && static_cast<double>(step) > s.boundaries[i]) ++i;
  return static_cast<float>(s.values[i]);
}

float Polynomial(const LearningRateSchedule& s, float step) {
  const auto initial = static_cast<float>(s.initial_learning_rate);
  const auto end = static_cast<float>(s.end_learning_rate);
  auto decay_steps = static_cast<float>(s.decay_steps);
  if (s.cycle) {
    decay_steps *= step == 0 ? 1.0f : std::ceil(step / decay_steps);
  } else {
    step = std::min(step, decay_steps);
  }
  return (initial - end) * std::pow(1.0f - step / decay_steps, static_cast<float>(s.power)) + end;
}

float CosineDecay(const LearningRateSchedule& s, float step) {
  auto from = static_cast<float>(s.initial_learning_rate);
  const auto decay_steps = static_cast<float>(s.decay_steps);
  const auto alpha = static_cast<float>(s.alpha);
  if (s.has_warmup) {
    const auto target = static_cast<float>(s.warmup_target);
    const auto warmup_steps = static_cast<float>(s.warmup_steps);
    if (step < warmup_steps) return (target - from) * (step / warmup_steps) + from;
    step -= warmup_steps;
    from = target;
  }
  step = std::min(step, decay_steps);
  return from * ((1 - alpha) * Cosine(step / decay_steps) + alpha);
}

float CosineDecayRestarts(const LearningRateSchedule& s, float step) {
  const auto alpha = static_cast<float>(s.alpha);
  const auto t_mul = static_cast<float>(s.t_mul);
  float fraction = step / static_cast<float>(s.decay_steps);
  float restart = std::floor(fraction);
  if (t_mul == 1.0f) {
    fraction -= restart;
  } else {
    restart = std::floor(std::log(1.0f - fraction * (1.0f - t_mul)) / std::log(t_mul));
    const float period = std::pow(t_mul, restart);
    fraction = (fraction - (1.0f - period) / (1.0f - t_mul)) / period;
  }
  const float cosine = std::pow(static_cast<float>(s.m_mul), restart) * Cosine(fraction);
  return static_cast<float>(s.initial_learning_rate) * ((1 - alpha) * cosine + alpha);
}

float Scheduled(const LearningRateSchedule& s, std::uint64_t whole_step) {
  const auto step = static_cast<float>(whole_step);
  const auto initial = static_cast<float>(s.initial_learning_rate);
  const auto decay_rate = static_cast<float>(s.decay_rate);
  float periods = step / static_cast<float>(s.decay_steps);
  if (s.staircase) periods = std::floor(periods);
  switch (s.kind) {
    case ScheduleKind::kExponentialDecay:
      return initial * std::pow(decay_rate, periods);
    case ScheduleKind::kPiecewiseConstantDecay:
      return PiecewiseConstant(s, whole_step);
    case ScheduleKind::kPolynomialDecay:
      return Polynomial(s, step);
    case ScheduleKind::kInverseTimeDecay:
      return initial / (1.0f + decay_rate * periods);
    case ScheduleKind::kCosineDecay:
      return CosineDecay(s, step);
    case ScheduleKind::kCosineDecayRestarts:
      return CosineDecayRestarts(s, step);
    case ScheduleKind::kNone:
      break;
  }
  return 0;
}

}  // namespace

double LearningRateAt(const Optimizer& optimizer, std::uint64_t step) {
  double rate = optimizer.learning_rate;
  if (optimizer.schedule.kind != ScheduleKind::kNone) rate = Scheduled(optimizer.schedule, step);
  return rate / (1 + optimizer.decay * static_cast<double>(step));
}

}  // namespace dnc::model
