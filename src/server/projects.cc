#include "server/projects.h"

#include <cmath>
#include <optional>

#include "base/human.h"
#include "model/model.h"
#include "server/objects.h"
#include "shard/manifest.h"
#include "shard/weighting.h"
#include "update/update.h"

namespace dnc::server {

// A submission on its way.
struct Projects::Draft {
  ProjectInfo info;
  std::string model_json;
  std::string manifest_json;
  model::Model model;
  struct Shard {
    std::string cid;
    std::uint64_t bytes = 0;
  };
  std::vector<Shard> shards;
  std::string weights_cid;  // Empty: the weights are drawn.
  sched::ProjectConfig config;
};

namespace {

constexpr char kColumns[] =
    "id, account, name, description, epochs, batch_size, seed, train_split, validation_split,"
    " total_tasks, task_size, max_contributors, weight_count, train_samples, validation_samples,"
    " fit";

std::uint32_t Narrow(std::int64_t value) { return static_cast<std::uint32_t>(value); }

Result<ProjectInfo> ReadProject(const Row& row) {
  ProjectInfo info;
  info.id = ProjectId{row.Uint(0)};
  info.account = AccountId{row.Uint(1)};
  info.name = row.Text(2);
  info.description = row.Text(3);
  if (const std::string fit = row.Text(15); !fit.empty()) {
    DNC_ASSIGN(info.fit, proto::FitFromJson(fit));
  } else {
    info.fit = {Narrow(row.Int(4)), Narrow(row.Int(5)), row.Uint(6),
                row.Text(7),        row.Text(8),        true};
  }
  info.grid = {Narrow(row.Int(9)), Narrow(row.Int(10)), Narrow(row.Int(11))};
  info.weight_count = row.Uint(12);
  info.train_samples = row.Uint(13);
  info.validation_samples = row.Uint(14);
  return info;
}

Status InsertProject(Database* db, const ProjectInfo& info, const std::string& model_json,
                     const std::string& manifest_json) {
  return db->Run(
      "INSERT INTO projects(id, account, name, description, epochs, batch_size, seed, train_split,"
      " validation_split, total_tasks, task_size, max_contributors, weight_count, train_samples,"
      " validation_samples, model, manifest, fit)"
      " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      {AsValue(info.id.value), AsValue(info.account.value), info.name, info.description,
       AsValue(info.fit.epochs), AsValue(info.fit.batch_size), AsValue(info.fit.seed),
       info.fit.train_split, info.fit.validation_split, AsValue(info.grid.total_tasks),
       AsValue(info.grid.task_size), AsValue(info.grid.max_contributors),
       AsValue(info.weight_count), AsValue(info.train_samples), AsValue(info.validation_samples),
       model_json, manifest_json, proto::FitToJson(info.fit)});
}

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

// The split's samples, or an error that names the splits there are.
Result<std::uint64_t> SamplesOfSplit(const shard::Manifest& manifest, const std::string& name,
                                     const char* key) {
  if (const shard::SplitInfo* split = manifest.FindSplit(name); split != nullptr) {
    return split->samples;
  }
  std::string known;
  for (const shard::SplitInfo& split : manifest.splits) {
    known += (known.empty() ? "" : ", ") + split.name;
  }
  return Invalid("\"fit." + std::string(key) + "\" is \"" + name +
                 "\", but the manifest's splits are " + known);
}

Status CheckModel(const model::Model& model, const shard::Manifest& manifest,
                  const std::string& train_split) {
  if (!model.has_compile) {
    return Invalid(
        "model: it has no \"compile\" section with an optimizer and a loss, so it "
        "cannot be trained");
  }
  DNC_ASSIGN(const std::vector<int> x, model::FindInputs(model, manifest.columns));
  DNC_ASSIGN(const std::vector<int> y, model::FindLabels(model, manifest.columns));
  return model::CheckColumns(model, array::SelectColumns(manifest.columns, x),
                             array::SelectColumns(manifest.columns, y),
                             manifest.ClassCounts(train_split, y));
}

// Weights of samples as training will use them.
Status CheckWeighting(const proto::FitSettings& fit, const model::Model& model,
                      const shard::Manifest& manifest) {
  const auto by_class = shard::ResolveClassWeights(fit.class_weight, manifest);
  if (!by_class.ok()) return by_class.error().WithContext("\"fit.class_weight\"");
  DNC_ASSIGN(const std::vector<int> y, model::FindLabels(model, manifest.columns));
  const auto check = [&](const shard::WeightOptions& options, const char* key) -> Status {
    const auto weighting = shard::ResolveWeighting(manifest, fit.train_split, y, options);
    return weighting.ok() ? Status() : weighting.error().WithContext(key);
  };
  DNC_TRY(check({.by_class = *by_class, .balanced = fit.class_weight_balanced},
                "\"fit.class_weight\""));
  return check({.column = fit.sample_weight}, "\"fit.sample_weight\"");
}

// Fills in what is to be watched. Requires: `info` knows its validation samples.
Status CheckStopping(const model::Model& model, ProjectInfo* info) {
  if (!info->fit.early_stopping) return {};
  proto::EarlyStopping& stopping = *info->fit.early_stopping;
  stopping.monitor = proto::WatchedMonitor(stopping, info->validation_samples > 0);
  const std::string watched =
      "\"fit.early_stopping.monitor\" is \"" + std::string(MonitorName(*stopping.monitor)) + "\"";
  if (NeedsValidation(*stopping.monitor) && info->validation_samples == 0) {
    return Invalid(watched +
                   ", but there is no validation split; watch \"loss\", or divide the data with "
                   "--split train=0.9,validation=0.1");
  }
  if (!IsLoss(*stopping.monitor) && model.compile.accuracy() == nullptr) {
    return Invalid(watched + ", but the model's metrics have no accuracy; watch \"" +
                   (NeedsValidation(*stopping.monitor) ? "val_loss" : "loss") + "\"");
  }
  return {};
}

std::optional<sched::StoppingRule> StoppingRuleOf(const proto::FitSettings& fit) {
  if (!fit.early_stopping) return std::nullopt;
  constexpr double kNano = 1e9;
  return sched::StoppingRule{.monitor = *fit.early_stopping->monitor,
                             .patience = fit.early_stopping->patience,
                             .min_delta_nano = static_cast<std::uint64_t>(
                                 std::llround(fit.early_stopping->min_delta * kNano)),
                             .restore_best = fit.early_stopping->restore_best};
}

}  // namespace

