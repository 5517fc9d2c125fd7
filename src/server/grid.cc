#include "server/grid.h"

#include <algorithm>

#include "base/human.h"
#include "server/objects.h"
#include "update/update.h"

namespace dnc::server {
namespace {

// Renewals in the time that a lease lasts: two may be lost.
constexpr std::int64_t kRenewalsPerLease = 3;

Response NoContent() {
  Response response;
  response.status = 204;
  return response;
}

Response AnswerResponse(bool accepted, std::string reason) {
  return JsonResponse(ToJson(proto::LeaseAnswer{accepted, std::move(reason)}));
}

const sched::Answer* FindAnswer(const Effects& effects, LeaseId lease) {
  for (const sched::Effect& effect : effects) {
    const auto* answer = std::get_if<sched::Answer>(&effect);
    if (answer != nullptr && answer->lease == lease) return answer;
  }
  return nullptr;
}

// The checks before an update may count, chunk by chunk.
Status CheckUpdate(ByteSpan bytes, std::uint64_t weight_count) {
  DNC_ASSIGN(update::Decoder decoder, update::Decoder::Open(bytes, weight_count));
  for (;;) {
    DNC_ASSIGN(const std::span<const float> values, decoder.Next());
    if (values.empty()) return {};
    if (!update::AllFinite(values)) {
      return Error{ErrorCode::kInvalidArgument,
                   "the update holds a value that is not finite: the training diverged"};
    }
  }
}

}  // namespace

struct Grid::Waiter {
  std::shared_ptr<Exchange> exchange;
  Loop::TimerId timer = 0;
  bool asking = false;   // An event of it is on its way.
  bool expired = false;  // Time was up while it was asking.
  bool over = false;     // Answered, or gone.
};

// A result on its way in.
struct Grid::Upload {
  ProviderId provider;
  LeaseId lease;
  ProjectId project;
  proto::ResultMetrics metrics;
  std::uint64_t weight_count = 0;
  std::unique_ptr<store::ObjectWriter> writer;  // Null: the bytes are only hashed.
  Sha256Hasher hasher;
  std::uint64_t bytes = 0;
  Digest digest;

