// A second, naive account of what a scheduler may do, for its tests: it watches the
// events and effects and judges them by the rules, with its own arithmetic. It shares
// no code with what it checks. Copyable, so that a search can branch.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sched/scheduler.h"

namespace dnc::sched::test {

inline Digest UpdateOf(const Task& task, ProviderId provider) {
  ByteWriter bytes;
  for (const std::uint64_t n : {task.project.value, task.version, std::uint64_t{task.task_index},
                                static_cast<std::uint64_t>(task.kind), provider.value}) {
    bytes.Put(n);
  }
  return Sha256(bytes.bytes());
}

inline Digest WeightsOf(ProjectId project, std::uint64_t version) {
  ByteWriter bytes;
  bytes.Put(project.value);
  bytes.Put(version);
  return Sha256(bytes.bytes());
}

class GridWitness {
 public:
  struct LeaseRecord {
    ProviderId provider;
    Task task;
    Instant expires;
    bool accepted = false;
    Digest update;
  };
  struct ProjectRecord {
    ProjectConfig config;
    ProjectPhase phase = ProjectPhase::kRunning;
    std::uint64_t version = 0;
    // What counted, by (kind, version, task index).
    std::map<std::tuple<TaskKind, std::uint64_t, std::uint32_t>, Digest> counted;
    std::map<std::tuple<TaskKind, std::uint64_t, std::uint32_t>, std::uint32_t> failures;
    std::set<std::uint64_t> folds_asked;
    // Of what counted, likewise; the losses alone.
    std::map<std::pair<TaskKind, std::uint64_t>, std::int64_t> losses;
  };

  explicit GridWitness(const SchedulerOptions& options) : options_(options) {}

  const std::map<LeaseId, LeaseRecord>& leases() const { return leases_; }
  const ProjectRecord& project(ProjectId id) const { return projects_.at(id); }
  std::optional<LeaseId> LeaseOf(ProviderId provider) const {
    for (const LeaseId id : live_) {
      if (leases_.at(id).provider == provider) return id;
    }
    return std::nullopt;
  }

  // Judges one Apply. Failures are reported through gtest.
  void Observe(Instant now, const Event& event, const std::vector<Effect>& effects) {
    now_ = std::max(now_, now);
    std::erase_if(live_, [this](LeaseId id) { return leases_.at(id).expires <= now_; });
    expected_answer_.reset();
    granted_ = 0;
    refused_ = 0;
    must_revoke_.clear();
    std::visit([this](const auto& e) { Before(e); }, event);
    std::size_t answers = 0;
    std::size_t wakes = 0;
    for (const Effect& effect : effects) {
      if (const auto* answer = std::get_if<Answer>(&effect)) {
        ++answers;
        ASSERT_TRUE(expected_answer_.has_value()) << "an answer that nobody asked for";
        EXPECT_EQ(answer->accepted, *expected_answer_) << answer->reason;
        EXPECT_EQ(answer->reason.empty(), answer->accepted);
      } else if (const auto* grant = std::get_if<GrantLease>(&effect)) {
        ++granted_;
        OnGrant(*grant, event);
      } else if (std::holds_alternative<NoWork>(effect)) {
        ++refused_;
      } else if (const auto* revoke = std::get_if<RevokeLease>(&effect)) {
        EXPECT_EQ(must_revoke_.erase(revoke->lease), 1u) << "revoked without a reason";
        EXPECT_FALSE(revoke->reason.empty());
        EXPECT_EQ(leases_.at(revoke->lease).provider, revoke->provider);
      } else if (const auto* fold = std::get_if<FoldStep>(&effect)) {
        OnFold(*fold);
        EXPECT_TRUE(projects_.at(fold->project).folds_asked.insert(fold->step).second);
      } else if (const auto* evaluated = std::get_if<VersionEvaluated>(&effect)) {
        EXPECT_TRUE(projects_.at(evaluated->project)
                        .counted.contains({TaskKind::kEvaluate, evaluated->version, 0u}));
      } else if (const auto* ended = std::get_if<ProjectEnded>(&effect)) {
        OnEnded(*ended);
      } else {
        ++wakes;
      }
    }
    EXPECT_EQ(answers, expected_answer_.has_value() ? 1u : 0u);
    EXPECT_EQ(granted_ + refused_, std::holds_alternative<LeaseRequested>(event) ? 1u : 0u);
    EXPECT_TRUE(must_revoke_.empty()) << "a useless lease was not revoked";
    EXPECT_LE(wakes, 1u);
    for (const auto& [id, project] : projects_) {
      const bool complete = TrainingOver(project) && AllEvaluated(project);
      EXPECT_EQ(complete, project.phase == ProjectPhase::kFinished);
      const bool full = !TrainingOver(project) && StepComplete(project);
      if (full && Live(project)) {
        EXPECT_TRUE(project.folds_asked.contains(project.version)) << "no fold was asked for";
      }
    }
  }

