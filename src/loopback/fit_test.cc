// What a project file asks of the training beside epochs and batches, over real sockets:
// classes and columns that count more, and an end before the last epoch, with the server
// broken off on the way.

#include "loopback/loopback.h"
#include "model/h5.h"
#include "server/database.h"
#include "testing/testing.h"

namespace dnc::loopback {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kWeightCount = 15;

class FitTest : public ::testing::Test {
 protected:
  FitTest() {
    server_ = std::make_unique<TestServer>(folder_ / "state",
                                           server::ServerOptions{.snapshot_every_events = 5});
    user_ = MakeUser(server_->url(), "ada");
    provider_ = MakeProvider(user_.get(), "kitchen");
    project_.spec.fit.epochs = 9;
  }

  void Begin() {
    const Result<ProjectId> id = Submit(user_.get(), project_);
    ASSERT_THAT(id, Succeeds());
    id_ = *id;
  }
  proto::ProjectStatus Status() {
    Result<proto::ProjectStatus> status = user_->GetProject(id_);
    EXPECT_THAT(status, Succeeds());
    return status.ok() ? *status : proto::ProjectStatus{};
  }
  void Break() {
    server_->Kill();
    server_->Restart();
  }
  // Breaks the server off between all calls of every `break_every`th task; 0: never.
  void Work(int break_every = 0) {
    for (int i = 0; Status().summary.phase == proto::Phase::kRunning; ++i) {
      ASSERT_LT(i, 200) << "the project does not end";
      const bool breaks = break_every > 0 && i % break_every == 0;
      Result<std::optional<proto::LeaseGrant>> grant =
          provider_->RequestLease(Duration::Milliseconds(200));
      ASSERT_THAT(grant, Succeeds());
      if (!*grant) continue;
      if (breaks) Break();
      ASSERT_THAT(DoTask(provider_.get(), **grant, kWeightCount), Succeeds());
      if (breaks) Break();
    }
  }
  std::vector<float> DownloadWeights() {
    std::string bytes;
    EXPECT_THAT(user_->DownloadModel(id_,
                                     [&](ByteSpan part) -> dnc::Status {
                                       bytes += AsText(part);
                                       return {};
                                     }),
                Succeeds());
    const std::string path = folder_ / "model.h5";
    EXPECT_THAT(WriteFileAtomically(path, AsBytes(bytes)), Succeeds());
    Result<model::TrainedModel> trained = model::LoadH5(path);
    EXPECT_THAT(trained, Succeeds());
    return trained.ok() ? trained->weights : std::vector<float>();
  }
  std::vector<float> WeightsAfter(std::uint32_t epochs) const {
    TinyProject project = project_;
    project.spec.fit.epochs = epochs;
    return ExpectedWeights(project);
  }
  std::vector<std::string> OtherObjects() {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(folder_ / "state/objects")) {
      const std::string name = file.path().filename().string();
      if (!project_.shards.contains(name)) names.push_back(name);
    }
    return names;
  }

  test::TemporaryFolder folder_;
  TinyProject project_ = MakeTinyProject();
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<client::Client> user_;
  std::unique_ptr<client::Client> provider_;
  ProjectId id_;
};

// The loss of this room's provider is always the same: the first epoch is the best.

TEST_F(FitTest, StopsEarlyAndHandsOutTheBestEpochWheneverTheServerIsBrokenOff) {
  project_.spec.fit.early_stopping = {.patience = 2, .restore_best = true};
  for (const int break_every : {0, 1, 2}) {
    SCOPED_TRACE(break_every);
    Begin();
    EXPECT_EQ(Status().stopping->best_epoch, 0u);
    Work(break_every);
    const proto::ProjectStatus status = Status();
    EXPECT_EQ(status.summary.phase, proto::Phase::kFinished);
    EXPECT_EQ(status.summary.version, 6u);
    EXPECT_EQ(status.summary.steps_total, 18u);
    EXPECT_EQ(status.evaluations.size(), 3u);
    EXPECT_EQ(status.fit.early_stopping->monitor, Monitor::kValidationLoss);
    ASSERT_TRUE(status.stopping);
    EXPECT_TRUE(status.stopping->stopped_early);
    EXPECT_EQ(status.stopping->epochs, 3u);
    EXPECT_EQ(status.stopping->best_epoch, 1u);
    EXPECT_EQ(status.stopping->model_version, 2u);
    EXPECT_EQ(DownloadWeights(), WeightsAfter(1));
    Break();
    EXPECT_EQ(DownloadWeights(), WeightsAfter(1));
    EXPECT_TRUE(Status().stopping->stopped_early);
    EXPECT_THAT(OtherObjects(), ::testing::Contains("weights-" + std::to_string(id_.value) + "-2"));
    EXPECT_THAT(OtherObjects(), ::testing::SizeIs(id_.value)) << "more than one of each project";
  }
}

TEST_F(FitTest, WithoutRestoreBestTheModelIsThatOfTheLastEpoch) {
  project_.spec.fit.early_stopping = {.patience = 1, .monitor = Monitor::kAccuracy};
  Begin();
  Work();
  EXPECT_EQ(Status().summary.version, 4u);
  EXPECT_EQ(Status().stopping->model_version, 4u);
  EXPECT_EQ(Status().evaluations.size(), 2u);
  EXPECT_EQ(DownloadWeights(), WeightsAfter(2));
}

