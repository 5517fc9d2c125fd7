#include "trainer/session.h"

#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/human.h"

namespace dnc::trainer {

TrainerSession::TrainerSession(Engine* engine, int threads_max)
    : engine_(engine), threads_max_(threads_max) {
  DNC_ASSERT(engine != nullptr && threads_max >= 1);
}

Status CheckWeightCount(std::uint64_t found, std::uint64_t expected) {
  if (found == expected) return {};
  return Error{
      ErrorCode::kInvalidArgument,
      FormatCount(found) + " weights were given, but the model has " + FormatCount(expected)};
}

Status CheckBatchSamples(std::uint64_t samples, std::uint64_t samples_max) {
  if (samples >= 1 && samples <= samples_max) return {};
  return Error{ErrorCode::kInvalidArgument, "a batch of " + std::to_string(samples) +
                                                " samples: it must be 1 to " +
                                                std::to_string(samples_max)};
}

Status CheckTrainerOptions(const model::Model& model, const TrainerOptions& options,
                           int threads_max) {
  if (options.threads < 1 || options.threads > threads_max) {
    return Error{ErrorCode::kInvalidArgument,
                 std::to_string(options.threads) +
                     " threads were asked for, but the trainer was started with " +
                     std::to_string(threads_max)};
  }
  if (options.batch_size_max == 0) {
    return Error{ErrorCode::kInvalidArgument, "batch size 0: it must be at least 1"};
  }
  std::uint64_t sample_bytes = 0;  // Of all columns.
  std::vector<array::ColumnSpec> columns = options.x;
  columns.insert(columns.end(), options.y.begin(), options.y.end());
  for (const array::ColumnSpec& column : columns) {
    if (!array::ElementCount(column.shape).has_value()) {
      return Error{ErrorCode::kInvalidArgument, "column '" + column.name +
                                                    "' has the impossible shape " +
                                                    array::ShapeText(column.shape)};
    }
    // No column is above 2^51, and the sum is checked after each, so nothing overflows.
    sample_bytes += column.sample_bytes();
    if (sample_bytes > kBatchBytesMax / options.batch_size_max) {
      return Error{ErrorCode::kTooLarge,
                   "a batch of " + std::to_string(options.batch_size_max) + " samples of " +
                       FormatByteCount(sample_bytes) + " (up to column '" + column.name +
                       "') is larger than " + FormatByteCount(kBatchBytesMax) +
                       "; use a smaller batch_size"};
    }
  }
  std::vector<std::uint64_t> class_counts;
  for (const array::ColumnSpec& column : options.y) {
    class_counts.push_back(column.class_names.size());
  }
  return model::CheckColumns(model, options.x, options.y, class_counts);
}

Status TrainerSession::Configure(const model::Model& model, const TrainerOptions& options) {
  configured_ = false;
  failure_.reset();
  totals_ = {};
  outputs_ = {};
  DNC_TRY(CheckTrainerOptions(model, options, threads_max_));
  DNC_ASSIGN(const model::Model bound, model::BindInputShapes(model, options.x));
  DNC_TRY(engine_->Configure(bound, options));
  options_ = options;
  weight_count_ = bound.weight_count;
  output_count_ = bound.output_elements();
  configured_ = true;
  return {};
}

Error NonFiniteLoss(double loss) {
  return {ErrorCode::kInvalidArgument,
          "the loss is " + std::string(loss != loss ? "not a number" : "infinite") +
              "; the weights or the data are not finite, or the learning rate is too high"};
}

Status TrainerSession::Ready() const {
  if (!configured_) {
    return Error{ErrorCode::kInvalidArgument, "the trainer has no model yet; call Configure first"};
  }
  if (failure_.has_value()) return *failure_;
  return {};
}

Status TrainerSession::SetWeights(std::span<const float> weights) {
  if (configured_) DNC_TRY(CheckWeightCount(weights.size(), weight_count_));
  failure_.reset();
  DNC_TRY(Ready());
  totals_ = {};
  outputs_ = {};
  return engine_->SetWeights(weights);
}

Result<std::vector<float>> TrainerSession::GetWeights() {
  DNC_TRY(Ready());
  std::vector<float> weights(weight_count_);
  DNC_TRY(engine_->GetWeights(weights));
  return weights;
}

Status TrainerSession::SetOptimizerState(ByteSpan state) {
  DNC_TRY(Ready());
  return engine_->SetOptimizerState(state);
}

Result<Bytes> TrainerSession::GetOptimizerState() {
  DNC_TRY(Ready());
  return engine_->GetOptimizerState();
}

void TrainerSession::Run(const Batch& batch) {
  if (const Status ready = Ready(); !ready.ok()) {
    failure_ = ready.error();
    return;
  }
  DNC_ASSERT(batch.samples >= 1 && batch.samples <= options_.batch_size_max);
  if (batch.kind != BatchKind::kPredict && options_.y.empty()) {
    failure_ = Error{ErrorCode::kInvalidArgument,
                     "the trainer was set up without labels, so that it only predicts"};
    return;
  }
  if (KeepsOutputs(batch.kind) &&
      outputs_.size() + batch.samples * output_count_ > kOutputBytesMax / sizeof(float)) {
    failure_ = Error{ErrorCode::kTooLarge, "more than " + FormatByteCount(kOutputBytesMax) +
                                               " of outputs are waiting; take them more often"};
    return;
  }
  const Result<BatchResult> result = engine_->Run(batch, &outputs_);
  if (!result.ok()) {
    failure_ = result.error();
    return;
  }
  if (batch.kind == BatchKind::kPredict) return;
  totals_.Add({.samples = batch.samples,
               .loss_sum = result->loss * batch.samples,
               .correct = result->correct,
               .sums = result->sums});
}

std::vector<ByteSpan> FirstSamples(const std::vector<std::span<std::byte>>& slot,
                                   std::span<const array::ColumnSpec> columns,
                                   std::uint64_t samples) {
  DNC_ASSERT(slot.size() == columns.size());
  std::vector<ByteSpan> first;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    first.push_back(slot[i].first(samples * columns[i].sample_bytes()));
  }
  return first;
}

void Totals::Add(const Totals& other) {
  samples += other.samples;
  loss_sum += other.loss_sum;
  correct += other.correct;
  if (sums.size() < other.sums.size()) sums.resize(other.sums.size(), 0);
  for (std::size_t i = 0; i < other.sums.size(); ++i) sums[i] += other.sums[i];
}

Result<Totals> TrainerSession::Drain() {
  DNC_TRY(Ready());
  return std::exchange(totals_, Totals{});
}

Result<std::vector<float>> TrainerSession::TakeOutputs() {
  DNC_TRY(Ready());
  totals_ = {};
  return std::exchange(outputs_, {});
}

}  // namespace dnc::trainer
