#include "model/model_scope.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <queue>
#include <set>

#include "base/human.h"
#include "model/inbound_nodes.h"
#include "model/json_text.h"

namespace dnc::model {
namespace {

using nlohmann::json;

constexpr int kNestingMax = 16;

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }
Error Unsupported(std::string message) { return {ErrorCode::kUnsupported, std::move(message)}; }

Result<ModelScope> ReadScope(const json& architecture, const ModelLimits& limits, int nesting);

// "", if `key` is absent or null; nullopt, if it is no text.
std::optional<std::string> TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  if (!found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

// Names become groups of an .h5 and parts of messages.
Status CheckName(const std::string& name) {
  const Error wrong = Invalid("a layer is called " + Quoted(name) +
                              "; expected 1 to 256 bytes of printable text, not a path");
  if (name.empty() || name.size() > 256 || name == "top_level_model_weights") return wrong;
  std::size_t part_begin = 0;
  for (std::size_t i = 0; i <= name.size(); ++i) {
    if (i < name.size() && (static_cast<unsigned char>(name[i]) < 0x20 || name[i] == 0x7f)) {
      return wrong;
    }
    if (i < name.size() && name[i] != '/') continue;
    const std::string_view part = std::string_view(name).substr(part_begin, i - part_begin);
    if (part.empty() || part == "." || part == "..") return wrong;
    part_begin = i + 1;
  }
  return {};
}

bool IsModelClass(const std::string& class_name) {
  return class_name == "Sequential" || class_name == "Functional" || class_name == "Model";
}

Result<const LayerClass*> LayerClassOf(const std::string& class_name, const json& layer) {
  const std::optional<std::string> registered = TextOf(layer, "registered_name");
  if (class_name.find('>') != std::string::npos || !registered ||
      (!registered->empty() && *registered != class_name)) {
    return Unsupported("layer " + Quoted(class_name) +
                       " is a custom object; a model is data here, and code is not run");
  }
  if (class_name == "Lambda") {
    return Unsupported(
        "layer \"Lambda\" holds code; a model is data here, and code is not run: use layers");
  }
  const LayerClass* row = FindLayerClass(class_name);
  if (row == nullptr) return Unsupported(UnknownNameText("layer", class_name, KnownLayerClasses()));
  return row;
}

// A layer, its name still as given ("" for none), without its calls.
Result<ScopeLayer> ReadScopeLayer(const json& layer, const ModelLimits& limits, int nesting) {
  if (!layer.is_object()) return Invalid("a layer is " + ShortJson(layer) + "; expected an object");
  const std::optional<std::string> class_name = TextOf(layer, "class_name");
  if (!class_name || class_name->empty()) {
    return Invalid("a layer has no \"class_name\"; expected Keras's JSON");
  }
  ScopeLayer read;
  const bool is_model = IsModelClass(*class_name);
  if (!is_model) {
    DNC_ASSIGN(read.layer_class, LayerClassOf(*class_name, layer));
  }
  const auto config = layer.find("config");
  const bool is_list = config != layer.end() && config->is_array() && *class_name == "Sequential";
  if (config == layer.end() || !(config->is_object() || is_list)) {
    return Invalid("a layer of class " + *class_name +
                   " has no \"config\"; expected an object with its options");
  }
  read.config = &*config;
  const std::optional<std::string> outer = TextOf(layer, "name");
  const std::optional<std::string> inner = is_list ? "" : TextOf(*config, "name");
  if (!outer || !inner || (!outer->empty() && !inner->empty() && *outer != *inner)) {
    return Invalid("a layer of class " + *class_name + " has two names or one that is no text");
  }
  read.name = outer->empty() ? *inner : *outer;
  static const std::vector<std::string> kKeys = {
      "class_name", "config",          "name",         "inbound_nodes",
      "module",     "registered_name", "build_config", "compile_config"};
  for (const auto& [key, value] : layer.items()) {
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) {
      return Unsupported(Quoted(read.name) + ": " + UnknownNameText("key", key, kKeys));
    }
  }
  if (is_model) {
    Result<ModelScope> scope = ReadScope(layer, limits, nesting + 1);
    if (!scope.ok())
      return read.name.empty() ? scope.error() : scope.error().WithContext(read.name);
    read.model = std::make_unique<ModelScope>(*std::move(scope));
  }
  return read;
}

bool IsInput(const ScopeLayer& layer) {
  return layer.layer_class != nullptr && layer.layer_class->kind == LayerKind::kInput;
}

const char* DefaultName(const ScopeLayer& layer) {
  if (layer.layer_class != nullptr) return layer.layer_class->default_name;
  return layer.model->sequential ? "sequential" : "model";
}

// Keras's automatic names: conv2d, conv2d_1, conv2d_2.
Status NameLayers(ModelScope* scope) {
  std::set<std::string> taken;
  for (const ScopeLayer& layer : scope->layers) {
    if (layer.name.empty()) continue;
    DNC_TRY(CheckName(layer.name));
    if (!taken.insert(layer.name).second) {
      return Invalid("two layers are called " + Quoted(layer.name) + "; expected distinct names");
    }
  }
  std::map<std::string, int> next_number;
  for (ScopeLayer& layer : scope->layers) {
    if (layer.name.empty() || (layer.model != nullptr && !layer.model->all_named)) {
      scope->all_named = false;
    }
    while (layer.name.empty()) {
      int& number = next_number[DefaultName(layer)];
      std::string name = DefaultName(layer);
      if (number > 0) name += "_" + std::to_string(number);
      ++number;
      if (taken.insert(name).second) layer.name = std::move(name);
    }
  }
  // "a" and "a/b" could claim the same path in an .h5.
  for (auto name = taken.begin(); name != taken.end(); ++name) {
    const auto below = taken.lower_bound(*name + "/");
    if (below != taken.end() && below->compare(0, name->size() + 1, *name + "/") == 0) {
      return Invalid("the layer names " + Quoted(*name) + " and " + Quoted(*below) +
                     " overlap as paths; rename one");
    }
  }
  return {};
}

Result<const json*> LayersOf(const json& config, const ModelLimits& limits) {
  const json* layers = &config;
  if (config.is_object()) {
    const auto found = config.find("layers");
    if (found == config.end()) return Invalid("the model's \"config\" has no \"layers\"");
    layers = &*found;
  }
  if (!layers->is_array() || layers->empty()) {
    return Invalid("the model's layers are " + ShortJson(*layers) + "; expected a list of layers");
  }
  if (layers->size() > limits.layer_count_max) {
    return Error{ErrorCode::kTooLarge, "the model has " + std::to_string(layers->size()) +
                                           " layers; at most " +
                                           std::to_string(limits.layer_count_max) + " are read"};
  }
  return layers;
}

// The keys of a model's config beside its layers.
Status ReadModelConfig(const json& config, ModelScope* scope) {
  scope->name = scope->sequential ? "sequential" : "model";
  if (!config.is_object()) return {};
  OptionReader options("model", &config);
  options.Ignore({"layers", "input_layers", "output_layers", "batch_input_shape"});
  scope->frozen = !options.Bool("trainable", true);
  if (config.contains("dtype")) options.OnlyFloat32("dtype");
  if (const json* name = options.Find("name"); name != nullptr && !name->is_null()) {
    if (!name->is_string() || !CheckName(name->get<std::string>()).ok()) {
      options.Fail(ErrorCode::kInvalidArgument,
                   "its name is " + ShortJson(*name) + "; expected printable text, not a path");
    } else {
      scope->name = name->get<std::string>();
    }
  }
  const json* shape = scope->sequential ? options.Find("build_input_shape") : nullptr;
  if (shape != nullptr && !shape->is_null()) {
    Result<array::Shape> parsed = ShapeFromJson(*shape, true);
    if (parsed.ok()) {
      scope->build_input_shape = *parsed;
    } else {
      options.Fail(parsed.error().code, parsed.error().message);
    }
  }
  return options.Finish();
}

// A Sequential as a functional model: each layer takes the output of the one before.
Status LinkSequential(ModelScope* scope) {
  std::vector<ScopeLayer>& layers = scope->layers;
  if (!IsInput(layers.front())) {
    ScopeLayer input;
    input.name = layers.front().name + "_input";
    const auto is_taken = [&](const ScopeLayer& layer) { return layer.name == input.name; };
    while (std::any_of(layers.begin(), layers.end(), is_taken)) input.name += "_1";
    input.layer_class = FindLayerClass("InputLayer");
    layers.insert(layers.begin(), std::move(input));
  }
  for (std::size_t i = 1; i < layers.size(); ++i) {
    if (IsInput(layers[i])) {
      return Invalid(layers[i].name + ": an InputLayer after " + layers[i - 1].name +
                     "; expected only one, as the first layer");
    }
    layers[i].calls = {{{.layer = static_cast<int>(i) - 1}}};
  }
  scope->inputs = {{.layer = 0}};
  scope->outputs = {{.layer = static_cast<int>(layers.size()) - 1}};
  return {};
}

// Finds what names refer to. All calls of all layers are known.
class ReferenceFinder {
 public:
  explicit ReferenceFinder(const ModelScope& scope) : scope_(scope) {
    for (std::size_t i = 0; i < scope.layers.size(); ++i) {
      index_of_[scope.layers[i].name] = static_cast<int>(i);
      call_counts_.push_back(1);
    }
  }
  void SetCallCount(std::size_t layer, std::size_t count) {
    call_counts_[layer] = static_cast<int>(count);
  }
  // Keras numbers the calls of a functional model within the model from 1, as its number
  // 0 is what it was made of, and those of layers and of some versions' Sequential from
  // 0. All calls are referred to, so that the least number tells. To be called with every
  // reference before the first Find().
  void Note(const TensorReference& reference) {
    const auto found = index_of_.find(reference.layer);
    if (found == index_of_.end()) return;
    const auto [least, is_first] = least_numbers_.emplace(found->second, reference.call);
    if (!is_first) least->second = std::min(least->second, reference.call);
  }

