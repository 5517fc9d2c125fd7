#include "provider/daemon.h"

#include <thread>

#include "provider/scripted_grid.h"
#include "provider/trainers_for_test.h"
#include "testing/testing.h"

namespace dnc::provider {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// A provider with its own trainers and observer, run on a thread of its own.
class Running {
 public:
  explicit Running(ScriptedGrid* grid) : Running(grid, [](ProviderOptions*, ProviderParts*) {}) {}
  template <typename Change>
  Running(ScriptedGrid* grid, Change change) {
    ProviderOptions options;
    options.server_url = "http://scripted";
    options.disk_bytes = 1 << 20;
    options.work_folder = folder_.path();
    ProviderParts parts;
    parts.make_calls = [grid](const ServerCallsOptions& calls) { return grid->MakeCalls(calls); };
    parts.make_trainer = [this] { return MakeHookedTrainer(&hooks); };
    parts.agent.backoff_min = Duration::Milliseconds(2);
    parts.agent.backoff_max = Duration::Milliseconds(20);
    parts.agent.request_interval_min = Duration::Milliseconds(5);
    parts.lease_wait = Duration::Milliseconds(50);
    change(&options, &parts);
    auto made = Provider::Create(options, std::move(parts), &observer);
    EXPECT_THAT(made, test::Succeeds());
    provider_ = std::move(made).value();
  }
  ~Running() {
    if (!thread_.joinable()) return;
    provider_->Stop(false);
    thread_.join();
  }

  Running& Start() {
    thread_ = std::thread([this] { status_ = provider_->Run(); });
    return *this;
  }
  // Waits for the end of Run().
  Status Join() {
    thread_.join();
    return status_;
  }
  Status Stop(bool finish_current = false) {
    provider_->Stop(finish_current);
    return Join();
  }
  bool Says(const std::string& beginning) const {
    for (const std::string& line : observer.lines()) {
      if (line.starts_with(beginning)) return true;
    }
    return false;
  }
  Provider* operator->() { return provider_.get(); }

  TrainerHooks hooks;
  RecordingObserver observer;

 private:
  test::TemporaryFolder folder_;
  std::unique_ptr<Provider> provider_;
  Status status_;
  std::thread thread_;
};

// Holds the first batch of a trainer until its Stop() or until `release`.
struct Holder {
  std::atomic<bool> holding{false};
  std::atomic<bool> release{false};

  std::function<Status(const std::atomic<bool>&)> Hook() {
    return [this](const std::atomic<bool>& stopped) -> Status {
      holding = true;
      while (!stopped && !release) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return {};
    };
  }
};

TEST(ProviderTest, TrainsAProjectToItsEnd) {
  ScriptedGrid grid({.epochs = 3});
  Running provider(&grid);
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return grid.finished(); }));
  ASSERT_THAT(provider.Stop(), test::Succeeds());

  const auto evaluations = grid.evaluations();
  ASSERT_THAT(evaluations, SizeIs(3));
  EXPECT_EQ(evaluations[0].samples, 24u);
  EXPECT_LT(evaluations[2].loss_sum_micro, evaluations[0].loss_sum_micro / 2);
  // The project is asked for once, the weights once a version.
  EXPECT_EQ(grid.calls("GetWork"), 1);
  EXPECT_EQ(grid.calls("GetWeights"), 7);
  EXPECT_EQ(provider.hooks.started, 1);
  EXPECT_EQ(provider.hooks.configured, 1);
  // Three shards of one leaf each, kept on disk.
  EXPECT_EQ(grid.calls("GetObjectRange"), 3);
  EXPECT_THAT(grid.releases(), IsEmpty());
  const ProviderStatistics statistics = provider->statistics();
  EXPECT_EQ(statistics.tasks_accepted, 15u);
  EXPECT_EQ(statistics.samples_accepted, 3u * 96 + 3 * 24);
  EXPECT_GT(statistics.cache.hits, 0u);
}

