#include "loopback/loopback.h"

#include <algorithm>
#include <cstdio>

#include "aggregate/aggregate.h"
#include "shard/content_id.h"
#include "update/update.h"

namespace dnc::loopback {
namespace {

// What has to work before a test can begin.
void Require(const Status& status) {
  if (!status.ok()) std::fprintf(stderr, "loopback: %s\n", status.error().message.c_str());
  DNC_ASSERT(status.ok());
}

constexpr char kModel[] = R"({
  "class_name": "Sequential",
  "config": {"name": "tiny", "layers": [
    {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 4], "name": "input"}},
    {"class_name": "Dense", "config": {"name": "classes", "units": 3, "activation": "softmax"}}]},
  "compile": {"optimizer": {"class_name": "SGD", "config": {"learning_rate": 0.1}},
              "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}})";

// A shard that nobody decodes here: the server sees only bytes and their name.
shard::ShardInfo AddShard(const std::string& split, std::uint64_t samples, std::size_t size,
                          std::map<std::string, std::string>* shards) {
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) {
    bytes += static_cast<char>((i * 31 + samples * 7 + (i >> 8)) & 0xff);
  }
  shard::ContentHasher hasher;
  hasher.Update(AsBytes(bytes));
  const shard::ContentHasher::Identity identity = hasher.Finish();
  shard::ShardInfo info;
  info.cid = identity.cid;
  info.split = split;
  info.bytes = identity.bytes;
  info.samples = samples;
  info.block_samples = static_cast<std::uint32_t>(samples);
  info.leaves = identity.leaves;
  (*shards)[info.cid] = std::move(bytes);
  return info;
}

shard::SplitInfo MakeSplit(const std::string& name, std::uint64_t samples) {
  shard::ColumnStatistics x;
  x.count = samples * 4;
  shard::ColumnStatistics y;
  y.count = samples;
  y.max = 2;
  for (std::int64_t c = 0; c < 3; ++c) y.class_counts[c] = samples / 3;
  return {name, samples, {x, y}};
}

}  // namespace

TestServer::TestServer(const std::string& state_dir, server::ServerOptions options)
    : options_(std::move(options)) {
  options_.state_dir = state_dir;
  options_.listen_port = 0;
  options_.log_to_stderr = false;
  Restart();
  options_.listen_port = server_->port();
  url_ = server_->url();
}

void TestServer::Restart() {
  Result<std::unique_ptr<server::Server>> server = server::Server::Start(options_);
  Require(server.status());
  server_ = std::move(*server);
}

std::unique_ptr<client::Client> MakeClient(const std::string& url, const std::string& token) {
  client::ClientOptions options;
  options.base_url = url;
  options.token = token;
  options.retry.wait_first = Duration::Milliseconds(20);
  options.retry.wait_max = Duration::Milliseconds(100);
  options.retry.give_up_after = Duration::Seconds(20);
  Result<std::unique_ptr<client::Client>> client = client::Client::Create(options);
  Require(client.status());
  return std::move(*client);
}

std::unique_ptr<client::Client> MakeUser(const std::string& url, const std::string& name) {
  std::unique_ptr<client::Client> user = MakeClient(url);
  const proto::Credentials credentials{name, "correct horse"};
  Require(user->CreateAccount(credentials));
  const Result<proto::SessionCreated> session = user->CreateSession(credentials);
  Require(session.status());
  user->SetToken(session->token);
  return user;
}

std::unique_ptr<client::Client> MakeProvider(client::Client* user, const std::string& name) {
  const Result<proto::ProviderCreated> created = user->CreateProvider({name, 1, 1u << 30});
  Require(created.status());
  return MakeClient(user->base_url(), created->token);
}

