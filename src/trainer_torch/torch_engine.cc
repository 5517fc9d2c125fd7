#include "trainer_torch/torch_engine.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/prng.h"
#include "trainer/convert.h"
#include "trainer_torch/chain.h"
#include "trainer_torch/device_optimizer.h"
#include "trainer_torch/figure_sums.h"
#include "trainer_torch/layers.h"
#include "trainer_torch/loss.h"
#include "trainer_torch/machine.h"
#include "trainer_torch/merge.h"
#include "trainer_torch/optimizer.h"
#include "trainer_torch/recurrent.h"
#include "trainer_torch/regularization.h"

namespace dnc::trainer_torch {

namespace {

using trainer::Batch;
using trainer::BatchKind;
using trainer::BatchResult;

// What libtorch threw, as an Error.
Error FromException(const char* what) {
  const std::string_view text = what;
  if (text.find("can't allocate memory") != std::string_view::npos) {
    return {ErrorCode::kResourceExhausted,
            "the trainer has not enough memory; allow it more, or use a smaller batch"};
  }
  if (text.find("CUDA out of memory") != std::string_view::npos) {
    return {ErrorCode::kResourceExhausted,
            "the GPU has not enough memory; use a smaller batch, or --device cpu"};
  }
  return {ErrorCode::kInternal, "libtorch: " + std::string(text.substr(0, text.find('\n')))};
}

// Runs `body`, which returns a Status or Result, and turns exceptions into errors.
template <typename Body>
auto Guarded(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return FromException("can't allocate memory");
  } catch (const c10::Error& error) {
    return FromException(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return FromException(error.what());
  }
}

// All outputs of a sample, one behind the other.
void AppendRows(std::vector<at::Tensor> outputs, std::int64_t samples, std::vector<float>* rows) {
  for (at::Tensor& output : outputs) output = output.reshape({samples, -1});
  const at::Tensor joined =
      (outputs.size() == 1 ? outputs[0] : at::cat(outputs, 1)).to(at::kCPU).contiguous();
  const float* const values = joined.data_ptr<float>();
  rows->insert(rows->end(), values, values + joined.numel());
}

class TorchEngine final : public DeviceEngine {
 public:
  explicit TorchEngine(Backward backward) : backward_(backward) {}
  void UseDevice(at::Device device) override { next_device_ = device; }
  Status Configure(const model::Model& model, const trainer::TrainerOptions& options) override;
  Status SetWeights(std::span<const float> weights) override;
  Status GetWeights(std::span<float> weights) override;
  Status SetOptimizerState(ByteSpan state) override;
  Result<Bytes> GetOptimizerState() override;
  Result<BatchResult> Run(const Batch& batch, std::vector<float>* outputs) override;

 private:
  void BuildWeights();
  // Finds what the output needs (the rest is not computed), where each layer's
  // output is used last, and which relu can wait for its pooling.
  void PlanForward();
  // The samples of a column as floats.
  at::Tensor ReadColumn(std::size_t column, const Batch& batch);
  // Each input of the model, (samples, ...) in its shape.
  std::vector<at::Tensor> ReadInputs(const Batch& batch);
  // The outputs of the model, in its order; those of which the loss takes logits before
  // their activation, unless `batch` is predicted.
  std::vector<at::Tensor> ForwardAll(const Batch& batch);
  // Into output_masks_, for the losses.
  void KeepOutputMasks(const std::vector<at::Tensor>& outputs,
                       const std::vector<at::Tensor>& masks);
  Status ReadTargets(const Batch& batch);
  // The loss of the batch, with weights and penalties, and in `losses` that of each output
  // that is trained.
  at::Tensor TotalLoss(const std::vector<at::Tensor>& outputs, std::vector<at::Tensor>* losses);
  // What they say. Errors: a loss that is not finite.
  Result<BatchResult> Report(const std::vector<at::Tensor>& outputs,
                             const std::vector<at::Tensor>& losses, const at::Tensor& total);
  Result<BatchResult> Train(const Batch& batch);
  // With kScore also appends the model's outputs.
  Result<BatchResult> Evaluate(const Batch& batch, std::vector<float>* outputs);
  Status Predict(const Batch& batch, std::vector<float>* outputs);
  // What regularizers add, as Keras does in training and in evaluation.
  at::Tensor WithPenalties(at::Tensor loss) const;
  void ClipTogether();
  void Step();
  void StepOnDevice();