TEST(ProviderTest, ResultsAreTheSameToTheBitWithOneProviderAndWithThree) {
  ScriptedGrid alone({.total_tasks = 12, .task_size = 6});
  Running one(&alone);
  one.Start();
  ASSERT_TRUE(alone.WaitUntil([&] { return alone.finished(); }));

  ScriptedGrid shared({.total_tasks = 12, .task_size = 6});
  Running a(&shared), b(&shared), c(&shared, [](ProviderOptions*options, ProviderParts*) {
    options->memory_bytes *= 2;
    options->disk_bytes = 0;
  });
  a.Start(), b.Start(), c.Start();
  ASSERT_TRUE(shared.WaitUntil([&] { return shared.finished(); }));
  EXPECT_EQ(shared.weights(shared.version()), alone.weights(alone.version()));
}

TEST(ProviderTest, TellsItsOwnerWhatItDoes) {
  ScriptedGrid grid({.validation_samples = 0, .epochs = 1, .total_tasks = 2, .task_size = 2});
  Running provider(&grid);
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return grid.finished(); }));
  ASSERT_THAT(provider.Stop(true), test::Succeeds());
  EXPECT_THAT(
      provider.observer.lines(),
      ElementsAre("leased task 0.0", "training task 0.0 of line", "accepted task 0.0, samples 48",
                  "leased task 0.1", "training task 0.1 of line", "accepted task 0.1, samples 48"));
}

TEST(ProviderTest, SaysThatItWaitsForWork) {
  ScriptedGrid grid({.epochs = 0});
  Running provider(&grid, [](ProviderOptions*, ProviderParts* parts) {
    parts->waiting_shown_after = Duration::Milliseconds(120);  // Some polls later.
  });
  provider.Start();
  EXPECT_TRUE(grid.WaitUntil([&] { return provider.Says("waiting"); }));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_THAT(provider.observer.lines(), ElementsAre("waiting"));
}

TEST(ProviderTest, TriesAgainWhenTheServerDoesNotAnswer) {
  ScriptedGrid grid({});
  std::atomic<int> count{0};
  grid.fault.on_call = [&](const std::string&) -> std::optional<Error> {
    if (++count % 3 != 0) return std::nullopt;
    return Error{ErrorCode::kUnavailable, "connection refused"};
  };
  Running provider(&grid);
  provider.Start();
  EXPECT_TRUE(grid.WaitUntil([&] { return grid.finished(); }));
  EXPECT_TRUE(provider.Says("retry request a lease: connection refused"));
}

TEST(ProviderTest, GivesUpWhenTheServerIsSilentForTooLong) {
  ScriptedGrid grid({});
  grid.fault.on_call = [](const std::string&) -> std::optional<Error> {
    return Error{ErrorCode::kUnavailable, "connection refused"};
  };
  Running provider(&grid, [](ProviderOptions*, ProviderParts* parts) {
    parts->agent.give_up_after = Duration::Milliseconds(30);
  });
  EXPECT_THAT(provider.Start().Join(),
              test::FailsWith(ErrorCode::kUnavailable, HasSubstr("connection refused")));
}

TEST(ProviderTest, EndsWhenItsTokenIsRefused) {
  ScriptedGrid grid({});
  grid.fault.on_call = [](const std::string& call) -> std::optional<Error> {
    if (call != "GetWeights") return std::nullopt;
    return Error{ErrorCode::kUnauthenticated, "the token has expired"};
  };
  Running provider(&grid);
  EXPECT_THAT(provider.Start().Join(),
              test::FailsWith(ErrorCode::kUnauthenticated, HasSubstr("expired")));
}