Projects::Projects(const Parts& parts, std::uint64_t weight_count_max)
    : parts_(parts), weight_count_max_(weight_count_max) {}

Status Projects::Load() {
  const std::string sql = std::string("SELECT ") + kColumns + " FROM projects";
  Status status;
  DNC_TRY(parts_.reader->Run(sql.c_str(), {}, [this, &status](const Row& row) {
    Result<ProjectInfo> info = ReadProject(row);
    if (!info.ok()) {
      const Error error{ErrorCode::kCorrupt, info.error().message};
      status = error.WithContext("database: project " + std::to_string(row.Uint(0)));
      return;
    }
    next_id_ = std::max(next_id_, info->id.value + 1);
    projects_.emplace(info->id, std::move(*info));
  }));
  DNC_TRY(status);
  for (const auto& [id, info] : projects_) {
    if (!parts_.sequencer->scheduler().FindProject(id)) {
      return Error{ErrorCode::kCorrupt,
                   "database: project " + std::to_string(id.value) + " is not in the event log"};
    }
  }
  return {};
}

const ProjectInfo* Projects::Find(ProjectId project) const {
  const auto found = projects_.find(project);
  return found == projects_.end() ? nullptr : &found->second;
}

// ---- Submission

namespace {

// Checks all that can be seen from the submission itself.
template <typename Draft>
Status FillDraft(const std::string& body, std::uint64_t weight_count_max, Draft* draft) {
  DNC_ASSIGN(proto::ProjectSpec spec, proto::FromJson<proto::ProjectSpec>(body));
  model::ModelLimits model_limits;
  model_limits.weight_count_max = weight_count_max;
  DNC_ASSIGN(draft->model, model::ParseModel(spec.model_json, "model", model_limits));
  DNC_ASSIGN(const shard::Manifest manifest, shard::ParseManifest(spec.manifest_json, "manifest"));

  ProjectInfo& info = draft->info;
  info.name = std::move(spec.name);
  info.description = std::move(spec.description);
  info.fit = spec.fit;
  info.grid = spec.grid;
  info.weight_count = draft->model.weight_count;
  DNC_ASSIGN(info.train_samples, SamplesOfSplit(manifest, info.fit.train_split, "train_split"));
  const bool has_validation = manifest.FindSplit(info.fit.validation_split) != nullptr;
  if (!info.fit.validation_split_stated && !has_validation) info.fit.validation_split.clear();
  if (!info.fit.validation_split.empty()) {
    DNC_ASSIGN(info.validation_samples,
               SamplesOfSplit(manifest, info.fit.validation_split, "validation_split"));
  }
  if (info.validation_samples == 0) info.fit.validation_split.clear();
  info.fit.validation_split_stated = true;
  DNC_TRY(CheckModel(draft->model, manifest, info.fit.train_split));
  DNC_TRY(CheckWeighting(info.fit, draft->model, manifest));
  DNC_TRY(CheckStopping(draft->model, &info));
  if (info.grid.total_tasks > info.train_samples) {
    return Invalid("\"grid.total_tasks\" is " + FormatCount(info.grid.total_tasks) +
                   ", more than the " + FormatCount(info.train_samples) +
                   " samples of the split \"" + info.fit.train_split + "\"");
  }
  draft->config = {.train_samples = info.train_samples,
                   .validation_samples = info.validation_samples,
                   .epochs = info.fit.epochs,
                   .total_tasks = info.grid.total_tasks,
                   .task_size = info.grid.task_size,
                   .contributors_max = info.grid.max_contributors,
                   .stopping = StoppingRuleOf(info.fit)};
  DNC_TRY(sched::CheckConfig(draft->config));
  for (const shard::ShardInfo& shard : manifest.shards) {
    draft->shards.push_back({shard.cid, shard.bytes});
  }
  draft->model_json = model::FormatModel(draft->model);
  draft->manifest_json = std::move(spec.manifest_json);
  draft->weights_cid = std::move(spec.weights_cid);
  return {};
}

// Those that were uploaded, or drawn ones.
template <typename Draft>
Result<std::vector<float>> FirstWeights(const store::ObjectStore& store, const Draft& draft) {
  if (draft.weights_cid.empty()) {
    return model::InitialWeights(draft.model, draft.info.fit.seed);
  }
  const std::uint64_t count = draft.model.weight_count;
  const Result<Bytes> bytes =
      store::GetObject(store, draft.weights_cid, update::EncodedBytesMax(count));
  if (!bytes.ok()) return bytes.error().WithContext("weights");
  Result<std::vector<float>> weights = update::Decode(*bytes, count);
  if (!weights.ok()) return weights.error().WithContext("weights");
  if (!update::AllFinite(*weights)) return Invalid("weights: some of them are not finite");
  return weights;
}

}  // namespace

