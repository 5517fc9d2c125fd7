// What providers call.

#include "server/api.h"
#include "server/objects.h"

namespace dnc::server {

// A project in which the provider has or had a lease; all others are not there for it.
Result<ProjectId> Api::FindGranted(const Request& request) const {
  DNC_ASSIGN(const std::uint64_t id, ParseId(request.parameters[0], "project"));
  const ProjectId project{id};
  if (parts_.projects->Find(project) == nullptr ||
      !parts_.grid->MayRead(request.principal.provider, project)) {
    return Error{ErrorCode::kNotFound,
                 "this provider has no lease in a project " + std::to_string(id)};
  }
  return project;
}

Result<BodyPlan> Api::GetWork(const Request& request) {
  DNC_ASSIGN(const ProjectId project, FindGranted(request));
  return AnswerWith([this, project] {
    const Result<proto::ProjectWork> work = parts_.projects->GetWork(project);
    return work.ok() ? JsonResponse(ToJson(*work)) : ErrorResponse(work.error());
  });
}

Result<BodyPlan> Api::GetWeights(const Request& request) {
  DNC_ASSIGN(const ProjectId project, FindGranted(request));
  std::uint64_t version = 0;
  if (request.parameters[1] != "0") {
    DNC_ASSIGN(version, ParseId(request.parameters[1], "version"));
  }
  DNC_TRY(parts_.upkeep->CheckVersion(project, version));
  return AnswerWith([this, project, version] {
    Result<std::unique_ptr<RandomAccessSource>> source =
        store::OpenObject(parts_.store, WeightsKey(project, version));
    if (!source.ok()) return ErrorResponse(source.error());
    Response response;
    response.content_type = "application/octet-stream";
    response.source = std::move(*source);
    response.source_bytes = response.source->size();
    return response;
  });
}

Result<BodyPlan> Api::PostLease(const Request& request) {
  return AnswerTo<proto::LeaseRequest>(
      [this, provider = request.principal.provider](const proto::LeaseRequest& lease,
                                                    const std::shared_ptr<Exchange>& exchange) {
        parts_.grid->RequestLease(provider, Duration::Milliseconds(lease.wait_ms), exchange);
      });
}

Result<BodyPlan> Api::RenewLease(const Request& request) {
  DNC_ASSIGN(const std::uint64_t lease, ParseId(request.parameters[0], "lease"));
  return AnswerTo<proto::LeaseRenewal>(
      [this, provider = request.principal.provider, lease](
          const proto::LeaseRenewal& renewal, const std::shared_ptr<Exchange>& exchange) {
        parts_.grid->Renew(provider, LeaseId{lease}, renewal.samples_done, exchange);
      });
}

Result<BodyPlan> Api::PutResult(const Request& request) {
  DNC_ASSIGN(const std::uint64_t lease, ParseId(request.parameters[0], "lease"));
  DNC_ASSIGN(const proto::ResultMetrics metrics, proto::ParseResultMetrics(request.head->query));
  return parts_.grid->PlanResult(request.principal.provider, LeaseId{lease}, metrics);
}

Result<BodyPlan> Api::ReleaseLease(const Request& request) {
  DNC_ASSIGN(const std::uint64_t lease, ParseId(request.parameters[0], "lease"));
  return AnswerTo<proto::LeaseRelease>(
      [this, provider = request.principal.provider, lease](
          const proto::LeaseRelease& release, const std::shared_ptr<Exchange>& exchange) {
        parts_.grid->Release(provider, LeaseId{lease}, release, exchange);
      });
}

}  // namespace dnc::server
