// Names, options and defaults: keras/optimizers/*.py and schedules/ of Keras 2.15;
// keras/optimizers/legacy/*.py there, and keras/optimizers.py of Keras 1.2 and 2.2,
// for older ones.

#include "model/optimizer_section.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "model/json_text.h"
#include "model/optimizer_state.h"
#include "model/option_reader.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

struct OptimizerRow {
  OptimizerKind kind;
  const char* name;
  double learning_rate;  // Its default.
};

constexpr OptimizerRow kOptimizers[] = {
    {OptimizerKind::kSgd, "SGD", 0.01},          {OptimizerKind::kAdam, "Adam", 0.001},
    {OptimizerKind::kAdamW, "AdamW", 0.001},     {OptimizerKind::kRmsprop, "RMSprop", 0.001},
    {OptimizerKind::kAdagrad, "Adagrad", 0.001}, {OptimizerKind::kAdadelta, "Adadelta", 0.001},
    {OptimizerKind::kAdamax, "Adamax", 0.001},   {OptimizerKind::kNadam, "Nadam", 0.001},
    {OptimizerKind::kFtrl, "Ftrl", 0.001},       {OptimizerKind::kLion, "Lion", 0.0001},
};

struct ScheduleRow {
  ScheduleKind kind;
  const char* name;
};

constexpr ScheduleRow kSchedules[] = {
    {ScheduleKind::kExponentialDecay, "ExponentialDecay"},
    {ScheduleKind::kPiecewiseConstantDecay, "PiecewiseConstantDecay"},
    {ScheduleKind::kPolynomialDecay, "PolynomialDecay"},
    {ScheduleKind::kInverseTimeDecay, "InverseTimeDecay"},
    {ScheduleKind::kCosineDecay, "CosineDecay"},
    {ScheduleKind::kCosineDecayRestarts, "CosineDecayRestarts"},
};

constexpr double kRateMax = 1e6;
constexpr double kStepsMin = 1e-9;  // A division by it stays finite.
constexpr double kStepsMax = 1e18;
constexpr std::size_t kBoundaryCountMax = 1u << 16;
constexpr double kLegacyScheduleDecay = 0.004;

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

const OptimizerRow& RowOf(OptimizerKind kind) {
  return *std::find_if(std::begin(kOptimizers), std::end(kOptimizers),
                       [kind](const OptimizerRow& row) { return row.kind == kind; });
}

double Required(OptionReader* options, const char* key, double min, double max) {
  if (options->Find(key) == nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "option \"" + std::string(key) + "\" is missing");
    return min;
  }
  return options->Number(key, min, min, max);
}

// An option whose null means its absence.
double NumberOrNull(OptionReader* options, const char* key, double fallback, double max) {
  const json* value = options->Find(key);
  if (value == nullptr || value->is_null()) return fallback;
  return options->Number(key, fallback, 0, max);
}

std::vector<double> NumberList(OptionReader* options, const char* key) {
  const json* value = options->Find(key);
  std::vector<double> numbers;
  const bool list =
      value != nullptr && value->is_array() && value->size() <= kBoundaryCountMax &&
      std::all_of(value->begin(), value->end(), [](const json& x) { return x.is_number(); });
  if (list) {
    for (const json& number : *value) numbers.push_back(number.get<double>());
  } else {
    options->Fail(ErrorCode::kInvalidArgument,
                  "option \"" + std::string(key) + "\" is " +
                      (value == nullptr ? "missing" : ShortJson(*value)) +
                      "; expected a list of numbers");
  }
  return numbers;
}

void ReadPiecewise(OptionReader* options, LearningRateSchedule* schedule) {
  schedule->boundaries = NumberList(options, "boundaries");
  schedule->values = NumberList(options, "values");
  if (schedule->values.size() != schedule->boundaries.size() + 1) {
    options->Fail(ErrorCode::kInvalidArgument,
                  "has " + std::to_string(schedule->boundaries.size()) + " boundaries and " +
                      std::to_string(schedule->values.size()) +
                      " values; expected one value more than boundaries");
  }
  if (!std::is_sorted(schedule->boundaries.begin(), schedule->boundaries.end())) {
    options->Fail(ErrorCode::kInvalidArgument, "its boundaries are not in ascending order");
  }
  for (const double value : schedule->values) {
    if (!(value >= 0 && value <= kRateMax)) {
      options->Fail(ErrorCode::kInvalidArgument,
                    "a value is " + ShortJson(json(value)) + "; expected a learning rate");
    }
  }
}

