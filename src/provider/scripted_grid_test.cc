#include "provider/scripted_grid.h"

#include <chrono>
#include <thread>
#include <utility>

#include "base/prng.h"
#include "model/model.h"
#include "shard/content_id.h"
#include "shard/shard_writer.h"
#include "shard/statistics.h"
#include "testing/testing.h"
#include "update/update.h"

namespace dnc::provider {
namespace {

constexpr char kModelJson[] = R"({
  "class_name": "Sequential",
  "config": {"name": "line", "layers": [
    {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [null, 3]}},
    {"class_name": "Dense", "config": {"name": "out", "units": 1, "activation": "linear"}}]},
  "compile": {"loss": "mean_squared_error",
    "optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.05}}}})";

const std::vector<array::ColumnSpec> kColumns = {{"x", array::DType::kFloat32, {3}, {}},
                                                 {"y", array::DType::kFloat32, {1}, {}},
                                                 {"w", array::DType::kUint8, {}, {}}};

// Samples of y = 1 x0 - 2 x1 + 0.5 x2 + 3, nearly; and weights that projects may use.
array::SampleBlock SomeSamples(std::uint64_t count, Prng* prng) {
  ByteWriter x, y, w;
  for (std::uint64_t i = 0; i < count; ++i) {
    const float a = static_cast<float>(prng->Normal());
    const float b = static_cast<float>(prng->Normal());
    const float c = static_cast<float>(prng->Normal());
    for (const float value : {a, b, c}) x.Put(value);
    y.Put(a - 2 * b + 0.5f * c + 3 + 0.01f * static_cast<float>(prng->Normal()));
    w.Put(static_cast<std::uint8_t>(i % 3));
  }
  return {count, {std::move(x).Take(), std::move(y).Take(), std::move(w).Take()}};
}

}  // namespace

class ScriptedCalls final : public ServerCalls {
 public:
  ScriptedCalls(ScriptedGrid* grid, const ServerCallsOptions& options)
      : grid_(grid), options_(options) {}