  // Of the values of a batch.
  at::Tensor OnDevice(const at::Tensor& values) const;
  Targets OnDevice(Targets targets) const;

  Backward backward_;
  at::Device next_device_ = at::kCPU;
  at::Device device_ = at::kCPU;
  model::Model model_;
  trainer::TrainerOptions options_;
  // Of an output that is trained.
  struct TrainedOutput {
    int output = 0;
    Loss loss;
    float weight = 1;
    Targets targets;  // Of the batch.
    at::Tensor mask;  // Likewise: of the output's steps, or undefined.
  };
  std::vector<TrainedOutput> trained_outputs_;
  FigureSums figures_;
  // One of the two; the second where the weights are in an order of its own.
  std::optional<OptimizerState> optimizer_;
  std::optional<DeviceOptimizer> device_optimizer_;
  std::optional<DeviceLayout> layout_;
  at::Tensor flat_;                  // All weights, in Keras's order or that of layout_.
  std::vector<at::Tensor> weights_;  // Views of it in the shapes of model_.weights.
  std::vector<bool> trained_;        // Which of them get gradients.
  std::vector<bool> needed_;
  std::vector<bool> is_output_;
  std::vector<bool> gives_logits_;     // Outputs whose loss takes them before their activation.
  std::vector<std::size_t> last_use_;  // Of each layer's output: the layer that reads it.
  // Convolutions whose relu is done after the maximum pooling that alone reads them:
  // the same numbers and gradients, over a quarter of the memory.
  std::vector<bool> relu_waits_;
  std::vector<at::Tensor> penalties_;      // Of outputs, in the last ForwardAll().
  Status problem_;                         // Likewise: what a layer found wrong.
  std::vector<at::Tensor> input_buffers_;  // Of each column.
  std::unique_ptr<Chain> chain_;           // Null where autograd does the work.
};

void TorchEngine::BuildWeights() {
  weights_.clear();
  trained_.assign(model_.weights.size(), false);
  for (const model::Layer& layer : model_.layers) {
    for (int i = 0; i < layer.weight_count && layer.first_call < 0; ++i) {
      const auto index = static_cast<std::size_t>(layer.first_weight + i);
      trained_[index] = layer.trainable && model_.weights[index].trainable;
    }
  }
  const bool on_device = backward_ == Backward::kOnDevice || !device_.is_cpu();
  if (on_device) layout_.emplace(model_.weights, trained_);
  const auto size = on_device ? layout_->size() : static_cast<std::int64_t>(model_.weight_count);
  flat_ = at::zeros({size}, at::TensorOptions(at::kFloat).device(device_));
  for (std::size_t i = 0; i < model_.weights.size(); ++i) {
    const model::WeightSpec& spec = model_.weights[i];
    const auto offset = on_device ? layout_->offset(i) : static_cast<std::int64_t>(spec.offset);
    const at::Tensor view =
        flat_.narrow(0, offset, static_cast<std::int64_t>(spec.count)).view(spec.shape);
    // A leaf that shares the flat vector's memory and not its count of versions: autograd
    // would take a moving statistic's update for one of all weights.
    weights_.push_back(view.variable_data().set_requires_grad(trained_[i]));
  }
}

void TorchEngine::PlanForward() {
  const std::size_t count = model_.layers.size();
  needed_.assign(count, false);
  is_output_.assign(count, false);
  last_use_.assign(count, count);
  relu_waits_.assign(count, false);
  gives_logits_.assign(count, false);
  for (const TrainedOutput& trained : trained_outputs_) {
    const int layer = model_.output_layers[static_cast<std::size_t>(trained.output)];
    if (trained.loss.takes_logits()) gives_logits_[static_cast<std::size_t>(layer)] = true;
  }
  std::vector<int> readers(count, 0);
  for (const int output : model_.output_layers) {
    is_output_[static_cast<std::size_t>(output)] = true;
    needed_[static_cast<std::size_t>(output)] = true;
  }
  for (std::size_t i = count; i-- > 0;) {
    if (!needed_[i]) continue;
    for (const int input : model_.layers[i].inputs) {
      const auto source = static_cast<std::size_t>(input);
      needed_[source] = true;
      ++readers[source];
      if (last_use_[source] == count && !is_output_[source]) last_use_[source] = i;
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const model::Layer& layer = model_.layers[i];
    relu_waits_[i] = layer.kind == model::LayerKind::kConv && readers[i] == 1 &&
                     last_use_[i] < count && layer.activation == model::Activation::kRelu &&
                     model_.layers[last_use_[i]].kind == model::LayerKind::kMaxPooling;
  }
}

Status TorchEngine::Configure(const model::Model& model, const trainer::TrainerOptions& options) {
  DNC_ASSERT(options.y.empty() || options.y.size() == model.compile.trained_outputs().size());
  return Guarded([&]() -> Status {
    // The old model's memory is free for the new one.
    chain_.reset();
    flat_ = at::Tensor();
    weights_.clear();
    optimizer_.reset();
    input_buffers_.assign(options.x.size(), at::Tensor());
    device_optimizer_.reset();
    layout_.reset();
    device_ = next_device_;
    SetThreads(options.threads);
    model_ = model;
    options_ = options;
    trained_outputs_.clear();
    figures_ = options.y.empty() ? FigureSums() : FigureSums(model);
    for (const int output : model.compile.trained_outputs()) {
      if (options.y.empty()) break;
      const model::OutputConfig& config = model.compile.outputs[static_cast<std::size_t>(output)];
      trained_outputs_.push_back({.output = output,
                                  .loss = Loss(model, output),
                                  .weight = static_cast<float>(config.loss_weight)});
    }
    BuildWeights();
    PlanForward();
    if (layout_) {
      device_optimizer_.emplace(model.compile.optimizer, model.weight_count, *layout_, device_);
      return {};
    }
    optimizer_.emplace(model.compile.optimizer, model.weight_count);
    if (backward_ == Backward::kByHandWhereItCan) {
      chain_ = Chain::Make(model, options, flat_.data_ptr<float>(), &*optimizer_);
    }
    return {};
  });
}

Status TorchEngine::SetWeights(std::span<const float> weights) {
  DNC_ASSERT(weights.size() == model_.weight_count);
  if (layout_) {
    return Guarded([&]() -> Status {
      flat_.copy_(layout_->Place(weights, device_));
      return {};
    });
  }
  if (!weights.empty()) std::memcpy(flat_.data_ptr<float>(), weights.data(), weights.size_bytes());
  return {};
}

Status TorchEngine::GetWeights(std::span<float> weights) {
  DNC_ASSERT(weights.size() == model_.weight_count);
  if (layout_) {
    return Guarded([&]() -> Status {
      layout_->Take(flat_, weights);
      return {};
    });
  }
  if (!weights.empty()) std::memcpy(weights.data(), flat_.data_ptr<float>(), weights.size_bytes());
  return {};
}

Status TorchEngine::SetOptimizerState(ByteSpan state) {
  return Guarded([&]() -> Status {
    if (state.empty()) {
      device_optimizer_ ? device_optimizer_->Reset() : optimizer_->Reset();
      return {};
    }
    return device_optimizer_ ? device_optimizer_->Load(state) : optimizer_->Load(state);
  });
}

Result<Bytes> TorchEngine::GetOptimizerState() {
  return Guarded([&]() -> Result<Bytes> {
    return device_optimizer_ ? device_optimizer_->Save() : optimizer_->Save();
  });
}

at::Tensor TorchEngine::OnDevice(const at::Tensor& values) const {
  if (!values.defined() || device_.is_cpu()) return values;
  // Read while the host goes on, from memory that the device reads by itself.
  return values.to(device_, /*non_blocking=*/values.is_pinned());
}

Targets TorchEngine::OnDevice(Targets targets) const {
  return {OnDevice(targets.values), OnDevice(targets.classes), OnDevice(targets.weights)};
}

at::Tensor TorchEngine::ReadColumn(std::size_t column, const Batch& batch) {
  const ByteSpan bytes = batch.x[column];
  const array::DType dtype = options_.x[column].dtype;
  const auto count = static_cast<std::int64_t>(bytes.size() / array::DTypeSize(dtype));
  const std::vector<std::int64_t> sizes{batch.samples, count / batch.samples};
  if (dtype == array::DType::kFloat32) {
    return at::from_blob(const_cast<std::byte*>(bytes.data()), sizes, at::kFloat);
  }
  if (!device_.is_cpu() && dtype == array::DType::kUint8) {
    // Pixels are a quarter of the bytes on their way, and converted there.
    return at::from_blob(const_cast<std::byte*>(bytes.data()), sizes, at::kByte)
        .to(device_)
        .to(at::kFloat);
  }
  at::Tensor& buffer = input_buffers_[column];
  if (!buffer.defined() || buffer.numel() < count) {
    buffer = at::empty({count}, at::TensorOptions(at::kFloat).pinned_memory(device_.is_cuda()));
  }
  float* const floats = buffer.data_ptr<float>();
  trainer::ConvertToFloat(dtype, bytes, {floats, static_cast<std::size_t>(count)});
  return at::from_blob(floats, sizes, at::kFloat);
}

std::vector<at::Tensor> TorchEngine::ReadInputs(const Batch& batch) {
  std::vector<at::Tensor> inputs;
  // Of one column all inputs of a sample lie one behind the other.
  const bool together = options_.x.size() == 1;
  const at::Tensor rows = together ? ReadColumn(0, batch) : at::Tensor();
  std::int64_t offset = 0;
  for (int i = 0; i < model_.input_count; ++i) {
    const array::Shape& shape = model_.layers[static_cast<std::size_t>(i)].output_shape;
    std::vector<std::int64_t> sizes{batch.samples};
    sizes.insert(sizes.end(), shape.begin(), shape.end());
    const auto elements = static_cast<std::int64_t>(*array::ElementCount(shape));
    const at::Tensor input = together ? rows.narrow(1, offset, elements)
                                      : ReadColumn(static_cast<std::size_t>(i), batch);
    inputs.push_back(OnDevice(input.reshape(sizes)));
    offset += elements;
  }
  return inputs;
}

std::vector<at::Tensor> TorchEngine::ForwardAll(const Batch& batch) {
  const std::size_t count = model_.layers.size();
  std::vector<at::Tensor> outputs(count);
  std::vector<at::Tensor> masks(count);
  std::vector<at::Tensor> logits(count);
  {
    std::vector<at::Tensor> inputs = ReadInputs(batch);
    std::move(inputs.begin(), inputs.end(), outputs.begin());  // They are the first layers.
  }
  problem_ = {};
  penalties_.clear();
  for (std::size_t i = 0; i < count; ++i) {
    const model::Layer& layer = model_.layers[i];
    if (layer.kind == model::LayerKind::kInput || !needed_[i]) continue;
    std::vector<at::Tensor> inputs;
    for (const int source : layer.inputs)
      inputs.push_back(outputs[static_cast<std::size_t>(source)]);
    LayerCall call;
    call.layer = &layer;
    call.weights = std::span(weights_).subspan(static_cast<std::size_t>(layer.first_weight),
                                               static_cast<std::size_t>(layer.weight_count));
    call.inputs = inputs;
    call.training = batch.kind == BatchKind::kTrain;
    call.seed = DeriveSeed(batch.seed, i);
    const bool keeps_logits = gives_logits_[i] && batch.kind != BatchKind::kPredict;
    call.skip_activation = relu_waits_[i] || keeps_logits;
    std::vector<at::Tensor> input_masks;
    for (const int source : layer.inputs) {
      input_masks.push_back(masks[static_cast<std::size_t>(source)]);
    }
    call.mask = input_masks[0];
    call.masks = input_masks;
    call.problem = &problem_;
    outputs[i] = Forward(call, inputs[0]);
    if (keeps_logits) {
      logits[i] = outputs[i];
      // Other layers read the output as it is.
      outputs[i] = Activate(layer.activation, logits[i], -1, /*in_place=*/false);
    }
    masks[i] = layer.kind == model::LayerKind::kMerge
                   ? MergedMask(layer, inputs, input_masks)
                   : OutputMask(layer, inputs[0], input_masks[0]);
    for (const int input_layer : layer.inputs) {
      const auto source = static_cast<std::size_t>(input_layer);
      if (relu_waits_[source]) {
        outputs[i] = Activate(model::Activation::kRelu, outputs[i], -1, /*in_place=*/false);
      }
      if (last_use_[source] == i) outputs[source] = at::Tensor();
    }
    if (layer.activity != model::Regularizer{}) {
      // Of a sample, as Keras counts it.
      penalties_.push_back(Penalty(layer.activity, outputs[i]) /
                           static_cast<double>(batch.samples));
    }
  }
  if (batch.kind != BatchKind::kPredict) KeepOutputMasks(outputs, masks);
  std::vector<at::Tensor> results;
  for (const int output : model_.output_layers) {
    const auto layer = static_cast<std::size_t>(output);
    results.push_back(logits[layer].defined() ? logits[layer] : outputs[layer]);
  }
  return results;
}

void TorchEngine::KeepOutputMasks(const std::vector<at::Tensor>& outputs,
                                  const std::vector<at::Tensor>& masks) {
  for (TrainedOutput& trained : trained_outputs_) {
    const auto layer =
        static_cast<std::size_t>(model_.output_layers[static_cast<std::size_t>(trained.output)]);
    trained.mask = masks[layer];
    if (Loss::MaskFits(outputs[layer], trained.mask)) continue;
    problem_ = Error{ErrorCode::kInvalidArgument,
                     model_.layers[layer].name +
                         ": the mask that reaches the model's output does not have its shape; "
                         "end with a layer that gives an output for each step, or one for all"};
  }
}

void TorchEngine::ClipTogether() {
  std::vector<std::span<float>> all;
  for (at::Tensor& weight : weights_) {
    if (!weight.grad().defined()) continue;
    weight.mutable_grad() = weight.grad().contiguous();
    all.emplace_back(weight.grad().data_ptr<float>(),
                     static_cast<std::size_t>(weight.grad().numel()));
  }
  optimizer_->ClipTogether(all);
}

void TorchEngine::StepOnDevice() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients(weights_.size());
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (trained_[i]) gradients[i] = weights_[i].grad();
    weights_[i].mutable_grad().reset();
  }
  device_optimizer_->Step(flat_, gradients);
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (gradients[i].defined()) Constrain(model_.weights[i].constraint, &weights_[i]);
  }
}

