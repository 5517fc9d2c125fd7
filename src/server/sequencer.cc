#include "server/sequencer.h"

namespace dnc::server {
namespace {

constexpr std::uint32_t kSnapshotVersion = 1;
// A timer that comes late is no harm; one armed for every renewal would be work.
constexpr Duration kTimerSlack = Duration::Milliseconds(2);
constexpr Duration kRetryAfterFailure = Duration::Seconds(1);

}  // namespace

Sequencer::Sequencer(Loop* loop, Workers* writer_thread, Database* writer,
                     const sched::SchedulerOptions& options, std::uint32_t snapshot_every_events)
    : loop_(loop),
      writer_thread_(writer_thread),
      writer_(writer),
      options_(options),
      scheduler_(options),
      snapshot_every_events_(snapshot_every_events) {}

Instant Sequencer::Now() const { return start_now_ + (MonotonicNow() - start_monotonic_); }

// ---- Recovery

Bytes Sequencer::MakeSnapshot() const {
  ByteWriter writer;
  writer.Put(kSnapshotVersion);
  const Bytes extra = observer_->SaveState();
  writer.Put(static_cast<std::uint64_t>(extra.size()));
  writer.PutBytes(extra);
  writer.PutBytes(scheduler_.Snapshot());
  return std::move(writer).Take();
}

Status Sequencer::LoadSnapshot(ByteSpan bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Get<std::uint32_t>();
  const auto extra_bytes = reader.Get<std::uint64_t>();
  const ByteSpan extra = reader.GetBytes(extra_bytes);
  if (!reader.ok()) return Error{ErrorCode::kCorrupt, "database: the snapshot is cut short"};
  if (version > kSnapshotVersion) {
    return Error{ErrorCode::kUnsupported, "database: a snapshot of version " +
                                              std::to_string(version) + "; this dnc knows " +
                                              std::to_string(kSnapshotVersion)};
  }
  DNC_TRY(observer_->LoadState(extra));
  Result<sched::Scheduler> restored =
      sched::Scheduler::Restore(reader.GetBytes(reader.remaining()), options_);
  if (!restored.ok()) return restored.error().WithContext("database: snapshot");
  scheduler_ = std::move(*restored);
  return {};
}

Status Sequencer::Recover(EventObserver* observer) {
  observer_ = observer;
  Bytes snapshot;
  bool found = false;
  DNC_TRY(writer_->Run("SELECT seq, time_us, bytes FROM snapshots ORDER BY seq DESC LIMIT 1", {},
                       [&](const Row& row) {
                         found = true;
                         last_seq_ = row.Int(0);
                         last_now_ = Instant{row.Int(1)};
                         snapshot = row.Blob(2);
                       }));
  if (found) DNC_TRY(LoadSnapshot(snapshot));
  Status status;
  DNC_TRY(writer_->Run("SELECT seq, time_us, bytes FROM events WHERE seq > ? ORDER BY seq",
                       {last_seq_}, [&](const Row& row) {
                         if (!status.ok()) return;
                         const std::string name = "database: event " + std::to_string(row.Int(0));
                         Result<sched::Event> event = sched::DecodeEvent(row.Blob(2));
                         if (!event.ok()) {
                           status = event.error().WithContext(name);
                           return;
                         }
                         if (row.Int(0) != last_seq_ + 1) {
                           status = Error{ErrorCode::kCorrupt, name + " follows " +
                                                                   std::to_string(last_seq_) +
                                                                   ": some are missing"};
                           return;
                         }
                         last_seq_ = row.Int(0);
                         last_now_ = std::max(last_now_, Instant{row.Int(1)});
                         Effects effects;
                         scheduler_.Apply(last_now_, *event, &effects);
                         observer_->OnApplied(*event, effects, true);
                         ++events_since_snapshot_;
                       }));
  DNC_TRY(status);
  applied_seq_ = last_seq_;
  start_now_ = std::max(last_now_, WallNow());
  start_monotonic_ = MonotonicNow();
  loop_->Post([this] { ArmTimer(); });
  return {};
}

// ---- The log

void Sequencer::Submit(sched::Event event, Done done) {
  Write({}, std::move(event), std::move(done));
}

void Sequencer::Write(Writes writes, std::optional<sched::Event> event, Done done) {
  Item item{std::move(writes), std::move(event), {}, std::move(done), {}};
  if (item.event) item.encoded = sched::EncodeEvent(*item.event);
  waiting_.push_back(std::move(item));
  Flush();
}

void Sequencer::Flush() {
  if (committing_) return;
  if (waiting_.empty()) {
    if (!closed_) return;
    WriteSnapshot();
    writer_thread_->Post([this, closed = std::exchange(closed_, nullptr)] { loop_->Post(closed); });
    return;
  }
  committing_ = true;
  const Instant now = last_now_ = Now();
  // All that came while the last batch was on its way to the disk goes in one commit.
  auto batch = std::make_shared<Batch>(std::exchange(waiting_, {}));
  writer_thread_->Post([this, batch, now] {
    Commit(batch.get(), now);
    loop_->Post([this, batch, now] { OnCommitted(std::move(*batch), now); });
  });
}

void Sequencer::Commit(Batch* batch, Instant now) {
  const std::int64_t seq_before = last_seq_;
  const Status status = CommitAll(batch, now);
  if (status.ok()) return;
  last_seq_ = seq_before;
  // Fails where no transaction is open any more, which is as good.
  static_cast<void>(writer_->Run("ROLLBACK"));
  for (Item& item : *batch) {
    if (item.status.ok()) item.status = status;
  }
}

Status Sequencer::CommitAll(Batch* batch, Instant now) {
  DNC_TRY(writer_->Run("BEGIN IMMEDIATE"));
  for (Item& item : *batch) {
    if (item.writes) {
      DNC_TRY(writer_->Run("SAVEPOINT item"));
      item.status = item.writes(writer_);
      if (!item.status.ok()) {
        DNC_TRY(writer_->Run("ROLLBACK TO item"));
        DNC_TRY(writer_->Run("RELEASE item"));
        continue;
      }
      DNC_TRY(writer_->Run("RELEASE item"));
    }
    if (!item.event) continue;
    DNC_TRY(writer_->Run("INSERT INTO events(seq, time_us, bytes) VALUES(?, ?, ?)",
                         {++last_seq_, now.us, item.encoded}));
  }
  return writer_->Run("COMMIT");
}

void Sequencer::OnCommitted(Batch batch, Instant now) {
  for (Item& item : batch) {
    Effects effects;
    if (item.status.ok() && item.event) {
      scheduler_.Apply(now, *item.event, &effects);
      ++applied_seq_;
      ++events_since_snapshot_;
      observer_->OnApplied(*item.event, effects, false);
    }
    if (!item.done) continue;
    item.done(item.status.ok() ? Result<Effects>(std::move(effects))
                               : Result<Effects>(item.status.error()));
  }
  committing_ = false;
  // Nothing is being committed, so the state is that of the log's last event.
  if (events_since_snapshot_ >= snapshot_every_events_) WriteSnapshot();
  ArmTimer();
  Flush();
}

void Sequencer::ArmTimer() {
  const Instant due = scheduler_.next_deadline();
  if (timer_ != 0 && timer_at_ <= due) return;  // It will look again when it fires.
  if (timer_ != 0) loop_->CancelTimer(std::exchange(timer_, 0));
  if (due == Instant::Never()) return;
  timer_at_ = due;
  const Duration delay = std::max(due - Now(), Duration{}) + kTimerSlack;
  timer_ = loop_->After(delay, [this] {
    timer_ = 0;
    if (scheduler_.next_deadline() > Now()) return ArmTimer();
    Submit(sched::TimePassed{}, [this](const Result<Effects>& effects) {
      if (effects.ok() || timer_ != 0) return;
      timer_at_ = Instant{0};  // So that the next one to arm it leaves it alone.
      timer_ = loop_->After(kRetryAfterFailure, [this] {
        timer_ = 0;
        ArmTimer();
      });
    });
  });
}

// ---- Snapshots

void Sequencer::WriteSnapshot() {
  if (events_since_snapshot_ == 0) return;
  events_since_snapshot_ = 0;
  writer_thread_->Post([this, bytes = MakeSnapshot(), seq = applied_seq_, now = last_now_] {
    const auto write = [&]() -> Status {
      DNC_TRY(writer_->Run("BEGIN IMMEDIATE"));
      DNC_TRY(writer_->Run("INSERT INTO snapshots(seq, time_us, bytes) VALUES(?, ?, ?)",
                           {seq, now.us, bytes}));
      DNC_TRY(writer_->Run("DELETE FROM snapshots WHERE seq < ?", {seq}));
      DNC_TRY(writer_->Run("DELETE FROM events WHERE seq <= ?", {seq}));
      return writer_->Run("COMMIT");
    };
    // A failure costs nothing but a longer replay.
    if (!write().ok()) static_cast<void>(writer_->Run("ROLLBACK"));
  });
}

void Sequencer::Close(std::function<void()> done) {
  closed_ = std::move(done);
  Flush();
}

}  // namespace dnc::server
