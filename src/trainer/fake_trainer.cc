#include "trainer/fake_trainer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/assert.h"
#include "trainer/convert.h"
#include "trainer/session.h"

namespace dnc::trainer {

namespace {

constexpr std::uint32_t kStateMagic = 0x53514c44;  // "DLQS", then a u64 step count.

class LeastSquaresEngine final : public Engine {
 public:
  Status Configure(const model::Model& model, const TrainerOptions& options) override;
  Status SetWeights(std::span<const float> weights) override {
    weights_.assign(weights.begin(), weights.end());
    return {};
  }
  Status GetWeights(std::span<float> weights) override {
    std::copy(weights_.begin(), weights_.end(), weights.begin());
    return {};
  }
  Status SetOptimizerState(ByteSpan state) override;
  Result<Bytes> GetOptimizerState() override {
    ByteWriter writer;
    writer.Put(kStateMagic);
    writer.Put(step_count_);
    return std::move(writer).Take();
  }
  Result<BatchResult> Run(const Batch& batch, std::vector<float>* outputs) override;

 private:
  Status ReadTargets(const Batch& batch);
  void Predict(std::size_t samples);
  void Descend(std::size_t samples, std::span<const float> weights);
  std::uint64_t CountCorrect(std::size_t samples) const;

  TrainerOptions options_;
  bool one_hot_ = false;  // Labels are class numbers.
  float learning_rate_ = 0;
  std::size_t inputs_ = 0;
  std::size_t units_ = 0;
  bool use_bias_ = true;
  std::vector<float> weights_;  // Kernel (inputs, units), then bias (units).
  std::uint64_t step_count_ = 0;
  // Of the current batch.
  std::vector<float> features_, targets_, predictions_;
  std::vector<std::int64_t> classes_;
};

Status LeastSquaresEngine::Configure(const model::Model& model, const TrainerOptions& options) {
  weights_.clear();
  const model::Layer* dense = nullptr;
  for (const model::Layer& layer : model.layers) {
    if (layer.weight_count == 0) continue;
    if (layer.kind != model::LayerKind::kDense || dense != nullptr) {
      return Error{ErrorCode::kUnsupported,
                   "the least-squares trainer takes models with one Dense layer as the only one "
                   "with weights; layer '" +
                       layer.name + "' is one too many"};
    }
    dense = &layer;
  }
  if (dense == nullptr) {
    return Error{ErrorCode::kUnsupported,
                 "the least-squares trainer needs a Dense layer; the model has no weights"};
  }
  const model::Optimizer& optimizer = model.compile.optimizer;
  if (optimizer.kind != model::OptimizerKind::kSgd || optimizer.momentum != 0) {
    return Error{ErrorCode::kUnsupported,
                 "the least-squares trainer takes SGD without momentum only"};
  }
  const array::Shape& kernel = model.weights[static_cast<std::size_t>(dense->first_weight)].shape;
  if (options.x.size() != 1 || options.y.size() > 1) {
    return Error{ErrorCode::kUnsupported,
                 "the least-squares trainer takes one column of features and one of labels"};
  }
  const std::uint64_t features = array::ElementCount(options.x[0].shape).value_or(0);
  if (kernel.size() != 2 || static_cast<std::uint64_t>(kernel[0]) != features) {
    return Error{ErrorCode::kUnsupported,
                 "the least-squares trainer feeds the " + std::to_string(features) +
                     " features of column '" + options.x[0].name + "' to layer '" + dense->name +
                     "', whose kernel has the shape " + array::ShapeText(kernel)};
  }
  const auto units = static_cast<std::size_t>(kernel[1]);
  const bool one_hot = model.has_compile && model.compile.outputs[0].loss->kind ==
                                                model::LossKind::kSparseCategoricalCrossentropy;
  const array::Shape labels = options.y.empty() ? array::Shape{kernel[1]} : options.y[0].shape;
  if (array::ElementCount(labels).value_or(0) != (one_hot ? 1 : units)) {
    return Error{ErrorCode::kInvalidArgument, "labels of shape " + array::ShapeText(labels) +
                                                  " do not fit the " + std::to_string(units) +
                                                  " outputs of layer '" + dense->name + "'"};
  }
  options_ = options;
  one_hot_ = one_hot;
  learning_rate_ = static_cast<float>(optimizer.learning_rate);
  inputs_ = features;
  units_ = units;
  use_bias_ = dense->use_bias;
  weights_.assign(model.weight_count, 0.0f);
  step_count_ = 0;
  return {};
}

Status LeastSquaresEngine::SetOptimizerState(ByteSpan state) {
  if (state.empty()) {
    step_count_ = 0;
    return {};
  }
  ByteReader reader(state);
  const auto magic = reader.Get<std::uint32_t>();
  const auto step_count = reader.Get<std::uint64_t>();
  if (!reader.AtEnd() || magic != kStateMagic) {
    return Error{ErrorCode::kCorrupt, "not an optimizer state of the least-squares trainer (" +
                                          std::to_string(state.size()) + " bytes)"};
  }
  step_count_ = step_count;
  return {};
}

Status LeastSquaresEngine::ReadTargets(const Batch& batch) {
  targets_.assign(batch.samples * units_, 0.0f);
  if (!one_hot_) {
    ConvertToFloat(options_.y[0].dtype, batch.y[0], targets_);
    return {};
  }
  classes_.resize(batch.samples);
  DNC_TRY(ConvertToClasses(options_.y[0].dtype, batch.y[0], static_cast<std::int64_t>(units_),
                           classes_));
  for (std::size_t n = 0; n < classes_.size(); ++n) {
    targets_[n * units_ + static_cast<std::size_t>(classes_[n])] = 1.0f;
  }
  return {};
}

void LeastSquaresEngine::Predict(std::size_t samples) {
  predictions_.assign(samples * units_, 0.0f);
  const float* kernel = weights_.data();
  const float* bias = kernel + inputs_ * units_;
  for (std::size_t n = 0; n < samples; ++n) {
    float* out = &predictions_[n * units_];
    for (std::size_t u = 0; u < units_ && use_bias_; ++u) out[u] = bias[u];
    for (std::size_t i = 0; i < inputs_; ++i) {
      const float feature = features_[n * inputs_ + i];
      for (std::size_t u = 0; u < units_; ++u) out[u] += feature * kernel[i * units_ + u];
    }
  }
}

// One step of gradient descent; predictions_ become the residuals.
void LeastSquaresEngine::Descend(std::size_t samples, std::span<const float> weights) {
  const float scale = learning_rate_ * 2.0f / static_cast<float>(samples * units_);
  float* kernel = weights_.data();
  float* bias = kernel + inputs_ * units_;
  for (std::size_t n = 0; n < samples; ++n) {
    float* residual = &predictions_[n * units_];
    for (std::size_t u = 0; u < units_; ++u) {
      residual[u] -= targets_[n * units_ + u];
      if (!weights.empty()) residual[u] *= weights[n];
    }
    for (std::size_t i = 0; i < inputs_; ++i) {
      const float factor = scale * features_[n * inputs_ + i];
      for (std::size_t u = 0; u < units_; ++u) kernel[i * units_ + u] -= factor * residual[u];
    }
    for (std::size_t u = 0; u < units_ && use_bias_; ++u) bias[u] -= scale * residual[u];
  }
  ++step_count_;
}

std::uint64_t LeastSquaresEngine::CountCorrect(std::size_t samples) const {
  std::uint64_t correct = 0;
  for (std::size_t n = 0; n < samples; ++n) {
    const float* prediction = &predictions_[n * units_];
    const float* target = &targets_[n * units_];
    if (units_ == 1) {
      correct += (prediction[0] > 0.5f ? 1.0f : 0.0f) == target[0];
    } else {
      correct += std::max_element(prediction, prediction + units_) - prediction ==
                 std::max_element(target, target + units_) - target;
    }
  }
  return correct;
}

Result<BatchResult> LeastSquaresEngine::Run(const Batch& batch, std::vector<float>* outputs) {
  features_.resize(batch.samples * inputs_);
  ConvertToFloat(options_.x[0].dtype, batch.x[0], features_);
  Predict(batch.samples);
  if (batch.kind == BatchKind::kPredict) {
    outputs->insert(outputs->end(), predictions_.begin(), predictions_.end());
    return BatchResult{};
  }
  DNC_TRY(ReadTargets(batch));
  double squares = 0;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const double difference = static_cast<double>(predictions_[i]) - targets_[i];
    const double weight = batch.weights.empty() ? 1.0 : batch.weights[i / units_];
    squares += weight * difference * difference;
  }
  BatchResult result;
  result.loss = squares / static_cast<double>(targets_.size());
  if (!std::isfinite(result.loss)) return NonFiniteLoss(result.loss);
  result.correct = CountCorrect(batch.samples);
  if (batch.kind == BatchKind::kScore) {
    outputs->insert(outputs->end(), predictions_.begin(), predictions_.end());
  }
  if (batch.kind == BatchKind::kTrain) Descend(batch.samples, batch.weights);
  return result;
}

}  // namespace