  Result<ScopeTensor> Find(const TensorReference& reference, const std::string& where) const {
    const auto found = index_of_.find(reference.layer);
    if (found == index_of_.end()) {
      std::vector<std::string> names;
      for (const auto& [name, index] : index_of_) names.push_back(name);
      const std::string nearest = NearestName(reference.layer.substr(0, 64), names);
      return Invalid(where + " refers to the layer " + Quoted(reference.layer) +
                     ", which is not there" +
                     (nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?"));
    }
    const ScopeLayer& layer = scope_.layers[static_cast<std::size_t>(found->second)];
    const int call_count = call_counts_[static_cast<std::size_t>(found->second)];
    int call = reference.call;
    if (layer.model != nullptr && least_numbers_.at(found->second) >= 1) --call;
    if (call >= call_count) {
      return Invalid(where + " refers to call " + std::to_string(reference.call) +
                     " of the layer " + Quoted(layer.name) + ", which is called " +
                     std::to_string(call_count) + " times; calls are counted from 0" +
                     (layer.model == nullptr ? "" : ", or of a model from 1"));
    }
    const std::size_t outputs = layer.model == nullptr ? 1 : layer.model->outputs.size();
    if (static_cast<std::size_t>(reference.output) >= outputs) {
      return Error{
          layer.model == nullptr ? ErrorCode::kUnsupported : ErrorCode::kInvalidArgument,
          where + " takes output number " + std::to_string(reference.output) + " of the layer " +
              Quoted(layer.name) + ", which has " + std::to_string(outputs) +
              "; they are counted from 0" +
              (layer.model == nullptr ? ", and only models within the model have several" : "")};
    }
    return ScopeTensor{found->second, call, reference.output};
  }

 private:
  const ModelScope& scope_;
  std::map<std::string, int> index_of_;
  std::vector<int> call_counts_;
  std::map<int, int> least_numbers_;  // By layer.
};

Status FindInputs(const std::vector<TensorReference>& inputs, const ReferenceFinder& finder,
                  ModelScope* scope) {
  std::vector<bool> named(scope->layers.size(), false);
  for (const TensorReference& reference : inputs) {
    DNC_ASSIGN(const ScopeTensor input, finder.Find(reference, "\"input_layers\""));
    const ScopeLayer& layer = scope->layers[static_cast<std::size_t>(input.layer)];
    if (!IsInput(layer)) {
      return Invalid("\"input_layers\" refers to the layer " + Quoted(layer.name) +
                     ", which is no InputLayer");
    }
    if (named[static_cast<std::size_t>(input.layer)]) {
      return Invalid("\"input_layers\" has " + Quoted(layer.name) + " twice");
    }
    named[static_cast<std::size_t>(input.layer)] = true;
    scope->inputs.push_back(input);
  }
  for (std::size_t i = 0; i < scope->layers.size(); ++i) {
    if (!IsInput(scope->layers[i]) || named[i]) continue;
    return Invalid(scope->layers[i].name +
                   ": an InputLayer that \"input_layers\" does not name; add it or remove it");
  }
  return {};
}

Status LinkFunctional(const json& config, const json& layers, ModelScope* scope) {
  ReferenceFinder finder(*scope);
  std::vector<std::vector<CallReferences>> calls;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const ScopeLayer& layer = scope->layers[i];
    Result<std::vector<CallReferences>> read = CallsOfLayer(layers[i]);
    if (!read.ok()) return read.error().WithContext(layer.name);
    if (IsInput(layer) != read->empty()) {
      return Invalid(layer.name + (IsInput(layer)
                                       ? ": an InputLayer that takes the output of another layer"
                                       : ": has no input; expected \"inbound_nodes\" with one"));
    }
    if (!IsInput(layer)) finder.SetCallCount(i, read->size());
    for (const CallReferences& call : *read) {
      for (const TensorReference& reference : call.inputs) finder.Note(reference);
    }
    calls.push_back(*std::move(read));
  }
  DNC_ASSIGN(const std::vector<TensorReference> input_layers, Endpoints(config, "input_layers"));
  DNC_ASSIGN(const std::vector<TensorReference> outputs, Endpoints(config, "output_layers"));
  for (const TensorReference& reference : input_layers) finder.Note(reference);
  for (const TensorReference& reference : outputs) finder.Note(reference);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    for (const CallReferences& call : calls[i]) {
      scope->layers[i].causal.push_back(call.causal);
      std::vector<ScopeTensor>& found = scope->layers[i].calls.emplace_back();
      for (const TensorReference& reference : call.inputs) {
        DNC_ASSIGN(const ScopeTensor tensor, finder.Find(reference, scope->layers[i].name));
        found.push_back(tensor);
      }
    }
  }
  DNC_TRY(FindInputs(input_layers, finder, scope));
  for (const TensorReference& reference : outputs) {
    DNC_ASSIGN(const ScopeTensor output, finder.Find(reference, "\"output_layers\""));
    scope->outputs.push_back(output);
  }
  return {};
}

// The calls of a scope, numbered in the order of its layers, and what they need.
class CallOrder {
 public:
  explicit CallOrder(ModelScope* scope) : scope_(scope) {
    for (std::size_t i = 0; i < scope->layers.size(); ++i) {
      first_.push_back(calls_.size());
      for (std::size_t k = 0; k < scope->layers[i].calls.size(); ++k) {
        calls_.push_back({static_cast<int>(i), static_cast<int>(k)});
      }
    }
  }

