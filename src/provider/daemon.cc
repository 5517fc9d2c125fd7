#include "provider/daemon.h"

#include <malloc.h>
#include <sys/random.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "base/human.h"
#include "provider/lane.h"
#include "trainer/process_trainer.h"

namespace dnc::provider {
namespace {

using trainer::ProcessTrainer;
using trainer::ProcessTrainerOptions;
using trainer::Trainer;

constexpr int kCoresMax = 1024;
// The trainer's data may take what is left beside the daemon's own share.
constexpr std::uint64_t kDaemonShareBytes = kDaemonBytes + kLoaderBytesMax;
constexpr Duration kProgressEvery = Duration::Milliseconds(200);

// A shard is asked for again: only shown, the agent knows nothing of it.
struct ObjectRetry {
  Error error;
  Duration wait;
};
using Message = std::variant<agent::Event, ObjectRetry>;

agent::Task ToAgent(ProjectId project, const proto::TaskInfo& info) {
  return {.project = project,
          .kind = info.kind == proto::TaskKind::kTrain ? agent::TaskKind::kTrain
                                                       : agent::TaskKind::kEvaluate,
          .version = info.version,
          .epoch = info.epoch,
          .task_index = info.task_index,
          .begin = info.begin,
          .end = info.end};
}

// `text` cut to what a message may hold, between two characters of UTF-8.
std::string CutReason(const std::string& text) {
  if (text.size() <= proto::kReasonBytesMax) return text;
  std::size_t size = proto::kReasonBytesMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

Status CheckOptions(const ProviderOptions& options) {
  if (options.cores < 1 || options.cores > kCoresMax) {
    return Error{ErrorCode::kInvalidArgument, "cores: " + std::to_string(options.cores) +
                                                  ", but 1 to " + std::to_string(kCoresMax) +
                                                  " can be lent"};
  }
  const std::uint64_t memory_bytes_min = ProgramsBytes(options.cores) + kLoaderBytesMax;
  if (options.memory_bytes < memory_bytes_min) {
    return Error{ErrorCode::kInvalidArgument,
                 "memory: " + FormatByteCount(options.memory_bytes) + ", but at least " +
                     FormatByteCount(memory_bytes_min) + " are needed (daemon " +
                     FormatByteCount(kDaemonShareBytes) + ", trainer " +
                     FormatByteCount(memory_bytes_min - kDaemonShareBytes) + ")"};
  }
  if (options.disk_bytes > 0 && options.work_folder.empty()) {
    return Error{ErrorCode::kInvalidArgument, "disk: no folder was named to keep shards in"};
  }
  if (options.trainer_nice < 0 || options.trainer_nice > 19) {
    return Error{ErrorCode::kInvalidArgument,
                 "nice: " + std::to_string(options.trainer_nice) + ", but 0 to 19 are possible"};
  }
  return {};
}

Result<std::unique_ptr<Trainer>> StartTrainer(const ProcessTrainerOptions& options, int nice) {
  DNC_ASSIGN(std::unique_ptr<ProcessTrainer> started, ProcessTrainer::Start(options));
  // Threads that it makes later inherit this. If it fails, training merely competes.
  if (nice > 0) ::setpriority(PRIO_PROCESS, static_cast<id_t>(started->pid()), nice);
  return std::unique_ptr<Trainer>(std::move(started));
}

}  // namespace

struct Provider::Impl {
  Impl(const ProviderOptions& provider_options, ProviderParts provider_parts,
       ProviderObserver* provider_observer)
      : options(provider_options),
        parts(std::move(provider_parts)),
        observer(provider_observer),
        agent(parts.agent) {}
  ~Impl() { EndWork(); }

  // ---- Of the thread of Run().
  void Dispatch(const agent::Event& event);
  void Observe(const agent::Event& event);
  void PublishStatistics();
  Instant Deadline() const;
  void OnDeadlines();
  void EndTrainingAtOnce();
  void EndWork();

  void Do(const agent::RequestLease&);
  void Do(const agent::FetchSpec& effect);
  void Do(const agent::FetchWeights& effect);
  void Do(const agent::Train& effect);
  void Do(const agent::AbortWork&);
  void Do(const agent::UploadResult& effect);
  void Do(const agent::RenewLease& effect);
  void Do(const agent::ReleaseLease& effect);
  void Do(const agent::RetryScheduled& effect);
  void Do(const agent::LeaseLost& effect);
  void Do(const agent::Exit& effect) { exit = effect.status; }

  // ---- Of any thread.
  void Send(Message message);

