// The ledger is made from the effects of a real scheduler, so that the two agree on
// what an effect means.

#include "server/ledger.h"

#include "testing/testing.h"

namespace dnc::server {
namespace {

constexpr ProviderId kAda{1};
constexpr ProviderId kBob{2};
constexpr ProjectId kProject{5};

class LedgerTest : public ::testing::Test {
 protected:
  LedgerTest() {
    Apply(sched::ProjectSubmitted{kProject,
                                  {.train_samples = 30,
                                   .validation_samples = 4,
                                   .epochs = 2,
                                   .total_tasks = 3,
                                   .task_size = 2}});
  }

  std::vector<sched::Effect> Apply(const sched::Event& event) {
    std::vector<sched::Effect> effects;
    now_ = now_ + Duration::Milliseconds(1);
    scheduler_.Apply(now_, event, &effects);
    useless_ = ledger_.Apply(event, effects);
    return effects;
  }
  sched::GrantLease Lease(ProviderId provider) {
    for (const sched::Effect& effect : Apply(sched::LeaseRequested{provider})) {
      if (const auto* grant = std::get_if<sched::GrantLease>(&effect)) return *grant;
    }
    ADD_FAILURE() << "no lease";
    return {};
  }
  void Report(const sched::GrantLease& grant, const Digest& digest) {
    const std::uint64_t samples = grant.task.end - grant.task.begin;
    Apply(sched::ResultSubmitted{grant.provider, grant.lease, digest, {.samples = samples}});
  }

  static Digest DigestOf(const char* text) { return Sha256(AsBytes(text)); }

  Instant now_{1'000'000};
  sched::Scheduler scheduler_{{}};
  Ledger ledger_;
  std::vector<std::pair<ProjectId, StoredUpdate>> useless_;
};

TEST_F(LedgerTest, KnowsWhoHoldsWhatUntilItIsAnsweredFor) {
  EXPECT_FALSE(ledger_.FindHeld(kAda));
  const sched::GrantLease grant = Lease(kAda);
  ASSERT_TRUE(ledger_.FindHeld(kAda));
  EXPECT_EQ(ledger_.FindHeld(kAda)->lease, grant.lease);
  EXPECT_EQ(ledger_.FindHeld(kAda)->project, kProject);
  EXPECT_EQ(ledger_.LastProject(kAda), kProject);
  EXPECT_EQ(ledger_.LastProject(kBob), ProjectId{});
  Report(grant, DigestOf("a"));
  EXPECT_FALSE(ledger_.FindHeld(kAda));
  EXPECT_EQ(ledger_.LastProject(kAda), kProject);

  const sched::GrantLease second = Lease(kAda);
  Apply(sched::LeaseReleased{kAda, second.lease, false, ""});
  EXPECT_FALSE(ledger_.FindHeld(kAda));
}

TEST_F(LedgerTest, KeepsUpdatesUntilTheirStepIsFolded) {
  const sched::GrantLease first = Lease(kAda);
  Report(first, DigestOf("same"));
  const sched::GrantLease second = Lease(kAda);
  Report(second, DigestOf("same"));
  EXPECT_TRUE(ledger_.HasUpdate(kProject, first.lease, DigestOf("same")));
  EXPECT_TRUE(ledger_.HasUpdate(kProject, second.lease, DigestOf("same")));
  EXPECT_FALSE(ledger_.HasUpdate(kProject, second.lease, DigestOf("other")));
  EXPECT_EQ(ledger_.FindUpdate(kProject, DigestOf("same")), first.lease);
  Apply(sched::StepFolded{kProject, 0, DigestOf("weights")});
  ASSERT_EQ(useless_.size(), 2u);
  EXPECT_EQ(useless_[0].second.lease, first.lease);
  EXPECT_EQ(useless_[1].second.lease, second.lease);
  EXPECT_FALSE(ledger_.FindUpdate(kProject, DigestOf("same")));
}

TEST_F(LedgerTest, AResultAcceptedOnceMoreIsNotKeptOnceMore) {
  const sched::GrantLease grant = Lease(kAda);
  Report(grant, DigestOf("a"));
  Report(Lease(kBob), DigestOf("b"));
  Apply(sched::StepFolded{kProject, 0, DigestOf("weights")});
  Report(grant, DigestOf("a"));  // The answer to the first was lost.
  EXPECT_FALSE(ledger_.HasUpdate(kProject, grant.lease, DigestOf("a")));
}

TEST_F(LedgerTest, ARefusedResultIsNotKept) {
  const sched::GrantLease grant = Lease(kAda);
  Apply(sched::ResultSubmitted{kBob, grant.lease, DigestOf("b"), {.samples = 10}});
  EXPECT_FALSE(ledger_.FindUpdate(kProject, DigestOf("b")));
}

TEST_F(LedgerTest, TheEndOfAProjectMakesAllUseless) {
  Report(Lease(kAda), DigestOf("a"));
  Lease(kBob);
  Apply(sched::ProjectCancelled{kProject});
  EXPECT_EQ(useless_.size(), 1u);
  EXPECT_FALSE(ledger_.FindHeld(kBob));
}

TEST_F(LedgerTest, EvaluationsHaveNoUpdates) {
  for (int task = 0; task < 3; ++task) {
    Report(Lease(kAda), DigestOf("a"));
    if (task > 0) Apply(sched::StepFolded{kProject, static_cast<std::uint64_t>(task - 1), {}});
  }
  // The two training tasks of the next step are taken by others.
  sched::GrantLease grant = Lease({10});
  for (std::uint64_t i = 11; i < 13 && grant.task.kind == sched::TaskKind::kTrain; ++i) {
    grant = Lease({i});
  }
  ASSERT_EQ(grant.task.kind, sched::TaskKind::kEvaluate);
  Report(grant, Digest{});
  EXPECT_FALSE(ledger_.FindUpdate(kProject, Digest{}));
}

TEST_F(LedgerTest, SurvivesSavingAndRefusesDamage) {
  Report(Lease(kAda), DigestOf("a"));
  const sched::GrantLease held = Lease(kBob);
  const Bytes saved = ledger_.Save();
  const Result<Ledger> loaded = Ledger::Load(saved);
  ASSERT_THAT(loaded, test::Succeeds());
  EXPECT_EQ(loaded->Save(), saved);
  EXPECT_EQ(loaded->FindHeld(kBob)->lease, held.lease);
  EXPECT_TRUE(loaded->FindUpdate(kProject, DigestOf("a")));
  for (std::size_t size = 0; size < saved.size(); ++size) {
    EXPECT_THAT(Ledger::Load(ByteSpan(saved).first(size)), test::FailsWith(ErrorCode::kCorrupt))
        << size;
  }
}

}  // namespace
}  // namespace dnc::server
