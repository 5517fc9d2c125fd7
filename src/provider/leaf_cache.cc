#include "provider/leaf_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/human.h"
#include "shard/content_id.h"

namespace dnc::provider {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kDiskBlockBytes = 4096;
constexpr int kFoldersMax = 1000;
constexpr char kFolderPrefix[] = "leaves-";
constexpr char kLockName[] = "lock";
constexpr char kTemporaryName[] = "leaf.part";

// What a file of `bytes` takes on a disk, about.
std::uint64_t OnDisk(std::uint64_t bytes) {
  return (bytes + kDiskBlockBytes - 1) / kDiskBlockBytes * kDiskBlockBytes;
}

// An exclusive lock of the file at `path`, held until the descriptor is closed; -1 if
// another process holds it and `wait` is false.
Result<int> LockFile(const std::string& path, bool wait) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return ErrnoError("cannot open", path, errno);
  int rc = 0;
  do {
    rc = ::flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB));
  } while (rc != 0 && errno == EINTR);
  if (rc == 0) return fd;
  const int error_number = errno;
  ::close(fd);
  if (error_number == EWOULDBLOCK) return -1;
  return ErrnoError("cannot lock", path, error_number);
}

class FdCloser {
 public:
  explicit FdCloser(int fd) : fd_(fd) {}
  ~FdCloser() { ::close(fd_); }
  FdCloser(const FdCloser&) = delete;
  FdCloser& operator=(const FdCloser&) = delete;

 private:
  int fd_;
};

// The number in "leaves-<number>", or -1.
int FolderNumber(const std::string& name) {
  const std::string_view digits =
      std::string_view(name).substr(std::min(name.size(), sizeof(kFolderPrefix) - 1));
  if (!name.starts_with(kFolderPrefix) || digits.empty() || digits.size() > 3 ||
      digits.find_first_not_of("0123456789") != std::string_view::npos) {
    return -1;
  }
  return std::stoi(std::string(digits));
}

// Removes what a cache made in a folder whose lock is held, and the folder, unless
// something else lies in it.
void RemoveFolder(const std::string& folder) {
  std::error_code ignored;
  std::vector<std::string> ours;
  for (const auto& file : fs::directory_iterator(folder, ignored)) {
    const std::string name = file.path().filename().string();
    if (name == kTemporaryName || Digest::FromHex(name)) ours.push_back(file.path().string());
  }
  for (const std::string& path : ours) ::unlink(path.c_str());
  ::unlink((folder + "/" + kLockName).c_str());
  ::rmdir(folder.c_str());
}

