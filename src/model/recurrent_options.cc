// What the options of recurrent layers are in Keras 2 (keras/layers/rnn of 2.15),
// with its defaults. Keras 3's own options are accepted where they change nothing.

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/recurrent_layers.h"
#include "model/spatial_shape.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Wrappers within wrappers: none of any use is deeper.
constexpr int kWrapperDepthMax = 4;

// Absent, it is `fallback`; null is linear.
Activation ReadActivationOr(OptionReader* options, const char* key, Activation fallback) {
  if (options->Find(key) != nullptr) return options->ActivationName(key);
  options->Record(key, ActivationText(fallback));
  return fallback;
}

double ReadDropRate(OptionReader* options, const char* key) {
  const double rate = options->Number(key, 0, 0, 1);
  if (rate >= 1) {
    options->Fail(ErrorCode::kInvalidArgument,
                  "option \"" + std::string(key) + "\" is 1: it would drop everything");
  }
  return rate;
}

// What all recurrent layers have, but for the activations.
void ReadRecurrentCommon(OptionReader* options, LayerDraft* draft) {
  SequenceOptions& sequence = draft->layer.sequence;
  sequence.return_sequences = options->Bool("return_sequences", false);
  sequence.go_backwards = options->Bool("go_backwards", false);
  for (const char* key : {"return_state", "stateful"}) {
    options->OnlyBool(key, false);
    options->Record(key, false);
  }
  options->Bool("unroll", false);
  options->OnlyBool("time_major", false);
  if (options->Find("zero_output_for_mask") != nullptr) {
    sequence.zero_output_for_mask = options->Bool("zero_output_for_mask", false);
  }
  draft->layer.use_bias = options->Bool("use_bias", true);
  draft->kernel = ReadWeightRule(options, "kernel", "GlorotUniform");
  draft->recurrent_kernel = ReadWeightRule(options, "recurrent", "Orthogonal");
  draft->bias = ReadWeightRule(options, "bias", "Zeros");
  draft->layer.activity = ReadRegularizer(options, "activity_regularizer");
  sequence.dropout = ReadDropRate(options, "dropout");
  sequence.recurrent_dropout = ReadDropRate(options, "recurrent_dropout");
  // The masks' seed comes from the project.
  options->Ignore({"seed", "cell", "use_cudnn", "input_length", "input_dim"});
  options->RefuseUnlessNull({"num_constants"});
}

// Keras multiplies each gate apart (1) or all of them at once (2): the same numbers, but
// for dropout, whose masks are then of each gate or of all.
void ReadImplementation(OptionReader* options, LayerDraft* draft) {
  SequenceOptions& sequence = draft->layer.sequence;
  const std::int64_t implementation = options->Int("implementation", 2, 0);
  sequence.drop_per_gate = implementation != 2 || sequence.recurrent_dropout > 0;
}

// The forget gate is the second of four.
void ReadUnitForgetBias(OptionReader* options, std::int64_t units, LayerDraft* draft) {
  if (!options->Bool("unit_forget_bias", true)) return;
  draft->bias.initializer.ones_begin = units;
  draft->bias.initializer.ones_end = 2 * units;
}

