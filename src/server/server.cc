#include "server/server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/file.h"
#include "server/accounts.h"
#include "server/api.h"
#include "server/database.h"
#include "server/grid.h"
#include "server/http_server.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/projects.h"
#include "server/sequencer.h"
#include "server/upkeep.h"
#include "server/workers.h"
#include "store/object_store.h"

namespace dnc::server {
namespace {

// Two: a long fold leaves one for logins and uploads.
constexpr int kWorkerThreads = 2;
constexpr Duration kDrainPatience = Duration::Seconds(2);

// Held as long as the server uses the folder; the kernel frees it with the process.
class FolderLock {
 public:
  FolderLock() = default;
  ~FolderLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  Status Acquire(const std::string& folder) {
    const std::string path = folder + "/lock";
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd_ < 0) return ErrnoError("cannot open", path, errno);
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return {};
    if (errno != EWOULDBLOCK) return ErrnoError("cannot lock", path, errno);
    return Error{ErrorCode::kAlreadyExists, "the state folder " + folder +
                                                " is in use by another server; stop that one, or "
                                                "choose another folder"};
  }

 private:
  int fd_ = -1;
};

Status PrepareFolders(const std::string& state_dir) {
  DNC_TRY(MakeDirectories(state_dir));
  std::error_code error;
  // Holds password hashes and people's data: for the owner only.
  std::filesystem::permissions(state_dir, std::filesystem::perms::owner_all, error);
  return {};
}

Status EmptyTemporaryFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  return MakeDirectories(folder);
}

// A connection is a descriptor, and 1024 is often all that a process gets unasked.
void RaiseDescriptorLimit(std::uint32_t connections_max) {
  constexpr rlim_t kOthers = 256;  // The database, objects that are sent, and so on.
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, connections_max + kOthers);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  // Without it the listener waits when descriptors run out.
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

sched::SchedulerOptions SchedulerOptionsOf(const ServerOptions& options) {
  sched::SchedulerOptions scheduler;
  scheduler.lease_silence_max = options.lease_silence_max;
  scheduler.failure_backoff = options.failure_backoff;
  return scheduler;
}

}  // namespace

// The order of the members is that of their dependence: what the loop drops at its
// end, such as uploads on their way in, may still use the store.
struct Server::Impl {
  explicit Impl(const ServerOptions& options_) : options(options_), log(options.log_to_stderr) {}
  ~Impl() { BreakOff(); }

  Status Recover();
  Status Listen();
  void BreakOff();

  const ServerOptions options;
  const Log log;
  FolderLock lock;
  std::unique_ptr<Database> writer;
  std::unique_ptr<Database> reader;
  std::unique_ptr<store::ObjectStore> store;
  Loop loop;
  std::unique_ptr<Sequencer> sequencer;
  std::unique_ptr<Accounts> accounts;
  std::unique_ptr<Projects> projects;
  std::unique_ptr<Upkeep> upkeep;
  std::unique_ptr<Grid> grid;
  std::unique_ptr<Api> api;
  std::unique_ptr<HttpServer> http;
  std::uint16_t port = 0;
  std::unique_ptr<Workers> workers;
  std::unique_ptr<Workers> writer_thread;
  std::thread loop_thread;

  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  bool closed = false;  // The loop has written its last.
  bool stopped = false;
};

