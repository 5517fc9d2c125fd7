// A child process with a socket to its parent, whose stderr is caught. A thread of
// its own starts the child, reads its stderr and takes its exit status, so that
// there is never a zombie, and so that the child may ask the kernel to be killed
// with its parent: the kernel means the parent's thread, and this one lives as long
// as the child.

#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "trainer/protocol.h"

namespace dnc::trainer {

struct ChildProcessOptions {
  std::string program_path;
  std::vector<std::string> arguments;  // Without argv[0].
  // Which variables of the environment the child gets: it needs few, and secrets of
  // the parent are none of its business.
  std::vector<std::string> environment_names;
};

class ChildProcess {
 public:
  // Starts the program, with `socket` as descriptor kTrainerSocketFd and nothing
  // else open but stdio (stdin and stdout are /dev/null), in a process group of its
  // own, so that Ctrl-C in a terminal reaches the parent only.
  // Errors: kNotFound; kResourceExhausted; kIo.
  static Result<std::unique_ptr<ChildProcess>> Start(const ChildProcessOptions& options,
                                                     UniqueFd socket);
  ~ChildProcess();  // Kills it and waits for its end.

  // SIGKILL, unless it has ended already. Thread-safe.
  void Kill();
  // Waits until it has ended. False if it has not within `timeout_ms`.
  bool WaitForEnd(int timeout_ms);
  // How it ended and its last words: "dnc-trainer was killed by signal 9 (Killed); it
  // said: ...". Requires: it has ended.
  std::string EndText() const;
  pid_t pid() const { return pid_; }

 private:
  ChildProcess() = default;
  void Keep(const ChildProcessOptions& options, UniqueFd socket);
  void ReadLastWords(int stderr_fd);

  std::string program_name_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;  // Or failed to: start_error_.
  bool ended_ = false;
  int wait_status_ = 0;
  std::optional<Error> start_error_;
  pid_t pid_ = -1;
  std::string last_words_;
  std::thread keeper_;
};

}  // namespace dnc::trainer
