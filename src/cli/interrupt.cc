#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

namespace dnc::cli {
namespace {

constexpr int kCancelledExitCode = 130;
std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set in a signal handler");

void OnSignal(int /*signal*/) {
  if (interrupted.exchange(true)) ::_exit(kCancelledExitCode);
}

}  // namespace

void InstallInterruptHandler() {
  struct sigaction action {};
  action.sa_handler = OnSignal;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  // A full disk or a closed pipe is an error to report, not a reason to die.
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
}

bool Interrupted() { return interrupted.load(); }
const std::atomic<bool>* InterruptFlag() { return &interrupted; }

}  // namespace dnc::cli
