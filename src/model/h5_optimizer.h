// The group "optimizer_weights" of an .h5: how Keras's optimizers name and order what
// they keep. Pure: HDF5 itself is in h5_read.cc and h5_write.cc.
//
// Keras since 2.11 writes "iteration:0" and then "Adam/m/dense/kernel:0", where most
// optimizers have all slots of a weight side by side; before, "Adam/iter:0" and
// "Adam/dense/kernel/m:0", slot after slot; Keras 1 and 2 standalone write slot after
// slot under names without meaning.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/model.h"
#include "model/optimizer_state.h"

namespace dnc::model {

struct H5Slot {
  std::string name;  // Of its dataset.
  std::size_t slot = 0;
  std::size_t variable = 0;  // Into the list of trained weights.
  bool is_zero = false;      // Written as zeros: Keras's SGD without momentum has one.
};

// What Keras writes for `weights`, in order, without the counters before it.
std::vector<H5Slot> SlotsToWrite(const Optimizer& optimizer,
                                 const std::vector<const WeightSpec*>& weights);

// The name of the counter of steps.
std::string StepCounterName(const Optimizer& optimizer);

// Keras 3's "adam/iteration", "adam/learning_rate" and "adam/dense_kernel_momentum", whose
// order is that of Keras 2's names since 2.11.
bool IsKeras3StepCounter(const std::string& name);
std::string Keras3Name(const Optimizer& optimizer, const std::string& variable);
std::vector<H5Slot> Keras3SlotsToWrite(Optimizer optimizer,
                                       const std::vector<const WeightSpec*>& weights);

// Where each of the datasets `names`, those of one value for each element of a weight,
// belongs. Those that are to be ignored are left out.
// Errors: kUnsupported, other datasets than this optimizer keeps.
Result<std::vector<H5Slot>> PlaceSlots(const Optimizer& optimizer,
                                       const std::vector<std::string>& names,
                                       std::size_t variable_count);

}  // namespace dnc::model
