#include "model/h5_optimizer.h"

#include <algorithm>

namespace dnc::model {
namespace {

// "Adam/dense/kernel/m:0" in parts, without the colon's number.
std::vector<std::string> PathParts(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name.substr(0, name.rfind(':'))) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

// The slot whose name is `part`.
std::optional<std::size_t> SlotNamed(const std::vector<SlotSpec>& slots, const std::string& part,
                                     bool legacy) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (part == (legacy ? slots[i].legacy_name : slots[i].name)) return i;
  }
  return std::nullopt;
}

// The slot of each name; empty unless all are named in this style.
std::vector<std::size_t> SlotsByName(const std::vector<SlotSpec>& slots,
                                     const std::vector<std::string>& names, bool legacy) {
  std::vector<std::size_t> found;
  for (const std::string& name : names) {
    const std::vector<std::string> parts = PathParts(name);
    if (parts.size() < 3) return {};
    const auto slot = SlotNamed(slots, legacy ? parts.back() : parts[1], legacy);
    if (!slot) return {};
    found.push_back(*slot);
  }
  return found;
}

// Whether Keras writes this slot of all weights after the slots of all others, not
// beside those of its weight.
bool StandsApart(const Optimizer& optimizer, std::size_t slot) {
  if (optimizer.kind == OptimizerKind::kFtrl) return false;
  if (optimizer.legacy || optimizer.kind == OptimizerKind::kRmsprop) return true;
  return slot == 2;  // Adam's vhat.
}

}  // namespace

std::string StepCounterName(const Optimizer& optimizer) {
  if (!optimizer.legacy) return "iteration:0";
  return std::string(OptimizerName(optimizer.kind)) + "/iter:0";
}

std::vector<H5Slot> SlotsToWrite(const Optimizer& optimizer,
                                 const std::vector<const WeightSpec*>& weights) {
  const std::string prefix = std::string(OptimizerName(optimizer.kind)) + "/";
  std::vector<SlotSpec> slots = SlotsOf(optimizer);
  const bool zeros = slots.empty() && optimizer.kind == OptimizerKind::kSgd && !optimizer.legacy;
  if (zeros) slots = {{"m", "momentum"}};
  std::vector<H5Slot> entries;
  const auto add = [&](std::size_t slot, std::size_t variable) {
    const std::string path = weights[variable]->name.substr(0, weights[variable]->name.rfind(':'));
    const std::string name = optimizer.legacy ? prefix + path + "/" + slots[slot].legacy_name + ":0"
                                              : prefix + slots[slot].name + "/" + path + ":0";
    entries.push_back({name, slot, variable, zeros});
  };
  for (std::size_t variable = 0; variable < weights.size(); ++variable) {
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      if (!StandsApart(optimizer, slot)) add(slot, variable);
    }
  }
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    for (std::size_t variable = 0; variable < weights.size(); ++variable) {
      if (StandsApart(optimizer, slot)) add(slot, variable);
    }
  }
  return entries;
}

bool IsKeras3StepCounter(const std::string& name) { return name.ends_with("/iteration"); }

std::string Keras3Name(const Optimizer& optimizer, const std::string& variable) {
  std::string name = std::string(OptimizerName(optimizer.kind)) + "/" + variable;
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return name;
}

std::vector<H5Slot> Keras3SlotsToWrite(Optimizer optimizer,
                                       const std::vector<const WeightSpec*>& weights) {
  optimizer.legacy = false;  // Keras 3 knows no others.
  std::vector<H5Slot> slots = SlotsToWrite(optimizer, weights);
  std::erase_if(slots, [](const H5Slot& slot) { return slot.is_zero; });
  const std::vector<SlotSpec> specs = SlotsOf(optimizer);
  for (H5Slot& slot : slots) {
    std::string path = weights[slot.variable]->name;
    path.erase(path.rfind(':'));
    std::replace(path.begin(), path.end(), '/', '_');
    slot.name = Keras3Name(optimizer, path + "_" + specs[slot.slot].name);
  }
  return slots;
}

Result<std::vector<H5Slot>> PlaceSlots(const Optimizer& optimizer,
                                       const std::vector<std::string>& names,
                                       std::size_t variable_count) {
  const std::vector<SlotSpec> slots = SlotsOf(optimizer);
  std::vector<H5Slot> entries;
  // SGD without momentum may have written velocities, which are not used.
  if (slots.empty() && names.size() == variable_count) return entries;
  if (names.size() != slots.size() * variable_count) {
    return Error{ErrorCode::kUnsupported,
                 "the file has " + std::to_string(names.size()) + " tensors of it, but " +
                     OptimizerName(optimizer.kind) + " keeps " + std::to_string(slots.size()) +
                     " for each of " + std::to_string(variable_count) + " trained weights"};
  }
  std::vector<std::size_t> slot_of = SlotsByName(slots, names, /*legacy=*/true);
  if (slot_of.empty()) slot_of = SlotsByName(slots, names, /*legacy=*/false);
  std::vector<std::size_t> next(slots.size(), 0);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::size_t slot = slot_of.empty() ? i / variable_count : slot_of[i];
    if (next[slot] == variable_count) {
      return Error{ErrorCode::kUnsupported, "the file has more than " +
                                                std::to_string(variable_count) + " tensors \"" +
                                                slots[slot].name + "\" of it"};
    }
    entries.push_back({names[i], slot, next[slot]++, false});
  }
  return entries;
}

}  // namespace dnc::model