TinyProject MakeTinyProject() {
  TinyProject project;
  shard::Manifest& manifest = project.manifest;
  manifest.name = "tiny";
  manifest.columns = {{"x", array::DType::kFloat32, {4}, {}}, {"y", array::DType::kUint8, {}, {}}};
  manifest.splits = {MakeSplit("train", 60), MakeSplit("validation", 12)};
  // One of them has several leaves of 1 MiB.
  manifest.shards = {AddShard("train", 40, 1000, &project.shards),
                     AddShard("train", 20, (2u << 20) + 12'345, &project.shards),
                     AddShard("validation", 12, 500, &project.shards)};
  Result<model::Model> parsed = model::ParseModel(kModel, "tiny model");
  Require(parsed.status());
  project.model = std::move(*parsed);
  proto::ProjectSpec& spec = project.spec;
  spec.name = "tiny";
  spec.description = "for tests";
  spec.fit.epochs = 2;
  spec.fit.seed = 7;
  spec.grid.total_tasks = 3;
  spec.grid.task_size = 2;
  spec.model_json = kModel;
  spec.manifest_json = shard::FormatManifest(manifest);
  return project;
}

Status Upload(client::Client* user, const std::string& cid, const std::string& bytes) {
  return user->PutObject(
      cid, bytes.size(),
      [&](std::uint64_t offset, std::span<std::byte> out) -> Result<std::size_t> {
        const std::size_t size = std::min(out.size(), bytes.size() - offset);
        std::copy_n(AsBytes(bytes).begin() + static_cast<std::ptrdiff_t>(offset), size,
                    out.begin());
        return size;
      });
}

Result<ProjectId> Submit(client::Client* user, const TinyProject& project) {
  for (const auto& [cid, bytes] : project.shards) DNC_TRY(Upload(user, cid, bytes));
  return user->SubmitProject(project.spec);
}

std::vector<float> UpdateOf(const proto::TaskInfo& task, std::uint64_t weight_count) {
  std::vector<float> update(weight_count);
  for (std::uint64_t i = 0; i < weight_count; ++i) {
    const std::uint64_t mixed = (i * 7 + task.task_index * 13 + task.version * 29) % 101;
    update[i] = (static_cast<float>(mixed) - 50.0f) / 1000.0f;
  }
  return update;
}

proto::ResultMetrics MetricsOf(const proto::TaskInfo& task) {
  const std::uint64_t samples = task.end - task.begin;
  return {samples, static_cast<std::int64_t>(samples * 500'000), samples / 2, 1000};
}

Result<proto::LeaseAnswer> DoTask(client::Client* provider, const proto::LeaseGrant& grant,
                                  std::uint64_t weight_count) {
  DNC_ASSIGN(const Bytes weights, provider->GetWeights(grant.project_id, grant.task.version,
                                                       update::EncodedBytesMax(weight_count)));
  DNC_TRY(update::Decode(weights, weight_count));
  Bytes result;
  if (grant.task.kind == proto::TaskKind::kTrain) {
    result = update::Encode(UpdateOf(grant.task, weight_count));
  }
  return provider->SubmitResult(grant.lease_id, MetricsOf(grant.task), result);
}

std::vector<float> ExpectedWeights(const TinyProject& project) {
  const std::uint64_t samples = project.manifest.FindSplit("train")->samples;
  const std::uint32_t tasks = project.spec.grid.total_tasks;
  std::vector<float> weights = model::InitialWeights(project.model, project.spec.fit.seed);
  const std::uint64_t count = weights.size();
  std::uint64_t version = 0;
  for (std::uint32_t epoch = 0; epoch < project.spec.fit.epochs; ++epoch) {
    for (std::uint32_t first = 0; first < tasks; first += project.spec.grid.task_size) {
      aggregate::WeightedMean mean(std::move(weights));
      const std::uint32_t last = std::min(tasks, first + project.spec.grid.task_size);
      for (std::uint32_t index = first; index < last; ++index) {
        proto::TaskInfo task;
        task.version = version;
        task.task_index = index;
        const std::uint64_t begin = samples * index / tasks;
        const std::uint64_t end = samples * (index + 1) / tasks;
        DNC_ASSERT(mean.Add(update::Encode(UpdateOf(task, count)), end - begin).ok());
      }
      weights = mean.Finish();
      ++version;
    }
  }
  return weights;
}

}  // namespace dnc::loopback