  ProviderOptions options;
  ProviderParts parts;
  ProviderObserver* observer;
  agent::Agent agent;
  std::unique_ptr<LeafCache> cache;
  std::unique_ptr<ServerCalls> calls;
  std::unique_ptr<TaskRunner> runner;

  TaskReport report;
  agent::Metrics metrics;  // Of the last training.
  bool refused = false;    // In this turn; then LeaseLost says nothing new.
  bool waiting_shown = false;
  bool training = false;  // A Train was not answered yet.
  Instant show_waiting_at = Instant::Never();
  Instant kill_trainer_at = Instant::Never();
  Instant speed_from;                    // Of the first progress of a task...
  std::uint64_t speed_from_samples = 0;  // ...and how far it was.
  std::optional<Status> exit;

  mutable std::mutex mutex;
  std::condition_variable changed;
  std::deque<Message> messages;
  ProviderStatistics statistics;  // Only what comes of the agent.

  // Last: their threads use all above.
  Lane renewals;
  Lane releases;
  Lane work;
};

void Provider::Impl::Send(Message message) {
  {
    const std::lock_guard lock(mutex);
    messages.push_back(std::move(message));
  }
  changed.notify_all();
}

void Provider::Impl::EndWork() {
  work.Cancel();
  renewals.Cancel();
  releases.Cancel();
  if (runner != nullptr) runner->StopTrainer();
  work.End();
  renewals.End();
  releases.End();
  runner.reset();
}

void Provider::Impl::Do(const agent::RequestLease&) {
  if (!waiting_shown && show_waiting_at == Instant::Never()) {
    show_waiting_at = MonotonicNow() + parts.waiting_shown_after;
  }
  work.Post([this] {
    Result<std::optional<proto::LeaseGrant>> grant = calls->RequestLease(parts.lease_wait);
    if (!grant.ok()) return Send(agent::CallFailed{agent::Call::kRequestLease, grant.error()});
    if (!grant->has_value()) return Send(agent::NoWork{});
    const proto::LeaseGrant& lease = **grant;
    const std::int64_t renew_ms = std::clamp<std::int64_t>(lease.renew_every_ms, 100, 3'600'000);
    Send(agent::LeaseGranted{lease.lease_id, ToAgent(lease.project_id, lease.task),
                             Duration::Milliseconds(renew_ms)});
  });
}

void Provider::Impl::Do(const agent::FetchSpec& effect) {
  work.Post([this, project = effect.project] {
    const Status status = runner->FetchProject(project);
    if (!status.ok()) return Send(agent::CallFailed{agent::Call::kFetchSpec, status.error()});
    Send(agent::SpecReady{});
  });
}

void Provider::Impl::Do(const agent::FetchWeights& effect) {
  work.Post([this, effect] {
    const Status status = runner->FetchWeights(effect.project, effect.version);
    if (!status.ok()) return Send(agent::CallFailed{agent::Call::kFetchWeights, status.error()});
    Send(agent::WeightsReady{});
  });
}

void Provider::Impl::Do(const agent::Train& effect) {
  // The work lane is idle now, so that the runner may be read.
  if (const Project* project = runner->project(); project != nullptr) {
    report.project = project->name;
  }
  speed_from = Instant::Never();
  training = true;
  observer->OnTraining(report);
  work.Post([this, task = effect.task] {
    Instant next_progress = MonotonicNow() + kProgressEvery;
    const Result<agent::Metrics> result = runner->Run(task, [&](std::uint64_t samples_done) {
      const Instant now = MonotonicNow();
      if (now < next_progress) return;
      next_progress = now + kProgressEvery;
      Send(agent::TrainingProgress{samples_done});
    });
    if (!result.ok()) return Send(agent::CallFailed{agent::Call::kTrain, result.error()});
    Send(agent::TrainingDone{*result});
  });
}

void Provider::Impl::Do(const agent::AbortWork&) {
  work.Cancel();
  // A lost task ends between two batches, which keeps the trainer for the next one; a
  // stop does not wait for that.
  if (agent.view().stopping) {
    EndTrainingAtOnce();
  } else {
    kill_trainer_at = MonotonicNow() + parts.abort_patience;
  }
}

// The lease goes back now: on a busy machine a killed trainer may take seconds to end,
// and one that is being started cannot be killed yet. The real answer comes too late
// to fit, and is dropped.
void Provider::Impl::EndTrainingAtOnce() {
  runner->StopTrainer();
  if (!std::exchange(training, false)) return;
  Send(agent::CallFailed{agent::Call::kTrain, {ErrorCode::kCancelled, "stopped"}});
}

void Provider::Impl::Do(const agent::UploadResult& effect) {
  observer->OnUploading(report, runner->update_bytes());
  work.Post([this, effect] {
    const Result<proto::LeaseAnswer> answer = runner->Upload(effect.lease, effect.metrics);
    if (!answer.ok()) return Send(agent::CallFailed{agent::Call::kUploadResult, answer.error()});
    Send(agent::UploadAnswered{answer->accepted, answer->reason});
  });
}

void Provider::Impl::Do(const agent::RenewLease& effect) {
  renewals.Post([this, effect] {
    const Result<proto::LeaseAnswer> answer = calls->RenewLease(effect.lease, effect.samples_done);
    if (!answer.ok()) return Send(agent::CallFailed{agent::Call::kRenewLease, answer.error()});
    Send(agent::RenewAnswered{answer->accepted, answer->reason});
  });
}

void Provider::Impl::Do(const agent::ReleaseLease& effect) {
  observer->OnGivenBack(report, effect.failed, effect.reason);
  releases.Post([this, effect] {
    const Result<proto::LeaseAnswer> answer =
        calls->ReleaseLease(effect.lease, {effect.failed, CutReason(effect.reason)});
    if (!answer.ok()) return Send(agent::CallFailed{agent::Call::kReleaseLease, answer.error()});
    Send(agent::ReleaseAnswered{});
  });
}

void Provider::Impl::Do(const agent::RetryScheduled& effect) {
  observer->OnRetry(agent::CallName(effect.call), effect.error, effect.wait);
}

void Provider::Impl::Do(const agent::LeaseLost& effect) {
  if (!refused) observer->OnLeaseLost(report, effect.reason);
}

void Provider::Impl::Observe(const agent::Event& event) {
  if (const auto* granted = std::get_if<agent::LeaseGranted>(&event)) {
    report = {granted->lease, granted->task, {}};
    waiting_shown = false;
    show_waiting_at = Instant::Never();
    observer->OnLeased(report);
  } else if (const auto* progress = std::get_if<agent::TrainingProgress>(&event)) {
    const Instant now = MonotonicNow();
    double speed = 0;
    if (speed_from == Instant::Never()) {
      speed_from = now;
      speed_from_samples = progress->samples_done;
    } else if (now > speed_from) {
      speed = static_cast<double>(progress->samples_done - speed_from_samples) /
              (now - speed_from).seconds();
    }
    observer->OnProgress(report, progress->samples_done, speed);
  } else if (const auto* done = std::get_if<agent::TrainingDone>(&event)) {
    metrics = done->metrics;
    training = false;
  } else if (const auto* failed = std::get_if<agent::CallFailed>(&event)) {
    if (failed->call == agent::Call::kRequestLease) show_waiting_at = Instant::Never();
    if (failed->call == agent::Call::kTrain) training = false;
  }
}

void Provider::Impl::Dispatch(const agent::Event& event) {
  Observe(event);
  const std::uint64_t accepted_before = agent.view().tasks_accepted;
  const std::uint64_t refused_before = agent.view().results_refused;
  std::vector<agent::Effect> effects;
  agent.Apply(MonotonicNow(), event, &effects);
  const agent::AgentView& view = agent.view();
  PublishStatistics();

  refused = view.results_refused > refused_before;
  if (const auto* answer = std::get_if<agent::UploadAnswered>(&event)) {
    if (view.tasks_accepted > accepted_before) observer->OnAccepted(report, metrics);
    if (refused) observer->OnRefused(report, answer->reason);
  }
  for (const agent::Effect& effect : effects) {
    std::visit([this](const auto& of_a_kind) { Do(of_a_kind); }, effect);
  }
  if (view.state != agent::State::kAborting) {
    kill_trainer_at = Instant::Never();
  } else if (view.stopping) {
    EndTrainingAtOnce();  // The stop came while a lost task was being ended.
  }
}

void Provider::Impl::PublishStatistics() {
  const agent::AgentView& view = agent.view();
  const std::lock_guard lock(mutex);
  statistics.tasks_accepted = view.tasks_accepted;
  statistics.samples_accepted = view.samples_accepted;
  statistics.results_refused = view.results_refused;
  statistics.leases_lost = view.leases_lost;
}

Instant Provider::Impl::Deadline() const {
  return std::min({agent.next_deadline(), show_waiting_at, kill_trainer_at});
}

void Provider::Impl::OnDeadlines() {
  const Instant now = MonotonicNow();
  if (now >= show_waiting_at) {
    show_waiting_at = Instant::Never();
    waiting_shown = true;
    observer->OnWaitingForWork();
  }
  if (now >= kill_trainer_at) {
    kill_trainer_at = Instant::Never();
    runner->StopTrainer();
  }
  if (now >= agent.next_deadline()) Dispatch(agent::TimePassed{});
}

Provider::Provider(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Provider::~Provider() = default;

Result<std::unique_ptr<Provider>> Provider::Create(const ProviderOptions& options,
                                                   ProviderObserver* observer) {
  DNC_TRY(CheckOptions(options));
  ProcessTrainerOptions trainer_options;
  trainer_options.threads = options.cores;
  trainer_options.memory_bytes_max = options.memory_bytes - kDaemonShareBytes;
  trainer_options.boxed = options.boxed;
  trainer_options.device = trainer::DeviceChoice::kCpu;
  DNC_ASSIGN(trainer_options.program_path, trainer::FindTrainerProgram(options.trainer_program));

  // Threads would otherwise get heaps of their own, and large buffers, once
  // freed, would stay with the process.
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_MMAP_THRESHOLD, 256 << 10);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 20);

