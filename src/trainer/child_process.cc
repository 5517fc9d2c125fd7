#include "trainer/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/assert.h"
#include "base/file.h"

namespace dnc::trainer {

namespace {

constexpr std::size_t kLastWordsBytesMax = 4096;
// Descriptors are moved up here first, so that none is overwritten while the
// child's 0 to 3 are set up.
constexpr int kLowestFreeFd = 10;

UniqueFd MoveUp(UniqueFd fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kLowestFreeFd)); }

std::vector<std::string> SelectEnvironment(const std::vector<std::string>& names) {
  std::vector<std::string> result;
  for (const std::string& name : names) {
    if (const char* const value = ::getenv(name.c_str())) result.push_back(name + "=" + value);
  }
  return result;
}

std::vector<char*> PointersTo(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// posix_spawn, which is safe in a program with threads and does not copy its page
// tables. Returns an errno value.
int Spawn(const ChildProcessOptions& options, int socket, int stderr_fd, pid_t* pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, stderr_fd, 2);
  posix_spawn_file_actions_adddup2(&actions, socket, kTrainerSocketFd);
  posix_spawn_file_actions_addclosefrom_np(&actions, kTrainerSocketFd + 1);

  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  std::vector<std::string> arguments{options.program_path};
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  std::vector<std::string> environment = SelectEnvironment(options.environment_names);
  const int failure = ::posix_spawn(pid, options.program_path.c_str(), &actions, &attributes,
                                    PointersTo(arguments).data(), PointersTo(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return failure;
}

}  // namespace

Result<std::unique_ptr<ChildProcess>> ChildProcess::Start(const ChildProcessOptions& options,
                                                          UniqueFd socket) {
  std::unique_ptr<ChildProcess> child(new ChildProcess);
  child->program_name_ = std::filesystem::path(options.program_path).filename().string();
  child->keeper_ = std::thread([&options, &child, fd = std::move(socket)]() mutable {
    // `options` and `child` are only valid until started_ is set.
    child.get()->Keep(options, std::move(fd));
  });
  std::unique_lock lock(child->mutex_);
  child->changed_.wait(lock, [&] { return child->started_; });
  if (child->start_error_.has_value()) {
    const Error error = *child->start_error_;
    lock.unlock();
    return error;
  }
  lock.unlock();
  return child;
}

void ChildProcess::Keep(const ChildProcessOptions& options, UniqueFd socket) {
  std::array<int, 2> pipe_fds{-1, -1};
  UniqueFd reader;
  int failure = ::pipe2(pipe_fds.data(), O_CLOEXEC) == 0 ? 0 : errno;
  if (failure == 0) {
    reader = UniqueFd(pipe_fds[0]);
    const UniqueFd writer = MoveUp(UniqueFd(pipe_fds[1]));
    const UniqueFd child_socket = MoveUp(std::move(socket));
    failure =
        writer && child_socket ? Spawn(options, child_socket.get(), writer.get(), &pid_) : EMFILE;
  }
  {
    const std::lock_guard lock(mutex_);
    if (failure != 0) {
      start_error_ = ErrnoError("cannot start", options.program_path, failure);
      ended_ = true;
    }
    started_ = true;
    changed_.notify_all();
  }
  if (failure != 0) return;

  ReadLastWords(reader.get());
  // First wait without taking the status, so that the process id stays the child's
  // until Kill() can no longer use it.
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 &&
         errno == EINTR) {
  }
  const std::lock_guard lock(mutex_);
  while (::waitpid(pid_, &wait_status_, 0) < 0 && errno == EINTR) {
  }
  ended_ = true;
  changed_.notify_all();
}

void ChildProcess::ReadLastWords(int stderr_fd) {
  std::array<char, 1024> buffer;
  for (;;) {
    const ssize_t got = ::read(stderr_fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    const std::lock_guard lock(mutex_);
    last_words_.append(buffer.data(), static_cast<std::size_t>(got));
    if (last_words_.size() > 2 * kLastWordsBytesMax) {
      last_words_.erase(0, last_words_.size() - kLastWordsBytesMax);
    }
  }
}

ChildProcess::~ChildProcess() {
  Kill();
  if (keeper_.joinable()) keeper_.join();
}

void ChildProcess::Kill() {
  const std::lock_guard lock(mutex_);
  if (started_ && !ended_) ::kill(pid_, SIGKILL);
}

bool ChildProcess::WaitForEnd(int timeout_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return ended_; });
}

std::string ChildProcess::EndText() const {
  const std::lock_guard lock(mutex_);
  DNC_ASSERT(ended_);
  std::string text = program_name_;
  if (WIFSIGNALED(wait_status_)) {
    const int signal_number = WTERMSIG(wait_status_);
    text += " was killed by signal " + std::to_string(signal_number) + " (" +
            ::strsignal(signal_number) + ")";
  } else {
    text += " ended with exit code " + std::to_string(WEXITSTATUS(wait_status_));
  }
  std::string words = last_words_;
  if (words.size() > kLastWordsBytesMax) words.erase(0, words.size() - kLastWordsBytesMax);
  while (!words.empty() && (words.back() == '\n' || words.back() == ' ')) words.pop_back();
  if (!words.empty()) text += "; it said: " + words;
  return text;
}

}  // namespace dnc::trainer
