#include "server/ledger.h"

#include <algorithm>

namespace dnc::server {
namespace {

bool WasAccepted(const std::vector<sched::Effect>& effects, ProviderId provider, LeaseId lease) {
  return std::any_of(effects.begin(), effects.end(), [&](const sched::Effect& effect) {
    const auto* answer = std::get_if<sched::Answer>(&effect);
    return answer != nullptr && answer->provider == provider && answer->lease == lease &&
           answer->accepted;
  });
}

}  // namespace

std::vector<std::pair<ProjectId, StoredUpdate>> Ledger::Apply(
    const sched::Event& event, const std::vector<sched::Effect>& effects) {
  std::vector<std::pair<ProjectId, StoredUpdate>> useless;
  const auto drop_updates = [&](ProjectId project, std::uint64_t step_max) {
    const auto found = updates_.find(project);
    if (found == updates_.end()) return;
    for (const StoredUpdate& update : found->second) {
      if (update.step <= step_max) useless.emplace_back(project, update);
    }
    std::erase_if(found->second, [=](const StoredUpdate& u) { return u.step <= step_max; });
    if (found->second.empty()) updates_.erase(found);
  };
  const auto drop_lease = [&](ProviderId provider, LeaseId lease) {
    const auto found = held_.find(provider);
    if (found != held_.end() && found->second.lease == lease) held_.erase(found);
  };

  if (const auto* result = std::get_if<sched::ResultSubmitted>(&event)) {
    const std::optional<HeldLease> held = FindHeld(result->provider);
    // Not one that is accepted once more, because its first answer was lost.
    if (held && held->lease == result->lease &&
        WasAccepted(effects, result->provider, result->lease)) {
      if (held->kind == sched::TaskKind::kTrain) {
        updates_[held->project].push_back({result->lease, result->update, held->version});
      }
      drop_lease(result->provider, result->lease);
    }
  } else if (const auto* release = std::get_if<sched::LeaseReleased>(&event)) {
    drop_lease(release->provider, release->lease);
  } else if (const auto* folded = std::get_if<sched::StepFolded>(&event)) {
    drop_updates(folded->project, folded->step);
  }
  for (const sched::Effect& effect : effects) {
    if (const auto* grant = std::get_if<sched::GrantLease>(&effect)) {
      held_[grant->provider] = {grant->lease, grant->task.project, grant->task.kind,
                                grant->task.version};
      last_project_[grant->provider] = grant->task.project;
    } else if (const auto* revoke = std::get_if<sched::RevokeLease>(&effect)) {
      drop_lease(revoke->provider, revoke->lease);
    } else if (const auto* ended = std::get_if<sched::ProjectEnded>(&effect)) {
      drop_updates(ended->project, UINT64_MAX);
    }
  }
  return useless;
}

std::optional<HeldLease> Ledger::FindHeld(ProviderId provider) const {
  const auto found = held_.find(provider);
  if (found == held_.end()) return std::nullopt;
  return found->second;
}

ProjectId Ledger::LastProject(ProviderId provider) const {
  const auto found = last_project_.find(provider);
  return found == last_project_.end() ? ProjectId{} : found->second;
}

bool Ledger::HasUpdate(ProjectId project, LeaseId lease, const Digest& digest) const {
  const auto found = updates_.find(project);
  return found != updates_.end() &&
         std::any_of(found->second.begin(), found->second.end(), [&](const StoredUpdate& update) {
           return update.lease == lease && update.digest == digest;
         });
}

std::optional<LeaseId> Ledger::FindUpdate(ProjectId project, const Digest& digest) const {
  const auto found = updates_.find(project);
  if (found == updates_.end()) return std::nullopt;
  for (const StoredUpdate& update : found->second) {
    if (update.digest == digest) return update.lease;
  }
  return std::nullopt;
}

Bytes Ledger::Save() const {
  ByteWriter writer;
  writer.Put(static_cast<std::uint64_t>(held_.size()));
  for (const auto& [provider, held] : held_) {
    writer.Put(provider.value);
    writer.Put(held.lease.value);
    writer.Put(held.project.value);
    writer.Put(static_cast<std::uint8_t>(held.kind));
    writer.Put(held.version);
  }
  writer.Put(static_cast<std::uint64_t>(last_project_.size()));
  for (const auto& [provider, project] : last_project_) {
    writer.Put(provider.value);
    writer.Put(project.value);
  }
  std::uint64_t count = 0;
  for (const auto& [project, updates] : updates_) count += updates.size();
  writer.Put(count);
  for (const auto& [project, updates] : updates_) {
    for (const StoredUpdate& update : updates) {
      writer.Put(project.value);
      writer.Put(update.lease.value);
      writer.Put(update.step);
      writer.PutBytes(std::as_bytes(std::span(update.digest.bytes)));
    }
  }
  return std::move(writer).Take();
}

Result<Ledger> Ledger::Load(ByteSpan bytes) {
  Ledger ledger;
  ByteReader reader(bytes);
  // Nothing is allocated by these counts: a false one ends at the last byte.
  for (auto left = reader.Get<std::uint64_t>(); left > 0 && reader.ok(); --left) {
    const ProviderId provider{reader.Get<std::uint64_t>()};
    HeldLease held;
    held.lease.value = reader.Get<std::uint64_t>();
    held.project.value = reader.Get<std::uint64_t>();
    held.kind = static_cast<sched::TaskKind>(reader.Get<std::uint8_t>());
    held.version = reader.Get<std::uint64_t>();
    ledger.held_[provider] = held;
  }
  for (auto left = reader.Get<std::uint64_t>(); left > 0 && reader.ok(); --left) {
    const ProviderId provider{reader.Get<std::uint64_t>()};
    ledger.last_project_[provider].value = reader.Get<std::uint64_t>();
  }
  for (auto left = reader.Get<std::uint64_t>(); left > 0 && reader.ok(); --left) {
    const ProjectId project{reader.Get<std::uint64_t>()};
    StoredUpdate update;
    update.lease.value = reader.Get<std::uint64_t>();
    update.step = reader.Get<std::uint64_t>();
    const ByteSpan digest = reader.GetBytes(update.digest.bytes.size());
    if (!reader.ok()) break;
    std::memcpy(update.digest.bytes.data(), digest.data(), digest.size());
    ledger.updates_[project].push_back(update);
  }
  if (!reader.AtEnd()) return Error{ErrorCode::kCorrupt, "database: the snapshot is damaged"};
  return ledger;
}

}  // namespace dnc::server
