// Whole projects over real sockets, by providers whose updates are known, with the
// server broken off and started again at every point that the tests can reach.

#include <thread>

#include "loopback/loopback.h"
#include "model/h5.h"
#include "testing/testing.h"
#include "update/update.h"

namespace dnc::loopback {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::uint64_t kWeightCount = 15;

class GridTest : public ::testing::Test {
 protected:
  // A server with a project, its owner and a provider.
  void Begin(server::ServerOptions options = {}) {
    server_ = std::make_unique<TestServer>(folder_ / "state", options);
    user_ = MakeUser(server_->url(), "ada");
    provider_ = MakeProvider(user_.get(), "kitchen");
    const Result<ProjectId> id = Submit(user_.get(), project_);
    ASSERT_THAT(id, Succeeds());
    id_ = *id;
  }

  proto::ProjectStatus Status() {
    Result<proto::ProjectStatus> status = user_->GetProject(id_);
    EXPECT_THAT(status, Succeeds());
    return status.ok() ? *status : proto::ProjectStatus{};
  }

  // The next lease; the fold of a step may have to end first.
  proto::LeaseGrant Lease(client::Client* provider) {
    Result<std::optional<proto::LeaseGrant>> grant = provider->RequestLease(Duration::Seconds(5));
    EXPECT_THAT(grant, Succeeds());
    EXPECT_TRUE(grant.ok() && grant->has_value());
    return grant.ok() && *grant ? **grant : proto::LeaseGrant{};
  }