std::unique_ptr<Engine> MakeLeastSquaresEngine() { return std::make_unique<LeastSquaresEngine>(); }

struct FakeTrainer::Impl {
  static constexpr int kThreadsMax = 1024;  // It uses one, whatever is asked for.

  LeastSquaresEngine engine;
  TrainerSession session{&engine, kThreadsMax};
  std::vector<Bytes> x, y;
  std::vector<float> weights;
  bool slot_taken = false;
  std::atomic<bool> stopped{false};

  Status Alive() const {
    if (stopped) return Error{ErrorCode::kCancelled, "the trainer was stopped"};
    return {};
  }
};

FakeTrainer::FakeTrainer() : impl_(std::make_unique<Impl>()) {}
FakeTrainer::~FakeTrainer() = default;

namespace {

std::vector<Bytes> Room(std::span<const array::ColumnSpec> columns, std::uint64_t samples) {
  std::vector<Bytes> room;
  for (const array::ColumnSpec& column : columns) {
    room.emplace_back(samples * column.sample_bytes(), std::byte{0});
  }
  return room;
}

}  // namespace

Status FakeTrainer::Configure(const model::Model& model, const TrainerOptions& options) {
  DNC_TRY(impl_->Alive());
  DNC_TRY(impl_->session.Configure(model, options));
  impl_->x = Room(options.x, options.batch_size_max);
  impl_->y = Room(options.y, options.batch_size_max);
  impl_->weights.assign(options.weighted ? options.batch_size_max : 0, 1.0f);
  impl_->slot_taken = false;
  return {};
}

