// The scheduler's shell: what providers ask for becomes events, and effects become
// answers, folds and deletions. Providers that wait for work cost no thread.
//
// Lives on the loop's thread.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "proto/messages.h"
#include "server/http.h"
#include "server/ledger.h"
#include "server/upkeep.h"

namespace dnc::server {

class Grid final : public EventObserver {
 public:
  struct Parts {
    Loop* loop = nullptr;
    Workers* workers = nullptr;
    Sequencer* sequencer = nullptr;
    Projects* projects = nullptr;
    Upkeep* upkeep = nullptr;
    store::ObjectStore* store = nullptr;
    const Log* log = nullptr;
  };
  Grid(const Parts& parts, Duration lease_silence_max, std::uint64_t weight_count_max);

  // After recovery: takes up the folds that a crash left undone.
  void Resume();

  // ---- What providers ask. Each answers `exchange`, now or later.
  void RequestLease(ProviderId provider, Duration wait, std::shared_ptr<Exchange> exchange);
  void Renew(ProviderId provider, LeaseId lease, std::uint64_t samples_done,
             const std::shared_ptr<Exchange>& exchange);
  void Release(ProviderId provider, LeaseId lease, const proto::LeaseRelease& release,
               const std::shared_ptr<Exchange>& exchange);
  // How to take the body of a result. It is stored durably and checked before it may
  // count; the answer comes after the event is durable.
  Result<BodyPlan> PlanResult(ProviderId provider, LeaseId lease,
                              const proto::ResultMetrics& metrics);

  // Whether the provider has or had a lease in the project, since the server started
  // or by its last one.
  bool MayRead(ProviderId provider, ProjectId project) const;
  // Whether a project of the provider's holds this shard.
  bool MayReadShard(ProviderId provider, const std::string& cid) const;

  // Answers all that wait, and from now on at once: the server is stopping.
  void AnswerWaiting();
  std::uint64_t waiting_count() const { return waiters_.size(); }
  const Ledger& ledger() const { return ledger_; }

  // ---- EventObserver
  void OnApplied(const sched::Event& event, const Effects& effects, bool replayed) override;
  Bytes SaveState() const override { return ledger_.Save(); }
  Status LoadState(ByteSpan bytes) override;

 private:
  struct Waiter;
  struct Upload;
  using WaiterPointer = std::shared_ptr<Waiter>;

  void Ask(ProviderId provider, const WaiterPointer& waiter);
  void OnAsked(ProviderId provider, const WaiterPointer& waiter, const Result<Effects>& result);
  void EndWait(ProviderId provider, const WaiterPointer& waiter, Response response);
  Response GrantResponse(const sched::GrantLease& grant) const;
  void SubmitAndAnswer(sched::Event event, const std::shared_ptr<Exchange>& exchange);
  void StoreUpdate(const std::shared_ptr<Upload>& upload,
                   const std::shared_ptr<Exchange>& exchange);
  void OnUpdateStored(const std::shared_ptr<Upload>& upload, const Status& status,
                      const std::shared_ptr<Exchange>& exchange);
  void Run(const sched::Effect& effect);

  Parts parts_;
  Duration lease_silence_max_;
  std::uint64_t weight_count_max_;
  Ledger ledger_;
  std::map<ProviderId, WaiterPointer> waiters_;
  std::map<ProviderId, std::set<ProjectId>> readable_;
  bool stopping_ = false;
};

}  // namespace dnc::server