bool ReadWhole(int fd, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::read(fd, out.data(), out.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

bool WriteWhole(int fd, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<LeafCache>> LeafCache::Open(const std::string& folder,
                                                   std::uint64_t disk_bytes) {
  std::unique_ptr<LeafCache> cache(new LeafCache());
  cache->budget_ = disk_bytes;
  if (disk_bytes == 0) return cache;
  DNC_TRY(MakeDirectories(folder));
  // Held while a sub-folder is chosen, so that none vanishes between its creation and
  // its lock.
  DNC_ASSIGN(const int choosing, LockFile(folder + "/" + kLockName, true));
  const FdCloser closer(choosing);

  std::error_code error;
  std::vector<int> numbers;
  for (const auto& file : fs::directory_iterator(folder, error)) {
    const int number = FolderNumber(file.path().filename().string());
    if (number >= 0) numbers.push_back(number);
  }
  if (error) return ErrnoError("cannot list", folder, error.value());
  std::sort(numbers.begin(), numbers.end());
  for (const int number : numbers) {
    const std::string path = folder + "/" + kFolderPrefix + std::to_string(number);
    if (!PathExists(path + "/" + kLockName)) {
      ::rmdir(path.c_str());  // Empty: a cache that ended at once. Otherwise not ours.
      continue;
    }
    DNC_ASSIGN(const int fd, LockFile(path + "/" + kLockName, false));
    if (fd < 0) continue;  // In use.
    if (cache->lock_fd_ < 0) {
      cache->lock_fd_ = fd;
      cache->folder_ = path;
    } else {
      RemoveFolder(path);
      ::close(fd);
    }
  }
  for (int number = 0; cache->lock_fd_ < 0; ++number) {
    if (number == kFoldersMax) {
      return Error{ErrorCode::kResourceExhausted,
                   folder + ": " + std::to_string(kFoldersMax) +
                       " processes keep their cache here; name another folder"};
    }
    if (std::binary_search(numbers.begin(), numbers.end(), number)) continue;
    const std::string path = folder + "/" + kFolderPrefix + std::to_string(number);
    DNC_TRY(MakeDirectories(path));
    DNC_ASSIGN(cache->lock_fd_, LockFile(path + "/" + kLockName, true));
    cache->folder_ = path;
  }
  DNC_TRY(cache->Adopt());
  return cache;
}

LeafCache::~LeafCache() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

// Takes over the leaves of an earlier run, oldest use first, and removes its
// temporary file.
Status LeafCache::Adopt() {
  struct Found {
    fs::file_time_type time;
    Digest leaf;
    std::uint64_t bytes;
  };
  std::vector<Found> found;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder_, error)) {
    const std::string name = file.path().filename().string();
    std::error_code ignored;
    if (name == kTemporaryName) ::unlink(file.path().c_str());
    const std::optional<Digest> leaf = Digest::FromHex(name);
    if (!leaf || !file.is_regular_file(ignored)) continue;
    found.push_back({file.last_write_time(ignored), *leaf, file.file_size(ignored)});
  }
  if (error) return ErrnoError("cannot list", folder_, error.value());
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return std::tie(a.time, a.leaf) < std::tie(b.time, b.leaf);
  });
  for (const Found& file : found) {
    Entry& entry = entries_[file.leaf];
    entry.disk_bytes = OnDisk(file.bytes);
    statistics_.disk_bytes += entry.disk_bytes;
    Touch(file.leaf, &entry);
  }
  MakeRoom(0);  // The budget may be smaller than it was.
  statistics_.evictions = 0;
  statistics_.disk_bytes_peak = statistics_.disk_bytes;
  return {};
}

std::string LeafCache::PathOf(const Digest& leaf) const { return folder_ + "/" + leaf.Hex(); }

void LeafCache::Touch(const Digest& leaf, Entry* entry) {
  if (entry->last_use != 0) by_use_.erase(entry->last_use);
  entry->last_use = next_use_++;
  by_use_.emplace(entry->last_use, leaf);
}

bool LeafCache::Remove(const Digest& leaf) {
  const auto it = entries_.find(leaf);
  if (::unlink(PathOf(leaf).c_str()) != 0 && errno != ENOENT) return false;
  statistics_.disk_bytes -= it->second.disk_bytes;
  by_use_.erase(it->second.last_use);
  entries_.erase(it);
  return true;
}

// Whether `bytes` more fit into the budget, once leaves have gone.
bool LeafCache::MakeRoom(std::uint64_t bytes) {
  if (bytes > budget_) return false;
  while (statistics_.disk_bytes + bytes > budget_) {
    if (by_use_.empty() || !Remove(Digest(by_use_.begin()->second))) return false;
    ++statistics_.evictions;
  }
  return true;
}

bool LeafCache::Get(const Digest& leaf, std::span<std::byte> out) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(leaf);
  if (it == entries_.end()) {
    ++statistics_.misses;
    return false;
  }
  const std::string path = PathOf(leaf);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0 && ReadWhole(fd, out) && Sha256(out) == leaf) {
    // The time of the last use, for the run that takes these files over.
    ::futimens(fd, nullptr);
    ::close(fd);
    Touch(leaf, &it->second);
    ++statistics_.hits;
    return true;
  }
  if (fd >= 0) ::close(fd);
  ++statistics_.damaged;
  ++statistics_.misses;
  Remove(leaf);
  return false;
}

void LeafCache::Put(const Digest& leaf, ByteSpan bytes) {
  const std::lock_guard lock(mutex_);
  if (budget_ == 0 || entries_.contains(leaf)) return;
  const std::uint64_t disk_bytes = OnDisk(bytes.size());
  if (!MakeRoom(disk_bytes)) return;
  // Not synced: after a crash a torn leaf is found by its hash.
  const std::string temporary = folder_ + "/" + kTemporaryName;
  const int fd =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  statistics_.disk_bytes += disk_bytes;
  statistics_.disk_bytes_peak = std::max(statistics_.disk_bytes_peak, statistics_.disk_bytes);
  const bool written = WriteWhole(fd, bytes);
  if (::close(fd) != 0 || !written || ::rename(temporary.c_str(), PathOf(leaf).c_str()) != 0) {
    ::unlink(temporary.c_str());
    statistics_.disk_bytes -= disk_bytes;
    return;
  }
  Entry& entry = entries_[leaf];
  entry.disk_bytes = disk_bytes;
  Touch(leaf, &entry);
}