void ReadCosine(OptionReader* options, LearningRateSchedule* schedule) {
  schedule->decay_steps = Required(options, "decay_steps", kStepsMin, kStepsMax);
  schedule->alpha = options->Number("alpha", 0, 0, kRateMax);
  const json* target = options->Find("warmup_target");
  schedule->has_warmup = target != nullptr && !target->is_null();
  if (schedule->has_warmup) {
    schedule->warmup_target = options->Number("warmup_target", 0, 0, kRateMax);
  }
  schedule->warmup_steps = options->Number("warmup_steps", 0, 0, kStepsMax);
}

void ReadScheduleOptions(OptionReader* options, LearningRateSchedule* schedule) {
  if (schedule->kind == ScheduleKind::kPiecewiseConstantDecay) {
    return ReadPiecewise(options, schedule);
  }
  schedule->initial_learning_rate = Required(options, "initial_learning_rate", 0, kRateMax);
  switch (schedule->kind) {
    case ScheduleKind::kExponentialDecay:
    case ScheduleKind::kInverseTimeDecay:
      schedule->decay_steps = Required(options, "decay_steps", kStepsMin, kStepsMax);
      schedule->decay_rate = Required(options, "decay_rate", 0, kRateMax);
      schedule->staircase = options->Bool("staircase", false);
      break;
    case ScheduleKind::kPolynomialDecay:
      schedule->decay_steps = Required(options, "decay_steps", kStepsMin, kStepsMax);
      schedule->end_learning_rate = options->Number("end_learning_rate", 1e-4, 0, kRateMax);
      schedule->power = options->Number("power", 1, 0, kRateMax);
      schedule->cycle = options->Bool("cycle", false);
      break;
    case ScheduleKind::kCosineDecay:
      ReadCosine(options, schedule);
      break;
    case ScheduleKind::kCosineDecayRestarts:
      schedule->decay_steps = Required(options, "first_decay_steps", kStepsMin, kStepsMax);
      schedule->t_mul = options->Number("t_mul", 2, 1, kRateMax);
      schedule->m_mul = options->Number("m_mul", 1, 0, kRateMax);
      schedule->alpha = options->Number("alpha", 0, 0, kRateMax);
      break;
    case ScheduleKind::kPiecewiseConstantDecay:
    case ScheduleKind::kNone:
      break;
  }
}

Status ReadSchedule(const json& value, LearningRateSchedule* schedule) {
  const auto class_name = value.find("class_name");
  const auto config = value.find("config");
  if (class_name == value.end() || !class_name->is_string() || config == value.end() ||
      !config->is_object()) {
    return Error{ErrorCode::kInvalidArgument,
                 "the learning rate is " + ShortJson(value) +
                     "; expected a number, or a schedule with \"class_name\" and \"config\""};
  }
  const std::string name = class_name->get<std::string>();
  std::vector<std::string> known;
  for (const ScheduleRow& row : kSchedules) {
    known.push_back(row.name);
    if (name == row.name) schedule->kind = row.kind;
  }
  if (schedule->kind == ScheduleKind::kNone) {
    return Error{ErrorCode::kUnsupported, UnknownNameText("learning-rate schedule", name, known)};
  }
  OptionReader options("schedule " + name, &*config);
  ReadScheduleOptions(&options, schedule);
  options.Ignore({"name"});
  return options.Finish();
}

Status ReadRate(OptionReader* options, Optimizer* optimizer) {
  const json* rate = options->Find("learning_rate");
  const json* old_rate = options->Find("lr");
  if (rate != nullptr && old_rate != nullptr) {
    options->Fail(ErrorCode::kInvalidArgument, "has both \"learning_rate\" and \"lr\"");
  }
  const char* key = rate == nullptr && old_rate != nullptr ? "lr" : "learning_rate";
  const json* value = options->Find(key);
  if (value != nullptr && value->is_object()) {
    const Status status = ReadSchedule(*value, &optimizer->schedule);
    if (!status.ok()) return status.error().WithContext(options->owner());
    optimizer->learning_rate = LearningRateAt(*optimizer, 0);
    return {};
  }
  optimizer->learning_rate =
      options->Number(key, RowOf(optimizer->kind).learning_rate, 0, kRateMax);
  return {};
}

