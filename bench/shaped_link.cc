// A slow, far link on one machine: two network namespaces joined by a link of a given
// rate and delay, packet by packet, for kernels without tc's netem.
//
//   shaped_link NAMESPACE NAMESPACE MEGABITS_PER_SECOND ROUND_TRIP_MS
//
// In each namespace (of `ip netns`) it makes a TUN device, dnclink; the caller gives them
// addresses and sets them up. Prints "ready", carries packets until its standard input
// ends, and the devices go with it. Needs CAP_NET_ADMIN and /dev/net/tun.

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"
#include "base/time.h"

namespace dnc {
namespace {

constexpr std::size_t kPacketBytesMax = 65536;
constexpr std::size_t kQueueBytesMax = 1 << 20;  // Then packets are dropped, as a router does.

// One direction of the link.
struct Direction {
  int from = -1;
  int to = -1;
  struct Packet {
    Instant due;
    std::vector<char> bytes;
  };
  std::deque<Packet> packets;
  std::size_t queued_bytes = 0;
  Instant free;  // When the wire has sent what it was given.
};

// A device in a network namespace, made from this thread, which comes back from it.
Result<int> OpenDevice(const std::string& name_space) {
  const int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  const int there = open(("/run/netns/" + name_space).c_str(), O_RDONLY | O_CLOEXEC);
  if (home < 0 || there < 0) return ErrnoError("open the namespace", name_space, errno);
  if (setns(there, CLONE_NEWNET) != 0) return ErrnoError("enter", name_space, errno);
  close(there);
  const int device = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (device < 0) return ErrnoError("open", "/dev/net/tun", errno);
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::strncpy(request.ifr_name, "dnclink", IFNAMSIZ - 1);
  if (ioctl(device, TUNSETIFF, &request) != 0) return ErrnoError("make", "dnclink", errno);
  if (setns(home, CLONE_NEWNET) != 0) return ErrnoError("leave", name_space, errno);
  close(home);
  return device;
}

// Takes what one side has sent: each packet leaves when the wire is free, and arrives half
// a round trip later.
void Receive(double bytes_per_us, Duration delay, Direction* direction) {
  std::array<char, kPacketBytesMax> buffer;
  for (;;) {
    const ssize_t size = read(direction->from, buffer.data(), buffer.size());
    if (size <= 0) return;
    const auto bytes = static_cast<std::size_t>(size);
    if (direction->queued_bytes + bytes > kQueueBytesMax) continue;
    direction->free = std::max(direction->free, MonotonicNow()) +
                      Duration::Microseconds(
                          static_cast<std::int64_t>(static_cast<double>(bytes) / bytes_per_us));
    direction->queued_bytes += bytes;
    direction->packets.push_back({direction->free + delay, {buffer.data(), buffer.data() + bytes}});
  }
}

// Hands over what is due; a device that is not up yet loses it.
void Deliver(Direction* direction) {
  const Instant now = MonotonicNow();
  while (!direction->packets.empty() && direction->packets.front().due <= now) {
    const std::vector<char>& bytes = direction->packets.front().bytes;
    if (write(direction->to, bytes.data(), bytes.size()) < 0 && errno == EAGAIN) return;
    direction->queued_bytes -= bytes.size();
    direction->packets.pop_front();
  }
}

// How long until the next packet is due; a second if none is.
timespec Wait(const std::array<Direction, 2>& directions) {
  Duration wait = Duration::Microseconds(1'000'000);
  const Instant now = MonotonicNow();
  for (const Direction& direction : directions) {
    if (direction.packets.empty()) continue;
    wait = std::min(wait, direction.packets.front().due - now);
  }
  return {.tv_sec = 0, .tv_nsec = std::clamp<std::int64_t>(wait.us, 0, 999'999) * 1000};
}

Status Run(char** arguments) {
  const double megabits = std::strtod(arguments[2], nullptr);
  const double round_trip_ms = std::strtod(arguments[3], nullptr);
  if (!(megabits > 0) || !(round_trip_ms >= 0)) {
    return Error{ErrorCode::kInvalidArgument, "expected a rate above 0 and a delay"};
  }
  const Duration delay = Duration::Microseconds(static_cast<std::int64_t>(round_trip_ms * 500));
  DNC_ASSIGN(const int one, OpenDevice(arguments[0]));
  DNC_ASSIGN(const int other, OpenDevice(arguments[1]));
  std::array<Direction, 2> directions;
  directions[0].from = directions[1].to = one;
  directions[0].to = directions[1].from = other;
  std::printf("ready\n");
  std::fflush(stdout);
  for (;;) {
    std::array<pollfd, 3> files = {pollfd{one, POLLIN, 0}, pollfd{other, POLLIN, 0},
                                   pollfd{STDIN_FILENO, POLLIN, 0}};
    const timespec wait = Wait(directions);
    if (ppoll(files.data(), files.size(), &wait, nullptr) < 0 && errno != EINTR) {
      return ErrnoError("wait for", "packets", errno);
    }
    if (files[2].revents != 0) return {};
    for (Direction& direction : directions) {
      Receive(megabits / 8, delay, &direction);
      Deliver(&direction);
    }
  }
}

}  // namespace
}  // namespace dnc

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "shaped_link NAMESPACE NAMESPACE MEGABITS_PER_SECOND ROUND_TRIP_MS\n");
    return 2;
  }
  const dnc::Status status = dnc::Run(argv + 1);
  if (!status.ok()) {
    std::fprintf(stderr, "shaped_link: %s\n", status.error().message.c_str());
    return dnc::ExitCode(status.error().code);
  }
  return 0;
}
