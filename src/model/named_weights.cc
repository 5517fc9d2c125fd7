#include "model/named_weights.h"

#include "base/human.h"
#include "model/json_text.h"

namespace dnc::model {
namespace {

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

std::string WithoutNumber(const std::string& name) {
  return name.ends_with(":0") ? name.substr(0, name.size() - 2) : name;
}

}  // namespace

NamedWeights::NamedWeights(const Model* model)
    : model_(model), claimed_(model->weights.size(), false) {
  for (std::size_t i = 0; i < model->weights.size(); ++i) {
    indices_.emplace(WithoutNumber(model->weights[i].name), i);
  }
}

Result<const WeightSpec*> NamedWeights::Claim(const std::string& name, const array::Shape& shape) {
  const auto found = indices_.find(WithoutNumber(name));
  if (found == indices_.end()) {
    std::vector<std::string> known;
    for (const WeightSpec& weight : model_->weights) known.push_back(weight.name);
    const std::string nearest = NearestName(name, known);
    return Invalid(
        "its tensor " + Quoted(name) + " is no weight of the architecture" +
        (nearest.empty() ? "" : "; did you mean " + Quoted(nearest) + "?") +
        (nearest.empty() && !known.empty() ? "; the first one is " + Quoted(known[0]) : ""));
  }
  const WeightSpec& weight = model_->weights[found->second];
  if (claimed_[found->second]) return Invalid("it holds the weight " + Quoted(name) + " twice");
  claimed_[found->second] = true;
  if (shape != weight.shape) {
    return Invalid("its tensor " + Quoted(name) + " has shape " + array::ShapeText(shape) +
                   ", but the architecture's " + weight.name + " has shape " +
                   array::ShapeText(weight.shape));
  }
  return &weight;
}

Status NamedWeights::CheckAllClaimed() const {
  for (std::size_t i = 0; i < claimed_.size(); ++i) {
    if (claimed_[i]) continue;
    return Invalid("the weight " + Quoted(model_->weights[i].name) + " of shape " +
                   array::ShapeText(model_->weights[i].shape) + " is missing");
  }
  return {};
}

}  // namespace dnc::model
