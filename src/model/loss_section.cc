#include "model/loss_section.h"

#include <algorithm>
#include <array>

#include "model/json_text.h"
#include "model/option_reader.h"

namespace dnc::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

struct LossRow {
  LossKind kind;
  const char* name;        // As it is written.
  const char* class_name;  // Where Keras has a class of it.
  std::array<const char*, 3> aliases{};
};

// Names and aliases: keras/losses.py of Keras 2.15, and of Keras 1.2 and 2.2.
constexpr LossRow kLosses[] = {
    {LossKind::kCategoricalCrossentropy, "categorical_crossentropy", "CategoricalCrossentropy"},
    {LossKind::kSparseCategoricalCrossentropy, "sparse_categorical_crossentropy",
     "SparseCategoricalCrossentropy"},
    {LossKind::kBinaryCrossentropy, "binary_crossentropy", "BinaryCrossentropy", {"bce"}},
    {LossKind::kMeanSquaredError, "mean_squared_error", "MeanSquaredError", {"mse"}},
    {LossKind::kMeanAbsoluteError, "mean_absolute_error", "MeanAbsoluteError", {"mae"}},
    {LossKind::kMeanAbsolutePercentageError,
     "mean_absolute_percentage_error",
     "MeanAbsolutePercentageError",
     {"mape"}},
    {LossKind::kMeanSquaredLogarithmicError,
     "mean_squared_logarithmic_error",
     "MeanSquaredLogarithmicError",
     {"msle"}},
    {LossKind::kHinge, "hinge", "Hinge"},
    {LossKind::kSquaredHinge, "squared_hinge", "SquaredHinge"},
    {LossKind::kCategoricalHinge, "categorical_hinge", "CategoricalHinge"},
    {LossKind::kHuber, "huber", "Huber", {"huber_loss"}},
    {LossKind::kLogCosh, "log_cosh", "LogCosh", {"logcosh"}},
    {LossKind::kPoisson, "poisson", "Poisson"},
    {LossKind::kKullbackLeiblerDivergence,
     "kullback_leibler_divergence",
     "KLDivergence",
     {"kld", "kl_divergence"}},
    {LossKind::kCosineSimilarity, "cosine_similarity", "CosineSimilarity", {"cosine_proximity"}},
};

const LossRow& RowOf(LossKind kind) {
  return *std::find_if(std::begin(kLosses), std::end(kLosses),
                       [kind](const LossRow& row) { return row.kind == kind; });
}

std::string Lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

const LossRow* FindRow(const std::string& name) {
  const std::string lower = Lower(name);
  for (const LossRow& row : kLosses) {
    if (name == row.name || name == row.class_name) return &row;
    for (const char* alias : row.aliases) {
      if (alias != nullptr && lower == alias) return &row;
    }
  }
  return nullptr;
}

bool IsCrossentropy(LossKind loss) {
  return loss == LossKind::kCategoricalCrossentropy ||
         loss == LossKind::kSparseCategoricalCrossentropy || loss == LossKind::kBinaryCrossentropy;
}

Status ReadLossOptions(const json& config, LossConfig* loss) {
  OptionReader options("loss " + std::string(LossName(loss->kind)), &config);
  if (IsCrossentropy(loss->kind)) {
    loss->from_logits = options.Bool("from_logits", false);
    options.RefuseUnlessNull({"ignore_class"});
    if (loss->kind != LossKind::kSparseCategoricalCrossentropy) {
      loss->label_smoothing = options.Number("label_smoothing", 0, 0, 1);
    }
  }
  const json* axis = options.Find("axis");
  if (axis != nullptr && WholeNumber(*axis) != -1) {
    options.Fail(ErrorCode::kUnsupported,
                 "option \"axis\" is " + ShortJson(*axis) + "; only -1 is supported");
  }
  if (loss->kind == LossKind::kHuber) {
    loss->huber_delta = options.Number("delta", 1, 0, 1e30);
  }
  loss->sum_reduction =
      options.Choice("reduction", "auto", {"auto", "sum_over_batch_size", "mean", "sum"}) == "sum";
  if (config.contains("dtype")) options.OnlyFloat32("dtype");
  options.Ignore({"name", "fn"});
  return options.Finish();
}

}  // namespace

const char* LossName(LossKind loss) { return RowOf(loss).name; }

std::optional<LossKind> FindLoss(const std::string& name) {
  const LossRow* const row = FindRow(name);
  if (row == nullptr) return std::nullopt;
  return row->kind;
}

std::vector<std::string> LossNames() {
  std::vector<std::string> names;
  for (const LossRow& row : kLosses) names.push_back(row.name);
  return names;
}

bool IsFunction(const json& value) {
  return value.is_object() && value.contains("class_name") && value["class_name"] == "function" &&
         value.contains("config") && value["config"].is_string();
}

Result<LossConfig> ReadLossConfig(const json& value) {
  std::string name;
  json config = json::object();
  if (value.is_string()) {
    name = value.get<std::string>();
  } else if (IsFunction(value)) {
    name = value["config"].get<std::string>();
  } else if (value.is_object() && value.contains("class_name") && value["class_name"].is_string()) {
    name = value["class_name"].get<std::string>();
    if (value.contains("config") && value["config"].is_object()) config = value["config"];
  } else {
    return Error{ErrorCode::kInvalidArgument,
                 "compile: the loss is " + ShortJson(value) +
                     "; expected a name such as \"sparse_categorical_crossentropy\""};
  }
  const LossRow* const row = FindRow(name);
  if (row == nullptr) {
    return Error{ErrorCode::kUnsupported, "compile: " + UnknownNameText("loss", name, LossNames())};
  }
  LossConfig loss;
  loss.kind = row->kind;
  DNC_TRY(ReadLossOptions(config, &loss));
  return loss;
}

ordered_json FormatLossConfig(const LossConfig& loss) {
  const LossRow& row = RowOf(loss.kind);
  ordered_json config;
  if (loss.from_logits) config["from_logits"] = true;
  if (loss.label_smoothing != 0) config["label_smoothing"] = loss.label_smoothing;
  if (loss.huber_delta != 1) config["delta"] = loss.huber_delta;
  if (config.empty() && !loss.sum_reduction) return row.name;
  config["reduction"] = loss.sum_reduction ? "sum" : "sum_over_batch_size";
  config["name"] = row.name;
  ordered_json written;
  written["class_name"] = row.class_name;
  written["config"] = std::move(config);
  return written;
}

}  // namespace dnc::model
