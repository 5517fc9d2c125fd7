// Folds steps into new weights, and keeps the store free of what nobody needs any
// more: updates whose step is folded, and weights but the two newest versions, those
// still to be evaluated and those that are handed out.
//
// The order that makes a crash harmless: new weights are durable before the event
// that says so; updates and old weights go after it. What a crash leaves over is
// removed at the next start.
//
// Lives on the loop's thread; reading, folding and deleting are jobs of a worker.

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/ledger.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/projects.h"
#include "server/sequencer.h"
#include "server/workers.h"
#include "store/object_store.h"

namespace dnc::server {

class Upkeep {
 public:
  struct Parts {
    Loop* loop = nullptr;
    Workers* workers = nullptr;
    Sequencer* sequencer = nullptr;
    Projects* projects = nullptr;
    Database* reader = nullptr;
    store::ObjectStore* store = nullptr;
    const Log* log = nullptr;
  };
  explicit Upkeep(const Parts& parts) : parts_(parts) {}

  // Removes what a crash left over. Before the loop runs.
  Status Recover(const Ledger& ledger);

  // Folds in the background and submits StepFolded. Of a fold in progress: does nothing.
  void Fold(const sched::FoldStep& fold, const Ledger& ledger);
  void DeleteObjects(std::vector<std::string> keys);

  void AddVersion(ProjectId project, std::uint64_t version);
  // Deletes the versions that nobody needs any more.
  void PruneVersions(ProjectId project);
  // Errors: kNotFound, a version still to come; kStale, one that is gone.
  Status CheckVersion(ProjectId project, std::uint64_t version) const;

  // Why the project's fold fails again and again; empty if it does not.
  std::string FindProblem(ProjectId project) const;

 private:
  struct Job;
  Result<Digest> RunFold(const Job& job) const;
  bool IsNeeded(const sched::ProjectView& view, std::uint64_t version) const;

  Parts parts_;
  std::map<ProjectId, std::set<std::uint64_t>> versions_;  // In the store.
  std::set<std::pair<ProjectId, std::uint64_t>> folding_;  // Project and step.
  std::map<ProjectId, std::string> problems_;
};

}  // namespace dnc::server
