// A snapshot that was damaged must never become a scheduler. The checksum catches
// accidents; those who can mend the checksum meet the checks behind it, so these tests
// mend it too.

#include <tuple>

#include "base/prng.h"
#include "sched/scheduler.h"
#include "testing/testing.h"

namespace dnc::sched {
namespace {

using dnc::test::FailsWith;
using dnc::test::Succeeds;
using ::testing::AnyOf;
using ::testing::HasSubstr;

// Two projects with leases, results, evaluations, a failure and a finished one; and with
// `stopping` two more that count their epochs.
Scheduler BusyScheduler(bool stopping = false) {
  Scheduler scheduler{SchedulerOptions()};
  Instant now{1'000'000};
  std::vector<Effect> effects;
  const auto apply = [&](const Event& event) {
    now = now + Duration::Milliseconds(10);
    effects.clear();
    scheduler.Apply(now, event, &effects);
  };
  apply(ProjectSubmitted{{1}, {6, 0, 1, 1, 1, 5}});
  apply(ProjectSubmitted{{2}, {10, 4, 2, 2, 2, 0}});
  if (stopping) {
    apply(ProjectSubmitted{{3},
                           {6, 4, 4, 2, 1, 1, StoppingRule{Monitor::kValidationLoss, 2, 1, true}}});
    apply(ProjectSubmitted{{4}, {6, 0, 4, 2, 1, 1, StoppingRule{Monitor::kAccuracy, 2, 1, true}}});
  }
  const int rounds = stopping ? 29 : 12;
  for (int i = 0; i < rounds; ++i) {
    if (i == 20) apply(ProjectPaused{{3}});  // So that the next one has its turn.
    apply(LeaseRequested{{1 + i % 3u}});
    const auto* grant = std::get_if<GrantLease>(&effects.front());
    if (grant == nullptr || i > rounds - 4) continue;
    const GrantLease copy = *grant;
    if (i == 1) {
      apply(LeaseReleased{copy.provider, copy.lease, true, "no memory"});
      continue;
    }
    apply(ResultSubmitted{copy.provider,
                          copy.lease,
                          Sha256(AsBytes("u")),
                          {copy.task.end - copy.task.begin, 1, 1, 1}});
    for (std::uint64_t project = 1; project <= (stopping ? 4 : 2); ++project) {
      const auto view = scheduler.FindProject({project});
      apply(StepFolded{{project}, view->version, Sha256(AsBytes("w"))});
    }
  }
  return scheduler;
}

Bytes WithChecksum(Bytes snapshot) {
  const std::size_t body = snapshot.size() - 32;
  const Digest digest = Sha256(ByteSpan(snapshot).first(body));
  std::memcpy(snapshot.data() + body, digest.bytes.data(), 32);
  return snapshot;
}

TEST(SnapshotTest, GivesBackTheSameScheduler) {
  const Scheduler scheduler = BusyScheduler();
  ASSERT_EQ(scheduler.FindProject({1})->phase, ProjectPhase::kFinished);
  ASSERT_GT(scheduler.FindProject({2})->version, 0u);
  const auto restored = Scheduler::Restore(scheduler.Snapshot(), SchedulerOptions());
  ASSERT_THAT(restored, Succeeds());
  restored->CheckInvariants();
  EXPECT_EQ(restored->digest(), scheduler.digest());
  EXPECT_EQ(restored->next_deadline(), scheduler.next_deadline());
}

TEST(SnapshotTest, KeepsHowTheEpochsWereCounted) {
  const Scheduler scheduler = BusyScheduler(true);
  const auto restored = Scheduler::Restore(scheduler.Snapshot(), SchedulerOptions());
  ASSERT_THAT(restored, Succeeds());
  restored->CheckInvariants();
  EXPECT_EQ(restored->digest(), scheduler.digest());
  for (const std::uint64_t id : {3, 4}) {
    const ProjectView a = *scheduler.FindProject({id});
    const ProjectView b = *restored->FindProject({id});
    EXPECT_TRUE(a.phase == ProjectPhase::kRunning || a.phase == ProjectPhase::kPaused);
    EXPECT_GT(a.best.epochs, 0u) << id << " at version " << a.version;
    EXPECT_EQ(a.best, b.best);
    EXPECT_EQ(a.config.stopping, b.config.stopping);
    EXPECT_EQ(a.model_version, b.model_version);
  }
}

TEST(SnapshotTest, IsWrittenInTheFirstVersionThatHoldsIt) {
  Bytes old = BusyScheduler().Snapshot();
  EXPECT_EQ(old[8], std::byte{1});
  EXPECT_EQ(BusyScheduler(true).Snapshot()[8], std::byte{2});
  old[8] = std::byte{2};
  EXPECT_THAT(Scheduler::Restore(WithChecksum(old), SchedulerOptions()),
              FailsWith(ErrorCode::kCorrupt));
}

TEST(SnapshotTest, ForgetsNothingThatAStatusPageShows) {
  Scheduler scheduler = BusyScheduler();
  const auto holder = [&] {
    for (const ProviderView& view : scheduler.providers()) {
      if (view.lease) return view;
    }
    return ProviderView{};
  }();
  ASSERT_TRUE(holder.lease);
  std::vector<Effect> effects;
  scheduler.Apply({2'000'000}, LeaseRenewed{holder.provider, holder.lease, 2}, &effects);
  const auto restored = Scheduler::Restore(scheduler.Snapshot(), SchedulerOptions());
  ASSERT_THAT(restored, Succeeds());

  const auto providers = scheduler.providers();
  const auto again = restored->providers();
  ASSERT_EQ(again.size(), providers.size());
  const auto fields = [](const ProviderView& v) {
    return std::tuple(v.provider, v.project, v.lease, v.task, v.samples_done, v.tasks_accepted,
                      v.samples_accepted, v.results_refused, v.us_per_1000_samples, v.last_seen);
  };
  bool progress = false;
  for (std::size_t i = 0; i < providers.size(); ++i) {
    EXPECT_EQ(fields(again[i]), fields(providers[i]));
    progress |= providers[i].samples_done == 2;
  }
  EXPECT_TRUE(progress);
  for (const ProjectId id : scheduler.projects()) {
    const ProjectView a = *scheduler.FindProject(id);
    const ProjectView b = *restored->FindProject(id);
    const auto view = [](const ProjectView& v) {
      return std::tuple(v.project, v.config.train_samples, v.config.contributors_max, v.phase,
                        v.version, v.steps_total, v.weights, v.tasks_done, v.tasks_total,
                        v.tasks_leased, v.contributors, v.submitted, v.ended, v.failure);
    };
    EXPECT_EQ(view(a), view(b));
    ASSERT_EQ(a.evaluations.size(), b.evaluations.size());
    for (std::size_t i = 0; i < a.evaluations.size(); ++i) {
      EXPECT_EQ(a.evaluations[i].version, b.evaluations[i].version);
      EXPECT_EQ(a.evaluations[i].metrics, b.evaluations[i].metrics);
    }
    ASSERT_TRUE(a.last_step && b.last_step);
    EXPECT_EQ(a.last_step->metrics, b.last_step->metrics);
    EXPECT_EQ(a.last_step->started, b.last_step->started);
    EXPECT_EQ(a.last_step->closed, b.last_step->closed);
  }
}

TEST(SnapshotTest, TakesAnEmptyScheduler) {
  const auto restored =
      Scheduler::Restore(Scheduler(SchedulerOptions()).Snapshot(), SchedulerOptions());
  ASSERT_THAT(restored, Succeeds());
  EXPECT_TRUE(restored->projects().empty());
}

TEST(SnapshotTest, RefusesASnapshotWithAnyOneByteChanged) {
  const Bytes intact = BusyScheduler(true).Snapshot();
  for (std::size_t offset = 0; offset < intact.size(); ++offset) {
    SCOPED_TRACE(offset);
    Bytes damaged = intact;
    damaged[offset] ^= std::byte{0x40};
    EXPECT_THAT(Scheduler::Restore(damaged, SchedulerOptions()),
                FailsWith(AnyOf(ErrorCode::kCorrupt, ErrorCode::kUnsupported)));
  }
}

TEST(SnapshotTest, RefusesEveryTruncationEvenWithAGoodChecksum) {
  const Bytes intact = BusyScheduler(true).Snapshot();
  for (std::size_t size = 0; size < intact.size(); ++size) {
    Bytes shorter(intact.begin(), intact.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THAT(Scheduler::Restore(shorter, SchedulerOptions()), FailsWith(ErrorCode::kCorrupt));
    if (size < 44) continue;
    EXPECT_THAT(Scheduler::Restore(WithChecksum(shorter), SchedulerOptions()),
                FailsWith(ErrorCode::kCorrupt));
  }
}

TEST(SnapshotTest, SaysWhenItIsOfALaterVersion) {
  Bytes later = BusyScheduler().Snapshot();
  later[8] = std::byte{3};
  EXPECT_THAT(Scheduler::Restore(WithChecksum(later), SchedulerOptions()),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("format version 3")));
}

TEST(SnapshotTest, RefusesHostileCountsBeforeAnythingIsAllocated) {
  // The first count, of projects, follows the time and the next lease.
  Bytes hostile = Scheduler(SchedulerOptions()).Snapshot();
  for (const std::uint64_t count : {std::uint64_t{1}, std::uint64_t{1} << 40, UINT64_MAX}) {
    std::memcpy(hostile.data() + 12 + 16, &count, sizeof(count));
    EXPECT_THAT(Scheduler::Restore(WithChecksum(hostile), SchedulerOptions()),
                FailsWith(ErrorCode::kCorrupt));
  }
}

TEST(SnapshotTest, IsEitherRefusedOrSoundWhateverFieldIsSpoiled) {
  const Bytes intact = BusyScheduler(true).Snapshot();
  Prng prng(5);
  std::size_t refused = 0;
  for (std::size_t offset = 12; offset + 32 < intact.size(); ++offset) {
    SCOPED_TRACE(offset);
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{0xFF}, prng.Below(256)}) {
      Bytes spoiled = intact;
      spoiled[offset] = static_cast<std::byte>(value);
      auto restored = Scheduler::Restore(WithChecksum(spoiled), SchedulerOptions());
      if (!restored.ok()) {
        ++refused;
        EXPECT_THAT(restored, FailsWith(ErrorCode::kCorrupt));
        continue;
      }
      restored->CheckInvariants();
      std::vector<Effect> effects;
      for (std::uint64_t provider = 1; provider <= 4; ++provider) {
        restored->Apply({5'000'000}, LeaseRequested{{provider}}, &effects);
      }
      restored->Apply(Instant::Never(), TimePassed{}, &effects);
      restored->CheckInvariants();
    }
  }
  EXPECT_GT(refused, 500u);
}

}  // namespace
}  // namespace dnc::sched