TEST(ProviderTest, SurvivesTheDeathOfItsTrainer) {
  ScriptedGrid grid({});
  Running provider(&grid);
  std::atomic<int> batches{0};
  provider.hooks.on_submit = [&](const std::atomic<bool>&) -> Status {
    if (++batches != 5) return {};
    return Error{ErrorCode::kUnavailable, "the trainer died: killed by signal 9"};
  };
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return grid.finished(); }));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_TRUE(provider.Says("retry train: the trainer died: killed by signal 9"));
  EXPECT_EQ(provider.hooks.started, 2);
}

TEST(ProviderTest, GivesATaskBackThatKillsEveryTrainer) {
  ScriptedGrid grid({});
  Running provider(&grid);
  provider.hooks.on_submit = [&](const std::atomic<bool>&) -> Status {
    return Error{ErrorCode::kUnavailable, "the trainer died: out of memory"};
  };
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return !grid.releases().empty(); }));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_TRUE(grid.releases()[0].failed);
  EXPECT_THAT(grid.releases()[0].reason, HasSubstr("out of memory"));
}

TEST(ProviderTest, ATrainerThatCannotBeStartedFailsTheTaskAndNotTheLease) {
  ScriptedGrid grid({});
  Running provider(&grid, [](ProviderOptions*, ProviderParts* parts) {
    parts->make_trainer = []() -> Result<std::unique_ptr<trainer::Trainer>> {
      return Error{ErrorCode::kNotFound, "no dnc-trainer"};
    };
  });
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return !grid.releases().empty(); }));
  EXPECT_TRUE(grid.releases()[0].failed);
  EXPECT_THAT(grid.releases()[0].reason, HasSubstr("cannot start the trainer: no dnc-trainer"));
}

TEST(ProviderTest, GoesOnAfterARefusedResult) {
  ScriptedGrid grid({});
  grid.fault.on_result = [](LeaseId lease) -> std::optional<proto::LeaseAnswer> {
    if (lease.value != 2) return std::nullopt;
    return proto::LeaseAnswer{false, "another provider was first"};
  };
  Running provider(&grid);
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return grid.finished(); }));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_THAT(provider.observer.lines(), Contains("refused task 0.1: another provider was first"));
  EXPECT_THAT(provider.observer.lines(), Not(Contains(StartsWith("lost"))));
  EXPECT_EQ(provider->statistics().results_refused, 1u);
}

TEST(ProviderTest, ALostLeaseEndsTheTrainingAndKeepsTheTrainer) {
  ScriptedGrid grid({});
  Holder holder;
  grid.fault.on_renew = [&](LeaseId lease) -> std::optional<proto::LeaseAnswer> {
    if (lease.value != 1) return std::nullopt;
    return proto::LeaseAnswer{false, "the step has closed"};
  };
  Running provider(&grid, [](ProviderOptions*, ProviderParts* parts) {
    parts->abort_patience = Duration::Seconds(60);
  });
  provider.hooks.on_submit = holder.Hook();
  provider.Start();
  ASSERT_TRUE(WaitFor(holder.holding));
  ASSERT_TRUE(grid.WaitUntil([&] { return grid.calls("RenewLease") > 0; }));
  // The batch in hand ends a little after the answer; the task ends with it.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  holder.release = true;
  ASSERT_TRUE(grid.WaitUntil([&] { return grid.finished(); }));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_THAT(provider.observer.lines(), Contains("lost task 0.0: the step has closed"));
  EXPECT_EQ(provider.hooks.started, 1);
}

TEST(ProviderTest, ATrainerThatDoesNotEndALostTaskIsKilled) {
  ScriptedGrid grid({});
  Holder holder;
  grid.fault.on_renew = [&](LeaseId lease) -> std::optional<proto::LeaseAnswer> {
    if (lease.value != 1) return std::nullopt;
    holder.release = false;
    return proto::LeaseAnswer{false, "the step has closed"};
  };
  Running provider(&grid, [](ProviderOptions*, ProviderParts* parts) {
    parts->abort_patience = Duration::Milliseconds(10);
  });
  provider.hooks.on_submit = [&, hook = holder.Hook()](const std::atomic<bool>& stopped) {
    return provider.hooks.started == 1 ? hook(stopped) : Status();
  };
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return grid.finished(); }));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_EQ(provider.hooks.started, 2);
}

