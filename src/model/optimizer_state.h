// What an optimizer keeps between steps, beside the weights: how many steps it made,
// and one to three values for each weight ("slots", such as Adam's m and v). It
// travels as bytes between the trainer and the files of a model.
//
// Bytes, little-endian: u32 magic "DNCO", u32 version, u8 optimizer kind, u8 slots,
// u64 weights, u64 steps, f64 momentum product (Nadam's; 1 for others), then each
// slot as float32s.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "model/model.h"

namespace dnc::model {

struct SlotSpec {
  const char* name;         // As Keras since 2.11 names its variable.
  const char* legacy_name;  // As Keras before 2.11 does.
  float initial = 0;
};

// Keras's name of an optimizer: "RMSprop".
const char* OptimizerName(OptimizerKind kind);

// The slots of an optimizer, in Keras's order. At most three.
std::vector<SlotSpec> SlotsOf(const Optimizer& optimizer);

struct OptimizerSlots {
  std::uint64_t step_count = 0;
  double momentum_product = 1;  // Of Nadam's momenta so far.
  std::vector<std::vector<float>> slots;
};

// Before the first step.
OptimizerSlots InitialSlots(const Optimizer& optimizer, std::uint64_t weight_count);

// The product of Nadam's momenta of `step_count` steps; 1 for other optimizers.
double MomentumProduct(const Optimizer& optimizer, std::uint64_t step_count);

Bytes EncodeOptimizerState(const Optimizer& optimizer, std::uint64_t weight_count,
                           const OptimizerSlots& state);

// Reads into `*state`, which is unchanged on an error and whose slots' memory is used.
// Requires: *state has the slots of `optimizer`, each of weight_count elements.
// Errors: kCorrupt, not a state of this optimizer and number of weights.
Status DecodeOptimizerState(const Optimizer& optimizer, std::uint64_t weight_count, ByteSpan bytes,
                            OptimizerSlots* state);

}  // namespace dnc::model