  ProviderParts parts;
  parts.make_calls = MakeServerCalls;
  parts.make_trainer = [trainer_options, nice = options.trainer_nice] {
    return StartTrainer(trainer_options, nice);
  };
  parts.agent.give_up_after = options.give_up_after;
  parts.agent.stop_grace = Duration::Milliseconds(1500);
  // Only jitter hangs on it: if it fails, zero will do.
  if (::getrandom(&parts.agent.seed, sizeof(parts.agent.seed), 0) < 0) parts.agent.seed = 0;
  return Create(options, std::move(parts), observer);
}

Result<std::unique_ptr<Provider>> Provider::Create(const ProviderOptions& options,
                                                   ProviderParts parts,
                                                   ProviderObserver* observer) {
  DNC_TRY(CheckOptions(options));
  auto impl = std::make_unique<Impl>(options, std::move(parts), observer);
  DNC_ASSIGN(impl->cache, LeafCache::Open(options.work_folder, options.disk_bytes));
  ServerCallsOptions calls;
  calls.server_url = options.server_url;
  calls.token = options.token;
  calls.work_cancelled = impl->work.cancelled();
  calls.renewals_cancelled = impl->renewals.cancelled();
  calls.releases_cancelled = impl->releases.cancelled();
  calls.on_object_retry = [impl = impl.get()](const Error& error, Duration wait) {
    impl->Send(ObjectRetry{error, wait});
  };
  DNC_ASSIGN(impl->calls, impl->parts.make_calls(calls));
  impl->runner = std::make_unique<TaskRunner>(
      TaskRunnerOptions{{options.cores, options.memory_bytes}, impl->work.cancelled()},
      impl->calls.get(), impl->cache.get(), impl->parts.make_trainer);
  return std::unique_ptr<Provider>(new Provider(std::move(impl)));
}

Status Provider::Run() {
  Impl& impl = *impl_;
  impl.Send(agent::Started{});
  while (!impl.exit.has_value()) {
    std::optional<Message> message;
    {
      std::unique_lock lock(impl.mutex);
      const auto ready = [&impl] { return !impl.messages.empty(); };
      if (const Instant deadline = impl.Deadline(); deadline == Instant::Never()) {
        impl.changed.wait(lock, ready);
      } else {
        // MonotonicNow() is this clock.
        const std::chrono::steady_clock::time_point until{std::chrono::microseconds(deadline.us)};
        impl.changed.wait_until(lock, until, ready);
      }
      if (ready()) {
        message = std::move(impl.messages.front());
        impl.messages.pop_front();
      }
    }
    if (message.has_value()) {
      if (const auto* retry = std::get_if<ObjectRetry>(&*message)) {
        impl.observer->OnRetry("fetch data", retry->error, retry->wait);
      } else {
        impl.Dispatch(std::get<agent::Event>(*message));
      }
    }
    if (!impl.exit.has_value()) impl.OnDeadlines();
  }
  const Status status = *impl.exit;
  impl.EndWork();
  return status;
}

void Provider::Stop(bool finish_current) { impl_->Send(agent::StopRequested{finish_current}); }

ProviderStatistics Provider::statistics() const {
  ProviderStatistics statistics;
  {
    const std::lock_guard lock(impl_->mutex);
    statistics = impl_->statistics;
  }
  statistics.bytes = impl_->calls->byte_counts();
  statistics.cache = impl_->cache->statistics();
  return statistics;
}

}  // namespace dnc::provider
