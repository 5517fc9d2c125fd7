// What the server has to remember of the events beside the scheduler: who holds which
// lease, and whose results of the open steps lie in the store. A function of the
// events and their effects alone, so that a replay makes it again.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/result.h"
#include "sched/scheduler.h"

namespace dnc::server {

struct HeldLease {
  LeaseId lease;
  ProjectId project;
  sched::TaskKind kind = sched::TaskKind::kTrain;
  std::uint64_t version = 0;  // For kTrain: its step.
};

struct StoredUpdate {
  LeaseId lease;
  Digest digest;
  std::uint64_t step = 0;
};

class Ledger {
 public:
  // Returns the updates that the event made useless, with their project.
  std::vector<std::pair<ProjectId, StoredUpdate>> Apply(const sched::Event& event,
                                                        const std::vector<sched::Effect>& effects);

  // The lease that was granted last to the provider and has not been answered for. It
  // may have expired: only the scheduler knows.
  std::optional<HeldLease> FindHeld(ProviderId provider) const;
  // The project that the provider worked on last.
  ProjectId LastProject(ProviderId provider) const;
  bool HasUpdate(ProjectId project, LeaseId lease, const Digest& digest) const;
  // Some lease whose result has this digest.
  std::optional<LeaseId> FindUpdate(ProjectId project, const Digest& digest) const;

  Bytes Save() const;
  // Errors: kCorrupt.
  static Result<Ledger> Load(ByteSpan bytes);

 private:
  std::map<ProviderId, HeldLease> held_;
  std::map<ProviderId, ProjectId> last_project_;
  std::map<ProjectId, std::vector<StoredUpdate>> updates_;
};

}  // namespace dnc::server