TEST(ProviderTest, RenewsTheLeaseWhileItTrains) {
  ScriptedGrid grid({});
  Holder holder;
  Running provider(&grid);
  provider.hooks.on_submit = holder.Hook();
  provider.Start();
  EXPECT_TRUE(grid.WaitUntil([&] { return grid.calls("RenewLease") >= 3; }));
  holder.release = true;
  EXPECT_TRUE(grid.WaitUntil([&] { return grid.finished(); }));
}

TEST(ProviderTest, ReleasesAProjectOfAHostileServerWithTheReason) {
  ScriptedGrid grid({});
  grid.fault.on_work = [](proto::ProjectWork* work) { work->model_json = "{}"; };
  Running provider(&grid);
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return !grid.releases().empty(); }));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_TRUE(grid.releases()[0].failed);
  EXPECT_THAT(grid.releases()[0].reason, HasSubstr("model"));
  EXPECT_TRUE(provider.Says("failed task 0.0: "));
  EXPECT_EQ(provider.hooks.started, 0);
}

// A stop comes in each phase of the work; the lease, where there is one, goes back.
class ProviderStopTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ProviderStopTest, EndsAtOnceAndGivesTheLeaseBack) {
  ScriptedGrid grid({});
  grid.fault.hold_call = GetParam();
  Running provider(&grid);
  provider.Start();
  ASSERT_TRUE(WaitFor(grid.held));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  if (GetParam() == "RequestLease") {
    EXPECT_THAT(grid.releases(), IsEmpty());
  } else {
    ASSERT_THAT(grid.releases(), SizeIs(1));
    EXPECT_FALSE(grid.releases()[0].failed);
    EXPECT_EQ(grid.releases()[0].lease, LeaseId{1});
  }
}

INSTANTIATE_TEST_SUITE_P(Phases, ProviderStopTest,
                         ::testing::Values("RequestLease", "GetWork", "GetWeights",
                                           "GetObjectRange", "SubmitResult"),
                         [](const auto& phase) { return phase.param; });

TEST(ProviderTest, AStopWhileItTrainsKillsTheTrainerAndGivesTheLeaseBack) {
  ScriptedGrid grid({});
  Holder holder;  // Released only by the trainer's Stop().
  Running provider(&grid);
  provider.hooks.on_submit = holder.Hook();
  provider.Start();
  ASSERT_TRUE(WaitFor(holder.holding));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  ASSERT_THAT(grid.releases(), SizeIs(1));
  EXPECT_FALSE(grid.releases()[0].failed);
}

TEST(ProviderTest, AStopGivesTheLeaseBackBeforeTheTrainerHasEnded) {
  ScriptedGrid grid({});
  Holder holder;
  Running provider(&grid);
  provider.hooks.on_submit = [&](const std::atomic<bool>&) -> Status {
    const std::atomic<bool> never{false};  // As a killed process on a busy machine.
    return holder.Hook()(never);
  };
  provider.Start();
  ASSERT_TRUE(WaitFor(holder.holding));
  provider->Stop(false);
  EXPECT_TRUE(grid.WaitUntil([&] { return grid.releases().size() == 1; }));
  holder.release = true;
  EXPECT_THAT(provider.Join(), test::Succeeds());
}

TEST(ProviderTest, AStopWhileItRenewsDoesNotWaitForTheAnswer) {
  ScriptedGrid grid({});
  grid.fault.hold_call = "RenewLease";
  Holder holder;
  Running provider(&grid);
  provider.hooks.on_submit = holder.Hook();
  provider.Start();
  ASSERT_TRUE(WaitFor(grid.held));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_THAT(grid.releases(), SizeIs(1));
}