  Result<std::optional<proto::LeaseGrant>> RequestLease(Duration wait) override {
    DNC_TRY(Enter("RequestLease"));
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(wait.us);
    std::unique_lock lock(grid_->mutex_);
    for (;;) {
      if (*options_.work_cancelled) return Error{ErrorCode::kCancelled, "cancelled"};
      if (const auto task = grid_->NextTask()) {
        const LeaseId lease{grid_->next_lease_++};
        grid_->leases_[lease] = {*task};
        return std::optional(proto::LeaseGrant{.lease_id = lease,
                                               .project_id = grid_->work_.project_id,
                                               .task = *task,
                                               .renew_every_ms = 100,
                                               .deadline_ms = 15'000});
      }
      if (std::chrono::steady_clock::now() >= end) return std::optional<proto::LeaseGrant>();
      grid_->changed_.wait_for(lock, std::chrono::milliseconds(5));
    }
  }

  Result<proto::ProjectWork> GetWork(ProjectId) override {
    DNC_TRY(Enter("GetWork"));
    proto::ProjectWork work = grid_->work_;
    if (grid_->fault.on_work) grid_->fault.on_work(&work);
    return work;
  }

  Result<Bytes> GetWeights(ProjectId, std::uint64_t version, std::uint64_t) override {
    DNC_TRY(Enter("GetWeights"));
    Bytes bytes = update::Encode(grid_->weights(version));
    if (grid_->fault.on_weights) grid_->fault.on_weights(&bytes);
    return bytes;
  }

  Status GetObjectRange(const std::string& cid, std::uint64_t offset,
                        std::span<std::byte> out) override {
    DNC_TRY(Enter("GetObjectRange"));
    const auto it = grid_->objects_.find(cid);
    if (it == grid_->objects_.end()) return Error{ErrorCode::kNotFound, "no object " + cid};
    std::copy_n(it->second.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    if (grid_->fault.on_object) grid_->fault.on_object(out);
    return {};
  }

  Result<proto::LeaseAnswer> SubmitResult(LeaseId lease, const proto::ResultMetrics& metrics,
                                          ByteSpan update) override {
    DNC_TRY(Enter("SubmitResult"));
    {
      const std::lock_guard lock(grid_->mutex_);
      grid_->last_update_.assign(update.begin(), update.end());
    }
    if (grid_->fault.on_result) {
      if (const auto answer = grid_->fault.on_result(lease)) {
        const std::lock_guard lock(grid_->mutex_);
        grid_->leases_.erase(lease);
        return *answer;
      }
    }
    const std::lock_guard lock(grid_->mutex_);
    const auto it = grid_->leases_.find(lease);
    if (it == grid_->leases_.end()) return proto::LeaseAnswer{false, "no such lease"};
    const proto::TaskInfo task = it->second.task;
    grid_->leases_.erase(it);
    if (task.kind == proto::TaskKind::kEvaluate) {
      grid_->evaluations_.push_back(metrics);
      grid_->evaluations_due_.erase(task.version);
      return proto::LeaseAnswer{true, ""};
    }
    DNC_ASSIGN(std::vector<float> values, update::Decode(update, grid_->work_.weight_count));
    grid_->done_[task.task_index] = {std::move(values), metrics.samples};
    grid_->CloseStep();
    grid_->changed_.notify_all();
    return proto::LeaseAnswer{true, ""};
  }

  Result<proto::LeaseAnswer> ReleaseLease(LeaseId lease,
                                          const proto::LeaseRelease& release) override {
    DNC_TRY(Enter("ReleaseLease"));
    const std::lock_guard lock(grid_->mutex_);
    grid_->leases_.erase(lease);
    grid_->releases_.push_back({lease, release.failed, release.reason});
    grid_->changed_.notify_all();
    return proto::LeaseAnswer{true, ""};
  }

  Result<proto::LeaseAnswer> RenewLease(LeaseId lease, std::uint64_t) override {
    DNC_TRY(Enter("RenewLease"));
    if (grid_->fault.on_renew) {
      if (const auto answer = grid_->fault.on_renew(lease)) {
        const std::lock_guard lock(grid_->mutex_);
        if (!answer->accepted) grid_->leases_.erase(lease);
        return *answer;
      }
    }
    const std::lock_guard lock(grid_->mutex_);
    if (!grid_->leases_.contains(lease)) return proto::LeaseAnswer{false, "no such lease"};
    return proto::LeaseAnswer{true, ""};
  }

  client::ByteCounts byte_counts() const override { return {}; }

 private:
  Status Enter(const std::string& name) {
    grid_->Called(name);
    const std::atomic<bool>& cancelled = name == "RenewLease"     ? *options_.renewals_cancelled
                                         : name == "ReleaseLease" ? *options_.releases_cancelled
                                                                  : *options_.work_cancelled;
    if (name == grid_->fault.hold_call) {
      grid_->held = true;
      while (!cancelled) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (cancelled) return Error{ErrorCode::kCancelled, "cancelled"};
    if (!grid_->fault.on_call) return {};
    if (auto error = grid_->fault.on_call(name)) return *error;
    return {};
  }

  ScriptedGrid* grid_;
  ServerCallsOptions options_;
};

ScriptedGrid::ScriptedGrid(const GridOptions& options) : options_(options) {
  work_.project_id = ProjectId{7};
  work_.name = "line";
  work_.model_json = kModelJson;
  work_.fit.batch_size = 8;
  work_.fit.seed = 11;
  work_.fit.epochs = options.epochs;
  if (options.validation_samples == 0) work_.fit.validation_split.clear();
  work_.grid.total_tasks = options.total_tasks;
  work_.grid.task_size = options.task_size;
  const auto model = model::ParseModel(kModelJson, "line");
  DNC_ASSERT(model.ok());
  work_.weight_count = model->weight_count;
  versions_.push_back(model::InitialWeights(*model, work_.fit.seed));
  MakeData();
}

void ScriptedGrid::MakeData() {
  shard::Manifest manifest;
  manifest.name = "line";
  manifest.columns = kColumns;
  Prng prng(3);
  for (const auto& [split, samples] : {std::pair("train", options_.train_samples),
                                       std::pair("validation", options_.validation_samples)}) {
    shard::StatisticsAccumulator statistics(kColumns);
    for (std::uint64_t begin = 0; begin < samples; begin += 48) {
      Bytes bytes;
      shard::ShardWriter writer(kColumns, {.block_samples = 16}, [&bytes](ByteSpan more) -> Status {
        bytes.insert(bytes.end(), more.begin(), more.end());
        return {};
      });
      const std::uint64_t count = std::min<std::uint64_t>(48, samples - begin);
      for (std::uint64_t at = 0; at < count; at += 16) {
        const auto block = SomeSamples(std::min<std::uint64_t>(16, count - at), &prng);
        statistics.Add(block);
        DNC_ASSERT(writer.Append(block).ok());
      }
      DNC_ASSERT(writer.Finish().ok());
      shard::ContentHasher hasher;
      hasher.Update(bytes);
      auto identity = hasher.Finish();
      manifest.shards.push_back({.cid = identity.cid,
                                 .split = split,
                                 .bytes = bytes.size(),
                                 .samples = count,
                                 .block_samples = 16,
                                 .leaves = std::move(identity.leaves)});
      objects_[manifest.shards.back().cid] = std::move(bytes);
    }
    manifest.splits.push_back({split, samples, statistics.Compute()});
  }
  work_.manifest_json = shard::FormatManifest(manifest);
}

// Requires: mutex_ is held.
std::optional<proto::TaskInfo> ScriptedGrid::NextTask() const {
  std::set<std::pair<std::uint64_t, std::uint32_t>> leased;
  std::set<std::uint64_t> evaluating;
  for (const auto& [id, lease] : leases_) {
    if (lease.task.kind == proto::TaskKind::kEvaluate) {
      evaluating.insert(lease.task.version);
    } else {
      leased.insert({lease.task.version, lease.task.task_index});
    }
  }
  for (const std::uint64_t version : evaluations_due_) {
    if (evaluating.contains(version)) continue;
    return proto::TaskInfo{.kind = proto::TaskKind::kEvaluate,
                           .version = version,
                           .begin = 0,
                           .end = options_.validation_samples};
  }
  const std::uint64_t version = versions_.size() - 1;
  const std::uint64_t steps_an_epoch = options_.total_tasks / options_.task_size;
  if (version == steps_an_epoch * options_.epochs) return std::nullopt;
  const std::uint64_t first = version % steps_an_epoch * options_.task_size;
  for (std::uint64_t index = first; index < first + options_.task_size; ++index) {
    const auto task_index = static_cast<std::uint32_t>(index);
    if (done_.contains(task_index) || leased.contains({version, task_index})) continue;
    const std::uint64_t samples = options_.train_samples / options_.total_tasks;
    return proto::TaskInfo{.kind = proto::TaskKind::kTrain,
                           .version = version,
                           .epoch = static_cast<std::uint32_t>(version / steps_an_epoch),
                           .task_index = task_index,
                           .begin = index * samples,
                           .end = (index + 1) * samples};
  }
  return std::nullopt;
}

// Requires: mutex_ is held.
void ScriptedGrid::CloseStep() {
  if (done_.size() < options_.task_size) return;
  std::vector<float> next = versions_.back();
  for (std::size_t i = 0; i < next.size(); ++i) {
    double sum = 0;
    for (const auto& [index, done] : done_) sum += done.update[i];
    next[i] = static_cast<float>(next[i] + sum / static_cast<double>(done_.size()));
  }
  versions_.push_back(std::move(next));
  done_.clear();
  const std::uint64_t version = versions_.size() - 1;
  if (options_.validation_samples > 0 &&
      version % (options_.total_tasks / options_.task_size) == 0) {
    evaluations_due_.insert(version);
  }
}

Result<std::unique_ptr<ServerCalls>> ScriptedGrid::MakeCalls(const ServerCallsOptions& options) {
  return std::unique_ptr<ServerCalls>(std::make_unique<ScriptedCalls>(this, options));
}

void ScriptedGrid::Called(const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    ++calls_[name];
  }
  changed_.notify_all();
}

bool ScriptedGrid::WaitUntil(const std::function<bool()>& condition) {
  for (int i = 0; i < 10'000; ++i) {
    if (condition()) return true;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::milliseconds(2));
  }
  return false;
}

std::vector<float> ScriptedGrid::weights(std::uint64_t version) const {
  const std::lock_guard lock(mutex_);
  return versions_.at(version);
}
std::uint64_t ScriptedGrid::version() const {
  const std::lock_guard lock(mutex_);
  return versions_.size() - 1;
}
bool ScriptedGrid::finished() const {
  const std::lock_guard lock(mutex_);
  return versions_.size() - 1 == options_.total_tasks / options_.task_size * options_.epochs &&
         evaluations_due_.empty();
}
std::vector<proto::ResultMetrics> ScriptedGrid::evaluations() const {
  const std::lock_guard lock(mutex_);
  return evaluations_;
}
std::vector<ReleasedLease> ScriptedGrid::releases() const {
  const std::lock_guard lock(mutex_);
  return releases_;
}
Bytes ScriptedGrid::last_update() const {
  const std::lock_guard lock(mutex_);
  return last_update_;
}
int ScriptedGrid::calls(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto it = calls_.find(name);
  return it == calls_.end() ? 0 : it->second;
}

TEST(ScriptedGridTest, SendsAProjectThatAProviderAccepts) {
  ScriptedGrid grid({});
  EXPECT_THAT(ParseProject(grid.work(), {}), test::Succeeds());
}

}  // namespace dnc::provider