void ReadEpsilon(OptionReader* options, Optimizer* optimizer) {
  optimizer->epsilon = NumberOrNull(options, "epsilon", 1e-7, 1);
}

void ReadBetas(OptionReader* options, Optimizer* optimizer, double beta_2) {
  optimizer->beta_1 = options->Number("beta_1", 0.9, 0, 1);
  optimizer->beta_2 = options->Number("beta_2", beta_2, 0, 1);
}

void ReadFtrl(OptionReader* options, Optimizer* optimizer) {
  optimizer->learning_rate_power = options->Number("learning_rate_power", -0.5, -100, 0);
  optimizer->initial_accumulator_value =
      options->Number("initial_accumulator_value", 0.1, 0, kRateMax);
  optimizer->l1_regularization_strength =
      options->Number("l1_regularization_strength", 0, 0, kRateMax);
  optimizer->l2_regularization_strength =
      options->Number("l2_regularization_strength", 0, 0, kRateMax);
  optimizer->l2_shrinkage_regularization_strength =
      options->Number("l2_shrinkage_regularization_strength", 0, 0, kRateMax);
  optimizer->beta = options->Number("beta", 0, 0, kRateMax);
}

// Nadam's "decay" is its momentum's: optimizer_v2 renames "schedule_decay" so.
void ReadNadam(OptionReader* options, Optimizer* optimizer) {
  ReadBetas(options, optimizer, 0.999);
  ReadEpsilon(options, optimizer);
  if (!optimizer->legacy) return;
  const bool renamed = options->Find("schedule_decay") == nullptr;
  optimizer->schedule_decay =
      options->Number(renamed ? "decay" : "schedule_decay", kLegacyScheduleDecay, 0, kRateMax);
  if (!renamed) NumberOrNull(options, "decay", 0, kRateMax);
}

void ReadKindOptions(OptionReader* options, Optimizer* optimizer) {
  switch (optimizer->kind) {
    case OptimizerKind::kSgd:
      optimizer->momentum = options->Number("momentum", 0, 0, 1);
      optimizer->nesterov = options->Bool("nesterov", false);
      break;
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      ReadBetas(options, optimizer, 0.999);
      ReadEpsilon(options, optimizer);
      optimizer->amsgrad = options->Bool("amsgrad", false);
      break;
    case OptimizerKind::kRmsprop:
      optimizer->rho = options->Number("rho", 0.9, 0, 1);
      optimizer->momentum = options->Number("momentum", 0, 0, 1);
      ReadEpsilon(options, optimizer);
      optimizer->centered = options->Bool("centered", false);
      break;
    case OptimizerKind::kAdagrad:
      // Keras 1 and 2 begin at 0 and do not write this option; tf.keras does.
      optimizer->initial_accumulator_value =
          options->Number("initial_accumulator_value", optimizer->legacy ? 0.0 : 0.1, 0, kRateMax);
      ReadEpsilon(options, optimizer);
      break;
    case OptimizerKind::kAdadelta:
      optimizer->rho = options->Number("rho", 0.95, 0, 1);
      ReadEpsilon(options, optimizer);
      break;
    case OptimizerKind::kAdamax:
      ReadBetas(options, optimizer, 0.999);
      ReadEpsilon(options, optimizer);
      break;
    case OptimizerKind::kNadam:
      ReadNadam(options, optimizer);
      break;
    case OptimizerKind::kFtrl:
      ReadFtrl(options, optimizer);
      break;
    case OptimizerKind::kLion:
      ReadBetas(options, optimizer, 0.99);
      break;
  }
}

// Versions of Keras differ in which of several comes first.
void ReadClipping(OptionReader* options, Optimizer* optimizer) {
  optimizer->clipvalue = NumberOrNull(options, "clipvalue", 0, 1e30);
  optimizer->clipnorm = NumberOrNull(options, "clipnorm", 0, 1e30);
  optimizer->global_clipnorm = NumberOrNull(options, "global_clipnorm", 0, 1e30);
  const int count =
      (optimizer->clipvalue != 0) + (optimizer->clipnorm != 0) + (optimizer->global_clipnorm != 0);
  if (count > 1) {
    options->Fail(ErrorCode::kUnsupported,
                  "has several of \"clipvalue\", \"clipnorm\" and \"global_clipnorm\"; only one "
                  "of them is supported");
  }
}

