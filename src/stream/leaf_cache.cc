#include "stream/leaf_cache.h"

#include <algorithm>
#include <exception>

#include "base/assert.h"
#include "base/hash.h"
#include "base/sha256_many.h"
#include "shard/content_id.h"
#include "stream/huge_pages.h"

namespace dnc::stream {
namespace {

// Mirrors that keep offering wrong bytes in turn are given up.
constexpr int kRejectionsMax = 16;
// A neighbour that fails rests from the first of these up to the second.
constexpr Duration kNeighbourRestFirst = Duration::Seconds(1);
constexpr Duration kNeighbourRestMax = Duration::Minutes(1);

}  // namespace

std::uint64_t LeafSize(const shard::ShardInfo& shard, std::uint64_t leaf) {
  return std::min(shard::kLeafBytes, shard.bytes - leaf * shard::kLeafBytes);
}

LeafCache::LeafCache(const store::ObjectStore* store, LeafCacheOptions options, MemoryMeter* meter,
                     const std::atomic<bool>* stop)
    : store_(store), options_(std::move(options)), meter_(meter), stop_(stop) {
  DNC_ASSERT(options_.leaf_count_max > 0);
  const std::size_t bytes = options_.leaf_count_max * options_.leaf_bytes;
  buffers_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
  PreferHugePages(buffers_.get(), bytes);
  entries_.reserve(options_.leaf_count_max);  // Entries are pointed to.
  try {
    for (int i = 0; i < options_.connections; ++i) {
      connections_.emplace_back([this] { RunConnection(); });
    }
  } catch (const std::exception&) {
    // As many connections as the system has threads for; without any, leaves are read
    // when they are waited for.
  }
}

LeafCache::~LeafCache() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    queue_.clear();
  }
  work_.notify_all();
  for (std::thread& connection : connections_) connection.join();
  meter_->Take(entries_.size() * options_.leaf_bytes);
}

void LeafCache::Wake() {
  // Under the lock, so that the thread is not between its check and its wait.
  const std::lock_guard lock(mutex_);
  there_.notify_all();
}

LeafCounters LeafCache::counters() const {
  const std::lock_guard lock(mutex_);
  LeafCounters counters = counters_;
  if (reading_ > 0) counters.fetching = counters.fetching + (MonotonicNow() - reading_since_);
  return counters;
}

LeafCache::Entry* LeafCache::Find(const LeafRef& ref) {
  const auto found = by_key_.find(KeyOf(ref));
  return found == by_key_.end() ? nullptr : found->second;
}

void LeafCache::Reset(Entry* entry) {
  if (entry->state == State::kQueued) std::erase(queue_, entry);
  by_key_.erase(KeyOf(entry->ref));
  std::byte* const buffer = entry->buffer;
  *entry = {};
  entry->buffer = buffer;
}

LeafCache::Entry* LeafCache::Take(std::unique_lock<std::mutex>* lock, const LeafRef& ref) {
  Entry* taken = nullptr;
  if (entries_.size() < options_.leaf_count_max) {
    meter_->Add(options_.leaf_bytes);
    entries_.push_back({});
    taken = &entries_.back();
    taken->buffer = buffers_.get() + (entries_.size() - 1) * options_.leaf_bytes;
  } else {
    for (Entry& entry : entries_) {
      // What a connection has begun is not taken back.
      if (entry.state == State::kReading || entry.state == State::kRead) continue;
      if (entry.state != State::kEmpty && entry.used == clock_) continue;
      if (taken == nullptr || entry.used < taken->used) taken = &entry;
    }
    if (taken == nullptr) return nullptr;
    if (taken->state == State::kReady && options_.on_evict) {
      lock->unlock();  // Only this thread goes on with entries that are ready.
      options_.on_evict(taken->ref, ByteSpan(taken->buffer, taken->bytes));
      lock->lock();
    }
    if (taken->state != State::kEmpty) Reset(taken);
  }
  taken->ref = ref;
  taken->bytes = LeafSize(*ref.shard, ref.leaf);
  taken->used = clock_;
  DNC_ASSERT(taken->bytes > 0 && taken->bytes <= options_.leaf_bytes);
  by_key_[KeyOf(ref)] = taken;
  return taken;
}

