#include "model/h5_state.h"

#include <hdf5.h>

#include <cmath>
#include <optional>

#include "model/h5_objects.h"
#include "model/h5_optimizer.h"
#include "model/json_text.h"

namespace dnc::model {
namespace {

using hdf::H5Handle;

constexpr std::size_t kNameBytesMax = 1u << 12;

Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }
Error Unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }

// The weights that the optimizer moves, in the order of the file's groups.
std::vector<const WeightSpec*> TrainedWeights(const Model& model) {
  std::vector<bool> is_trained(model.weights.size(), false);
  for (const Layer& layer : model.layers) {
    for (int i = 0; i < layer.weight_count; ++i) {
      const auto index = static_cast<std::size_t>(layer.first_weight + i);
      is_trained[index] = layer.trainable && model.weights[index].trainable;
    }
  }
  std::vector<const WeightSpec*> weights;
  for (const WeightGroup& group : model.weight_groups) {
    for (const int weight : group.weights) {
      const auto index = static_cast<std::size_t>(weight);
      if (is_trained[index]) weights.push_back(&model.weights[index]);
    }
  }
  return weights;
}

// Takes the numbers that stand before the slots, and their names off `names`.
Status ReadCounters(const H5Handle& group, const Optimizer& optimizer,
                    std::vector<std::string>* names, OptimizerSlots* state) {
  constexpr double kStepsMax = 9e15;  // Whole numbers of a double.
  bool counted = false;
  bool has_product = false;
  while (!names->empty()) {
    const std::string& name = names->front();
    DNC_ASSIGN(const std::optional<double> value, ReadScalar(group, name));
    if (!value) break;
    if (!counted) {
      if (!(*value >= 0 && *value <= kStepsMax && *value == std::floor(*value))) {
        return Corrupt(Quoted(name) + " is not a number of steps");
      }
      state->step_count = static_cast<std::uint64_t>(*value);
      counted = true;
    } else if (name.find("learning_rate") != std::string::npos) {
      // The compile section says it, too.
    } else if (optimizer.kind == OptimizerKind::kNadam && !has_product) {
      if (!(*value >= 0 && *value <= 1)) return Corrupt(Quoted(name) + " is not within 0 and 1");
      state->momentum_product = *value;
      has_product = true;
    } else {
      return Unsupported("has the number " + Quoted(name) + ", which is not known");
    }
    names->erase(names->begin());
  }
  if (!has_product) state->momentum_product = MomentumProduct(optimizer, state->step_count);
  return {};
}

// Keras 2 gives Adam a largest v of one element for each weight, for nothing.
Status DropPlaceholders(const H5Handle& group, std::size_t kept, std::vector<std::string>* names) {
  for (std::size_t i = kept; i < names->size(); ++i) {
    DNC_ASSIGN(const H5Handle dataset, OpenObject(group, (*names)[i]));
    const H5Handle space(H5Dget_space(dataset.id()), H5Sclose);
    if (!space.ok() || H5Sget_simple_extent_npoints(space.id()) != 1) return {};
  }
  names->resize(kept);
  return {};
}

// Keras 3 writes Nadam's product last.
Status ReadLastProduct(const H5Handle& group, const Optimizer& optimizer,
                       std::vector<std::string>* names, OptimizerSlots* state) {
  if (optimizer.kind != OptimizerKind::kNadam || names->empty()) return {};
  DNC_ASSIGN(const std::optional<double> value, ReadScalar(group, names->back()));
  if (!value) return {};
  if (!(*value >= 0 && *value <= 1)) {
    return Corrupt(Quoted(names->back()) + " is not within 0 and 1");
  }
  state->momentum_product = *value;
  names->pop_back();
  return {};
}

// Keras 3's names tell nothing, and its order is always the same.
Result<std::vector<H5Slot>> PlaceKeras3Slots(const Optimizer& optimizer,
                                             const std::vector<std::string>& names,
                                             const std::vector<const WeightSpec*>& weights) {
  std::vector<H5Slot> slots = Keras3SlotsToWrite(optimizer, weights);
  if (slots.size() != names.size()) {
    return Unsupported("the file has " + std::to_string(names.size()) + " tensors of it, but " +
                       OptimizerName(optimizer.kind) + " keeps " + std::to_string(slots.size()));
  }
  for (std::size_t i = 0; i < slots.size(); ++i) slots[i].name = names[i];
  return slots;
}

