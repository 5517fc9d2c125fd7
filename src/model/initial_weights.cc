// Keras's initializers (keras/initializers/initializers.py of 2.11): the same
// distributions, drawn from our own generator, so that the numbers are the same
// everywhere.

#include <algorithm>
#include <cmath>
#include <span>

#include "base/prng.h"
#include "model/model.h"
#include "model/orthogonal.h"

namespace dnc::model {
namespace {

// The standard deviation of a standard normal that is cut at 2 on both sides.
constexpr double kTruncatedNormalStddev = 0.87962566103423978;

struct Fans {
  double in = 1;
  double out = 1;
};

// Of a kernel (receptive field..., in, out), as Keras's _compute_fans.
Fans FansOf(const array::Shape& shape) {
  if (shape.empty()) return {};
  if (shape.size() == 1) {
    return {static_cast<double>(shape[0]), static_cast<double>(shape[0])};
  }
  double field = 1;
  for (std::size_t i = 0; i + 2 < shape.size(); ++i) field *= static_cast<double>(shape[i]);
  return {static_cast<double>(shape[shape.size() - 2]) * field,
          static_cast<double>(shape.back()) * field};
}

double TruncatedNormal(Prng* prng) {
  for (;;) {
    const double number = prng->Normal();
    if (std::abs(number) < 2) return number;
  }
}

void FillVarianceScaling(const WeightSpec& weight, Prng* prng, std::span<float> out) {
  const Initializer& initializer = weight.initializer;
  const Fans fans = FansOf(weight.shape);
  const double fan = initializer.mode == 'i'   ? fans.in
                     : initializer.mode == 'o' ? fans.out
                                               : (fans.in + fans.out) / 2;
  const double variance = initializer.scale / std::max(1.0, fan);
  const double limit = std::sqrt(3 * variance);
  const double stddev = std::sqrt(variance);
  for (float& element : out) {
    double number = 0;
    if (initializer.distribution == 'u') {
      number = limit * (2 * prng->Unit() - 1);
    } else if (initializer.distribution == 'n') {
      number = stddev * prng->Normal();
    } else {
      number = stddev / kTruncatedNormalStddev * TruncatedNormal(prng);
    }
    element = static_cast<float>(number);
  }
}

void Fill(const WeightSpec& weight, Prng* prng, std::span<float> out) {
  const Initializer& initializer = weight.initializer;
  switch (initializer.kind) {
    case InitializerKind::kZeros:
      std::fill(out.begin(), out.end(), 0.0f);
      return;
    case InitializerKind::kOnes:
      std::fill(out.begin(), out.end(), 1.0f);
      return;
    case InitializerKind::kConstant:
      std::fill(out.begin(), out.end(), static_cast<float>(initializer.value));
      return;
    case InitializerKind::kUniform:
      for (float& element : out) {
        element = static_cast<float>(initializer.min +
                                     (initializer.max - initializer.min) * prng->Unit());
      }
      return;
    case InitializerKind::kNormal:
      for (float& element : out) {
        element = static_cast<float>(initializer.mean + initializer.stddev * prng->Normal());
      }
      return;
    case InitializerKind::kTruncatedNormal:
      for (float& element : out) {
        element = static_cast<float>(initializer.mean + initializer.stddev * TruncatedNormal(prng));
      }
      return;
    case InitializerKind::kVarianceScaling:
      return FillVarianceScaling(weight, prng, out);
    case InitializerKind::kOrthogonal: {
      const auto columns = static_cast<std::size_t>(weight.shape.back());
      return FillOrthogonal({out.size() / columns, columns}, initializer.scale, prng, out);
    }
  }
}

}  // namespace

std::vector<float> InitialWeights(const Model& model, std::uint64_t seed) {
  std::vector<float> weights(model.weight_count);
  for (std::size_t i = 0; i < model.weights.size(); ++i) {
    const WeightSpec& weight = model.weights[i];
    Prng prng(DeriveSeed(seed, i));
    const std::span<float> out = std::span(weights).subspan(weight.offset, weight.count);
    Fill(weight, &prng, out);
    const Initializer& initializer = weight.initializer;
    std::fill(out.begin() + initializer.ones_begin, out.begin() + initializer.ones_end, 1.0f);
  }
  return weights;
}

}  // namespace dnc::model