TEST_F(FitTest, ACancelledProjectHandsOutItsBestEpoch) {
  project_.spec.fit.early_stopping = {.patience = 8, .restore_best = true};
  Begin();
  while (Status().summary.version < 5) {
    Result<std::optional<proto::LeaseGrant>> grant =
        provider_->RequestLease(Duration::Milliseconds(200));
    ASSERT_THAT(grant, Succeeds());
    if (!*grant) continue;
    ASSERT_THAT(DoTask(provider_.get(), **grant, kWeightCount), Succeeds());
  }
  EXPECT_EQ(DownloadWeights(), WeightsAfter(1));
  ASSERT_THAT(user_->CancelProject(id_), Succeeds());
  EXPECT_EQ(DownloadWeights(), WeightsAfter(1));
  EXPECT_FALSE(Status().stopping->stopped_early);
}

TEST_F(FitTest, ProvidersGetTheWeightsAsTheyWereWrittenAlsoFromARestartedServer) {
  project_.spec.fit.class_weight = {{"2", 0.1}, {"0", 3}};
  project_.spec.fit.sample_weight = "y";
  Begin();
  ASSERT_THAT(provider_->RequestLease(Duration::Seconds(5)), Succeeds());
  for (int i = 0; i < 2; ++i) {
    const auto work = provider_->GetWork(id_);
    ASSERT_THAT(work, Succeeds());
    EXPECT_EQ(work->fit.class_weight, project_.spec.fit.class_weight);
    EXPECT_EQ(work->fit.sample_weight, "y");
    EXPECT_FALSE(Status().stopping);
    Break();
  }
}

TEST_F(FitTest, AProjectOfAnEarlierDatabaseGoesOn) {
  project_.spec.fit.epochs = 2;
  project_.spec.fit.batch_size = 5;
  project_.spec.fit.validation_split = "";
  project_.spec.fit.validation_split_stated = true;
  Begin();
  server_->Kill();
  {
    auto database = server::Database::OpenWriter(folder_ / "state/dnc.sqlite");
    ASSERT_THAT(database, Succeeds());
    ASSERT_THAT((*database)->Run("ALTER TABLE projects DROP COLUMN fit"), Succeeds());
    ASSERT_THAT((*database)->Run("PRAGMA user_version = 1"), Succeeds());
  }
  server_->Restart();
  EXPECT_EQ(Status().fit, project_.spec.fit);
  Work();
  EXPECT_EQ(DownloadWeights(), ExpectedWeights(project_));
  Break();
  EXPECT_EQ(Status().fit, project_.spec.fit);
}

TEST_F(FitTest, RefusesWhatTheDataOrTheModelDoNotHave) {
  const auto refuses = [&](const auto& change, const char* key, const char* says) {
    TinyProject project = project_;
    change(&project);
    EXPECT_THAT(Submit(user_.get(), project),
                FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr(key), HasSubstr(says))));
  };
  const auto class_weight = [](const std::string& label, double weight) {
    return [=](TinyProject* project) { project->spec.fit.class_weight = {{label, weight}}; };
  };
  refuses(class_weight("3", 1), "fit.class_weight", "\"3\" is no class; there are 0, 1, 2");
  refuses(class_weight("shirt", 1), "fit.class_weight", "\"shirt\" is no class");
  refuses(class_weight("1", -1), "fit.class_weight", "not below 0");
  const auto column = [](const std::string& name) {
    return [=](TinyProject* project) { project->spec.fit.sample_weight = name; };
  };
  refuses(column("w"), "fit.sample_weight", "there is no column \"w\" of weights; there are x, y");
  refuses(column("x"), "fit.sample_weight", "one number a sample");
  const auto uncounted = [](TinyProject* project) {
    project->manifest.splits[0].statistics[1].class_counts.clear();
    project->spec.manifest_json = shard::FormatManifest(project->manifest);
    project->spec.fit.class_weight_balanced = true;
  };
  refuses(uncounted, "fit.class_weight", "not counted");
  const auto unvalidated = [](TinyProject* project) {
    project->spec.fit.validation_split = "";
    project->spec.fit.validation_split_stated = true;
    project->spec.fit.early_stopping = {.monitor = Monitor::kValidationLoss};
  };
  refuses(unvalidated, "fit.early_stopping.monitor", "there is no validation split");
  const auto unmeasured = [](TinyProject* project) {
    std::string& json = project->spec.model_json;
    json.replace(json.find("\"accuracy\""), 10, "");
    project->spec.fit.early_stopping = {.monitor = Monitor::kAccuracy};
  };
  refuses(unmeasured, "fit.early_stopping.monitor", "no accuracy");
  EXPECT_TRUE(user_->ListProjects()->projects.empty());

  // Without a validation the loss of the training is watched.
  unvalidated(&project_);
  project_.spec.fit.early_stopping->monitor.reset();
  Begin();
  EXPECT_EQ(Status().fit.early_stopping->monitor, Monitor::kLoss);
}

}  // namespace
}  // namespace dnc::loopback