// Reads the layer under `key` into a draft, and its record.
LayerDraft ReadWrapped(OptionReader* options, const char* key, ordered_json* record) {
  LayerDraft inner;
  const json* value = options->Find(key);
  const json* config = nullptr;
  if (value != nullptr && value->is_object() && value->contains("class_name") &&
      (*value)["class_name"].is_string() && value->contains("config")) {
    config = &(*value)["config"];
  }
  if (config == nullptr || !config->is_object()) {
    options->Fail(ErrorCode::kInvalidArgument,
                  "option \"" + std::string(key) + "\" is " +
                      (value == nullptr ? "missing" : ShortJson(*value)) +
                      "; expected a layer, {\"class_name\": ..., \"config\": {...}}");
    return inner;
  }
  const std::string class_name = (*value)["class_name"].get<std::string>();
  const LayerClass* row = FindLayerClass(class_name);
  if (row != nullptr && row->infer == nullptr) {
    options->Fail(ErrorCode::kUnsupported,
                  "wraps a layer of class " + class_name + ", which takes several inputs");
    return inner;
  }
  if (row == nullptr || row->kind == LayerKind::kInput) {
    options->Fail(ErrorCode::kUnsupported,
                  "wraps an " + UnknownNameText("layer", class_name, KnownLayerClasses()));
    return inner;
  }
  // The depth of the JSON is limited, and this counts what its owners' names show.
  if (std::count(options->owner().begin(), options->owner().end(), '>') >= kWrapperDepthMax) {
    options->Fail(ErrorCode::kUnsupported, "has more than " + std::to_string(kWrapperDepthMax) +
                                               " wrappers within each other");
    return inner;
  }
  const auto name = config->find("name");
  inner.layer.name = name != config->end() && name->is_string() ? name->get<std::string>() : "";
  if (inner.layer.name.empty()) inner.layer.name = row->default_name;
  if (inner.layer.name.size() > 256 || inner.layer.name.find('/') != std::string::npos) {
    options->Fail(ErrorCode::kInvalidArgument, "wraps a layer called " + Quoted(inner.layer.name) +
                                                   "; expected 1 to 256 bytes without a slash");
    return inner;
  }
  OptionReader reader(options->owner() + " > " + inner.layer.name, config);
  const Status status = ReadLayer(*row, &reader, &inner);
  if (!status.ok()) {
    // The inner reader's messages begin with the owner already.
    options->Fail(status.error().code, status.error().message.substr(options->owner().size() + 3));
    return inner;
  }
  if (inner.layer.activity != Regularizer{}) {
    options->Fail(ErrorCode::kUnsupported, "wraps " + inner.layer.name +
                                               " with an \"activity_regularizer\"; within a "
                                               "wrapper only null is supported");
  }
  (*record)["module"] = "keras.layers";  // Keras 3 finds no class without it.
  (*record)["class_name"] = row->class_name;
  (*record)["config"] = reader.TakeRecord();
  (*record)["registered_name"] = nullptr;
  return inner;
}

// Keras 3 writes the prefix into the name itself.
std::string Prefixed(const std::string& prefix, const std::string& name) {
  return name.starts_with(prefix) ? name : prefix + name;
}

bool IsRecurrent(LayerKind kind) {
  return kind == LayerKind::kSimpleRnn || kind == LayerKind::kLstm || kind == LayerKind::kGru ||
         kind == LayerKind::kConvLstm2D;
}

}  // namespace

void ReadSimpleRnn(OptionReader* options, LayerDraft* draft) {
  draft->layer.units = options->Int("units", std::nullopt, 1);
  draft->layer.activation = ReadActivationOr(options, "activation", Activation::kTanh);
  ReadRecurrentCommon(options, draft);
  options->Ignore({"implementation"});
}

void ReadLstm(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.units = options->Int("units", std::nullopt, 1);
  layer.activation = ReadActivationOr(options, "activation", Activation::kTanh);
  layer.sequence.recurrent_activation =
      ReadActivationOr(options, "recurrent_activation", Activation::kSigmoid);
  ReadRecurrentCommon(options, draft);
  ReadUnitForgetBias(options, layer.units, draft);
  ReadImplementation(options, draft);
}

void ReadGru(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.units = options->Int("units", std::nullopt, 1);
  layer.activation = ReadActivationOr(options, "activation", Activation::kTanh);
  layer.sequence.recurrent_activation =
      ReadActivationOr(options, "recurrent_activation", Activation::kSigmoid);
  ReadRecurrentCommon(options, draft);
  // Keras before 2.1.3 knew no other than the reset before, and wrote all other options.
  const bool old_and_in_full =
      options->Find("implementation") != nullptr && options->Find("recurrent_dropout") != nullptr;
  layer.sequence.reset_after = options->Bool("reset_after", !old_and_in_full);
  ReadImplementation(options, draft);
}

void ReadConvLstm2D(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.filters = options->Int("filters", std::nullopt, 1);
  layer.kernel_size = options->Axes("kernel_size", 2, 0);
  layer.strides = options->Axes("strides", 2, 1);
  layer.padding = ReadPadding(options, /*may_be_causal=*/false);
  layer.channels_last = ReadChannelsLast(options);
  layer.dilation_rate = options->Axes("dilation_rate", 2, 1);
  layer.activation = ReadActivationOr(options, "activation", Activation::kTanh);
  layer.sequence.recurrent_activation =
      ReadActivationOr(options, "recurrent_activation", Activation::kHardSigmoid);
  ReadRecurrentCommon(options, draft);
  ReadUnitForgetBias(options, layer.filters, draft);
  layer.sequence.drop_per_gate = true;
}

