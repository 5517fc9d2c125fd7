#include "stream/leaf_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/assert.h"
#include "base/file.h"
#include "base/human.h"
#include "shard/content_id.h"

namespace dnc::stream {
namespace {

constexpr std::string_view kFileMagic = "DNCLEAVES 1\n";
constexpr std::string_view kRecordMagic = "DNCLEAF1";
constexpr std::uint64_t kPageBytes = 4096;
constexpr std::uint64_t kSlotBytes = kPageBytes + shard::kLeafBytes;
constexpr std::size_t kRecordBytes = 64;
constexpr std::size_t kRecordCheckOffset = 56;

std::uint64_t SlotOffset(std::uint32_t slot) { return kPageBytes + slot * kSlotBytes; }

Status WriteAll(int fd, const std::string& path, std::uint64_t offset, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError("write", path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

// Whether all of `out` was there.
Result<bool> ReadAll(int fd, const std::string& path, std::uint64_t offset,
                     std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError("read", path, errno);
    if (got == 0) return false;
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

std::uint64_t RecordCheck(ByteSpan record) {
  const Digest digest = Sha256(record.first(kRecordCheckOffset));
  std::uint64_t check;
  std::memcpy(&check, digest.bytes.data(), sizeof check);
  return check;
}

Bytes FormatRecord(const StoredLeaf& leaf) {
  ByteWriter writer;
  writer.PutBytes(AsBytes(kRecordMagic));
  writer.PutBytes(std::as_bytes(std::span(leaf.digest.bytes)));
  writer.Put(leaf.bytes);
  writer.Put(leaf.first_block);
  writer.Put(leaf.last_block);
  writer.Put(std::uint32_t{0});
  writer.Put(RecordCheck(writer.bytes()));
  return std::move(writer).Take();
}

// An empty leaf, if it is no record of ours, or a damaged one.
StoredLeaf ParseRecord(ByteSpan bytes) {
  ByteReader reader(bytes);
  StoredLeaf leaf;
  const bool ours = AsText(reader.GetBytes(kRecordMagic.size())) == kRecordMagic;
  const ByteSpan digest = reader.GetBytes(leaf.digest.bytes.size());
  leaf.bytes = reader.Get<std::uint32_t>();
  leaf.first_block = reader.Get<std::uint32_t>();
  leaf.last_block = reader.Get<std::uint32_t>();
  reader.Get<std::uint32_t>();
  const auto check = reader.Get<std::uint64_t>();
  if (!ours || !reader.ok() || check != RecordCheck(bytes) || leaf.bytes > shard::kLeafBytes) {
    return {};
  }
  std::memcpy(leaf.digest.bytes.data(), digest.data(), digest.size());
  return leaf;
}

// A file without a name in the folder for temporary files.
Result<int> OpenUnnamed(std::string* path) {
  const char* const given = std::getenv("TMPDIR");
  // Not /tmp, which often is memory.
  const std::string folder = given != nullptr && *given != '\0' ? given : "/var/tmp";
  *path = "a cache in " + folder;
  int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  // Not every file system has O_TMPFILE.
  std::string name = folder + "/dnc-leaves-XXXXXX";
  fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return ErrnoError("create", *path, errno);
  ::unlink(name.c_str());
  return fd;
}

}  // namespace

std::uint32_t LeafFile::SlotCount(std::uint64_t bytes_max) {
  if (bytes_max < kPageBytes + kSlotBytes) return 0;
  constexpr std::uint64_t kSlotsMax = 1u << 24;  // 16 TiB.
  return static_cast<std::uint32_t>(std::min(kSlotsMax, (bytes_max - kPageBytes) / kSlotBytes));
}

Result<std::unique_ptr<LeafFile>> LeafFile::Open(const std::string& folder,
                                                 std::uint64_t bytes_max) {
  const std::uint32_t slot_count = SlotCount(bytes_max);
  if (slot_count == 0) {
    return Error{ErrorCode::kInvalidArgument, "a cache of " + FormatByteCount(bytes_max) +
                                                  " has no room for a leaf; give 0, or " +
                                                  FormatByteCount(kPageBytes + kSlotBytes) +
                                                  " or more"};
  }
  std::string path;
  int fd = -1;
  if (folder.empty()) {
    DNC_ASSIGN(fd, OpenUnnamed(&path));
  } else {
    DNC_TRY(MakeDirectories(folder));
    path = folder + "/" + kLeafFileName;
    fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) return ErrnoError("open", path, errno);
  }
  std::unique_ptr<LeafFile> file(new LeafFile(fd, path, slot_count));
  DNC_TRY(file->Lock());
  DNC_TRY(file->Begin());
  DNC_TRY(file->ReadRecords());
  return file;
}

LeafFile::~LeafFile() { ::close(fd_); }

Status LeafFile::Lock() {
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return ErrnoError("lock", path_, errno);
  std::array<std::byte, 64> header{};
  static_cast<void>(ReadAll(fd_, path_, kFileMagic.size(), header));
  const long pid = std::strtol(reinterpret_cast<const char*>(header.data()), nullptr, 10);
  return Error{ErrorCode::kAlreadyExists,
               path_ + " is in use by " +
                   (pid > 0 ? "process " + std::to_string(pid) : "another process") +
                   "; give each process a cache folder of its own, or wait for that one"};
}

Status LeafFile::Begin() {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return ErrnoError("read", path_, errno);
  const auto not_ours = [this] {
    return Error{ErrorCode::kAlreadyExists,
                 path_ +
                     " is there, but is no cache of this program; it is left as it is. Give "
                     "another cache folder"};
  };
  if (!S_ISREG(info.st_mode)) return not_ours();
  if (info.st_size > 0) {
    std::array<std::byte, kFileMagic.size()> magic{};
    DNC_ASSIGN(const bool whole, ReadAll(fd_, path_, 0, magic));
    if (!whole || AsText(magic) != kFileMagic) return not_ours();
  }
  const std::uint64_t most = SlotOffset(slot_count_);
  if (static_cast<std::uint64_t>(info.st_size) > most &&
      ::ftruncate(fd_, static_cast<off_t>(most)) != 0) {
    return ErrnoError("cut", path_, errno);
  }
  // Who holds the lock, for the message that another process shows.
  std::string header = std::string(kFileMagic) + std::to_string(::getpid()) + "\n";
  header.resize(kFileMagic.size() + 64);
  return WriteAll(fd_, path_, 0, AsBytes(header));
}

Status LeafFile::ReadRecords() {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return ErrnoError("read", path_, errno);
  for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
    if (SlotOffset(slot) + kPageBytes > static_cast<std::uint64_t>(info.st_size)) break;
    std::array<std::byte, kRecordBytes> record{};
    DNC_ASSIGN(const bool whole, ReadAll(fd_, path_, SlotOffset(slot), record));
    if (!whole) break;
    const StoredLeaf leaf = ParseRecord(record);
    if (leaf.bytes == 0 || !slots_.emplace(leaf.digest, slot).second) continue;
    leaves_[slot] = leaf;
  }
  return {};
}

std::uint64_t LeafFile::file_bytes() const {
  struct stat info {};
  return ::fstat(fd_, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

std::vector<StoredLeaf> LeafFile::Contents() const {
  const std::lock_guard lock(mutex_);
  return leaves_;
}

bool LeafFile::Has(const Digest& digest) const {
  const std::lock_guard lock(mutex_);
  return slots_.contains(digest);
}

std::uint32_t LeafFile::SizeOf(const Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = slots_.find(digest);
  return found == slots_.end() ? 0 : leaves_[found->second].bytes;
}

Status LeafFile::Read(const Digest& digest, std::span<std::byte> out) const {
  const std::lock_guard lock(mutex_);
  const auto found = slots_.find(digest);
  if (found == slots_.end() || leaves_[found->second].bytes != out.size()) {
    return Error{ErrorCode::kNotFound, "no leaf " + digest.Hex() + " in " + path_};
  }
  DNC_ASSIGN(const bool whole, ReadAll(fd_, path_, SlotOffset(found->second) + kPageBytes, out));
  if (!whole) return Error{ErrorCode::kIo, path_ + " became shorter; was it changed?"};
  return {};
}

Status LeafFile::ClearLocked(std::uint32_t slot) {
  StoredLeaf& leaf = leaves_[slot];
  if (leaf.bytes == 0) return {};
  slots_.erase(leaf.digest);
  leaf = {};
  const std::array<std::byte, kRecordBytes> zeros{};
  return WriteAll(fd_, path_, SlotOffset(slot), zeros);
}

Status LeafFile::Clear(std::uint32_t slot) {
  DNC_ASSERT(slot < slot_count_);
  const std::lock_guard lock(mutex_);
  return ClearLocked(slot);
}

Status LeafFile::Write(std::uint32_t slot, const StoredLeaf& leaf, ByteSpan bytes) {
  DNC_ASSERT(slot < slot_count_ && leaf.bytes == bytes.size());
  DNC_ASSERT(!bytes.empty() && bytes.size() <= shard::kLeafBytes);
  const std::lock_guard lock(mutex_);
  DNC_ASSERT(!slots_.contains(leaf.digest));
  // A process killed between any two of these leaves an empty slot or a whole one.
  DNC_TRY(ClearLocked(slot));
  DNC_TRY(WriteAll(fd_, path_, SlotOffset(slot) + kPageBytes, bytes));
  DNC_TRY(WriteAll(fd_, path_, SlotOffset(slot), FormatRecord(leaf)));
  leaves_[slot] = leaf;
  slots_[leaf.digest] = slot;
  return {};
}

}  // namespace dnc::stream