void LeafCache::Enqueue(Entry* entry) {
  if (!entry->from_disk && options_.disk != nullptr && entry->rejections == 0 &&
      options_.disk->SizeOf(entry->ref.digest()) == entry->bytes) {
    entry->from_disk = true;
    entry->state = State::kOnDisk;
    return;
  }
  entry->from_disk = false;
  entry->state = State::kQueued;
  queue_.push_back(entry);
  work_.notify_one();
}

void LeafCache::Expect(std::span<const LeafRef> refs) {
  std::unique_lock lock(mutex_);
  ++clock_;
  std::size_t count = 0;
  for (const LeafRef& ref : refs) {
    // Those that are there are marked first, lest one goes for another.
    if (count++ == options_.leaf_count_max) break;
    if (Entry* entry = Find(ref); entry != nullptr) entry->used = clock_;
  }
  count = 0;
  for (const LeafRef& ref : refs) {
    if (count++ == options_.leaf_count_max) return;
    if (Find(ref) != nullptr) continue;
    Entry* const entry = Take(&lock, ref);
    if (entry == nullptr) return;
    Enqueue(entry);
  }
}

Status LeafCache::ReadUnhashed(const shard::ShardInfo& shard, std::uint64_t offset,
                               std::span<std::byte> out) {
  DNC_ASSERT(local());
  if (stop_->load(std::memory_order_relaxed)) {
    return Error{ErrorCode::kCancelled, "loading was stopped"};
  }
  const Instant begin = MonotonicNow();
  DNC_TRY(store_->Read(shard.cid, offset, out));
  const std::lock_guard lock(mutex_);
  counters_.fetched_bytes += out.size();
  counters_.fetching = counters_.fetching + (MonotonicNow() - begin);
  return {};
}

bool LeafCache::Has(const LeafRef& ref) {
  const std::lock_guard lock(mutex_);
  const Entry* const entry = Find(ref);
  return entry != nullptr && entry->state == State::kReady;
}

Result<ByteSpan> LeafCache::Get(const LeafRef& ref) {
  std::unique_lock lock(mutex_);
  ++clock_;
  for (;;) {
    if (stop_->load(std::memory_order_relaxed)) {
      return Error{ErrorCode::kCancelled, "loading was stopped"};
    }
    Entry* entry = Find(ref);
    if (entry == nullptr) {
      entry = Take(&lock, ref);
      if (entry != nullptr) {
        Enqueue(entry);
      } else {
        // Every entry is under way for another leaf: what has come becomes free.
        const auto read = std::find_if(entries_.begin(), entries_.end(), [](const Entry& other) {
          return other.state == State::kRead;
        });
        if (read != entries_.end()) {
          Verify(&lock, &*read);
        } else {
          there_.wait(lock);
        }
        continue;
      }
    }
    entry->used = clock_;
    switch (entry->state) {
      case State::kReady:
        return ByteSpan(entry->buffer, entry->bytes);
      case State::kFailed: {
        const Error error = entry->failure.error();
        Reset(entry);  // The next call tries again.
        return error;
      }
      case State::kRead:
        Verify(&lock, entry);
        break;
      case State::kOnDisk:
        ReadHere(&lock, entry);
        break;
      case State::kQueued:
        if (connections_.empty()) {
          ReadHere(&lock, entry);
        } else {
          there_.wait(lock);
        }
        break;
      case State::kReading:
        there_.wait(lock);
        break;
      case State::kEmpty:
        DNC_ASSERT(false);
    }
  }
}

void LeafCache::ReadHere(std::unique_lock<std::mutex>* lock, Entry* first) {
  // No other thread goes on with these.
  std::vector<Entry*> batch = {first};
  for (Entry& entry : entries_) {
    if (batch.size() == kLeafBatch) break;
    const bool here =
        entry.state == State::kOnDisk || (entry.state == State::kQueued && connections_.empty());
    if (here && &entry != first) batch.push_back(&entry);
  }
  for (Entry* entry : batch) {
    if (entry->state != State::kOnDisk) {
      std::erase(queue_, entry);
      ReadFromStore(lock, entry);
      continue;
    }
    lock->unlock();
    const Status status =
        options_.disk->Read(entry->ref.digest(), std::span<std::byte>(entry->buffer, entry->bytes));
    lock->lock();
    if (status.ok()) {
      counters_.disk_bytes += entry->bytes;
      entry->state = State::kRead;
    } else {
      Enqueue(entry);  // It comes from the store.
    }
  }
}

