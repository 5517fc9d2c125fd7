#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "divide/checked_object.h"
#include "divide/divide.h"
#include "divide/fetch.h"
#include "shard/content_id.h"

// A shard that is on its way is the file .part-<cid>: its leaves in order. What a killed
// fetch left there is checked leaf by leaf, and taken up to the first that is wrong.

namespace dnc::divide {
namespace {

constexpr char kPartPrefix[] = ".part-";

class File {
 public:
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  Status Open(const std::string& path) {
    path_ = path;
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd_ >= 0 ? Status() : Status(ErrnoError("open", path, errno));
  }
  // Fewer bytes than `out` has only at the end.
  Result<std::size_t> Read(std::uint64_t offset, std::span<std::byte> out) const {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t got =
          ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError("read", path_, errno);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    return done;
  }
  Status Write(std::uint64_t offset, ByteSpan bytes) const {
    while (!bytes.empty()) {
      const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return ErrnoError("write", path_, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      offset += static_cast<std::uint64_t>(put);
    }
    return {};
  }
  Status Finish(std::uint64_t size) const {
    if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return ErrnoError("cut", path_, errno);
    if (::fsync(fd_) != 0) return ErrnoError("sync", path_, errno);
    return {};
  }

 private:
  int fd_ = -1;
  std::string path_;
};

class ShardFetcher {
 public:
  ShardFetcher(const shard::Manifest& manifest, const store::ObjectStore& store, std::string to,
               const FetchCallback& progress)
      : manifest_(manifest), store_(store), to_(std::move(to)), callback_(progress) {
    progress_.shards_total = manifest.shards.size();
    for (const shard::ShardInfo& shard : manifest.shards) progress_.bytes_total += shard.bytes;
  }

  Result<FetchProgress> Run() {
    DNC_TRY(MakeDirectories(to_));
    const std::string text = shard::FormatManifest(manifest_);
    const std::string path = to_ + "/" + kManifestKey;
    if (PathExists(path)) {
      DNC_ASSIGN(const std::string before, ReadFile(path, shard::ManifestLimits().bytes_max));
      if (before != text) {
        return Error{ErrorCode::kAlreadyExists,
                     path + " is the manifest of another dataset; fetch into another folder"};
      }
    }
    for (const shard::ShardInfo& shard : manifest_.shards) {
      DNC_TRY(FetchShard(shard));
      ++progress_.shards_done;
    }
    // The last one, so that a folder with a manifest is a whole dataset.
    DNC_TRY(WriteFileAtomically(path, AsBytes(text)));
    if (callback_) static_cast<void>(callback_(progress_));
    return progress_;
  }

 private:
  // Leaves at the start of `file` that are right.
  Result<std::size_t> RightLeaves(const shard::ShardInfo& shard, const File& file) {
    for (std::size_t i = 0; i < shard.leaves.size(); ++i) {
      DNC_TRY(Call());
      const std::uint64_t offset = i * shard::kLeafBytes;
      leaf_.resize(std::min(shard::kLeafBytes, shard.bytes - offset));
      DNC_ASSIGN(const std::size_t got, file.Read(offset, leaf_));
      if (got != leaf_.size() || Sha256(leaf_) != shard.leaves[i]) return i;
      progress_.bytes_done += leaf_.size();
      progress_.bytes_kept += leaf_.size();
    }
    return shard.leaves.size();
  }

  Status FetchShard(const shard::ShardInfo& shard) {
    // The key comes from a manifest that was checked: it is a content id.
    const std::string path = to_ + "/" + shard.cid;
    const std::string part = to_ + "/" + kPartPrefix + shard.cid;
    const bool whole = PathExists(path);
    File file;
    DNC_TRY(file.Open(whole ? path : part));
    DNC_ASSIGN(const std::size_t right, RightLeaves(shard, file));
    struct stat info {};
    if (whole && right == shard.leaves.size() && ::stat(path.c_str(), &info) == 0 &&
        static_cast<std::uint64_t>(info.st_size) == shard.bytes) {
      return {};
    }
    const CheckedObject object(&store_, &shard);
    for (std::size_t i = right; i < shard.leaves.size(); ++i) {
      DNC_TRY(Call());
      DNC_ASSIGN(const ByteSpan leaf, object.Leaf(i));
      DNC_TRY(file.Write(i * shard::kLeafBytes, leaf));
      progress_.bytes_done += leaf.size();
    }
    DNC_TRY(file.Finish(shard.bytes));
    if (whole) return {};
    if (::rename(part.c_str(), path.c_str()) != 0) return ErrnoError("rename to", path, errno);
    return SyncDirectory(to_);
  }

  Status Call() const {
    if (!callback_ || callback_(progress_)) return {};
    return Error{ErrorCode::kCancelled,
                 "fetching was stopped; run the same command again to go on"};
  }

  const shard::Manifest& manifest_;
  const store::ObjectStore& store_;
  const std::string to_;
  const FetchCallback& callback_;
  FetchProgress progress_;
  Bytes leaf_;
};

}  // namespace

Result<FetchProgress> FetchShards(const shard::Manifest& manifest, const store::ObjectStore& store,
                                  const std::string& to, const FetchCallback& progress) {
  return ShardFetcher(manifest, store, to, progress).Run();
}

}  // namespace dnc::divide