void ReadBidirectional(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  if (const json* mode = options->Find("merge_mode"); mode != nullptr && mode->is_null()) {
    options->Fail(ErrorCode::kUnsupported,
                  "option \"merge_mode\" is null: layers with several outputs are not supported");
  }
  const std::string mode = options->Choice("merge_mode", "concat", {"concat", "sum", "mul", "ave"});
  layer.sequence.merge_mode = mode == "sum"   ? MergeMode::kSum
                              : mode == "mul" ? MergeMode::kMultiply
                              : mode == "ave" ? MergeMode::kAverage
                                              : MergeMode::kConcatenate;
  options->RefuseUnlessNull({"num_constants"});
  ordered_json forward_record, backward_record;
  LayerDraft forward = ReadWrapped(options, "layer", &forward_record);
  const json* given = options->Find("backward_layer");
  const bool has_backward = given != nullptr && !given->is_null();
  LayerDraft backward;
  if (has_backward) {
    backward = ReadWrapped(options, "backward_layer", &backward_record);
  } else {
    backward = forward;
    backward.layer.sequence.go_backwards = !forward.layer.sequence.go_backwards;
  }
  if (!options->ok()) return;
  const SequenceOptions& first = forward.layer.sequence;
  const SequenceOptions& second = backward.layer.sequence;
  if (!IsRecurrent(forward.layer.kind) || !IsRecurrent(backward.layer.kind)) {
    options->Fail(ErrorCode::kUnsupported, "wraps " + forward.layer.name +
                                               ", which is not recurrent; expected a SimpleRNN, "
                                               "LSTM, GRU or ConvLSTM2D");
    return;
  }
  if (first.go_backwards == second.go_backwards ||
      first.return_sequences != second.return_sequences) {
    options->Fail(ErrorCode::kInvalidArgument,
                  "its two layers must differ in go_backwards and agree in return_sequences");
    return;
  }
  options->Record("layer", std::move(forward_record));
  if (has_backward) options->Record("backward_layer", std::move(backward_record));
  layer.sequence.return_sequences = first.return_sequences;
  for (LayerDraft* inner : {&forward, &backward}) {
    inner->layer.name = Prefixed(inner == &forward ? "forward_" : "backward_", inner->layer.name);
    inner->layer.sequence.zero_output_for_mask = first.return_sequences;
  }
  draft->wrapped = {std::move(forward), std::move(backward)};
}

void ReadTimeDistributed(OptionReader* options, LayerDraft* draft) {
  ordered_json record;
  LayerDraft inner = ReadWrapped(options, "layer", &record);
  if (!options->ok()) return;
  options->Record("layer", std::move(record));
  draft->wrapped = {std::move(inner)};
}

void ReadEmbedding(OptionReader* options, LayerDraft* draft) {
  Layer& layer = draft->layer;
  layer.sequence.input_dim = options->Int("input_dim", std::nullopt, 1);
  layer.units = options->Int("output_dim", std::nullopt, 1);
  draft->kernel = ReadWeightRule(options, "embeddings", "RandomUniform");
  layer.activity = ReadRegularizer(options, "activity_regularizer");
  layer.sequence.mask_zero = options->Bool("mask_zero", false);
  options->RefuseUnlessNull({"lora_rank", "quantization_config"});
  options->OnlyBool("sparse", false);
  // Indices come as float32, which holds every whole number up to 2^24.
  if (layer.sequence.input_dim > (1 << 24)) {
    options->Fail(ErrorCode::kUnsupported, "option \"input_dim\" is " +
                                               std::to_string(layer.sequence.input_dim) +
                                               "; at most 16777216 are supported");
  }
  const json* length = options->Find("input_length");
  if (length == nullptr || length->is_null()) {
    options->Record("input_length", nullptr);
    return;
  }
  const std::optional<std::int64_t> whole = WholeNumber(*length);
  if (!whole || *whole < 1) {
    options->Fail(ErrorCode::kUnsupported, "option \"input_length\" is " + ShortJson(*length) +
                                               "; expected null or a whole number above 0");
    return;
  }
  options->Record("input_length", *whole);
  if (!draft->given_input_shape) draft->given_input_shape = array::Shape{*whole};
}

void ReadMasking(OptionReader* options, LayerDraft* draft) {
  draft->layer.sequence.mask_value = options->Number("mask_value", 0, -3.4e38, 3.4e38);
}

void ReadRepeatVector(OptionReader* options, LayerDraft* draft) {
  draft->repeat_count = options->Int("n", std::nullopt, 1);
}

}  // namespace dnc::model