void Projects::Submit(AccountId account, std::string body, Done done) {
  const auto draft = std::make_shared<Draft>();
  draft->info.account = account;
  parts_.workers->Post([this, draft, body = std::move(body), done = std::move(done)] {
    const Status status = FillDraft(body, weight_count_max_, draft.get());
    parts_.loop->Post([this, draft, status, done] {
      if (!status.ok()) return done(status.error());
      if (const Status shards = CheckShards(*draft); !shards.ok()) return done(shards.error());
      draft->info.id = ProjectId{next_id_++};
      MakeWeights(draft, done);
    });
  });
}

Status Projects::CheckShards(const Draft& draft) const {
  constexpr std::size_t kNamed = 3;
  std::size_t missing = 0;
  std::string named;
  for (const auto& shard : draft.shards) {
    std::uint64_t bytes = 0;
    bool found = false;
    DNC_TRY(parts_.reader->Run("SELECT bytes FROM object_owners WHERE cid = ? AND account = ?",
                               {shard.cid, AsValue(draft.info.account.value)}, [&](const Row& row) {
                                 found = true;
                                 bytes = row.Uint(0);
                               }));
    if (found && bytes != shard.bytes) {
      return Invalid("manifest: shard " + shard.cid + " has " + FormatCount(bytes) +
                     " bytes on the server, but " + FormatCount(shard.bytes) + " in the manifest");
    }
    if (found) continue;
    if (missing++ < kNamed) named += (named.empty() ? "" : ", ") + shard.cid;
  }
  if (missing == 0) return CheckWeightsAreThere(draft);
  return Error{ErrorCode::kNotFound, std::to_string(missing) + " of " +
                                         std::to_string(draft.shards.size()) +
                                         " shards are not on the server: " + named +
                                         (missing > kNamed ? ", ..." : "") + "; upload them first"};
}

