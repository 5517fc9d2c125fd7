// One event applied to the scheduler's state. Private to the room.

#pragma once

#include <string>
#include <vector>

#include "sched/state.h"

namespace dnc::sched {

class Turn {
 public:
  // Both must outlive the turn.
  Turn(Scheduler::State* state, std::vector<Effect>* effects) : s_(*state), effects_(*effects) {}

  // Moves the time on, fires the timers that are due, handles `event`.
  void Run(Instant now, const Event& event);

 private:
  void Handle(const ProjectSubmitted& event);
  void Handle(const ProjectPaused& event);
  void Handle(const ProjectResumed& event);
  void Handle(const ProjectCancelled& event);
  void Handle(const LeaseRequested& event);
  void Handle(const LeaseRenewed& event);
  void Handle(const ResultSubmitted& event);
  void Handle(const LeaseReleased& event);
  void Handle(const StepFolded& event);
  void Handle(const TimePassed&) {}

  void FireTimers();
  void Grant(Provider& provider, const Scheduler::State::Choice& choice);
  // Takes the lease out of every list. Its task, unless done, is open again.
  void EndLease(LeaseId id, LeaseEnd how);
  void Detach(const Lease& lease);
  // Ends and revokes what is left of a task's or a project's leases.
  void RevokeAll(std::vector<LeaseId> leases, LeaseEnd how, const std::string& reason);
  void CountFailure(const Lease& lease, const std::string& reason);
  void BackOff(Provider& provider);
  void Count(Provider& provider, const Lease& lease, const Metrics& metrics, const Digest& update);
  void CloseTask(const Lease& lease, const ResultSubmitted& event);
  void OpenStep(Project& project);
  // The figure of the epoch after the last one that was counted.
  void CountEpoch(Project& project, const Metrics& figures);
  void FinishIfComplete(Project& project);
  void EndProject(Project& project, ProjectPhase phase);
  void ForgetSilentProviders();
  Duration BackupDelay(const Project& project, TaskRef task) const;

  // The provider's own live lease of that number; otherwise null, with the reason.
  const Lease* OwnLease(ProviderId provider, LeaseId lease, std::string* reason);
  void Answered(ProviderId provider, LeaseId lease, bool accepted, std::string reason = {});
  void Refuse(Provider& provider, LeaseId lease, std::string reason);

  Scheduler::State& s_;
  std::vector<Effect>& effects_;
  bool wake_ = false;  // Something may be leased now that could not be before.
};

// The fold that a project waits for.
// Requires: every task of the open step is done.
FoldStep MakeFold(const Project& project);
bool AwaitsFold(const Project& project);

}  // namespace dnc::sched