void TorchEngine::Step() {
  if (device_optimizer_) return StepOnDevice();
  optimizer_->BeginStep();
  if (optimizer_->clips_together()) ClipTogether();
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    if (!trained_[i] || !weights_[i].grad().defined()) continue;
    // Autograd gives the gradient the layout of the weight; contiguous() copies if not.
    const at::Tensor gradient = weights_[i].grad().contiguous();
    const model::WeightSpec& spec = model_.weights[i];
    optimizer_->Update(weights_[i].data_ptr<float>(), gradient.data_ptr<float>(), spec.offset,
                       spec.count);
    weights_[i].mutable_grad().reset();
    const at::NoGradGuard no_grad;
    Constrain(spec.constraint, &weights_[i]);
  }
}

at::Tensor TorchEngine::WithPenalties(at::Tensor loss) const {
  for (const at::Tensor& penalty : penalties_) loss = loss + penalty;
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const model::Regularizer& regularizer = model_.weights[i].regularizer;
    if (regularizer != model::Regularizer{}) loss = loss + Penalty(regularizer, weights_[i]);
  }
  return loss;
}

Status TorchEngine::ReadTargets(const Batch& batch) {
  for (std::size_t i = 0; i < trained_outputs_.size(); ++i) {
    TrainedOutput& trained = trained_outputs_[i];
    DNC_ASSIGN(trained.targets, trained.loss.ReadTargets(options_.y[i], batch.y[i], batch.samples));
    trained.targets.SetWeights(batch.weights);
    trained.targets = OnDevice(std::move(trained.targets));
  }
  return {};
}