Status Server::Impl::Recover() {
  if (options.state_dir.empty()) {
    return Error{ErrorCode::kInvalidArgument, "no state folder was named"};
  }
  DNC_TRY(PrepareFolders(options.state_dir));
  DNC_TRY(lock.Acquire(options.state_dir));
  const std::string temporary_dir = options.state_dir + "/tmp";
  DNC_TRY(EmptyTemporaryFolder(temporary_dir));
  const std::string database_path = options.state_dir + "/dnc.sqlite";
  DNC_ASSIGN(writer, Database::OpenWriter(database_path));
  DNC_ASSIGN(reader, Database::OpenReader(database_path));
  DNC_ASSIGN(store, store::OpenDirectoryStore(options.state_dir + "/objects"));
  workers = std::make_unique<Workers>(kWorkerThreads);
  writer_thread = std::make_unique<Workers>(1);

  sequencer =
      std::make_unique<Sequencer>(&loop, writer_thread.get(), writer.get(),
                                  SchedulerOptionsOf(options), options.snapshot_every_events);
  accounts = std::make_unique<Accounts>(
      Accounts::Parts{&loop, workers.get(), sequencer.get(), reader.get()}, options.token_lifetime);
  projects = std::make_unique<Projects>(
      Projects::Parts{&loop, workers.get(), sequencer.get(), reader.get(), store.get()},
      options.weight_count_max);
  upkeep = std::make_unique<Upkeep>(Upkeep::Parts{&loop, workers.get(), sequencer.get(),
                                                  projects.get(), reader.get(), store.get(), &log});
  grid = std::make_unique<Grid>(Grid::Parts{&loop, workers.get(), sequencer.get(), projects.get(),
                                            upkeep.get(), store.get(), &log},
                                options.lease_silence_max, options.weight_count_max);
  api = std::make_unique<Api>(
      Api::Parts{&loop, workers.get(), sequencer.get(), reader.get(), store.get(), accounts.get(),
                 projects.get(), upkeep.get(), grid.get(), &log},
      Api::Options{options.object_bytes_max, options.project_bytes_max, temporary_dir});

  DNC_TRY(sequencer->Recover(grid.get()));
  DNC_TRY(projects->Load());
  return upkeep->Recover(grid->ledger());
}

Status Server::Impl::Listen() {
  RaiseDescriptorLimit(options.connections_max);
  const HttpOptions http_options{.address = options.listen_address,
                                 .port = options.listen_port,
                                 .connections_max = options.connections_max,
                                 .header_timeout = options.header_timeout,
                                 .silence_timeout = options.silence_timeout,
                                 .keep_alive_timeout = options.keep_alive_timeout};
  DNC_ASSIGN(http, HttpServer::Start(&loop, api.get(), http_options));
  port = http->port();
  loop.Post([this] { grid->Resume(); });
  loop_thread = std::thread([this] { loop.Run(); });
  return {};
}

// As a crash would, but for the threads, which have to come to an end.
void Server::Impl::BreakOff() {
  loop.Stop();
  if (loop_thread.joinable()) loop_thread.join();
  writer_thread.reset();
  workers.reset();
  http.reset();
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  auto impl = std::make_unique<Impl>(options);
  DNC_TRY(impl->Recover());
  DNC_TRY(impl->Listen());
  std::unique_ptr<Server> server(new Server(std::move(impl)));
  server->impl_->log.Info("listening on " + server->url() + ", state in " + options.state_dir);
  return server;
}

std::uint16_t Server::port() const { return impl_->port; }

std::string Server::url() const {
  const std::string& address = impl_->options.listen_address;
  const bool is_v6 = address.find(':') != std::string::npos;
  return "http://" + (is_v6 ? "[" + address + "]" : address) + ":" + std::to_string(impl_->port);
}

Status Server::Wait() {
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait(lock, [this] { return impl_->stopped; });
  return {};
}

void Server::Stop() {
  Impl& impl = *impl_;
  std::unique_lock lock(impl.mutex);
  if (impl.stopping) {
    impl.changed.wait(lock, [&] { return impl.stopped; });
    return;
  }
  impl.stopping = true;
  impl.loop.Post([&impl] {
    impl.grid->AnswerWaiting();
    impl.http->Drain(kDrainPatience, [&impl] {
      impl.sequencer->Close([&impl] {
        const std::lock_guard closed_lock(impl.mutex);
        impl.closed = true;
        impl.changed.notify_all();
      });
    });
  });
  impl.changed.wait(lock, [&] { return impl.closed; });
  lock.unlock();
  impl.BreakOff();
  impl.log.Info("stopped");
  lock.lock();
  impl.stopped = true;
  impl.changed.notify_all();
}

}  // namespace dnc::server
