#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <exception>

#include "base/file.h"
#include "base/human.h"
#include "box/box.h"

namespace dnc::box {
namespace {

// What the copy sends: this byte and then the bytes, or the code and message of an error.
constexpr std::uint8_t kDone = 0;
constexpr std::uint8_t kFailed = 1;
constexpr std::size_t kMessageBytesMax = 64u << 10;

// Closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

bool WriteAll(int fd, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

Result<Bytes> Guarded(const std::function<Result<Bytes>()>& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kResourceExhausted, "not enough memory"};
  } catch (const std::exception& error) {
    return Error{ErrorCode::kInternal, error.what()};
  }
}

// In the copy; its exit status counts for nothing, what it wrote does.
void RunCopy(int fd, int seconds_max, const std::function<Result<Bytes>()>& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGINT, SIG_IGN);  // The terminal sends it to both; the other decides.
  const rlimit seconds{static_cast<rlim_t>(seconds_max), static_cast<rlim_t>(seconds_max)};
  ::setrlimit(RLIMIT_CPU, &seconds);
  const Status boxed = EnterBox();
  const Result<Bytes> result = boxed.ok() ? Guarded(body) : Result<Bytes>(boxed.error());
  ByteWriter head;
  if (result.ok()) {
    head.Put(kDone);
    if (WriteAll(fd, head.bytes())) WriteAll(fd, *result);
  } else {
    head.Put(kFailed);
    head.Put(static_cast<std::uint8_t>(result.error().code));
    head.PutBytes(AsBytes(result.error().message.substr(0, kMessageBytesMax)));
    WriteAll(fd, head.bytes());
  }
}

// Until the end, or one byte more than allowed, or nothing came for so long that the copy
// must be stuck.
Result<Bytes> ReadAll(int fd, std::uint64_t bytes_max, int seconds_max) {
  Bytes bytes;
  constexpr std::size_t kPart = 1u << 20;
  for (;;) {
    const std::size_t before = bytes.size();
    if (before > bytes_max) return bytes;
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    // Other processes may have the processors for a while.
    if (::poll(&ready, 1, 4000 * seconds_max) == 0) return Bytes();
    bytes.resize(before + kPart);
    const ssize_t count = ::read(fd, bytes.data() + before, kPart);
    bytes.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError("cannot read from", "the boxed process", errno);
    if (count == 0) return bytes;
  }
}

// What the copy sent, taken apart.
Result<Bytes> Unpack(Bytes bytes, std::uint64_t bytes_max, const std::string& what) {
  const std::uint8_t kind = static_cast<std::uint8_t>(bytes[0]);
  if (kind == kDone && bytes.size() <= bytes_max + 1) {
    bytes.erase(bytes.begin());
    return bytes;
  }
  if (kind == kFailed && bytes.size() >= 2 &&
      static_cast<std::uint8_t>(bytes[1]) <= static_cast<std::uint8_t>(ErrorCode::kInternal)) {
    return Error{static_cast<ErrorCode>(bytes[1]), std::string(AsText(ByteSpan(bytes).subspan(2)))};
  }
  return Error{ErrorCode::kCorrupt, what + " gave more than " + FormatByteCount(bytes_max)};
}

}  // namespace

Result<Bytes> RunBoxed(const std::string& what, std::uint64_t bytes_max, int seconds_max,
                       const std::function<Result<Bytes>()>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return ErrnoError("cannot make", "a pipe", errno);
  Descriptor from(ends[0]);
  Descriptor to(ends[1]);
  const pid_t copy = ::fork();
  if (copy < 0) {
    return Error{ErrorCode::kResourceExhausted,
                 std::string("cannot start a process: ") + std::strerror(errno)};
  }
  if (copy == 0) {
    from.Close();
    RunCopy(to.get(), seconds_max, body);
    ::_exit(0);
  }
  to.Close();
  const std::uint64_t sent_max = bytes_max + kMessageBytesMax + 2;
  Result<Bytes> bytes = ReadAll(from.get(), sent_max, seconds_max);
  from.Close();
  // One that sends too much is not waited for.
  const bool is_too_much = bytes.ok() && bytes->size() > sent_max;
  if (!bytes.ok() || bytes->empty() || is_too_much) ::kill(copy, SIGKILL);
  int status = 0;
  while (::waitpid(copy, &status, 0) < 0 && errno == EINTR) {
  }
  if (!bytes.ok()) return bytes;
  if (is_too_much || (!bytes->empty() && WIFEXITED(status)))
    return Unpack(*std::move(bytes), bytes_max, what);
  if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL)) {
    return Error{ErrorCode::kCorrupt, what + " took more than " + std::to_string(seconds_max) +
                                          " s of processor time; the file is spoilt"};
  }
  return Error{ErrorCode::kCorrupt,
               what + " crashed the library that reads it; the file is spoilt"};
}

}  // namespace dnc::box