  // Whether the shell owes the project a fold.
  bool AwaitsFold(ProjectId id) const {
    const ProjectRecord& record = projects_.at(id);
    return Live(record) && !TrainingOver(record) && StepComplete(record);
  }

  // The fold of a step must have exactly the step's tasks, in order, each as it counted.
  void OnFold(const FoldStep& fold) const {
    const ProjectRecord& project = projects_.at(fold.project);
    EXPECT_EQ(fold.step, project.version);
    const auto [first, last] = StepRange(project);
    ASSERT_EQ(fold.inputs.size(), last - first);
    for (std::uint32_t i = first; i < last; ++i) {
      const FoldInput& input = fold.inputs[i - first];
      EXPECT_EQ(input.task_index, i);
      const auto it = project.counted.find({TaskKind::kTrain, fold.step, i});
      ASSERT_NE(it, project.counted.end()) << "a fold of a task without a result";
      EXPECT_EQ(input.update, it->second);
      EXPECT_EQ(input.samples, End(project.config, i) - End(project.config, i - 1));
    }
  }

 private:
  static bool Live(const ProjectRecord& project) {
    return project.phase == ProjectPhase::kRunning || project.phase == ProjectPhase::kPaused;
  }
  // Samples before the end of task i; i = -1 wraps to 0 tasks.
  static std::uint64_t End(const ProjectConfig& config, std::uint32_t i) {
    const auto product = static_cast<unsigned __int128>(i + 1u) * config.train_samples;
    return static_cast<std::uint64_t>(product / config.total_tasks);
  }
  static std::uint64_t StepsInEpoch(const ProjectConfig& config) {
    std::uint64_t steps = 0;
    for (std::uint64_t done = 0; done < config.total_tasks; done += config.task_size) ++steps;
    return steps;
  }
  static std::pair<std::uint32_t, std::uint32_t> StepRange(const ProjectRecord& project) {
    const std::uint64_t k = project.version % StepsInEpoch(project.config);
    const std::uint64_t first = k * project.config.task_size;
    const std::uint64_t last =
        std::min<std::uint64_t>(first + project.config.task_size, project.config.total_tasks);
    return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(last)};
  }
  static bool AllFolded(const ProjectRecord& project) {
    return project.version == project.config.epochs * StepsInEpoch(project.config);
  }
  // The epochs whose loss is known, and whether they were enough: in the last `patience`
  // of them (or the last one) none was below all before by more than the rule asks for.
  static std::pair<std::uint64_t, bool> Verdict(const ProjectRecord& project) {
    const auto& rule = project.config.stopping;
    if (!rule) return {0, false};
    const bool validation = rule->monitor == Monitor::kValidationLoss;
    const std::uint64_t steps = StepsInEpoch(project.config);
    // A loss is a sum in millionths; the rule's difference is of one sample.
    const __int128 samples =
        validation ? project.config.validation_samples : project.config.train_samples;
    __int128 best = 0;
    std::uint64_t best_epoch = 0;
    std::uint64_t epoch = 0;
    while (epoch < project.version / steps) {
      __int128 loss = 0;
      if (validation) {
        const auto known = project.losses.find({TaskKind::kEvaluate, (epoch + 1) * steps});
        if (known == project.losses.end()) break;
        loss = known->second;
      } else {
        for (std::uint64_t step = epoch * steps; step < (epoch + 1) * steps; ++step) {
          loss += project.losses.at({TaskKind::kTrain, step});
        }
      }
      ++epoch;
      if (epoch == 1 || (best - loss) * 1'000 > samples * rule->min_delta_nano) {
        best = loss;
        best_epoch = epoch;
      }
      if (epoch - best_epoch >= std::max<std::uint64_t>(rule->patience, 1)) return {epoch, true};
    }
    return {epoch, false};
  }
  static bool TrainingOver(const ProjectRecord& project) {
    return AllFolded(project) || Verdict(project).second;
  }
  static bool AllEvaluated(const ProjectRecord& project) {
    if (project.config.validation_samples == 0) return true;
    const std::uint64_t epochs = project.version / StepsInEpoch(project.config);
    for (std::uint64_t epoch = 1; epoch <= epochs; ++epoch) {
      const std::uint64_t version = epoch * StepsInEpoch(project.config);
      if (!project.counted.contains({TaskKind::kEvaluate, version, 0u})) return false;
    }
    return true;
  }
  static bool StepComplete(const ProjectRecord& project) {
    const auto [first, last] = StepRange(project);
    for (std::uint32_t i = first; i < last; ++i) {
      if (!project.counted.contains({TaskKind::kTrain, project.version, i})) return false;
    }
    return true;
  }
  static std::tuple<TaskKind, std::uint64_t, std::uint32_t> KeyOf(const Task& task) {
    return {task.kind, task.version, task.task_index};
  }
  // Null unless it is the provider's own live lease.
  LeaseRecord* Own(ProviderId provider, LeaseId lease) {
    const auto it = leases_.find(lease);
    if (!live_.contains(lease) || it->second.provider != provider) return nullptr;
    return &it->second;
  }
  void RevokeWhere(auto predicate) {
    std::erase_if(live_, [&](LeaseId id) {
      const bool revoke = predicate(leases_.at(id));
      if (revoke) must_revoke_.insert(id);
      return revoke;
    });
  }
  void EndProject(ProjectId id, ProjectPhase phase) {
    projects_.at(id).phase = phase;
    RevokeWhere([&](const LeaseRecord& lease) { return lease.task.project == id; });
  }
  void CountFailure(const Task& task) {
    ProjectRecord& project = projects_.at(task.project);
    if (++project.failures[KeyOf(task)] == options_.task_failures_max) {
      EndProject(task.project, ProjectPhase::kFailed);
    }
  }

