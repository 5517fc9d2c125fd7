// The one order of everything that changes: it stamps events with a time that never
// goes back, makes them durable in the log, several at a time while the disk is busy,
// and only then applies them to the scheduler. What else must change with an event
// (a project's row) is written in the same transaction.
//
// Lives on the loop's thread; the database's writer is used only on a thread of its
// own. Recovery is the newest snapshot and the events after it.

#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/result.h"
#include "sched/scheduler.h"
#include "server/database.h"
#include "server/loop.h"
#include "server/workers.h"

namespace dnc::server {

using Effects = std::vector<sched::Effect>;

// Whoever keeps a state of its own beside the scheduler's, made from the same events.
class EventObserver {
 public:
  virtual ~EventObserver() = default;
  // After the event was applied. `replayed`: during recovery, when effects are history.
  virtual void OnApplied(const sched::Event& event, const Effects& effects, bool replayed) = 0;
  virtual Bytes SaveState() const = 0;
  // Errors: kCorrupt.
  virtual Status LoadState(ByteSpan bytes) = 0;
};

class Sequencer {
 public:
  using Writes = std::function<Status(Database*)>;
  using Done = std::function<void(const Result<Effects>&)>;

  // All must outlive the sequencer. `writer_thread` has one thread.
  Sequencer(Loop* loop, Workers* writer_thread, Database* writer,
            const sched::SchedulerOptions& options, std::uint32_t snapshot_every_events);

  // Before the loop runs. Errors: kCorrupt, kUnsupported, naming the event; those of
  // the database.
  Status Recover(EventObserver* observer);

  // Makes the event durable, applies it, and gives its effects to `done`, after the
  // observer. `done` may be empty.
  // Errors, to `done`: those of the database; the event has then not happened.
  void Submit(sched::Event event, Done done);
  // The same with further writes in the event's transaction, or without an event.
  // `writes` runs on the writer's thread. Its error undoes it and drops the event.
  void Write(Writes writes, std::optional<sched::Event> event, Done done);

  // The time that the next event would have.
  Instant Now() const;
  const sched::Scheduler& scheduler() const { return scheduler_; }

  // Writes a snapshot once nothing waits, then calls `done`.
  void Close(std::function<void()> done);

 private:
  struct Item {
    Writes writes;
    std::optional<sched::Event> event;
    Bytes encoded;
    Done done;
    Status status;
  };
  using Batch = std::vector<Item>;

  void Flush();
  void Commit(Batch* batch, Instant now);       // On the writer's thread.
  Status CommitAll(Batch* batch, Instant now);  // On the writer's thread.
  void OnCommitted(Batch batch, Instant now);
  void ArmTimer();
  void WriteSnapshot();
  Bytes MakeSnapshot() const;
  Status LoadSnapshot(ByteSpan bytes);

  Loop* loop_;
  Workers* writer_thread_;
  Database* writer_;
  sched::SchedulerOptions options_;
  sched::Scheduler scheduler_;
  EventObserver* observer_ = nullptr;
  std::uint32_t snapshot_every_events_;

  // The server's clock: where the log ended or the wall clock was at the start, and
  // on from there by the monotonic clock, whatever is done to the wall clock.
  Instant start_now_{0};
  Instant start_monotonic_{0};
  Instant last_now_{0};        // Of the log.
  std::int64_t last_seq_ = 0;  // Of the last event in the log. The writer's thread's.
  std::int64_t applied_seq_ = 0;
  std::uint32_t events_since_snapshot_ = 0;
  Batch waiting_;
  bool committing_ = false;
  Loop::TimerId timer_ = 0;
  Instant timer_at_ = Instant::Never();
  std::function<void()> closed_;
};

}  // namespace dnc::server
