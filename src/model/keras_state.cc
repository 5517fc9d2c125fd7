#include "model/keras_state.h"

#include <hdf5.h>

#include <cmath>
#include <optional>

#include "model/h5_objects.h"
#include "model/h5_optimizer.h"
#include "model/keras_paths.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;

constexpr const char* kGroup = "optimizer/vars";

Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }

// The weights that the optimizer moves, in the order of Keras's layers.
Result<std::vector<const WeightSpec*>> TrainedWeights(const Model& model) {
  std::vector<bool> is_trained(model.weights.size(), false);
  for (const Layer& layer : model.layers) {
    for (int i = 0; i < layer.weight_count; ++i) {
      const auto index = static_cast<std::size_t>(layer.first_weight + i);
      is_trained[index] = layer.trainable && model.weights[index].trainable;
    }
  }
  DNC_ASSIGN(const std::vector<int> order, KerasWeightOrder(model));
  std::vector<const WeightSpec*> weights;
  for (const int weight : order) {
    const auto index = static_cast<std::size_t>(weight);
    if (is_trained[index]) weights.push_back(&model.weights[index]);
  }
  return weights;
}

// Archives have no optimizer of Keras before 2.11, which kept the same in another order.
Optimizer AsToday(Optimizer optimizer) {
  optimizer.legacy = false;
  return optimizer;
}

// Variables by their numbers.
class Variables {
 public:
  explicit Variables(const H5Handle* group) : group_(group) {}

  std::string name() const { return std::to_string(next_); }
  bool at_end() const { return H5Lexists(group_->id(), name().c_str(), H5P_DEFAULT) <= 0; }
  void Skip() { ++next_; }
  // The next one, if it is a single number; else it stays the next.
  Result<std::optional<double>> TakeScalar() {
    if (at_end()) return std::optional<double>();
    DNC_ASSIGN(const std::optional<double> value, ReadScalar(*group_, name()));
    if (value) ++next_;
    return value;
  }

 private:
  const H5Handle* group_;
  int next_ = 0;
};

Status ReadCounters(Variables* variables, OptimizerSlots* state) {
  constexpr double kStepsMax = 9e15;  // Whole numbers of a double.
  DNC_ASSIGN(const std::optional<double> steps, variables->TakeScalar());
  if (!steps || !(*steps >= 0 && *steps <= kStepsMax && *steps == std::floor(*steps))) {
    return Corrupt("optimizer/vars/0 is not a number of steps");
  }
  state->step_count = static_cast<std::uint64_t>(*steps);
  // The learning rate, which the compile section says, too.
  return variables->TakeScalar().status();
}

Status ReadSlots(const H5Handle& group, const Optimizer& optimizer,
                 const std::vector<const WeightSpec*>& weights, Variables* variables,
                 OptimizerSlots* state) {
  for (const H5Slot& slot : SlotsToWrite(optimizer, weights)) {
    if (slot.is_zero && variables->at_end()) break;  // Keras 3 has none of those.
    const WeightSpec& weight = *weights[slot.variable];
    DNC_ASSIGN(const H5Handle dataset, OpenObject(group, variables->name()));
    std::vector<float> unused(slot.is_zero ? weight.count : 0);
    float* const out =
        slot.is_zero ? unused.data() : state->slots[slot.slot].data() + weight.offset;
    const Status status = ReadDataset(dataset, weight, out);
    if (!status.ok()) return status.error().WithContext(kGroup + ("/" + variables->name()));
    variables->Skip();
  }
  return {};
}

}  // namespace

Status ReadKerasState(const H5Handle& file, TrainedModel* trained) {
  const Model& model = trained->model;
  const Optimizer optimizer = AsToday(model.compile.optimizer);
  DNC_ASSIGN(const H5Handle group, OpenGroup(file, kGroup));
  DNC_ASSIGN(const std::vector<const WeightSpec*> weights, TrainedWeights(model));
  OptimizerSlots state = InitialSlots(optimizer, model.weight_count);
  Variables variables(&group);
  if (variables.at_end()) return {};
  DNC_TRY(ReadCounters(&variables, &state));
  // A model that was compiled and never trained.
  if (variables.at_end() && state.step_count == 0) return {};
  DNC_TRY(ReadSlots(group, optimizer, weights, &variables, &state));
  state.momentum_product = MomentumProduct(optimizer, state.step_count);
  if (optimizer.kind == OptimizerKind::kNadam) {
    DNC_ASSIGN(const std::optional<double> product, variables.TakeScalar());
    if (product && !(*product >= 0 && *product <= 1)) {
      return Corrupt("Nadam's momentum product is not within 0 and 1");
    }
    if (product) state.momentum_product = *product;
  }
  if (!variables.at_end()) {
    return Error{ErrorCode::kUnsupported, "the file has more variables of it than " +
                                              std::string(OptimizerName(optimizer.kind)) +
                                              " keeps for " + std::to_string(weights.size()) +
                                              " trained weights"};
  }
  trained->optimizer_state = EncodeOptimizerState(optimizer, model.weight_count, state);
  return {};
}

Status WriteKerasState(const TrainedModel& trained, const H5Handle& file, H5Writer* writer) {
  const Model& model = trained.model;
  const Optimizer optimizer = AsToday(model.compile.optimizer);
  if (!model.has_compile || trained.optimizer_state.empty()) return {};
  OptimizerSlots state = InitialSlots(optimizer, model.weight_count);
  DNC_TRY(DecodeOptimizerState(optimizer, model.weight_count, trained.optimizer_state, &state));
  DNC_ASSIGN(const std::vector<const WeightSpec*> weights, TrainedWeights(model));
  const H5Handle group = writer->CreateGroup(file, kGroup);
  if (!group.ok()) return {};
  int next = 0;
  const auto name = [&] { return std::to_string(next++); };
  writer->WriteCount(group, name(), static_cast<std::int64_t>(state.step_count));
  if (optimizer.schedule.kind == ScheduleKind::kNone) {
    const auto rate = static_cast<float>(optimizer.learning_rate);
    writer->WriteDataset(group, name(), {}, &rate);
  }
  for (const H5Slot& slot : SlotsToWrite(optimizer, weights)) {
    if (slot.is_zero) continue;
    const WeightSpec& weight = *weights[slot.variable];
    writer->WriteDataset(group, name(), weight.shape,
                         state.slots[slot.slot].data() + weight.offset);
  }
  if (optimizer.kind == OptimizerKind::kNadam) {
    const auto product = static_cast<float>(state.momentum_product);
    writer->WriteDataset(group, name(), {}, &product);
  }
  return {};
}

}  // namespace dnc::model
