#include "model/trained_bytes.h"

#include <cstring>

namespace dnc::model {
namespace {

// Of any one text: the JSON of an architecture and of how it is compiled.
constexpr std::uint32_t kTextBytesMax = 128u << 20;

void PutGroups(const std::vector<WeightGroup>& groups, ByteWriter* out) {
  out->Put(static_cast<std::uint32_t>(groups.size()));
  for (const WeightGroup& group : groups) {
    out->PutString(group.name);
    out->Put(static_cast<std::uint32_t>(group.weights.size()));
    for (std::size_t i = 0; i < group.weights.size(); ++i) {
      out->Put(static_cast<std::int32_t>(group.weights[i]));
      out->PutString(group.saved_names[i]);
    }
  }
}

// Each weight belongs to one group at most.
bool GetGroups(std::size_t weight_count, ByteReader* in, std::vector<WeightGroup>* groups) {
  groups->clear();
  std::vector<bool> taken(weight_count, false);
  const auto count = in->Get<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && in->ok(); ++i) {
    WeightGroup group;
    group.name = in->GetString(kTextBytesMax);
    const auto size = in->Get<std::uint32_t>();
    for (std::uint32_t k = 0; k < size && in->ok(); ++k) {
      const auto weight = in->Get<std::int32_t>();
      if (weight < 0 || static_cast<std::size_t>(weight) >= weight_count ||
          taken[static_cast<std::size_t>(weight)]) {
        return false;
      }
      taken[static_cast<std::size_t>(weight)] = true;
      group.weights.push_back(weight);
      group.saved_names.push_back(in->GetString(kTextBytesMax));
    }
    groups->push_back(std::move(group));
  }
  return in->ok();
}

void PutKerasFile(const KerasFile& file, ByteWriter* out) {
  out->PutString(file.keras_version);
  out->PutString(file.backend);
  for (const bool flag :
       {file.is_ascii, file.repeats_versions, file.has_top_level_group, file.has_variable_lists}) {
    out->Put(static_cast<std::uint8_t>(flag));
  }
  out->PutString(file.training_config);
  out->PutString(file.training_config_read);
}

KerasFile GetKerasFile(ByteReader* in) {
  KerasFile file;
  file.keras_version = in->GetString(kTextBytesMax);
  file.backend = in->GetString(kTextBytesMax);
  for (bool* flag : {&file.is_ascii, &file.repeats_versions, &file.has_top_level_group,
                     &file.has_variable_lists}) {
    *flag = in->Get<std::uint8_t>() != 0;
  }
  file.training_config = in->GetString(kTextBytesMax);
  file.training_config_read = in->GetString(kTextBytesMax);
  return file;
}

}  // namespace

Bytes EncodeTrained(const TrainedModel& trained) {
  ByteWriter out;
  out.PutString(FormatModel(trained.model));
  PutKerasFile(trained.model.keras_file, &out);
  PutGroups(trained.model.weight_groups, &out);
  out.PutString(trained.compile_refusal);
  out.PutString(trained.keras_version);
  out.PutString(trained.optimizer_refusal);
  out.Put(static_cast<std::uint64_t>(trained.weights.size()));
  out.PutBytes(std::as_bytes(std::span(trained.weights)));
  out.Put(static_cast<std::uint64_t>(trained.optimizer_state.size()));
  out.PutBytes(trained.optimizer_state);
  return std::move(out).Take();
}

Result<TrainedModel> DecodeTrained(ByteSpan bytes, const std::string& name,
                                   const ModelLimits& limits) {
  const Error damaged{ErrorCode::kCorrupt, name + ": what its reader gave is malformed"};
  ByteReader in(bytes);
  TrainedModel trained;
  const std::string json = in.GetString(kTextBytesMax);
  if (!in.ok()) return damaged;
  DNC_ASSIGN(trained.model, ParseModel(json, name, limits));
  trained.model.keras_file = GetKerasFile(&in);
  if (!GetGroups(trained.model.weights.size(), &in, &trained.model.weight_groups)) return damaged;
  trained.compile_refusal = in.GetString(kTextBytesMax);
  trained.keras_version = in.GetString(kTextBytesMax);
  trained.optimizer_refusal = in.GetString(kTextBytesMax);
  const auto weight_count = in.Get<std::uint64_t>();
  if (!in.ok() || (weight_count != 0 && weight_count != trained.model.weight_count)) return damaged;
  const ByteSpan weights = in.GetBytes(weight_count * sizeof(float));
  if (!in.ok()) return damaged;
  trained.weights.resize(weight_count);
  if (!weights.empty()) std::memcpy(trained.weights.data(), weights.data(), weights.size());
  const auto state_bytes = in.Get<std::uint64_t>();
  if (!in.ok() || state_bytes != in.remaining()) return damaged;
  const ByteSpan state = in.GetBytes(state_bytes);
  trained.optimizer_state.assign(state.begin(), state.end());
  return trained;
}

}  // namespace dnc::model
