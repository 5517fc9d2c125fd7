#include "trainer_torch/chain.h"

#include <omp.h>

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/prng.h"
#include "trainer/convert.h"

namespace dnc::trainer_torch {

namespace {

using model::Activation;
using model::Layer;
using model::LayerKind;
using trainer::Batch;
using trainer::BatchKind;
using trainer::BatchResult;

// A batch of fewer operations is computed by one thread: two would wait for each other
// longer than they work. Threads meet once in a convolution, more often in a product.
constexpr double kConvThreadFlopsMin = 1e7;
constexpr double kThreadFlopsMin = 1e8;

std::int64_t CountOf(const Layer& layer) {
  return static_cast<std::int64_t>(*array::ElementCount(layer.output_shape));
}

std::int64_t WidthOf(const Layer& layer) {
  return layer.output_shape.empty() ? 1 : layer.output_shape.back();
}

bool IsPlainRelu(const Layer& layer) {
  return layer.relu_max_value == 0 && layer.relu_negative_slope == 0 && layer.relu_threshold == 0;
}

bool TakesActivationOf(const Layer& layer) {
  if (!TakesActivation(layer.activation)) return false;
  if (layer.kind != LayerKind::kActivation) return true;
  if (layer.activation == Activation::kRelu) return IsPlainRelu(layer);
  return layer.activation != Activation::kSoftmax || layer.softmax_axis == -1;
}

// Whether each layer reads the one before it alone, and nothing is added to the loss or
// done to weights besides.
bool IsPlainChain(const model::Model& model) {
  if (model.input_count != 1 || model.output_layers.size() != 1 || model.layers.size() < 2 ||
      model.output_layer != static_cast<int>(model.layers.size()) - 1) {
    return false;
  }
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const Layer& layer = model.layers[i];
    if (layer.first_call >= 0 || layer.activity != model::Regularizer{}) return false;
    if (i > 0 && layer.inputs != std::vector<int>{static_cast<int>(i) - 1}) return false;
  }
  return std::all_of(model.weights.begin(), model.weights.end(), [](const auto& spec) {
    return spec.regularizer == model::Regularizer{} && spec.constraint == model::Constraint{};
  });
}

// Lowers the number of threads while a small batch is computed.
class ThreadsFor {
 public:
  ThreadsFor(double flops, bool has_conv, int threads) : threads_(threads) {
    if (flops < (has_conv ? kConvThreadFlopsMin : kThreadFlopsMin)) omp_set_num_threads(1);
  }
  ~ThreadsFor() { omp_set_num_threads(threads_); }
  ThreadsFor(const ThreadsFor&) = delete;
  ThreadsFor& operator=(const ThreadsFor&) = delete;

 private:
  int threads_;
};

}  // namespace

Chain::Chain(const model::Model& model, const trainer::TrainerOptions& options, float* weights,
             OptimizerState* optimizer)
    : options_(options),
      loss_(model, options.y),
      updates_(model, weights, optimizer),
      input_count_(static_cast<std::int64_t>(model.input_elements())),
      output_count_(static_cast<std::int64_t>(model.output_elements())),
      sample_flops_(static_cast<double>(model::ForwardFlops(model))) {}

std::unique_ptr<Chain> Chain::Make(const model::Model& model,
                                   const trainer::TrainerOptions& options, float* weights,
                                   OptimizerState* optimizer) {
  if (!IsPlainChain(model) || options.x.size() != 1) return nullptr;
  if (model.has_compile && model.compile.outputs[0].loss_weight != 1) return nullptr;
  std::unique_ptr<Chain> chain(new Chain(model, options, weights, optimizer));
  const auto last = static_cast<std::size_t>(model.output_layer);
  for (std::size_t i = 1; i <= last; ++i) {
    const std::size_t taken = chain->AddLayers(model, i, weights);
    if (taken == 0) return nullptr;
    i += taken - 1;
  }
  if (chain->links_.empty()) return nullptr;  // Nothing to compute.
  chain->output_width_ = WidthOf(model.layers[last]);
  return chain;
}

// How many layers from this one on are computed by a stage that was added, or need none. 0
// where there is no stage for it.
std::size_t Chain::AddLayers(const model::Model& model, std::size_t index, const float* weights) {
  const Layer& layer = model.layers[index];
  const Layer& before = model.layers[index - 1];
  const bool is_last = static_cast<int>(index) == model.output_layer;
  if (!TakesActivationOf(layer)) return 0;
  if (layer.kind == LayerKind::kConv) return is_last ? 0 : AddConv(model, index, weights);
  if (is_last) last_activation_ = layer.activation;
  const Activation activation = is_last ? Activation::kLinear : layer.activation;
  switch (layer.kind) {
    case LayerKind::kFlatten:
      // Of channels_first data it changes the order.
      return layer.channels_last || before.output_shape.size() <= 1 ? 1 : 0;
    case LayerKind::kReshape:
      return 1;
    case LayerKind::kDense:
      Add(MakeDenseStage(model, layer, CountOf(before) / WidthOf(before), activation, weights),
          layer, index);
      return 1;
    case LayerKind::kActivation:
      Add(MakeActivationStage(activation, CountOf(layer) / WidthOf(layer), WidthOf(layer)), layer,
          index);
      return 1;
    case LayerKind::kDropout:
      Add(MakeDropoutStage(layer.rate, CountOf(layer)), layer, index);
      return 1;
    case LayerKind::kRescaling:
      Add(MakeRescalingStage(layer.rescale, layer.offset, CountOf(layer)), layer, index);
      return 1;
    default:
      return 0;
  }
}

