// What requestors call about their projects.

#include <unistd.h>

#include "model/h5.h"
#include "server/api.h"
#include "server/objects.h"
#include "update/update.h"

namespace dnc::server {
namespace {

static_assert(static_cast<int>(sched::ProjectPhase::kRunning) ==
              static_cast<int>(proto::Phase::kRunning));
static_assert(static_cast<int>(sched::ProjectPhase::kPaused) ==
              static_cast<int>(proto::Phase::kPaused));
static_assert(static_cast<int>(sched::ProjectPhase::kCancelled) ==
              static_cast<int>(proto::Phase::kCancelled));
static_assert(static_cast<int>(sched::ProjectPhase::kFinished) ==
              static_cast<int>(proto::Phase::kFinished));
static_assert(static_cast<int>(sched::ProjectPhase::kFailed) ==
              static_cast<int>(proto::Phase::kFailed));

constexpr int kModelTries = 3;

bool HasEnded(sched::ProjectPhase phase) {
  return phase != sched::ProjectPhase::kRunning && phase != sched::ProjectPhase::kPaused;
}

double MeanLoss(const sched::Metrics& metrics) {
  if (metrics.samples == 0) return 0;
  return static_cast<double>(metrics.loss_sum_micro) / 1e6 / static_cast<double>(metrics.samples);
}

double Accuracy(const sched::Metrics& metrics) {
  if (metrics.samples == 0) return 0;
  return static_cast<double>(metrics.correct) / static_cast<double>(metrics.samples);
}

proto::StepStatus DescribeStep(const sched::StepView& step) {
  const Duration took = step.closed - step.started;
  return {.step = step.step,
          .samples = step.metrics.samples,
          .loss = MeanLoss(step.metrics),
          .accuracy = Accuracy(step.metrics),
          .samples_per_second =
              took.us <= 0 ? 0 : static_cast<double>(step.metrics.samples) / took.seconds()};
}

proto::TaskInfo DescribeTask(const sched::Task& task) {
  return {
      task.kind == sched::TaskKind::kTrain ? proto::TaskKind::kTrain : proto::TaskKind::kEvaluate,
      task.version,
      task.epoch,
      task.task_index,
      task.begin,
      task.end};
}

// Makes the .h5 at `path`, opens it and takes its name away: it is gone when it has
// been sent, whatever happens.
Result<std::shared_ptr<const RandomAccessSource>> MakeModel(const store::ObjectStore& store,
                                                            const std::string& weights_key,
                                                            const std::string& model_json,
                                                            const std::string& path) {
  model::TrainedModel trained;
  DNC_ASSIGN(trained.model, model::ParseModel(model_json, "model"));
  const std::uint64_t count = trained.model.weight_count;
  DNC_ASSIGN(const Bytes encoded,
             store::GetObject(store, weights_key, update::EncodedBytesMax(count)));
  DNC_ASSIGN(trained.weights, update::Decode(encoded, count));
  DNC_TRY(model::SaveH5(trained, path));
  Result<std::unique_ptr<FileSource>> file = FileSource::Open(path);
  ::unlink(path.c_str());
  if (!file.ok()) return file.error();
  return std::shared_ptr<const RandomAccessSource>(std::move(*file));
}

}  // namespace

Result<const ProjectInfo*> Api::FindOwn(const Request& request) const {
  DNC_ASSIGN(const std::uint64_t id, ParseId(request.parameters[0], "project"));
  const ProjectInfo* info = parts_.projects->Find(ProjectId{id});
  // A project that is being created is not there before its event is.
  if (info == nullptr || info->account != request.principal.account ||
      !parts_.sequencer->scheduler().FindProject(info->id)) {
    return Error{ErrorCode::kNotFound, "this account has no project " + std::to_string(id)};
  }
  return info;
}

Result<BodyPlan> Api::PostProject(const Request& request) {
  BodyPlan plan;
  plan.bytes_max = options_.project_bytes_max;
  plan.handle = [this, account = request.principal.account](
                    std::string body, const std::shared_ptr<Exchange>& exchange) {
    parts_.projects->Submit(
        account, std::move(body), [this, exchange](const Result<ProjectId>& project) {
          if (!project.ok()) return exchange->Fail(project.error());
          parts_.log->Info("project " + std::to_string(project->value) + " was submitted");
          exchange->Respond(JsonResponse(ToJson(proto::ProjectCreated{*project})));
        });
  };
  return plan;
}

proto::ProjectSummary Api::Summarize(const ProjectInfo& info) const {
  const auto view = parts_.sequencer->scheduler().FindProject(info.id);
  DNC_ASSERT(view);
  return {.project_id = info.id,
          .name = info.name,
          .phase = static_cast<proto::Phase>(view->phase),
          .version = view->version,
          .steps_total = view->steps_total,
          .tasks_done = view->tasks_done,
          .tasks_total = view->tasks_total,
          .submitted_us = view->submitted.us,
          .ended_us = HasEnded(view->phase) ? view->ended.us : 0};
}

Result<BodyPlan> Api::ListProjects(const Request& request) {
  return AnswerWith([this, account = request.principal.account] {
    proto::ProjectList list;
    const auto& all = parts_.projects->all();
    for (auto it = all.rbegin(); it != all.rend(); ++it) {
      if (it->second.account != account) continue;
      if (!parts_.sequencer->scheduler().FindProject(it->first)) continue;
      list.projects.push_back(Summarize(it->second));
    }
    return JsonResponse(ToJson(list));
  });
}

std::vector<proto::ProviderStatus> Api::DescribeProviders(ProjectId project) const {
  std::vector<proto::ProviderStatus> providers;
  for (const sched::ProviderView& view : parts_.sequencer->scheduler().providers()) {
    if (parts_.grid->ledger().LastProject(view.provider) != project) continue;
    const proto::ProviderRequest joined = parts_.accounts->FindProvider(view.provider);
    proto::ProviderStatus status;
    status.provider_id = view.provider;
    status.name = joined.name;
    status.cores = joined.cores;
    status.has_task = view.project == project;
    if (status.has_task) {
      status.task = DescribeTask(view.task);
      status.samples_done = view.samples_done;
    }
    if (view.us_per_1000_samples > 0) {
      status.samples_per_second = 1e9 / static_cast<double>(view.us_per_1000_samples);
    }
    status.tasks_accepted = view.tasks_accepted;
    status.samples_accepted = view.samples_accepted;
    status.results_refused = view.results_refused;
    if (const auto found = traffic_.find(view.provider); found != traffic_.end()) {
      status.bytes_in = found->second.in;
      status.bytes_out = found->second.out;
    }
    status.last_seen_us = view.last_seen.us;
    providers.push_back(std::move(status));
  }
  return providers;
}

proto::ProjectStatus Api::Describe(const ProjectInfo& info) const {
  const auto view = parts_.sequencer->scheduler().FindProject(info.id);
  DNC_ASSERT(view);
  proto::ProjectStatus status;
  status.summary = Summarize(info);
  status.description = info.description;
  status.fit = info.fit;
  status.grid = info.grid;
  status.weight_count = info.weight_count;
  status.train_samples = info.train_samples;
  status.validation_samples = info.validation_samples;
  status.tasks_leased = view->tasks_leased;
  status.contributors = view->contributors;
  if (view->last_step) {
    status.has_last_step = true;
    status.last_step = DescribeStep(*view->last_step);
  }
  for (const sched::EvaluationView& evaluation : view->evaluations) {
    status.evaluations.push_back({evaluation.version, evaluation.epochs, evaluation.metrics.samples,
                                  MeanLoss(evaluation.metrics), Accuracy(evaluation.metrics)});
  }
  if (view->config.stopping) {
    status.stopping = proto::StoppingStatus{.stopped_early = view->stopped_early,
                                            .epochs = view->best.epochs,
                                            .best_epoch = view->best.best,
                                            .model_version = view->model_version};
  }
  status.providers = DescribeProviders(info.id);
  status.failure = view->failure.empty() ? parts_.upkeep->FindProblem(info.id) : view->failure;
  status.now_us = parts_.sequencer->Now().us;
  return status;
}

Result<BodyPlan> Api::GetProject(const Request& request) {
  DNC_ASSIGN(const ProjectInfo* info, FindOwn(request));
  return AnswerWith([this, info] { return JsonResponse(ToJson(Describe(*info))); });
}

Result<BodyPlan> Api::ChangeProject(const Request& request) {
  const std::string& change = request.parameters[1];
  if (change != "pause" && change != "resume" && change != "cancel") {
    return Error{
        ErrorCode::kNotFound,
        "a project can be paused, resumed and cancelled, but not \"" + change.substr(0, 40) + "\""};
  }
  DNC_ASSIGN(const ProjectInfo* info, FindOwn(request));
  BodyPlan plan;
  plan.bytes_max = 1024;  // An empty object, or nothing.
  plan.handle = [this, id = info->id, change](std::string,
                                              const std::shared_ptr<Exchange>& exchange) {
    const auto view = parts_.sequencer->scheduler().FindProject(id);
    if (HasEnded(view->phase)) {
      return exchange->Fail(
          {ErrorCode::kStale, "project " + std::to_string(id.value) + " is over: it is " +
                                  proto::PhaseName(static_cast<proto::Phase>(view->phase))});
    }
    sched::Event event = sched::ProjectCancelled{id};
    if (change == "pause") event = sched::ProjectPaused{id};
    if (change == "resume") event = sched::ProjectResumed{id};
    parts_.sequencer->Submit(std::move(event), [exchange](const Result<Effects>& result) {
      exchange->Respond(result.ok() ? EmptyResponse() : ErrorResponse(result.error()));
    });
  };
  return plan;
}

Result<BodyPlan> Api::GetModel(const Request& request) {
  DNC_ASSIGN(const ProjectInfo* info, FindOwn(request));
  BodyPlan plan;
  plan.handle = [this, id = info->id](std::string, const std::shared_ptr<Exchange>& exchange) {
    SendModel(id, kModelTries, exchange);
  };
  return plan;
}

void Api::SendModel(ProjectId project, int tries_left, const std::shared_ptr<Exchange>& exchange) {
  const Result<std::string> json = parts_.projects->GetModelJson(project);
  if (!json.ok()) return exchange->Fail(json.error());
  const std::uint64_t version = parts_.sequencer->scheduler().FindProject(project)->model_version;
  const std::string path = options_.temporary_dir + "/model-" + std::to_string(project.value) +
                           "-" + std::to_string(++models_made_) + ".h5";
  parts_.workers->Post([=, this, json = *json] {
    const auto file = MakeModel(*parts_.store, WeightsKey(project, version), json, path);
    parts_.loop->Post([=, this] {
      // Steps may have been folded while it waited for a worker: then a newer one, or one
      // that is better than the best of then.
      if (!file.ok() && file.error().code == ErrorCode::kNotFound && tries_left > 1) {
        return SendModel(project, tries_left - 1, exchange);
      }
      if (!file.ok()) return exchange->Fail(file.error());
      Response response;
      response.content_type = "application/x-hdf5";
      response.headers.emplace_back("Content-Disposition", "attachment; filename=\"model.h5\"");
      response.headers.emplace_back("Dnc-Version", std::to_string(version));
      response.source = *file;
      response.source_bytes = (*file)->size();
      exchange->Respond(std::move(response));
    });
  });
}

}  // namespace dnc::server