void WriteCounters(const Model& model, const OptimizerSlots& state, const H5Handle& group,
                   bool of_keras3, std::vector<std::string>* names, H5Writer* writer) {
  const Optimizer& optimizer = model.compile.optimizer;
  names->push_back(of_keras3 ? Keras3Name(optimizer, "iteration") : StepCounterName(optimizer));
  writer->WriteCount(group, names->back(), static_cast<std::int64_t>(state.step_count));
  if (of_keras3 && optimizer.schedule.kind == ScheduleKind::kNone) {
    const auto rate = static_cast<float>(optimizer.learning_rate);
    names->push_back(Keras3Name(optimizer, "learning_rate"));
    writer->WriteDataset(group, names->back(), {}, &rate);
  }
}

}  // namespace

Status ReadOptimizerState(const H5Handle& file, TrainedModel* trained) {
  const Optimizer& optimizer = trained->model.compile.optimizer;
  DNC_ASSIGN(const H5Handle group, OpenGroup(file, "optimizer_weights"));
  DNC_ASSIGN(std::vector<std::string> names, ReadTextList(group, "weight_names"));
  const std::vector<const WeightSpec*> weights = TrainedWeights(trained->model);
  OptimizerSlots state = InitialSlots(optimizer, trained->model.weight_count);
  const bool of_keras3 = !names.empty() && IsKeras3StepCounter(names.front());
  DNC_TRY(ReadCounters(group, optimizer, &names, &state));
  // A model that was compiled and never trained.
  if (names.empty() && state.step_count == 0) return {};
  if (of_keras3) DNC_TRY(ReadLastProduct(group, optimizer, &names, &state));
  const std::size_t expected = state.slots.size() * weights.size();
  if (optimizer.kind == OptimizerKind::kAdam && names.size() == expected + weights.size()) {
    DNC_TRY(DropPlaceholders(group, expected, &names));
  }
  DNC_ASSIGN(const std::vector<H5Slot> entries, of_keras3
                                                    ? PlaceKeras3Slots(optimizer, names, weights)
                                                    : PlaceSlots(optimizer, names, weights.size()));
  for (const H5Slot& entry : entries) {
    if (entry.name.size() > kNameBytesMax) return Corrupt("a name is too long");
    DNC_ASSIGN(const H5Handle dataset, OpenObject(group, entry.name));
    const WeightSpec& weight = *weights[entry.variable];
    const Status status =
        ReadDataset(dataset, weight, state.slots[entry.slot].data() + weight.offset);
    if (!status.ok()) return status.error().WithContext(Quoted(entry.name));
  }
  trained->optimizer_state = EncodeOptimizerState(optimizer, trained->model.weight_count, state);
  return {};
}

void WriteOptimizerState(const Model& model, const OptimizerSlots& state, const H5Handle& file,
                         H5Writer* writer) {
  const Optimizer& optimizer = model.compile.optimizer;
  const std::vector<const WeightSpec*> weights = TrainedWeights(model);
  const H5Handle group = writer->CreateGroup(file, "optimizer_weights");
  if (!group.ok()) return;
  // Files of Keras 3 go back there.
  const bool of_keras3 = model.keras_file.keras_version.starts_with("3.");
  std::vector<std::string> names;
  WriteCounters(model, state, group, of_keras3, &names, writer);
  if (!of_keras3 && optimizer.legacy && optimizer.kind == OptimizerKind::kNadam) {
    const auto product = static_cast<float>(state.momentum_product);
    names.push_back("Nadam/momentum_cache:0");
    writer->WriteDataset(group, names.back(), {}, &product);
  }
  for (const H5Slot& slot :
       of_keras3 ? Keras3SlotsToWrite(optimizer, weights) : SlotsToWrite(optimizer, weights)) {
    const WeightSpec& weight = *weights[slot.variable];
    const std::vector<float> zeros(slot.is_zero ? weight.count : 0);
    names.push_back(slot.name);
    writer->WriteDataset(
        group, slot.name, weight.shape,
        slot.is_zero ? zeros.data() : state.slots[slot.slot].data() + weight.offset);
    if (!writer->status().ok()) return;
  }
  if (of_keras3 && optimizer.kind == OptimizerKind::kNadam) {
    const auto product = static_cast<float>(state.momentum_product);
    names.push_back(Keras3Name(optimizer, "variable"));
    writer->WriteDataset(group, names.back(), {}, &product);
  }
  writer->WriteTextList(group, "weight_names", names);
}

}  // namespace dnc::model