  Status Sort() {
    std::vector<std::vector<std::size_t>> readers(calls_.size());
    std::vector<std::size_t> waits_for(calls_.size(), 0);
    std::priority_queue<std::size_t, std::vector<std::size_t>, std::greater<>> ready;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      for (const std::size_t source : SourcesOf(i)) {
        readers[source].push_back(i);
        ++waits_for[i];
      }
      if (waits_for[i] == 0) ready.push(i);
    }
    std::vector<bool> done(calls_.size(), false);
    while (!ready.empty()) {
      const std::size_t next = ready.top();
      ready.pop();
      done[next] = true;
      scope_->order.push_back(calls_[next]);
      for (const std::size_t reader : readers[next]) {
        if (--waits_for[reader] == 0) ready.push(reader);
      }
    }
    if (scope_->order.size() != calls_.size()) return CycleIn(done);
    return CheckAllAreUsed();
  }

 private:
  std::vector<std::size_t> SourcesOf(std::size_t call) const {
    std::vector<std::size_t> sources;
    for (const ScopeTensor& input : InputsOf(call)) {
      if (!IsInput(LayerAt(input.layer))) sources.push_back(Number(input));
    }
    return sources;
  }
  const std::vector<ScopeTensor>& InputsOf(std::size_t call) const {
    return LayerAt(calls_[call].layer).calls[static_cast<std::size_t>(calls_[call].call)];
  }
  const ScopeLayer& LayerAt(int index) const {
    return scope_->layers[static_cast<std::size_t>(index)];
  }
  std::size_t Number(const ScopeTensor& tensor) const {
    return first_[static_cast<std::size_t>(tensor.layer)] + static_cast<std::size_t>(tensor.call);
  }