TEST(ProviderTest, AStopWhileItBacksOffEndsAtOnce) {
  ScriptedGrid grid({});
  grid.fault.on_call = [](const std::string&) -> std::optional<Error> {
    return Error{ErrorCode::kUnavailable, "connection refused"};
  };
  Running provider(&grid, [](ProviderOptions*, ProviderParts* parts) {
    parts->agent.backoff_min = parts->agent.backoff_max = Duration::Minutes(10);
  });
  provider.Start();
  ASSERT_TRUE(grid.WaitUntil([&] { return provider.Says("retry"); }));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
}

TEST(ProviderTest, AStopEndsThoughTheServerDoesNotTakeTheLeaseBack) {
  ScriptedGrid grid({});
  grid.fault.hold_call = "ReleaseLease";
  Holder holder;
  Running provider(&grid, [](ProviderOptions*, ProviderParts* parts) {
    parts->agent.stop_grace = Duration::Milliseconds(50);
  });
  provider.hooks.on_submit = holder.Hook();
  provider.Start();
  ASSERT_TRUE(WaitFor(holder.holding));
  EXPECT_THAT(provider.Stop(), test::Succeeds());
  EXPECT_THAT(grid.releases(), IsEmpty());
}

TEST(ProviderTest, AFinishingStopUploadsTheTaskInHandAndTakesNoOther) {
  ScriptedGrid grid({});
  Holder holder;
  Running provider(&grid);
  provider.hooks.on_submit = holder.Hook();
  provider.Start();
  ASSERT_TRUE(WaitFor(holder.holding));
  provider->Stop(true);
  holder.release = true;
  EXPECT_THAT(provider.Join(), test::Succeeds());
  EXPECT_EQ(provider->statistics().tasks_accepted, 1u);
  EXPECT_THAT(grid.releases(), IsEmpty());
  EXPECT_EQ(grid.calls("RequestLease"), 1);
}

TEST(ProviderTest, ASecondStopGivesUpFinishing) {
  ScriptedGrid grid({});
  Holder holder;
  Running provider(&grid);
  provider.hooks.on_submit = holder.Hook();
  provider.Start();
  ASSERT_TRUE(WaitFor(holder.holding));
  provider->Stop(true);
  EXPECT_THAT(provider.Stop(false), test::Succeeds());
  EXPECT_EQ(provider->statistics().tasks_accepted, 0u);
  EXPECT_THAT(grid.releases(), SizeIs(1));
}

TEST(ProviderTest, AStopBeforeRunEndsIt) {
  ScriptedGrid grid({});
  Running provider(&grid);
  provider->Stop(false);
  EXPECT_THAT(provider.Start().Join(), test::Succeeds());
  EXPECT_EQ(provider.hooks.started, 0);
}

TEST(ProviderTest, RefusesLimitsOutOfRange) {
  ProviderObserver observer;
  ProviderOptions options;
  options.server_url = "http://127.0.0.1:1";
  options.disk_bytes = 0;
  const auto create = [&](auto change) {
    ProviderOptions changed = options;
    change(&changed);
    return Provider::Create(changed, &observer);
  };
  EXPECT_THAT(create([](ProviderOptions* o) { o->cores = 0; }),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("cores: 0")));
  EXPECT_THAT(create([](ProviderOptions* o) { o->memory_bytes = 100 << 20; }),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("100 MiB"), HasSubstr("at least 356 MiB"))));
  EXPECT_THAT(create([](ProviderOptions* o) { o->disk_bytes = 1; }),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("folder")));
  EXPECT_THAT(create([](ProviderOptions* o) { o->trainer_nice = 20; }),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("nice")));
  EXPECT_THAT(create([](ProviderOptions* o) { o->trainer_program = "/no/such/trainer"; }),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("/no/such/trainer")));
}

}  // namespace
}  // namespace dnc::provider
