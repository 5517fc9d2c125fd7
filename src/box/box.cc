#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <memory>

#include "base/file.h"
#include "base/human.h"

namespace dnc::box {

namespace {

#if defined(__SANITIZE_ADDRESS__)
#define DNC_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DNC_SANITIZED 1
#endif
#endif

// What the computation needs. All of it works on memory, on threads of this process
// or on descriptors that are open already.
constexpr int kAllowed[] = {
    // Memory.
    SCMP_SYS(brk),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    // Threads, waiting and time.
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(getcpu),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(restart_syscall),
    // Signals within this process: what abort() and sanitizers use.
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    // What is open: sockets, pipes, files to be read, the memory for batches.
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(lseek),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    // Numbers about this process; randomness.
    SCMP_SYS(getrusage),
    SCMP_SYS(sysinfo),
    SCMP_SYS(uname),
    SCMP_SYS(getrandom),
#ifdef DNC_SANITIZED
    // UndefinedBehaviorSanitizer asks by a pipe whether memory can be read.
    SCMP_SYS(pipe),
    SCMP_SYS(pipe2),
#endif
    // The end.
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

struct FilterDeleter {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, FilterDeleter>;

// Calls that are allowed for some arguments only. 0 or a negative errno.
int AllowSome(scmp_filter_ctx filter) {
  // Threads, but no processes. clone3 hides its flags from a filter, so it does "not
  // exist", and glibc takes clone then.
  int failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
  if (failed == 0) failed = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
  // abort() signals its own thread.
  if (failed == 0) {
    failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid())));
  }
  if (failed == 0) {
    failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_EQ, F_GET_SEALS));
  }
  if (failed == 0) {
    failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
                              SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
  }
  return failed;
}

Error BoxError(int negative_errno) {
  return {ErrorCode::kUnsupported, std::string("this kernel cannot box the trainer (seccomp): ") +
                                       ::strerror(-negative_errno) +
                                       "; it needs Linux 3.17 with CONFIG_SECCOMP_FILTER"};
}

Status SetLimit(int resource, std::uint64_t value, const char* name) {
  const rlimit limit{value, value};
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &limit) == 0) return {};
  return ErrnoError("cannot limit", name, errno);
}

}  // namespace

Status LimitMemory(std::uint64_t memory_bytes_max) {
  // RLIMIT_DATA counts what the process may write, used or not, and no libraries: of
  // all limits that the kernel offers a process it is the nearest to memory used.
  DNC_TRY(SetLimit(RLIMIT_DATA, memory_bytes_max, "memory"));
  const std::size_t probe_bytes = 16u << 20;
  void* const probe =
      ::mmap(nullptr, probe_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (probe == MAP_FAILED) {
    return Error{ErrorCode::kResourceExhausted,
                 "a memory limit of " + FormatByteCount(memory_bytes_max) +
                     " is less than the trainer needs to start; allow it 512 MiB or more"};
  }
  ::munmap(probe, probe_bytes);
  return {};
}

Status EnterBox() {
  DNC_TRY(SetLimit(RLIMIT_CORE, 0, "core dumps"));
  DNC_TRY(SetLimit(RLIMIT_FSIZE, 0, "file sizes"));
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return BoxError(-errno);

  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (filter == nullptr) return BoxError(-ENOMEM);
  int failed = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);  // All threads.
  for (const int call : kAllowed) {
    if (failed == 0) failed = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0);
  }
  if (failed == 0) failed = AllowSome(filter.get());
  if (failed == 0) failed = seccomp_load(filter.get());
  if (failed != 0) return BoxError(failed);
  return {};
}

std::vector<BoxAttempt> TryToEscape() {
  struct Escape {
    const char* what;
    std::function<long()> attempt;
  };
  const Escape escapes[] = {
      {"open a file", [] { return ::open("/etc/hostname", O_RDONLY); }},
      {"create a file", [] { return ::open("/tmp", O_TMPFILE | O_WRONLY, 0600); }},
      {"look for a file",
       [] {
         struct stat info;
         return ::stat("/etc/hostname", &info);
       }},
      {"create a TCP socket", [] { return ::socket(AF_INET, SOCK_STREAM, 0); }},
      {"create a Unix socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }},
      {"start a process", [] { return ::syscall(SYS_fork); }},
      {"start a process by vfork", [] { return ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }},
      {"start a program", [] { return ::syscall(SYS_execve, "/bin/true", nullptr, nullptr); }},
      {"signal another process", [] { return ::kill(::getppid(), 0); }},
      {"signal its parent's thread", [] { return ::syscall(SYS_tgkill, 1, 1, 0); }},
      {"trace a process", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
      {"read another's memory",
       [] { return ::syscall(SYS_process_vm_readv, 1, nullptr, 0, nullptr, 0, 0); }},
      {"set up io_uring", [] { return ::syscall(SYS_io_uring_setup, 1, nullptr); }},
      {"raise a limit",
       [] {
         const rlimit limit{1, 1};
         return ::setrlimit(RLIMIT_CORE, &limit);
       }},
      {"make memory with a name", [] { return ::memfd_create("escape", 0); }},
  };
  std::vector<BoxAttempt> attempts;
  for (const Escape& escape : escapes) {
    errno = 0;
    const long outcome = escape.attempt();
    // Denied by the box, not by luck: nothing else answers EPERM to all of these.
    attempts.push_back({escape.what, outcome < 0 && errno == EPERM});
  }
  return attempts;
}

}  // namespace dnc::box