LeafCacheStatistics LeafCache::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

CachedShards::CachedShards(const shard::Manifest* manifest, LeafCache* cache, RangeReader fetch)
    : manifest_(manifest), cache_(cache), fetch_(std::move(fetch)) {
  for (std::size_t i = 0; i < manifest_->shards.size(); ++i) {
    shard_indices_.emplace(manifest_->shards[i].cid, static_cast<std::uint32_t>(i));
  }
}

Result<const shard::ShardInfo*> CachedShards::Find(const std::string& key) const {
  const auto it = shard_indices_.find(key);
  if (it == shard_indices_.end()) {
    return Error{ErrorCode::kNotFound, key + ": not a shard of " + manifest_->name};
  }
  return &manifest_->shards[it->second];
}

Status CachedShards::ReadLeaf(const shard::ShardInfo& shard, std::uint64_t leaf_index,
                              std::span<std::byte> out) const {
  const Digest& expected = shard.leaves[leaf_index];
  if (cache_->Get(expected, out)) return {};
  const std::uint64_t offset = leaf_index * shard::kLeafBytes;
  // Twice, since a proxy on the way may have spoiled it once.
  for (int attempt = 0; attempt < 2; ++attempt) {
    DNC_TRY(fetch_(shard.cid, offset, out));
    if (Sha256(out) == expected) {
      cache_->Put(expected, out);
      return {};
    }
  }
  return Error{ErrorCode::kCorrupt,
               "shard " + shard.cid + ", leaf " + std::to_string(leaf_index) +
                   ": the server sent bytes that do not match the manifest, twice"};
}

Status CachedShards::Read(const std::string& key, std::uint64_t offset,
                          std::span<std::byte> out) const {
  DNC_ASSIGN(const shard::ShardInfo* shard, Find(key));
  if (offset > shard->bytes || out.size() > shard->bytes - offset) {
    return Error{ErrorCode::kCorrupt, "shard " + key + ": bytes " + std::to_string(offset) +
                                          " to " + std::to_string(offset + out.size()) +
                                          " are wanted, but it has " +
                                          FormatByteCount(shard->bytes)};
  }
  Bytes whole;  // A leaf of which only a part is wanted.
  while (!out.empty()) {
    const std::uint64_t leaf_index = offset / shard::kLeafBytes;
    const std::uint64_t leaf_begin = leaf_index * shard::kLeafBytes;
    const std::uint64_t leaf_bytes = std::min(shard::kLeafBytes, shard->bytes - leaf_begin);
    const std::uint64_t skip = offset - leaf_begin;
    const std::uint64_t take = std::min<std::uint64_t>(out.size(), leaf_bytes - skip);
    if (take == leaf_bytes) {
      DNC_TRY(ReadLeaf(*shard, leaf_index, out.first(take)));
    } else {
      whole.resize(leaf_bytes);
      DNC_TRY(ReadLeaf(*shard, leaf_index, whole));
      std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(skip), take, out.begin());
    }
    out = out.subspan(take);
    offset += take;
  }
  return {};
}

Result<std::uint64_t> CachedShards::Size(const std::string& key) const {
  DNC_ASSIGN(const shard::ShardInfo* shard, Find(key));
  return shard->bytes;
}

Result<std::vector<std::string>> CachedShards::List() const {
  std::vector<std::string> keys;
  for (const auto& [cid, index] : shard_indices_) keys.push_back(cid);
  return keys;
}

Result<std::unique_ptr<store::ObjectWriter>> CachedShards::Create() {
  return Error{ErrorCode::kUnsupported, Describe() + " is only read"};
}

Status CachedShards::Delete(const std::string& key) {
  return Error{ErrorCode::kUnsupported, Describe() + " is only read, and " + key + " is not ours"};
}

std::string CachedShards::Describe() const { return "the server's shards of " + manifest_->name; }

}  // namespace dnc::provider
