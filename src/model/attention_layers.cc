// MultiHeadAttention, as keras/layers/attention/multi_head_attention.py of 2.15 defines
// it, over one axis: that of the steps.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/layer_registry.h"

namespace dnc::model {
namespace {

using array::Shape;
using array::ShapeText;
using nlohmann::json;

// `value`, or the only element of it.
std::optional<std::int64_t> OneNumber(const json& value) {
  if (value.is_array()) return value.size() == 1 ? WholeNumber(value[0]) : std::nullopt;
  return WholeNumber(value);
}

// The width of the output; 0 is the query's.
void ReadOutputShape(OptionReader* options, LayerDraft* draft) {
  const json* value = options->Find("output_shape");
  options->Record("output_shape", nullptr);
  if (value == nullptr || value->is_null()) return;
  const std::optional<std::int64_t> width = OneNumber(*value);
  if (!width || *width < 1) {
    options->Fail(ErrorCode::kUnsupported, "option \"output_shape\" is " + ShortJson(*value) +
                                               "; only null or one whole number is supported");
    return;
  }
  draft->layer.units = *width;
  // A list is what Keras 2 and 3 both take.
  options->Record("output_shape", {*width});
}

void ReadAttentionAxes(OptionReader* options) {
  const json* value = options->Find("attention_axes");
  options->Record("attention_axes", {1});
  if (value == nullptr || value->is_null() || OneNumber(*value) == 1) return;
  options->Fail(ErrorCode::kUnsupported, "option \"attention_axes\" is " + ShortJson(*value) +
                                             "; only null or [1] is supported");
}

}  // namespace

void ReadMultiHeadAttention(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.attention.heads = options->Int("num_heads", std::nullopt, 1);
  layer.attention.key_dim = options->Int("key_dim", std::nullopt, 1);
  layer.attention.value_dim = layer.attention.key_dim;
  if (const json* value = options->Find("value_dim"); value != nullptr && !value->is_null()) {
    layer.attention.value_dim = options->Int("value_dim", std::nullopt, 1);
  }
  options->Record("value_dim", layer.attention.value_dim);
  layer.rate = options->Number("dropout", 0, 0, 1);
  if (layer.rate >= 1) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"dropout\" is 1: it would drop everything");
  }
  layer.use_bias = options->Bool("use_bias", true);
  ReadOutputShape(options, draft);
  ReadAttentionAxes(options);
  draft->kernel = ReadWeightRule(options, "kernel", "GlorotUniform");
  draft->bias = ReadWeightRule(options, "bias", "Zeros");
  options->OnlyNull({"activity_regularizer"});
  options->OnlyBool("use_gate", false);
  options->RefuseUnlessNull({"sliding_window"});
  // The masks' seed comes from the project; the shapes are those of the inputs.
  options->Ignore({"seed", "flash_attention", "query_shape", "key_shape", "value_shape"});
}

Status JoinMultiHeadAttention(std::span<const Shape> inputs, LayerDraft* draft) {
  Layer& layer = draft->layer;
  if (inputs.size() != 2 && inputs.size() != 3) {
    return DoesNotFit(*draft,
                      "a MultiHeadAttention takes a query, a value and maybe a key, and it "
                      "has " +
                          std::to_string(inputs.size()) +
                          (inputs.size() == 1 ? " input" : " inputs"));
  }
  for (const Shape& input : inputs) {
    if (input.size() == 2) continue;
    return Error{ErrorCode::kUnsupported,
                 layer.name + ": an input has shape " + ShapeText(input) +
                     "; attention is supported over sequences, (steps, features)"};
  }
  const Shape& query = inputs[0];
  const Shape& value = inputs[1];
  const Shape& key = inputs.back();
  if (key[0] != value[0]) {
    return DoesNotFit(*draft, "its value has shape " + ShapeText(value) + " and its key " +
                                  ShapeText(key) + "; they must have equally many steps");
  }
  // Products of these are limited only where all weights are counted, so each is here.
  constexpr std::int64_t kWidthMax = std::int64_t{1} << 24;
  const AttentionOptions& attention = layer.attention;
  if (attention.heads > kWidthMax / std::max(attention.key_dim, attention.value_dim)) {
    return Error{ErrorCode::kTooLarge,
                 layer.name + ": its heads together are wider than " + std::to_string(kWidthMax)};
  }
  constexpr std::int64_t kScoresMax = std::int64_t{1} << 28;
  const std::int64_t value_steps = std::max<std::int64_t>(value[0], 1);
  if (query[0] > kScoresMax / value_steps / attention.heads) {
    return Error{ErrorCode::kTooLarge, layer.name + ": each of " + std::to_string(query[0]) +
                                           " steps would look at " + std::to_string(value[0]) +
                                           ", in " + std::to_string(attention.heads) +
                                           " heads; at most " + std::to_string(kScoresMax) +
                                           " such pairs a sample are supported"};
  }
  const auto add = [&](const std::string& part, const Shape& kernel, const Shape& bias) {
    AddWeight(draft, (part + "/kernel").c_str(), kernel, draft->kernel);
    if (layer.use_bias) AddWeight(draft, (part + "/bias").c_str(), bias, draft->bias);
  };
  const std::int64_t width = layer.units == 0 ? query[1] : layer.units;
  const Shape key_heads{attention.heads, attention.key_dim};
  const Shape value_heads{attention.heads, attention.value_dim};
  add("query", {query[1], attention.heads, attention.key_dim}, key_heads);
  add("key", {key[1], attention.heads, attention.key_dim}, key_heads);
  add("value", {value[1], attention.heads, attention.value_dim}, value_heads);
  add("attention_output", {attention.heads, attention.value_dim, width}, {width});
  layer.output_shape = {query[0], width};
  return {};
}

}  // namespace dnc::model