// Whether the optimizers of before and since 2.11 give the same numbers, so that one can
// be written as every Keras reads it.
bool SameInEveryKeras(const Optimizer& optimizer) {
  switch (optimizer.kind) {
    case OptimizerKind::kSgd:
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdadelta:
    case OptimizerKind::kAdamax:
    case OptimizerKind::kFtrl:
      return optimizer.weight_decay == 0;
    default:
      return false;
  }
}

// `today`: the name says that the optimizer is one of Keras since 2.11.
Status ReadOptions(OptionReader* options, bool today, Optimizer* optimizer) {
  const json* is_legacy = options->Find("is_legacy_optimizer");
  if (is_legacy != nullptr && is_legacy->is_boolean()) {
    optimizer->legacy = is_legacy->get<bool>();
    today = !optimizer->legacy;
  } else {
    for (const char* key : {"decay", "lr", "schedule_decay"}) {
      const json* value = options->Find(key);
      if (value != nullptr && !value->is_null()) optimizer->legacy = true;
    }
  }
  DNC_TRY(ReadRate(options, optimizer));
  ReadKindOptions(options, optimizer);
  if (optimizer->kind != OptimizerKind::kNadam) {
    optimizer->decay = NumberOrNull(options, "decay", 0, kRateMax);
  }
  optimizer->weight_decay = NumberOrNull(
      options, "weight_decay", optimizer->kind == OptimizerKind::kAdamW ? 0.004 : 0, kRateMax);
  ReadClipping(options, optimizer);
  if (!today && SameInEveryKeras(*optimizer)) optimizer->legacy = true;
  options->RefuseUnlessNull({"loss_scale_factor", "gradient_accumulation_steps"});
  options->OnlyBool("use_ema", false);
  options->Ignore({"name", "ema_momentum", "ema_overwrite_frequency", "jit_compile"});
  return options->Finish();
}

ordered_json FormatSchedule(const LearningRateSchedule& s) {
  ordered_json config;
  if (s.kind == ScheduleKind::kPiecewiseConstantDecay) {
    config["boundaries"] = s.boundaries;
    config["values"] = s.values;
  } else {
    const bool restarts = s.kind == ScheduleKind::kCosineDecayRestarts;
    config["initial_learning_rate"] = s.initial_learning_rate;
    config[restarts ? "first_decay_steps" : "decay_steps"] = s.decay_steps;
  }
  switch (s.kind) {
    case ScheduleKind::kExponentialDecay:
    case ScheduleKind::kInverseTimeDecay:
      config["decay_rate"] = s.decay_rate;
      config["staircase"] = s.staircase;
      break;
    case ScheduleKind::kPolynomialDecay:
      config["end_learning_rate"] = s.end_learning_rate;
      config["power"] = s.power;
      config["cycle"] = s.cycle;
      break;
    case ScheduleKind::kCosineDecay:
      config["alpha"] = s.alpha;
      if (s.has_warmup) {  // Keras before 2.13 knows no warm-up.
        config["warmup_target"] = s.warmup_target;
        config["warmup_steps"] = s.warmup_steps;
      }
      break;
    case ScheduleKind::kCosineDecayRestarts:
      config["t_mul"] = s.t_mul;
      config["m_mul"] = s.m_mul;
      config["alpha"] = s.alpha;
      break;
    case ScheduleKind::kPiecewiseConstantDecay:
    case ScheduleKind::kNone:
      break;
  }
  config["name"] = nullptr;
  const auto row = std::find_if(std::begin(kSchedules), std::end(kSchedules),
                                [&](const ScheduleRow& r) { return r.kind == s.kind; });
  ordered_json schedule;
  schedule["class_name"] = row->name;
  schedule["config"] = std::move(config);
  return schedule;
}