  // Every call that is not done waits for another one: going back ends in a cycle.
  Error CycleIn(const std::vector<bool>& done) const {
    std::size_t at = 0;
    while (done[at]) ++at;
    std::vector<bool> visited(calls_.size(), false);
    std::size_t before = at;
    while (!visited[at]) {
      visited[at] = true;
      before = at;
      for (const std::size_t source : SourcesOf(at)) {
        if (!done[source]) at = source;
      }
    }
    return Invalid("the layers form a cycle: " + LayerAt(calls_[at].layer).name +
                   " depends on its own output, by way of " + LayerAt(calls_[before].layer).name);
  }

  Status CheckAllAreUsed() const {
    std::vector<bool> used(calls_.size(), false);
    for (const ScopeTensor& output : scope_->outputs) {
      if (!IsInput(LayerAt(output.layer))) used[Number(output)] = true;
    }
    for (std::size_t i = scope_->order.size(); i-- > 0;) {
      const std::size_t number = Number({scope_->order[i].layer, scope_->order[i].call, 0});
      if (!used[number]) {
        return Invalid(LayerAt(scope_->order[i].layer).name +
                       ": is not on the way from the input to the output; remove it or connect it");
      }
      for (const std::size_t source : SourcesOf(number)) used[source] = true;
    }
    return {};
  }

