#include "model/optimizer_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "base/assert.h"
#include "base/human.h"

namespace dnc::model {
namespace {

constexpr std::uint32_t kMagic = 0x4f434e44;  // "DNCO"
constexpr std::uint32_t kVersion = 2;

}  // namespace

std::vector<SlotSpec> SlotsOf(const Optimizer& optimizer) {
  const auto accumulator = static_cast<float>(optimizer.initial_accumulator_value);
  std::vector<SlotSpec> slots;
  switch (optimizer.kind) {
    case OptimizerKind::kSgd:
      if (optimizer.momentum != 0) slots = {{"m", "momentum"}};
      break;
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      slots = {{"m", "m"}, {"v", "v"}};
      if (optimizer.amsgrad) slots.push_back({"vhat", "vhat"});
      break;
    case OptimizerKind::kRmsprop:
      slots = {{"velocity", "rms"}};
      if (optimizer.momentum > 0) slots.push_back({"momentum", "momentum"});
      if (optimizer.centered) slots.push_back({"average_gradient", "mg"});
      break;
    case OptimizerKind::kAdagrad:
      slots = {{"accumulator", "accumulator", accumulator}};
      break;
    case OptimizerKind::kAdadelta:
      slots = {{"accumulated_grad", "accum_grad"}, {"accumulated_delta_var", "accum_var"}};
      break;
    case OptimizerKind::kAdamax:
      slots = {{"m", "m"}, {"u", "v"}};
      break;
    case OptimizerKind::kNadam:
      slots = {{"m", "m"}, {"v", "v"}};
      break;
    case OptimizerKind::kFtrl:
      slots = {{"accumulator", "accumulator", accumulator}, {"linear", "linear"}};
      break;
    case OptimizerKind::kLion:
      slots = {{"m", "m"}};
      break;
  }
  return slots;
}

OptimizerSlots InitialSlots(const Optimizer& optimizer, std::uint64_t weight_count) {
  OptimizerSlots state;
  for (const SlotSpec& slot : SlotsOf(optimizer)) {
    state.slots.emplace_back(weight_count, slot.initial);
  }
  return state;
}

// mu_t = beta_1 (1 - 0.96^(t schedule_decay) / 2), as the trainer has it.
double MomentumProduct(const Optimizer& optimizer, std::uint64_t step_count) {
  if (optimizer.kind != OptimizerKind::kNadam) return 1;
  const auto beta_1 = static_cast<float>(optimizer.beta_1);
  const auto schedule_decay = static_cast<float>(optimizer.schedule_decay);
  float product = 1;
  // Below the smallest float it stays 0; with a beta_1 of 1 it settles long before.
  constexpr std::uint64_t kStepsMax = 1u << 20;
  for (std::uint64_t t = 1; t <= std::min(step_count, kStepsMax) && product > 0; ++t) {
    product *= beta_1 * (1.0f - 0.5f * std::pow(0.96f, schedule_decay * static_cast<float>(t)));
  }
  return product;
}

Bytes EncodeOptimizerState(const Optimizer& optimizer, std::uint64_t weight_count,
                           const OptimizerSlots& state) {
  ByteWriter writer;
  writer.Put(kMagic);
  writer.Put(kVersion);
  writer.Put(static_cast<std::uint8_t>(optimizer.kind));
  writer.Put(static_cast<std::uint8_t>(state.slots.size()));
  writer.Put(weight_count);
  writer.Put(state.step_count);
  writer.Put(state.momentum_product);
  for (const std::vector<float>& slot : state.slots) {
    DNC_ASSERT(slot.size() == weight_count);
    writer.PutBytes(std::as_bytes(std::span(slot)));
  }
  return std::move(writer).Take();
}

Status DecodeOptimizerState(const Optimizer& optimizer, std::uint64_t weight_count, ByteSpan bytes,
                            OptimizerSlots* state) {
  const std::size_t slot_count = SlotsOf(optimizer).size();
  DNC_ASSERT(state->slots.size() == slot_count);
  ByteReader reader(bytes);
  const auto magic = reader.Get<std::uint32_t>();
  const auto version = reader.Get<std::uint32_t>();
  const auto kind = reader.Get<std::uint8_t>();
  const auto slots = reader.Get<std::uint8_t>();
  const auto count = reader.Get<std::uint64_t>();
  const auto step_count = reader.Get<std::uint64_t>();
  const auto momentum_product = reader.Get<double>();
  if (bytes.size() >= 8 && magic == kMagic && version != kVersion) {
    return Error{ErrorCode::kCorrupt, "an optimizer state of version " + std::to_string(version) +
                                          "; this program reads version " +
                                          std::to_string(kVersion)};
  }
  if (!reader.ok() || magic != kMagic) {
    return Error{ErrorCode::kCorrupt, "not an optimizer state: " + std::to_string(bytes.size()) +
                                          " bytes that do not begin as one"};
  }
  if (kind != static_cast<std::uint8_t>(optimizer.kind) || slots != slot_count ||
      count != weight_count) {
    return Error{ErrorCode::kCorrupt,
                 "the optimizer state does not fit: it has " + std::to_string(slots) +
                     " values for each of " + FormatCount(count) + " weights, but the model's " +
                     OptimizerName(optimizer.kind) + " has " + std::to_string(slot_count) +
                     " for each of " + FormatCount(weight_count)};
  }
  const std::size_t slot_bytes = weight_count * sizeof(float);
  if (reader.remaining() != slot_bytes * slot_count) {
    return Error{ErrorCode::kCorrupt, "the optimizer state is cut off or too long: " +
                                          std::to_string(bytes.size()) + " bytes"};
  }
  if (!(momentum_product >= 0 && momentum_product <= 1)) {
    return Error{ErrorCode::kCorrupt, "the optimizer state has a momentum product outside [0, 1]"};
  }
  state->step_count = step_count;
  state->momentum_product = momentum_product;
  for (std::vector<float>& slot : state->slots) {
    const ByteSpan raw = reader.GetBytes(slot_bytes);
    if (!raw.empty()) std::memcpy(slot.data(), raw.data(), raw.size());
  }
  return {};
}

}  // namespace dnc::model