void FormatKindOptions(const Optimizer& optimizer, ordered_json* config) {
  const auto betas = [&] {
    (*config)["beta_1"] = optimizer.beta_1;
    (*config)["beta_2"] = optimizer.beta_2;
  };
  const auto epsilon = [&] { (*config)["epsilon"] = optimizer.epsilon; };
  switch (optimizer.kind) {
    case OptimizerKind::kSgd:
      (*config)["momentum"] = optimizer.momentum;
      (*config)["nesterov"] = optimizer.nesterov;
      break;
    case OptimizerKind::kAdam:
    case OptimizerKind::kAdamW:
      betas();
      epsilon();
      (*config)["amsgrad"] = optimizer.amsgrad;
      break;
    case OptimizerKind::kRmsprop:
      (*config)["rho"] = optimizer.rho;
      (*config)["momentum"] = optimizer.momentum;
      epsilon();
      (*config)["centered"] = optimizer.centered;
      break;
    case OptimizerKind::kAdagrad:
      (*config)["initial_accumulator_value"] = optimizer.initial_accumulator_value;
      epsilon();
      break;
    case OptimizerKind::kAdadelta:
      (*config)["rho"] = optimizer.rho;
      epsilon();
      break;
    case OptimizerKind::kAdamax:
    case OptimizerKind::kNadam:
      betas();
      epsilon();
      break;
    case OptimizerKind::kFtrl:
      (*config)["learning_rate_power"] = optimizer.learning_rate_power;
      (*config)["initial_accumulator_value"] = optimizer.initial_accumulator_value;
      (*config)["l1_regularization_strength"] = optimizer.l1_regularization_strength;
      (*config)["l2_regularization_strength"] = optimizer.l2_regularization_strength;
      (*config)["l2_shrinkage_regularization_strength"] =
          optimizer.l2_shrinkage_regularization_strength;
      (*config)["beta"] = optimizer.beta;
      break;
    case OptimizerKind::kLion:
      betas();
      break;
  }
}

}  // namespace

const char* OptimizerName(OptimizerKind kind) { return RowOf(kind).name; }

Result<Optimizer> ReadOptimizer(const json& value) {
  json options = json::object();
  std::string name;
  if (value.is_string()) {
    name = value.get<std::string>();
  } else if (value.is_object()) {
    const char* name_key = value.contains("class_name") ? "class_name" : "name";
    if (value.contains(name_key) && value[name_key].is_string()) {
      name = value[name_key].get<std::string>();
    }
    if (value.contains("config") && value["config"].is_object()) {
      OptionReader outer("optimizer", &value);
      outer.Ignore({"class_name", "config", "module", "registered_name"});
      DNC_TRY(outer.Finish());
      options = value["config"];
    } else {
      options = value;
      options.erase("class_name");
    }
  }
  if (name.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 "compile: the optimizer is " + ShortJson(value) +
                     "; expected a name such as \"adam\", or an object with \"name\" and options"};
  }
  std::string plain = Lower(name);
  // Keras since 2.11 writes its optimizers as "Custom>SGD", and takes others for legacy.
  const bool today = plain.starts_with("custom>");
  if (today) plain.erase(0, 7);
  std::vector<std::string> known;
  for (const OptimizerRow& row : kOptimizers) {
    known.push_back(row.name);
    if (plain != Lower(row.name)) continue;
    Optimizer optimizer;
    optimizer.kind = row.kind;
    OptionReader reader("optimizer " + std::string(row.name), &options);
    DNC_TRY(ReadOptions(&reader, today, &optimizer));
    return optimizer;
  }
  return Error{ErrorCode::kUnsupported, "compile: " + UnknownNameText("optimizer", name, known)};
}

ordered_json FormatOptimizer(const Optimizer& optimizer) {
  const bool adamw = optimizer.kind == OptimizerKind::kAdamW;
  ordered_json config;
  config["name"] = OptimizerName(optimizer.kind);
  if (optimizer.schedule.kind == ScheduleKind::kNone) {
    config["learning_rate"] = optimizer.learning_rate;
  } else {
    config["learning_rate"] = FormatSchedule(optimizer.schedule);
  }
  FormatKindOptions(optimizer, &config);
  if (optimizer.legacy && optimizer.kind == OptimizerKind::kNadam) {
    config["schedule_decay"] = optimizer.schedule_decay;
  } else if (optimizer.legacy && (optimizer.decay != 0 || !SameInEveryKeras(optimizer))) {
    config["decay"] = optimizer.decay;
  }
  if (optimizer.weight_decay != 0 || adamw) config["weight_decay"] = optimizer.weight_decay;
  if (optimizer.clipvalue != 0) config["clipvalue"] = optimizer.clipvalue;
  if (optimizer.clipnorm != 0) config["clipnorm"] = optimizer.clipnorm;
  if (optimizer.global_clipnorm != 0) config["global_clipnorm"] = optimizer.global_clipnorm;
  ordered_json result;
  result["class_name"] =
      (optimizer.legacy ? "" : "Custom>") + std::string(OptimizerName(optimizer.kind));
  result["config"] = std::move(config);
  return result;
}

}  // namespace dnc::model