at::Tensor TorchEngine::TotalLoss(const std::vector<at::Tensor>& outputs,
                                  std::vector<at::Tensor>* losses) {
  at::Tensor total;
  for (const TrainedOutput& trained : trained_outputs_) {
    const at::Tensor& output = outputs[static_cast<std::size_t>(trained.output)];
    at::Tensor loss = trained.loss.Value(output, trained.targets, trained.mask);
    losses->push_back(loss);
    if (trained.weight != 1) loss = loss * trained.weight;
    total = total.defined() ? total + loss : loss;
  }
  return WithPenalties(total);
}

Result<BatchResult> TorchEngine::Report(const std::vector<at::Tensor>& outputs,
                                        const std::vector<at::Tensor>& losses,
                                        const at::Tensor& total) {
  const at::NoGradGuard no_grad;
  BatchResult result;
  result.loss = total.item<float>();
  if (!std::isfinite(result.loss)) return trainer::NonFiniteLoss(result.loss);
  result.sums.assign(figures_.count(), 0);
  for (std::size_t i = 0; i < trained_outputs_.size(); ++i) {
    const TrainedOutput& trained = trained_outputs_[i];
    const at::Tensor& output = outputs[static_cast<std::size_t>(trained.output)];
    if (i == 0) result.correct = trained.loss.CountCorrect(output, trained.targets, trained.mask);
    if (figures_.count() == 0) continue;
    const model::Activation activation = model_.output(trained.output).activation;
    figures_.Add(trained.output,
                 trained.loss.takes_logits() ? Activate(activation, output, -1, false) : output,
                 trained.targets, trained.mask, losses[i].item<double>(), result.sums);
  }
  return result;
}