// By its owner: the store also holds what is not to be had by asking for its key.
Status Projects::CheckWeightsAreThere(const Draft& draft) const {
  if (draft.weights_cid.empty()) return {};
  bool found = false;
  DNC_TRY(parts_.reader->Run("SELECT 1 FROM object_owners WHERE cid = ? AND account = ?",
                             {draft.weights_cid, AsValue(draft.info.account.value)},
                             [&](const Row&) { found = true; }));
  if (found) return {};
  return Error{ErrorCode::kNotFound,
               "\"weights\" " + draft.weights_cid + " is not on the server; upload it first"};
}

void Projects::MakeWeights(const DraftPointer& draft, const Done& done) {
  parts_.workers->Post([this, draft, done] {
    const auto make = [&]() -> Status {
      DNC_ASSIGN(const std::vector<float> weights, FirstWeights(*parts_.store, *draft));
      return store::PutObject(parts_.store, WeightsKey(draft->info.id, 0), update::Encode(weights));
    };
    const Status status = make();
    parts_.loop->Post([this, draft, status, done] {
      if (!status.ok()) return done(status.error());
      Create(draft, done);
    });
  });
}

void Projects::Create(const DraftPointer& draft, const Done& done) {
  const auto write = [draft](Database* db) -> Status {
    DNC_TRY(InsertProject(db, draft->info, draft->model_json, draft->manifest_json));
    for (const auto& shard : draft->shards) {
      DNC_TRY(db->Run("INSERT OR IGNORE INTO project_shards(project, cid) VALUES(?, ?)",
                      {AsValue(draft->info.id.value), shard.cid}));
    }
    return {};
  };
  // Known before its event is applied, which may ask for it.
  projects_.emplace(draft->info.id, draft->info);
  parts_.sequencer->Write(write, sched::ProjectSubmitted{draft->info.id, draft->config},
                          [this, draft, done](const Result<Effects>& result) {
                            if (result.ok()) return done(draft->info.id);
                            projects_.erase(draft->info.id);
                            done(result.error());
                          });
}

// ---- What is read when it is asked for

Result<proto::ProjectWork> Projects::GetWork(ProjectId project) const {
  const ProjectInfo* info = Find(project);
  DNC_ASSERT(info != nullptr);
  proto::ProjectWork work{.project_id = project,
                          .name = info->name,
                          .fit = info->fit,
                          .grid = info->grid,
                          .weight_count = info->weight_count,
                          .model_json = {},
                          .manifest_json = {}};
  DNC_TRY(parts_.reader->Run("SELECT model, manifest FROM projects WHERE id = ?",
                             {AsValue(project.value)}, [&](const Row& row) {
                               work.model_json = row.Text(0);
                               work.manifest_json = row.Text(1);
                             }));
  return work;
}

Result<std::string> Projects::GetModelJson(ProjectId project) const {
  std::string json;
  DNC_TRY(parts_.reader->Run("SELECT model FROM projects WHERE id = ?", {AsValue(project.value)},
                             [&](const Row& row) { json = row.Text(0); }));
  return json;
}

bool Projects::HasShard(ProjectId project, const std::string& cid) const {
  bool found = false;
  static_cast<void>(parts_.reader->Run("SELECT 1 FROM project_shards WHERE project = ? AND cid = ?",
                                       {AsValue(project.value), cid},
                                       [&](const Row&) { found = true; }));
  return found;
}

}  // namespace dnc::server
