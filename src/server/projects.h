// The projects that there are, and how one comes to be: everything about a submission
// is checked before anything of it exists. What becomes of a project is the
// scheduler's.
//
// Lives on the loop's thread; parsing and initial weights are jobs of a worker.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/id.h"
#include "base/result.h"
#include "proto/messages.h"
#include "server/database.h"
#include "server/loop.h"
#include "server/sequencer.h"
#include "server/workers.h"
#include "store/object_store.h"

namespace dnc::server {

// What is kept in memory of each project; its model and manifest stay in the database.
struct ProjectInfo {
  ProjectId id;
  AccountId account;
  std::string name;
  std::string description;
  // With validation_split empty if there is none, and the monitor of early_stopping.
  proto::FitSettings fit;
  proto::GridSettings grid;
  std::uint64_t weight_count = 0;
  std::uint64_t train_samples = 0;
  std::uint64_t validation_samples = 0;
};

class Projects {
 public:
  struct Parts {
    Loop* loop = nullptr;
    Workers* workers = nullptr;
    Sequencer* sequencer = nullptr;
    Database* reader = nullptr;
    store::ObjectStore* store = nullptr;
  };
  Projects(const Parts& parts, std::uint64_t weight_count_max);

  // Reads the projects from the database, before the loop runs.
  Status Load();

  // nullptr if there is none of that number.
  const ProjectInfo* Find(ProjectId project) const;
  const std::map<ProjectId, ProjectInfo>& all() const { return projects_; }

  // `body` is a ProjectSpec as JSON. Errors are those of docs/api.md.
  void Submit(AccountId account, std::string body, std::function<void(Result<ProjectId>)> done);

  // Reads the model and manifest. Requires: a project that there is.
  Result<proto::ProjectWork> GetWork(ProjectId project) const;
  Result<std::string> GetModelJson(ProjectId project) const;
  bool HasShard(ProjectId project, const std::string& cid) const;

 private:
  struct Draft;
  using DraftPointer = std::shared_ptr<Draft>;
  using Done = std::function<void(Result<ProjectId>)>;

  Status CheckShards(const Draft& draft) const;
  Status CheckWeightsAreThere(const Draft& draft) const;
  void MakeWeights(const DraftPointer& draft, const Done& done);
  void Create(const DraftPointer& draft, const Done& done);

  Parts parts_;
  std::uint64_t weight_count_max_;
  std::map<ProjectId, ProjectInfo> projects_;
  std::uint64_t next_id_ = 1;
};

}  // namespace dnc::server