  ModelScope* scope_;
  std::vector<ScopeCall> calls_;
  std::vector<std::size_t> first_;  // Of each layer, its first call's number.
};

Result<ModelScope> ReadScope(const json& architecture, const ModelLimits& limits, int nesting) {
  if (nesting > kNestingMax) {
    return Error{ErrorCode::kTooLarge,
                 "models lie within models more than " + std::to_string(kNestingMax) + " deep"};
  }
  const std::optional<std::string> class_name = TextOf(architecture, "class_name");
  const auto config = architecture.find("config");
  if (!class_name || config == architecture.end() ||
      !(config->is_object() || (config->is_array() && *class_name == "Sequential"))) {
    return Invalid("not a model of Keras: expected {\"class_name\": ..., \"config\": {...}}");
  }
  if (!IsModelClass(*class_name)) {
    return Unsupported(
        UnknownNameText("kind of model", *class_name, {"Sequential", "Functional", "Model"}));
  }
  ModelScope scope;
  scope.sequential = *class_name == "Sequential";
  DNC_TRY(ReadModelConfig(*config, &scope));
  DNC_ASSIGN(const json* layers, LayersOf(*config, limits));
  for (const json& layer : *layers) {
    DNC_ASSIGN(ScopeLayer read, ReadScopeLayer(layer, limits, nesting));
    scope.layers.push_back(std::move(read));
  }
  DNC_TRY(NameLayers(&scope));
  if (scope.sequential) {
    DNC_TRY(LinkSequential(&scope));
  } else {
    DNC_TRY(LinkFunctional(*config, *layers, &scope));
  }
  DNC_TRY(CallOrder(&scope).Sort());
  return scope;
}

}  // namespace

Result<ModelScope> ReadModelScope(const json& architecture, const ModelLimits& limits) {
  return ReadScope(architecture, limits, 0);
}

}  // namespace dnc::model