std::size_t Chain::AddConv(const model::Model& model, std::size_t index, const float* weights) {
  const Layer& conv = model.layers[index];
  const Layer* pool = &model.layers[index + 1];
  if (!IsPoolingOf(*pool, conv)) pool = nullptr;
  const bool gives_gradient = !links_.empty() && links_.back().trained;
  std::unique_ptr<Stage> stage =
      MakeConvStage(model, conv, model.layers[index - 1], pool, gives_gradient, weights);
  if (stage == nullptr) return 0;
  Add(std::move(stage), conv, index);
  has_conv_ = true;
  if (pool == nullptr) return 1;
  links_.back().output_count = CountOf(*pool);
  return 2;
}

void Chain::Add(std::unique_ptr<Stage> stage, const Layer& layer, std::size_t index) {
  bool trained = !links_.empty() && links_.back().trained;
  for (int i = 0; i < layer.weight_count; ++i) {
    trained = trained || updates_.trains(layer.first_weight + i);
  }
  links_.push_back({std::move(stage), index, CountOf(layer), trained, {}});
}

void Chain::Reserve(std::int64_t samples) {
  if (samples <= reserved_samples_) return;
  for (std::size_t i = 0; i < links_.size(); ++i) {
    const auto count = static_cast<std::size_t>(samples * links_[i].output_count);
    links_[i].output.resize(count);
    links_[i].stage->Reserve(samples);
    if (links_[i].trained) GradientOf(i).resize(std::max(GradientOf(i).size(), count));
  }
  if (options_.x[0].dtype != array::DType::kFloat32) {
    input_.resize(static_cast<std::size_t>(samples * input_count_));
  }
  reserved_samples_ = samples;
}

const float* Chain::ReadInput(const Batch& batch) {
  if (options_.x[0].dtype == array::DType::kFloat32) {
    return reinterpret_cast<const float*>(batch.x[0].data());
  }
  const auto count = static_cast<std::size_t>(batch.samples * input_count_);
  trainer::ConvertToFloat(options_.x[0].dtype, batch.x[0], std::span(input_).first(count));
  return input_.data();
}

// The output before the last activation.
const float* Chain::Forward(const Batch& batch, const float* input) {
  for (Link& link : links_) {
    const Pass pass{batch.samples, batch.kind == BatchKind::kTrain,
                    DeriveSeed(batch.seed, link.layer)};
    link.stage->Forward(pass, input, link.output.data());
    input = link.output.data();
  }
  return input;
}

// From the gradient by the last output.
void Chain::Backward(const Batch& batch, const float* input) {
  updates_.Begin();
  for (std::size_t i = links_.size(); i-- > 0 && links_[i].trained;) {
    Link& link = links_[i];
    const Pass pass{batch.samples, true, DeriveSeed(batch.seed, link.layer)};
    const bool wants_more = i > 0 && links_[i - 1].trained;
    link.stage->Backward(pass, i == 0 ? input : links_[i - 1].output.data(), link.output.data(),
                         GradientOf(i).data(), wants_more ? GradientOf(i - 1).data() : nullptr,
                         &updates_);
  }
  updates_.End();
}

Result<BatchResult> Chain::Run(const Batch& batch, std::vector<float>* outputs) {
  Reserve(batch.samples);
  const ThreadsFor threads(sample_flops_ * batch.samples, has_conv_, options_.threads);
  const float* const input = ReadInput(batch);
  float* const output = const_cast<float*>(Forward(batch, input));
  const bool activates = batch.kind == BatchKind::kPredict || !loss_.takes_logits();
  const std::int64_t rows = batch.samples * (output_count_ / output_width_);
  if (activates) ActivateRows(last_activation_, rows, output_width_, output);
  if (batch.kind == BatchKind::kPredict) {
    outputs->insert(outputs->end(), output, output + batch.samples * output_count_);
    return BatchResult{};
  }
  const bool trains = batch.kind == BatchKind::kTrain && links_.back().trained;
  float* const gradient = trains ? GradientOf(links_.size() - 1).data() : nullptr;
  DNC_ASSIGN(const BatchResult result, loss_.Compute(output, batch, gradient));
  if (batch.kind == BatchKind::kScore) {
    if (!activates) ActivateRows(last_activation_, rows, output_width_, output);
    outputs->insert(outputs->end(), output, output + batch.samples * output_count_);
  }
  if (trains) {
    if (activates) ActivationGradient(last_activation_, rows, output_width_, output, gradient);
    Backward(batch, input);
  }
  return result;
}

}  // namespace dnc::trainer_torch