Status FakeTrainer::SetWeights(std::span<const float> weights) {
  DNC_TRY(impl_->Alive());
  return impl_->session.SetWeights(weights);
}

Result<std::vector<float>> FakeTrainer::GetWeights() {
  DNC_TRY(impl_->Alive());
  return impl_->session.GetWeights();
}

Status FakeTrainer::SetOptimizerState(std::span<const std::byte> state) {
  DNC_TRY(impl_->Alive());
  return impl_->session.SetOptimizerState(state);
}

Result<Bytes> FakeTrainer::GetOptimizerState() {
  DNC_TRY(impl_->Alive());
  return impl_->session.GetOptimizerState();
}

Result<BatchSlot> FakeTrainer::AcquireSlot() {
  DNC_TRY(impl_->Alive());
  DNC_TRY(impl_->session.Ready());
  // A batch is computed within Submit(), so one slot is enough.
  impl_->slot_taken = true;
  return BatchSlot{
      0, {impl_->x.begin(), impl_->x.end()}, {impl_->y.begin(), impl_->y.end()}, impl_->weights};
}

Status FakeTrainer::Submit(const BatchSlot& slot, BatchKind kind, std::uint32_t samples,
                           std::uint64_t seed) {
  DNC_TRY(impl_->Alive());
  DNC_ASSERT(slot.index == 0 && impl_->slot_taken);
  DNC_TRY(CheckBatchSamples(samples, impl_->session.options().batch_size_max));
  impl_->slot_taken = false;
  const TrainerOptions& options = impl_->session.options();
  std::span<const float> weights = impl_->weights;
  weights = kind == BatchKind::kTrain && !weights.empty() ? weights.first(samples)
                                                          : std::span<const float>();
  impl_->session.Run({.kind = kind,
                      .x = FirstSamples(slot.x, options.x, samples),
                      .y = FirstSamples(slot.y, options.y, samples),
                      .samples = samples,
                      .seed = seed,
                      .weights = weights});
  return {};
}

Result<Totals> FakeTrainer::Drain() {
  DNC_TRY(impl_->Alive());
  return impl_->session.Drain();
}

Result<std::vector<float>> FakeTrainer::TakeOutputs() {
  DNC_TRY(impl_->Alive());
  return impl_->session.TakeOutputs();
}

void FakeTrainer::Stop() { impl_->stopped = true; }

}  // namespace dnc::trainer