void LeafCache::ReadFromStore(std::unique_lock<std::mutex>* lock, Entry* entry) {
  entry->state = State::kReading;
  if (reading_++ == 0) reading_since_ = MonotonicNow();
  Status status;
  entry->from_neighbour = ReadFromNeighbour(lock, entry);
  if (!entry->from_neighbour) {
    lock->unlock();
    status = store_->Read(entry->ref.shard->cid, entry->ref.leaf * shard::kLeafBytes,
                          std::span<std::byte>(entry->buffer, entry->bytes));
    lock->lock();
  }
  if (--reading_ == 0) counters_.fetching = counters_.fetching + (MonotonicNow() - reading_since_);
  entry->state = status.ok() ? State::kRead : State::kFailed;
  if (status.ok()) {
    (entry->from_neighbour ? counters_.neighbour_bytes : counters_.fetched_bytes) += entry->bytes;
  }
  entry->failure = std::move(status);
  there_.notify_all();
}

bool LeafCache::ReadFromNeighbour(std::unique_lock<std::mutex>* lock, Entry* entry) {
  // One that gave wrong bytes once is not asked for them again.
  if (options_.neighbours == nullptr || entry->rejections > 0) return false;
  if (MonotonicNow() < neighbours_rest_until_) return false;
  lock->unlock();
  // As a file of its own.
  const std::string cid = shard::ContentIdFromLeaves({entry->ref.digest()}, entry->bytes);
  const Status status =
      options_.neighbours->Read(cid, 0, std::span<std::byte>(entry->buffer, entry->bytes));
  lock->lock();
  if (status.ok()) {
    neighbour_failures_ = 0;
  } else if (status.error().code != ErrorCode::kNotFound) {
    const Duration rest = kNeighbourRestFirst * (std::int64_t{1} << neighbour_failures_);
    neighbours_rest_until_ = MonotonicNow() + std::min(rest, kNeighbourRestMax);
    neighbour_failures_ = std::min(neighbour_failures_ + 1, 6);
  }
  return status.ok();
}

void LeafCache::RunConnection() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    Entry* const entry = queue_.front();
    queue_.pop_front();
    ReadFromStore(&lock, entry);
  }
}

void LeafCache::Verify(std::unique_lock<std::mutex>* lock, Entry* first) {
  std::vector<Entry*> batch = {first};
  for (Entry& entry : entries_) {
    if (batch.size() == kLeafBatch) break;
    if (entry.state == State::kRead && &entry != first) batch.push_back(&entry);
  }
  std::vector<ByteSpan> contents;
  for (const Entry* entry : batch) contents.emplace_back(entry->buffer, entry->bytes);
  std::vector<Digest> digests(batch.size());
  // Only this thread goes on with entries that are read.
  lock->unlock();
  Sha256Many(contents, digests);
  lock->lock();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (digests[i] == batch[i]->ref.digest()) {
      batch[i]->state = State::kReady;
    } else if (const Status refused = Refuse(batch[i], digests[i]); !refused.ok()) {
      batch[i]->failure = refused;
      batch[i]->state = State::kFailed;
    }
  }
}

Status LeafCache::Refuse(Entry* entry, const Digest& found) {
  const LeafRef& ref = entry->ref;
  if (entry->from_disk) {
    if (options_.on_wrong_on_disk) options_.on_wrong_on_disk(ref);
    Enqueue(entry);
    return {};
  }
  const std::uint64_t offset = ref.leaf * shard::kLeafBytes;
  if (entry->from_neighbour) {
    ++entry->rejections;
    Enqueue(entry);
    return {};
  }
  ++counters_.rejected;
  if (++entry->rejections < kRejectionsMax && store_->Reject(ref.shard->cid, offset)) {
    Enqueue(entry);
    return {};
  }
  return Error{ErrorCode::kCorrupt,
               "shard " + ref.shard->cid + ", leaf " + std::to_string(ref.leaf) + " (bytes " +
                   std::to_string(offset) + " to " + std::to_string(offset + entry->bytes - 1) +
                   ") in " + store_->Describe() + ": its SHA-256 is " + found.Hex() +
                   ", but the manifest says " + ref.digest().Hex() +
                   "; fetch or divide the shard again"};
}

}  // namespace dnc::stream