  sched::ResultSubmitted Event() const {
    return {provider,
            lease,
            digest,
            {metrics.samples, metrics.loss_sum_micro, metrics.correct, metrics.compute_us}};
  }
};

Grid::Grid(const Parts& parts, Duration lease_silence_max, std::uint64_t weight_count_max)
    : parts_(parts), lease_silence_max_(lease_silence_max), weight_count_max_(weight_count_max) {}

void Grid::Resume() {
  Effects effects;
  parts_.sequencer->scheduler().PendingEffects(&effects);
  for (const sched::Effect& effect : effects) Run(effect);
}

// ---- Leases

void Grid::RequestLease(ProviderId provider, Duration wait, std::shared_ptr<Exchange> exchange) {
  // One poll a provider: it gave up the older one, or runs twice with one token.
  if (const auto old = waiters_.find(provider); old != waiters_.end()) {
    EndWait(provider, WaiterPointer(old->second), NoContent());
  }
  const auto waiter = std::make_shared<Waiter>();
  waiter->exchange = std::move(exchange);
  waiters_[provider] = waiter;
  Ask(provider, waiter);
  if (!waiter->asking && (wait <= Duration{} || stopping_)) {
    return EndWait(provider, waiter, NoContent());
  }
  waiter->timer = parts_.loop->After(wait, [this, provider, waiter] {
    waiter->timer = 0;
    waiter->expired = true;
    if (!waiter->asking) EndWait(provider, waiter, NoContent());
  });
  waiter->exchange->OnAbandoned([this, provider, weak = std::weak_ptr<Waiter>(waiter)] {
    if (const WaiterPointer gone = weak.lock()) EndWait(provider, gone, NoContent());
  });
}

void Grid::EndWait(ProviderId provider, const WaiterPointer& waiter, Response response) {
  if (std::exchange(waiter->over, true)) return;
  if (waiter->timer != 0) parts_.loop->CancelTimer(waiter->timer);
  if (const auto found = waiters_.find(provider);
      found != waiters_.end() && found->second == waiter) {
    waiters_.erase(found);
  }
  waiter->exchange->Respond(std::move(response));
  waiter->exchange = nullptr;
}

void Grid::Ask(ProviderId provider, const WaiterPointer& waiter) {
  if (waiter->asking || waiter->over || stopping_) return;
  // So that an idle poll writes no event.
  if (!parts_.sequencer->scheduler().HasWorkFor(parts_.sequencer->Now(), provider)) return;
  waiter->asking = true;
  parts_.sequencer->Submit(sched::LeaseRequested{provider},
                           [this, provider, waiter](const Result<Effects>& result) {
                             OnAsked(provider, waiter, result);
                           });
}

void Grid::OnAsked(ProviderId provider, const WaiterPointer& waiter,
                   const Result<Effects>& result) {
  waiter->asking = false;
  if (!result.ok()) return EndWait(provider, waiter, ErrorResponse(result.error()));
  for (const sched::Effect& effect : *result) {
    const auto* grant = std::get_if<sched::GrantLease>(&effect);
    if (grant == nullptr || grant->provider != provider) continue;
    if (waiter->over) {
      // Its client went while the event was on its way: the task is free again at once.
      return parts_.sequencer->Submit(
          sched::LeaseReleased{provider, grant->lease, false, "the provider did not wait for it"},
          {});
    }
    return EndWait(provider, waiter, GrantResponse(*grant));
  }
  if (waiter->expired || stopping_) EndWait(provider, waiter, NoContent());
}

Response Grid::GrantResponse(const sched::GrantLease& grant) const {
  proto::LeaseGrant message;
  message.lease_id = grant.lease;
  message.project_id = grant.task.project;
  message.task = {grant.task.kind == sched::TaskKind::kTrain ? proto::TaskKind::kTrain
                                                             : proto::TaskKind::kEvaluate,
                  grant.task.version,
                  grant.task.epoch,
                  grant.task.task_index,
                  grant.task.begin,
                  grant.task.end};
  message.backup = grant.backup;
  message.renew_every_ms =
      std::max<std::int64_t>(1, lease_silence_max_.milliseconds() / kRenewalsPerLease);
  message.deadline_ms =
      std::max<std::int64_t>(0, (grant.deadline - parts_.sequencer->Now()).milliseconds());
  return JsonResponse(ToJson(message));
}

void Grid::AnswerWaiting() {
  stopping_ = true;
  const auto waiters = waiters_;
  for (const auto& [provider, waiter] : waiters) {
    if (!waiter->asking) EndWait(provider, waiter, NoContent());
  }
}

void Grid::SubmitAndAnswer(sched::Event event, const std::shared_ptr<Exchange>& exchange) {
  const LeaseId lease = std::visit(
      [](const auto& e) {
        if constexpr (requires { e.lease; }) return e.lease;
        return LeaseId{};
      },
      event);
  parts_.sequencer->Submit(std::move(event), [lease, exchange](const Result<Effects>& result) {
    if (!result.ok()) return exchange->Fail(result.error());
    const sched::Answer* answer = FindAnswer(*result, lease);
    DNC_ASSERT(answer != nullptr);
    exchange->Respond(AnswerResponse(answer->accepted, answer->reason));
  });
}

void Grid::Renew(ProviderId provider, LeaseId lease, std::uint64_t samples_done,
                 const std::shared_ptr<Exchange>& exchange) {
  SubmitAndAnswer(sched::LeaseRenewed{provider, lease, samples_done}, exchange);
}

void Grid::Release(ProviderId provider, LeaseId lease, const proto::LeaseRelease& release,
                   const std::shared_ptr<Exchange>& exchange) {
  SubmitAndAnswer(sched::LeaseReleased{provider, lease, release.failed, release.reason}, exchange);
}

// ---- Results

Result<BodyPlan> Grid::PlanResult(ProviderId provider, LeaseId lease,
                                  const proto::ResultMetrics& metrics) {
  const auto upload = std::make_shared<Upload>();
  upload->provider = provider;
  upload->lease = lease;
  upload->metrics = metrics;
  BodyPlan plan;
  const std::optional<HeldLease> held = ledger_.FindHeld(provider);
  const bool is_held = held && held->lease == lease;
  if (!is_held) {
    // It will be refused, or is the repetition of one that counted: the scheduler
    // tells them apart by the digest, and nothing needs to be kept.
    plan.bytes_max = update::EncodedBytesMax(weight_count_max_);
  } else if (held->kind == sched::TaskKind::kTrain) {
    const ProjectInfo* info = parts_.projects->Find(held->project);
    DNC_ASSERT(info != nullptr);
    upload->project = held->project;
    upload->weight_count = info->weight_count;
    plan.bytes_max = update::EncodedBytesMax(info->weight_count);
    DNC_ASSIGN(upload->writer, parts_.store->Create());
  }
  plan.sink = [upload](ByteSpan bytes) -> Status {
    upload->bytes += bytes.size();
    upload->hasher.Update(bytes);
    return upload->writer == nullptr ? Status() : upload->writer->Write(bytes);
  };
  plan.handle = [this, upload](std::string, std::shared_ptr<Exchange> exchange) {
    // The result of an evaluation has no body, and no digest.
    if (upload->bytes > 0) upload->digest = upload->hasher.Finish();
    if (upload->writer == nullptr) return SubmitAndAnswer(upload->Event(), exchange);
    StoreUpdate(upload, exchange);
  };
  return plan;
}

void Grid::StoreUpdate(const std::shared_ptr<Upload>& upload,
                       const std::shared_ptr<Exchange>& exchange) {
  parts_.workers->Post([this, upload, exchange] {
    const std::string key = UpdateKey(upload->project, upload->lease, upload->digest);
    const auto store = [&]() -> Status {
      DNC_TRY(upload->writer->Commit(key));
      upload->writer = nullptr;
      DNC_ASSIGN(const Bytes bytes, store::GetObject(*parts_.store, key, upload->bytes));
      return CheckUpdate(bytes, upload->weight_count);
    };
    const Status status = store();
    parts_.loop->Post(
        [this, upload, status, exchange] { OnUpdateStored(upload, status, exchange); });
  });
}

void Grid::OnUpdateStored(const std::shared_ptr<Upload>& upload, const Status& status,
                          const std::shared_ptr<Exchange>& exchange) {
  const std::string key = UpdateKey(upload->project, upload->lease, upload->digest);
  if (!status.ok()) {
    const ErrorCode code = status.error().code;
    const bool is_bad = code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported ||
                        code == ErrorCode::kInvalidArgument;
    if (is_bad) {
      parts_.upkeep->DeleteObjects({key});
      // The task is for somebody else now.
      parts_.sequencer->Submit(
          sched::LeaseReleased{upload->provider, upload->lease, true,
                               "its result was refused: " + status.error().message},
          {});
    }
    return exchange->Fail(status.error());
  }
  parts_.sequencer->Submit(upload->Event(),
                           [this, upload, exchange, key](const Result<Effects>& result) {
                             // The event may be tried again, with the bytes that are there.
                             if (!result.ok()) return exchange->Fail(result.error());
                             const sched::Answer* answer = FindAnswer(*result, upload->lease);
                             DNC_ASSERT(answer != nullptr);
                             // A refusal is for ever. What counted goes with its step.
                             if (!answer->accepted) parts_.upkeep->DeleteObjects({key});
                             exchange->Respond(AnswerResponse(answer->accepted, answer->reason));
                           });
}

// ---- Who may read what

bool Grid::MayRead(ProviderId provider, ProjectId project) const {
  if (ledger_.LastProject(provider) == project) return true;
  const auto found = readable_.find(provider);
  return found != readable_.end() && found->second.contains(project);
}

bool Grid::MayReadShard(ProviderId provider, const std::string& cid) const {
  const ProjectId last = ledger_.LastProject(provider);
  if (last && parts_.projects->HasShard(last, cid)) return true;
  const auto found = readable_.find(provider);
  return found != readable_.end() &&
         std::any_of(found->second.begin(), found->second.end(),
                     [&](ProjectId project) { return parts_.projects->HasShard(project, cid); });
}

// ---- Events and effects

Status Grid::LoadState(ByteSpan bytes) {
  DNC_ASSIGN(ledger_, Ledger::Load(bytes));
  return {};
}

void Grid::OnApplied(const sched::Event& event, const Effects& effects, bool replayed) {
  const auto useless = ledger_.Apply(event, effects);
  if (replayed) return;
  std::vector<std::string> keys;
  for (const auto& [project, update] : useless) {
    keys.push_back(UpdateKey(project, update.lease, update.digest));
  }
  parts_.upkeep->DeleteObjects(std::move(keys));
  if (const auto* submitted = std::get_if<sched::ProjectSubmitted>(&event)) {
    parts_.upkeep->AddVersion(submitted->project, 0);
  } else if (const auto* folded = std::get_if<sched::StepFolded>(&event)) {
    parts_.upkeep->PruneVersions(folded->project);
    parts_.log->Info("project " + std::to_string(folded->project.value) + ": version " +
                     std::to_string(folded->step + 1) + " is " +
                     folded->weights.Hex().substr(0, 16));
  }
  for (const sched::Effect& effect : effects) Run(effect);
}

void Grid::Run(const sched::Effect& effect) {
  if (const auto* fold = std::get_if<sched::FoldStep>(&effect)) {
    parts_.upkeep->Fold(*fold, ledger_);
  } else if (const auto* grant = std::get_if<sched::GrantLease>(&effect)) {
    readable_[grant->provider].insert(grant->task.project);
  } else if (const auto* evaluated = std::get_if<sched::VersionEvaluated>(&effect)) {
    parts_.upkeep->PruneVersions(evaluated->project);
  } else if (const auto* ended = std::get_if<sched::ProjectEnded>(&effect)) {
    parts_.upkeep->PruneVersions(ended->project);
    const auto view = parts_.sequencer->scheduler().FindProject(ended->project);
    parts_.log->Info("project " + std::to_string(ended->project.value) + ": " +
                     proto::PhaseName(static_cast<proto::Phase>(ended->phase)) +
                     (view && !view->failure.empty() ? ": " + view->failure : ""));
  } else if (std::holds_alternative<sched::WorkAvailable>(effect)) {
    const auto waiters = waiters_;
    for (const auto& [provider, waiter] : waiters) Ask(provider, waiter);
  }
}

}  // namespace dnc::server
