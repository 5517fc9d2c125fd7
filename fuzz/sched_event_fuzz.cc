// Scheduler events and snapshots from bytes that nobody vouches for. The first byte
// chooses which. A snapshot gets a good checksum, or the fuzzer would never pass it;
// one that is taken must hold together, whatever is then asked of it.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/assert.h"
#include "base/hash.h"
#include "sched/scheduler.h"

namespace {

using dnc::sched::Effect;
using dnc::sched::Event;
using dnc::sched::Scheduler;
using dnc::sched::SchedulerOptions;

void TryEvents(dnc::ByteSpan bytes) {
  Scheduler scheduler{SchedulerOptions()};
  std::vector<Effect> effects;
  scheduler.Apply(
      {1'000},
      dnc::sched::ProjectSubmitted{{1}, {.train_samples = 9, .total_tasks = 3, .task_size = 2}},
      &effects);
  // Records of a length byte, a time byte and an event.
  std::int64_t now = 1'000;
  while (bytes.size() > 2) {
    const std::size_t size =
        std::min<std::size_t>(std::to_integer<std::size_t>(bytes[0]), bytes.size() - 2);
    now += std::to_integer<std::int64_t>(bytes[1]) * 100'000;
    const auto event = dnc::sched::DecodeEvent(bytes.subspan(2, size));
    bytes = bytes.subspan(2 + size);
    if (!event.ok()) continue;
    DNC_ASSERT(dnc::sched::EncodeEvent(*event).size() == size);
    // A large step is legal, but slow.
    const auto* submitted = std::get_if<dnc::sched::ProjectSubmitted>(&*event);
    if (submitted != nullptr && submitted->config.task_size > 1'000) continue;
    scheduler.Apply({now}, *event, &effects);
    scheduler.CheckInvariants();
  }
}

void TrySnapshot(dnc::ByteSpan bytes) {
  dnc::Bytes snapshot(bytes.begin(), bytes.end());
  const dnc::Digest digest = dnc::Sha256(snapshot);
  snapshot.insert(snapshot.end(), reinterpret_cast<const std::byte*>(digest.bytes.data()),
                  reinterpret_cast<const std::byte*>(digest.bytes.data()) + digest.bytes.size());
  auto scheduler = Scheduler::Restore(snapshot, SchedulerOptions());
  if (!scheduler.ok()) return;
  scheduler->CheckInvariants();
  DNC_ASSERT(scheduler->Snapshot() == snapshot);
  std::vector<Effect> effects;
  scheduler->PendingEffects(&effects);
  scheduler->Apply({1'000}, dnc::sched::LeaseRequested{{1}}, &effects);
  scheduler->Apply({100'000'000}, dnc::sched::TimePassed{}, &effects);
  scheduler->CheckInvariants();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dnc::ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  if (bytes.empty()) return 0;
  if (bytes[0] == std::byte{0}) {
    TryEvents(bytes.subspan(1));
  } else {
    TrySnapshot(bytes.subspan(1));
  }
  return 0;
}