  void Before(const ProjectSubmitted& e) {
    if (CheckConfig(e.config).ok())
      projects_.try_emplace(e.project, ProjectRecord{e.config, {}, {}, {}, {}, {}, {}});
  }
  void Before(const ProjectPaused& e) {
    const auto it = projects_.find(e.project);
    if (it != projects_.end() && it->second.phase == ProjectPhase::kRunning) {
      it->second.phase = ProjectPhase::kPaused;
    }
  }
  void Before(const ProjectResumed& e) {
    const auto it = projects_.find(e.project);
    if (it != projects_.end() && it->second.phase == ProjectPhase::kPaused) {
      it->second.phase = ProjectPhase::kRunning;
    }
  }
  void Before(const ProjectCancelled& e) {
    const auto it = projects_.find(e.project);
    if (it != projects_.end() && Live(it->second)) EndProject(e.project, ProjectPhase::kCancelled);
  }
  void Before(const LeaseRequested& e) {
    std::erase_if(live_, [&](LeaseId id) { return leases_.at(id).provider == e.provider; });
  }
  void Before(const LeaseRenewed& e) {
    LeaseRecord* lease = Own(e.provider, e.lease);
    expected_answer_ = lease != nullptr;
    if (lease != nullptr) lease->expires = now_ + options_.lease_silence_max;
  }
  void Before(const LeaseReleased& e) {
    LeaseRecord* lease = Own(e.provider, e.lease);
    expected_answer_ = lease != nullptr;
    if (lease == nullptr) return;
    live_.erase(e.lease);
    if (e.failed) CountFailure(lease->task);
  }
  void Before(const ResultSubmitted& e) {
    LeaseRecord* lease = Own(e.provider, e.lease);
    if (lease == nullptr) {
      const auto it = leases_.find(e.lease);
      expected_answer_ = it != leases_.end() && it->second.accepted &&
                         it->second.provider == e.provider && it->second.update == e.update &&
                         last_accepted_[e.provider] == e.lease;
      return;
    }
    live_.erase(e.lease);
    const Task task = lease->task;
    expected_answer_ =
        e.metrics.samples == task.end - task.begin && e.metrics.correct <= e.metrics.samples;
    if (!*expected_answer_) return CountFailure(task);
    lease->accepted = true;
    lease->update = e.update;
    last_accepted_[e.provider] = e.lease;
    EXPECT_TRUE(projects_.at(task.project).counted.emplace(KeyOf(task), e.update).second)
        << "a task counted twice";
    RevokeWhere([&](const LeaseRecord& other) { return other.task == task; });
    ProjectRecord& project = projects_.at(task.project);
    project.losses[{task.kind, task.version}] += e.metrics.loss_sum_micro;
    if (TrainingOver(project) && AllEvaluated(project)) {
      EndProject(task.project, ProjectPhase::kFinished);
    }
  }
  void Before(const StepFolded& e) {
    const auto it = projects_.find(e.project);
    if (it == projects_.end() || !Live(it->second) || TrainingOver(it->second)) return;
    ProjectRecord& project = it->second;
    if (e.step != project.version || !StepComplete(project)) return;
    ++project.version;
    if (TrainingOver(project) && AllEvaluated(project)) {
      EndProject(e.project, ProjectPhase::kFinished);
    }
  }
  void Before(const TimePassed&) {}