Result<BatchResult> TorchEngine::Train(const Batch& batch) {
  // One that failed in the middle may have left some.
  for (at::Tensor& weight : weights_) weight.mutable_grad().reset();
  DNC_TRY(ReadTargets(batch));
  const std::vector<at::Tensor> outputs = ForwardAll(batch);
  DNC_TRY(problem_);
  std::vector<at::Tensor> losses;
  const at::Tensor total = TotalLoss(outputs, &losses);
  // On a device the backward pass is queued before the loss is waited for. What it leaves is not
  // used where the loss is not finite.
  const bool differentiates_first = device_optimizer_ && total.requires_grad();
  if (differentiates_first) total.backward();
  DNC_ASSIGN(BatchResult result, Report(outputs, losses, total));
  if (total.requires_grad()) {
    if (!differentiates_first) total.backward();
    Step();
  }
  return result;
}

Result<BatchResult> TorchEngine::Evaluate(const Batch& batch, std::vector<float>* outputs) {
  DNC_TRY(ReadTargets(batch));
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> results = ForwardAll(batch);
  DNC_TRY(problem_);
  std::vector<at::Tensor> losses;
  const at::Tensor total = TotalLoss(results, &losses);
  DNC_ASSIGN(BatchResult result, Report(results, losses, total));
  if (batch.kind == BatchKind::kScore) {
    for (const TrainedOutput& trained : trained_outputs_) {
      at::Tensor& output = results[static_cast<std::size_t>(trained.output)];
      if (!trained.loss.takes_logits()) continue;
      output = Activate(model_.output(trained.output).activation, output, -1, /*in_place=*/false);
    }
    AppendRows(results, batch.samples, outputs);
  }
  return result;
}

Status TorchEngine::Predict(const Batch& batch, std::vector<float>* outputs) {
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> results = ForwardAll(batch);
  DNC_TRY(problem_);
  AppendRows(results, batch.samples, outputs);
  return {};
}

Result<BatchResult> TorchEngine::Run(const Batch& batch, std::vector<float>* outputs) {
  return Guarded([&]() -> Result<BatchResult> {
    if (chain_ != nullptr) return chain_->Run(batch, outputs);
    switch (batch.kind) {
      case BatchKind::kTrain:
        return Train(batch);
      case BatchKind::kEvaluate:
      case BatchKind::kScore:
        return Evaluate(batch, outputs);
      case BatchKind::kPredict:
        break;
    }
    DNC_TRY(Predict(batch, outputs));
    return BatchResult{};
  });
}

}  // namespace

std::unique_ptr<DeviceEngine> MakeTorchEngine(Backward backward) {
  return std::make_unique<TorchEngine>(backward);
}

}  // namespace dnc::trainer_torch