  void WorkUntilFinished() {
    while (Status().summary.phase == proto::Phase::kRunning) {
      Result<std::optional<proto::LeaseGrant>> grant =
          provider_->RequestLease(Duration::Milliseconds(200));
      ASSERT_THAT(grant, Succeeds());
      if (!*grant) continue;
      const auto answer = DoTask(provider_.get(), **grant, kWeightCount);
      ASSERT_THAT(answer, Succeeds());
      ASSERT_TRUE(answer->accepted) << answer->reason;
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

  // Names of objects beside the shards.
  std::vector<std::string> OtherObjects() {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(folder_ / "state/objects")) {
      const std::string name = file.path().filename().string();
      if (!project_.shards.contains(name)) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  test::TemporaryFolder folder_;
  TinyProject project_ = MakeTinyProject();
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<client::Client> user_;
  std::unique_ptr<client::Client> provider_;
  ProjectId id_;
};

TEST_F(GridTest, AProjectRunsToItsEndWithTheWeightsOfItsDefinition) {
  Begin();
  EXPECT_EQ(DownloadWeights(), model::InitialWeights(project_.model, 7));
  WorkUntilFinished();
  const proto::ProjectStatus status = Status();
  EXPECT_EQ(status.summary.phase, proto::Phase::kFinished);
  EXPECT_EQ(status.summary.version, 4u);
  EXPECT_EQ(status.summary.tasks_done, 6u);
  EXPECT_GT(status.summary.ended_us, status.summary.submitted_us);
  ASSERT_TRUE(status.has_last_step);
  EXPECT_EQ(status.last_step.step, 3u);
  EXPECT_EQ(status.last_step.samples, 20u);
  EXPECT_DOUBLE_EQ(status.last_step.loss, 0.5);
  EXPECT_DOUBLE_EQ(status.last_step.accuracy, 0.5);
  ASSERT_EQ(status.evaluations.size(), 2u);
  EXPECT_EQ(status.evaluations[0].version, 2u);
  EXPECT_EQ(status.evaluations[1].epochs, 2u);
  EXPECT_EQ(status.evaluations[1].samples, 12u);
  ASSERT_EQ(status.providers.size(), 1u);
  EXPECT_EQ(status.providers[0].name, "kitchen");
  EXPECT_EQ(status.providers[0].tasks_accepted, 8u);
  EXPECT_GT(status.providers[0].bytes_in, 0u);
  EXPECT_GT(status.providers[0].bytes_out, 0u);
  EXPECT_EQ(DownloadWeights(), ExpectedWeights(project_));
}

TEST_F(GridTest, NothingIsLeftOfAFinishedProjectButItsNewestWeights) {
  Begin();
  WorkUntilFinished();
  // Deletions come a moment after the event that allows them.
  for (int i = 0; i < 200 && OtherObjects().size() > 1; ++i) ::usleep(10'000);
  EXPECT_THAT(OtherObjects(), ::testing::ElementsAre("weights-1-4"));
  EXPECT_THAT(user_->CancelProject(id_), FailsWith(ErrorCode::kStale, HasSubstr("finished")));
}

TEST_F(GridTest, TheModelOfTheLastClosedStepComesAtAnyTime) {
  Begin();
  std::uint64_t version = 0;
  while (version < 2) {
    const proto::LeaseGrant grant = Lease(provider_.get());
    version = grant.task.version;
    if (version == 2) break;
    ASSERT_THAT(DoTask(provider_.get(), grant, kWeightCount), Succeeds());
  }
  TinyProject one_epoch = project_;
  one_epoch.spec.fit.epochs = 1;
  EXPECT_EQ(DownloadWeights(), ExpectedWeights(one_epoch));
}

TEST_F(GridTest, AServerBrokenOffAnywhereGoesOnToTheSameWeights) {
  const std::vector<float> expected = ExpectedWeights(project_);
  Begin({.snapshot_every_events = 5});
  // Broken off before, between and after the calls of each task.
  for (int point = 0; Status().summary.phase == proto::Phase::kRunning; ++point) {
    ASSERT_LT(point, 100) << "the project does not end";
    if (point % 4 == 0) {
      server_->Kill();
      server_->Restart();
    }
    Result<std::optional<proto::LeaseGrant>> grant =
        provider_->RequestLease(Duration::Milliseconds(200));
    ASSERT_THAT(grant, Succeeds());
    if (!*grant) continue;
    if (point % 4 == 1) {
      server_->Kill();
      server_->Restart();
    }
    const auto answer = DoTask(provider_.get(), **grant, kWeightCount);
    ASSERT_THAT(answer, Succeeds());
    ASSERT_TRUE(answer->accepted) << answer->reason;
    if (point % 4 == 2) {
      server_->Kill();  // Perhaps in the middle of the fold.
      server_->Restart();
    }
    if (point % 4 == 3) {
      server_->server().Stop();
      server_->Kill();
      server_->Restart();
    }
  }
  EXPECT_EQ(Status().summary.phase, proto::Phase::kFinished);
  EXPECT_EQ(DownloadWeights(), expected);
  server_->Kill();
  server_->Restart();
  EXPECT_EQ(DownloadWeights(), expected);
  EXPECT_THAT(OtherObjects(), ::testing::ElementsAre("weights-1-4"));
}

TEST_F(GridTest, WhatACrashLeavesInTheStoreIsRemovedAtTheNextStart) {
  Begin();
  const proto::LeaseGrant grant = Lease(provider_.get());
  ASSERT_THAT(DoTask(provider_.get(), grant, kWeightCount), Succeeds());
  const std::vector<std::string> sound = OtherObjects();
  EXPECT_EQ(sound.size(), 2u);  // One update, one version.
  server_->Kill();
  const std::string objects = folder_ / "state/objects";
  for (const std::string& name :
       {std::string("weights-1-1"), std::string("weights-9-0"), "update-1-77-" + Sha256({}).Hex(),
        "update-9-1-" + Sha256({}).Hex()}) {
    ASSERT_THAT(WriteFileAtomically(objects + "/" + name, AsBytes("left over")), Succeeds());
  }
  server_->Restart();
  EXPECT_EQ(OtherObjects(), sound);
  WorkUntilFinished();
  EXPECT_EQ(DownloadWeights(), ExpectedWeights(project_));
}

TEST_F(GridTest, TwoProvidersAtOnceMakeTheSameWeights) {
  Begin();
  const auto second = MakeProvider(user_.get(), "attic");
  std::atomic<bool> done = false;
  const auto work = [&](client::Client* provider) {
    while (!done) {
      const auto grant = provider->RequestLease(Duration::Milliseconds(100));
      if (!grant.ok() || !*grant) continue;
      static_cast<void>(DoTask(provider, **grant, kWeightCount));
    }
  };
  std::thread first_thread(work, provider_.get());
  std::thread second_thread(work, second.get());
  for (int i = 0; i < 3000 && Status().summary.phase == proto::Phase::kRunning; ++i) {
    ::usleep(10'000);
  }
  done = true;
  first_thread.join();
  second_thread.join();
  EXPECT_EQ(Status().summary.phase, proto::Phase::kFinished);
  EXPECT_EQ(DownloadWeights(), ExpectedWeights(project_));
}

TEST_F(GridTest, AResultSentAgainIsAcceptedAgainAndCountsOnce) {
  Begin();
  const proto::LeaseGrant grant = Lease(provider_.get());
  const Bytes update = update::Encode(UpdateOf(grant.task, kWeightCount));
  for (int i = 0; i < 3; ++i) {
    const auto answer = provider_->SubmitResult(grant.lease_id, MetricsOf(grant.task), update);
    ASSERT_THAT(answer, Succeeds());
    EXPECT_TRUE(answer->accepted) << answer->reason;
    EXPECT_EQ(Status().summary.tasks_done, 1u);
    if (i == 1) {  // Also by a server that was started again.
      server_->Kill();
      server_->Restart();
    }
  }
  const Bytes other = update::Encode(std::vector<float>(kWeightCount, 1.0f));
  const auto answer = provider_->SubmitResult(grant.lease_id, MetricsOf(grant.task), other);
  ASSERT_THAT(answer, Succeeds());
  EXPECT_FALSE(answer->accepted);
  EXPECT_THAT(answer->reason, HasSubstr("another result"));
  WorkUntilFinished();
  EXPECT_EQ(DownloadWeights(), ExpectedWeights(project_));
}

TEST_F(GridTest, ALeaseThatIsNotHeldIsRefusedWithAReason) {
  Begin();
  const auto thief = MakeProvider(user_.get(), "thief");
  const proto::LeaseGrant grant = Lease(provider_.get());
  const Bytes update = update::Encode(UpdateOf(grant.task, kWeightCount));
  for (const LeaseId lease : {grant.lease_id, LeaseId{999}}) {
    const auto answer = thief->SubmitResult(lease, MetricsOf(grant.task), update);
    ASSERT_THAT(answer, Succeeds());
    EXPECT_FALSE(answer->accepted);
    EXPECT_NE(answer->reason, "");
    EXPECT_FALSE(thief->RenewLease(lease, 1)->accepted);
    EXPECT_FALSE(thief->ReleaseLease(lease, {})->accepted);
  }
  EXPECT_EQ(Status().summary.tasks_done, 0u);
  EXPECT_EQ(OtherObjects().size(), 1u);
}

TEST_F(GridTest, AnExpiredLeaseIsRefusedAndItsTaskGoesToAnother) {
  Begin({.lease_silence_max = Duration::Seconds(1)});
  const auto second = MakeProvider(user_.get(), "attic");
  const proto::LeaseGrant lost = Lease(provider_.get());
  EXPECT_LE(lost.deadline_ms, 1000);
  EXPECT_LE(lost.renew_every_ms, 500);
  const auto renewed = provider_->RenewLease(lost.lease_id, 1);
  ASSERT_THAT(renewed, Succeeds());
  EXPECT_TRUE(renewed->accepted) << renewed->reason;
  // Nobody calls: the deadline fires by timer.
  while (Status().tasks_leased > 0) ::usleep(20'000);
  const auto answer = DoTask(provider_.get(), lost, kWeightCount);
  ASSERT_THAT(answer, Succeeds());
  EXPECT_FALSE(answer->accepted);
  EXPECT_THAT(answer->reason, HasSubstr("expired"));
  EXPECT_EQ(Lease(second.get()).task, lost.task);
}

TEST_F(GridTest, BadResultsAreRefusedBeforeTheyCount) {
  Begin({.failure_backoff = Duration::Milliseconds(1)});
  const auto expect_refused = [&](auto code, const char* message, auto change) {
    const proto::LeaseGrant grant = Lease(provider_.get());
    std::vector<float> values = UpdateOf(grant.task, kWeightCount);
    Bytes body = update::Encode(values);
    change(&values, &body);
    EXPECT_THAT(provider_->SubmitResult(grant.lease_id, MetricsOf(grant.task), body),
                FailsWith(code, HasSubstr(message)));
  };
  using Values = std::vector<float>;
  expect_refused(ErrorCode::kInvalidArgument, "not finite", [](Values* values, Bytes* body) {
    (*values)[3] = std::numeric_limits<float>::quiet_NaN();
    *body = update::Encode(*values);
  });
  expect_refused(ErrorCode::kInvalidArgument, "14", [](Values* values, Bytes* body) {
    values->pop_back();
    *body = update::Encode(*values);
  });
  expect_refused(ErrorCode::kCorrupt, "",
                 [](Values*, Bytes* body) { (*body)[body->size() / 2] ^= std::byte{1}; });
  expect_refused(ErrorCode::kCorrupt, "", [](Values*, Bytes* body) { body->clear(); });
  expect_refused(ErrorCode::kTooLarge, "limit", [](Values*, Bytes* body) {
    body->resize(update::EncodedBytesMax(kWeightCount) + 1);
  });
  EXPECT_EQ(Status().summary.tasks_done, 0u);
  for (int i = 0; i < 200 && OtherObjects().size() > 1; ++i) ::usleep(10'000);
  EXPECT_THAT(OtherObjects(), ::testing::ElementsAre("weights-1-0"));
  WorkUntilFinished();
  EXPECT_EQ(DownloadWeights(), ExpectedWeights(project_));
}

TEST_F(GridTest, AResultOfTheWrongNumberOfSamplesIsRefused) {
  Begin({.failure_backoff = Duration::Milliseconds(1)});
  const proto::LeaseGrant grant = Lease(provider_.get());
  proto::ResultMetrics metrics = MetricsOf(grant.task);
  ++metrics.samples;
  const auto answer = provider_->SubmitResult(grant.lease_id, metrics,
                                              update::Encode(UpdateOf(grant.task, kWeightCount)));
  ASSERT_THAT(answer, Succeeds());
  EXPECT_FALSE(answer->accepted);
  EXPECT_THAT(answer->reason, HasSubstr("samples"));
}

TEST_F(GridTest, AProviderReadsWhatItsLeaseNeedsAndNothingElse) {
  Begin();
  const auto stranger = MakeProvider(user_.get(), "stranger");
  const std::string& cid = project_.shards.begin()->first;
  const auto missing = FailsWith(ErrorCode::kNotFound);
  EXPECT_THAT(stranger->GetWork(id_), missing);
  EXPECT_THAT(stranger->GetWeights(id_, 0, 1 << 20), missing);
  EXPECT_THAT(stranger->ObjectSize(cid), missing);

  const proto::LeaseGrant grant = Lease(provider_.get());
  const Result<proto::ProjectWork> work = provider_->GetWork(id_);
  ASSERT_THAT(work, Succeeds());
  EXPECT_EQ(work->weight_count, kWeightCount);
  EXPECT_EQ(work->fit.seed, 7u);
  EXPECT_EQ(work->fit.validation_split, "validation");
  EXPECT_EQ(work->grid, project_.spec.grid);
  const auto manifest = shard::ParseManifest(work->manifest_json, "manifest");
  ASSERT_THAT(manifest, Succeeds());
  EXPECT_EQ(shard::FormatManifest(*manifest), project_.spec.manifest_json);
  EXPECT_THAT(model::ParseModel(work->model_json, "model"), Succeeds());
  EXPECT_EQ(*provider_->ObjectSize(cid), project_.shards.begin()->second.size());
  Bytes part(10);
  EXPECT_THAT(provider_->GetObjectRange(cid, 5, part), Succeeds());
  EXPECT_THAT(provider_->GetWeights(id_, 1, 1 << 20),
              FailsWith(ErrorCode::kNotFound, HasSubstr("yet")));
  EXPECT_THAT(provider_->GetWeights(id_, 0, 10), FailsWith(ErrorCode::kTooLarge));
  const Result<Bytes> weights = provider_->GetWeights(id_, 0, 1 << 20);
  ASSERT_THAT(weights, Succeeds());
  EXPECT_EQ(*update::Decode(*weights, kWeightCount), model::InitialWeights(project_.model, 7));
  static_cast<void>(grant);
}

TEST_F(GridTest, OldVersionsAreGoneAndSaySo) {
  Begin();
  proto::LeaseGrant grant;
  do {
    grant = Lease(provider_.get());
    if (grant.task.version == 3) break;
    ASSERT_THAT(DoTask(provider_.get(), grant, kWeightCount), Succeeds());
  } while (true);
  EXPECT_THAT(provider_->GetWeights(id_, 0, 1 << 20),
              FailsWith(ErrorCode::kStale, HasSubstr("no longer kept")));
  EXPECT_THAT(provider_->GetWeights(id_, 2, 1 << 20), Succeeds());
}

TEST_F(GridTest, APollWaitsForWorkAndIsAnsweredWhenThereIsSome) {
  Begin();
  ASSERT_THAT(user_->PauseProject(id_), Succeeds());
  EXPECT_EQ(Status().summary.phase, proto::Phase::kPaused);
  const Result<std::optional<proto::LeaseGrant>> none =
      provider_->RequestLease(Duration::Milliseconds(50));
  ASSERT_THAT(none, Succeeds());
  EXPECT_FALSE(none->has_value());
  std::thread resume([&] {
    while (user_->GetServerStatus()->providers_waiting == 0) ::usleep(1000);
    EXPECT_THAT(user_->ResumeProject(id_), Succeeds());
  });
  EXPECT_EQ(Lease(provider_.get()).project_id, id_);
  resume.join();
}

TEST_F(GridTest, AProviderThatGoesWhileItWaitsIsForgotten) {
  Begin();
  ASSERT_THAT(user_->PauseProject(id_), Succeeds());
  std::atomic<bool> cancelled = false;
  client::ClientOptions options;
  options.base_url = server_->url();
  options.token = user_->CreateProvider({"p", 1, 0})->token;
  options.cancelled = &cancelled;
  const auto impatient = client::Client::Create(options);
  std::thread poll([&] {
    EXPECT_THAT((*impatient)->RequestLease(Duration::Seconds(30)),
                FailsWith(ErrorCode::kCancelled));
  });
  while (user_->GetServerStatus()->providers_waiting == 0) ::usleep(1000);
  cancelled = true;
  poll.join();
  for (int i = 0; i < 200 && user_->GetServerStatus()->providers_waiting > 0; ++i) ::usleep(5000);
  EXPECT_EQ(user_->GetServerStatus()->providers_waiting, 0u);
  ASSERT_THAT(user_->ResumeProject(id_), Succeeds());
  EXPECT_EQ(Status().tasks_leased, 0u);
}

TEST_F(GridTest, ACancelledProjectTakesNoMoreResultsButKeepsItsModel) {
  Begin();
  const proto::LeaseGrant grant = Lease(provider_.get());
  ASSERT_THAT(user_->CancelProject(id_), Succeeds());
  const auto answer = DoTask(provider_.get(), grant, kWeightCount);
  ASSERT_THAT(answer, Succeeds());
  EXPECT_FALSE(answer->accepted);
  EXPECT_THAT(answer->reason, HasSubstr("over"));
  EXPECT_THAT(user_->PauseProject(id_), FailsWith(ErrorCode::kStale, HasSubstr("cancelled")));
  EXPECT_THAT(DownloadWeights(), ::testing::SizeIs(kWeightCount));
  EXPECT_EQ(Status().summary.phase, proto::Phase::kCancelled);
}

TEST_F(GridTest, AReleasedTaskIsFreeAtOnceAndFailuresEndTheProject) {
  Begin({.failure_backoff = Duration::Milliseconds(1)});
  const proto::LeaseGrant first = Lease(provider_.get());
  EXPECT_TRUE(provider_->ReleaseLease(first.lease_id, {false, "stopped"})->accepted);
  const proto::LeaseGrant again = Lease(provider_.get());
  EXPECT_EQ(again.task, first.task);
  EXPECT_NE(again.lease_id, first.lease_id);
  EXPECT_TRUE(provider_->ReleaseLease(again.lease_id, {true, "out of memory"})->accepted);
  while (Status().summary.phase == proto::Phase::kRunning) {
    const proto::LeaseGrant grant = Lease(provider_.get());
    ASSERT_THAT(provider_->ReleaseLease(grant.lease_id, {true, "out of memory"}), Succeeds());
  }
  EXPECT_EQ(Status().summary.phase, proto::Phase::kFailed);
  EXPECT_THAT(Status().failure, AllOf(HasSubstr("task 0"), HasSubstr("out of memory")));
}

TEST_F(GridTest, StopAnswersTheProvidersThatWait) {
  Begin();
  ASSERT_THAT(user_->PauseProject(id_), Succeeds());
  std::thread poll([&] {
    const auto grant = provider_->RequestLease(Duration::Seconds(30));
    ASSERT_THAT(grant, Succeeds());
    EXPECT_FALSE(grant->has_value());
  });
  while (user_->GetServerStatus()->providers_waiting == 0) ::usleep(1000);
  server_->server().Stop();
  poll.join();
  server_->server().Stop();  // Again: no harm.
  EXPECT_THAT(server_->server().Wait(), Succeeds());
}

TEST_F(GridTest, ADamagedUpdateInTheStoreHoldsTheFoldUpAndSaysSo) {
  Begin();
  const proto::LeaseGrant grant = Lease(provider_.get());
  ASSERT_THAT(DoTask(provider_.get(), grant, kWeightCount), Succeeds());
  std::string path;
  for (const std::string& name : OtherObjects()) {
    if (name.starts_with("update-")) path = folder_ / ("state/objects/" + name);
  }
  const std::string sound = *ReadFile(path, 1 << 20);
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  std::string damaged = sound;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  ASSERT_THAT(WriteFileAtomically(path, AsBytes(damaged)), Succeeds());
  ASSERT_THAT(DoTask(provider_.get(), Lease(provider_.get()), kWeightCount), Succeeds());
  for (int i = 0; i < 200 && Status().failure.empty(); ++i) ::usleep(10'000);
  EXPECT_THAT(Status().failure, AllOf(HasSubstr("update-1-"), HasSubstr("changed")));
  // Once it is mended, the project goes on.
  ASSERT_THAT(WriteFileAtomically(path, AsBytes(sound)), Succeeds());
  server_->Kill();
  server_->Restart();
  WorkUntilFinished();
  EXPECT_EQ(DownloadWeights(), ExpectedWeights(project_));
}

}  // namespace
}  // namespace dnc::loopback