  void OnGrant(const GrantLease& grant, const Event& event) {
    const auto* request = std::get_if<LeaseRequested>(&event);
    ASSERT_NE(request, nullptr) << "a grant that nobody asked for";
    EXPECT_EQ(grant.provider, request->provider);
    const Task& task = grant.task;
    const ProjectRecord& project = projects_.at(task.project);
    EXPECT_EQ(project.phase, ProjectPhase::kRunning);
    EXPECT_TRUE(leases_.empty() || grant.lease > leases_.rbegin()->first) << "a lease id again";
    EXPECT_FALSE(project.counted.contains(KeyOf(task))) << "a task that is done";
    const std::uint64_t steps = StepsInEpoch(project.config);
    if (task.kind == TaskKind::kTrain) {
      EXPECT_EQ(task.version, project.version) << "not from the open step's weights";
      const auto [judged, over] = Verdict(project);
      EXPECT_FALSE(over) << "training beyond the early end";
      if (project.config.stopping) {
        EXPECT_EQ(judged, task.epoch) << "training before the verdict on the epoch before";
      }
      EXPECT_EQ(task.epoch, project.version / steps);
      const auto [first, last] = StepRange(project);
      EXPECT_GE(task.task_index, first);
      EXPECT_LT(task.task_index, last);
      EXPECT_EQ(task.begin, End(project.config, task.task_index - 1));
      EXPECT_EQ(task.end, End(project.config, task.task_index));
    } else {
      EXPECT_LE(task.version, project.version);
      EXPECT_GT(task.version, 0u);
      EXPECT_EQ(task.version % steps, 0u);
      EXPECT_EQ(task.epoch, task.version / steps);
      EXPECT_EQ(task.begin, 0u);
      EXPECT_EQ(task.end, project.config.validation_samples);
    }
    std::uint32_t same_task = 0;
    std::set<ProviderId> contributors{grant.provider};
    for (const LeaseId id : live_) {
      const LeaseRecord& lease = leases_.at(id);
      EXPECT_NE(lease.provider, grant.provider) << "two leases at once";
      if (lease.task == task) ++same_task;
      if (lease.task.project == task.project) contributors.insert(lease.provider);
    }
    EXPECT_LT(same_task, options_.task_leases_max);
    EXPECT_EQ(grant.backup, same_task > 0);
    if (project.config.contributors_max != 0) {
      EXPECT_LE(contributors.size(), project.config.contributors_max);
    }
    EXPECT_EQ(grant.deadline, now_ + options_.lease_silence_max);
    leases_[grant.lease] = {grant.provider, task, grant.deadline, false, {}};
    live_.insert(grant.lease);
  }

  void OnEnded(const ProjectEnded& ended) {
    EXPECT_EQ(projects_.at(ended.project).phase, ended.phase);
    EXPECT_TRUE(ended_.insert(ended.project).second) << "ended twice";
  }

  SchedulerOptions options_;
  Instant now_;
  std::map<ProjectId, ProjectRecord> projects_;
  std::map<LeaseId, LeaseRecord> leases_;  // All that ever were.
  std::set<LeaseId> live_;
  std::map<ProviderId, LeaseId> last_accepted_;
  std::set<ProjectId> ended_;
  // Of the Apply in hand.
  std::optional<bool> expected_answer_;
  std::size_t granted_ = 0;
  std::size_t refused_ = 0;
  std::set<LeaseId> must_revoke_;
};

}  // namespace dnc::sched::test
