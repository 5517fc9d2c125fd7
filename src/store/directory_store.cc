#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <optional>

#include "base/assert.h"
#include "base/file.h"
#include "store/object_store.h"
#include "store/store_errors.h"

// An object being written is the file .tmp-<process id>-<number>, locked by flock
// while its writer lives. No key begins with a dot, so that it is no object.

namespace dnc::store {
namespace {

constexpr std::string_view kTemporaryPrefix = ".tmp-";

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

// The process id in the name of one of our temporary files; nullopt for any other name.
std::optional<pid_t> OwnerOfTemporary(std::string_view name) {
  if (!name.starts_with(kTemporaryPrefix)) return std::nullopt;
  name.remove_prefix(kTemporaryPrefix.size());
  pid_t owner = 0;
  const char* const end = name.data() + name.size();
  const auto [after_owner, owner_error] = std::from_chars(name.data(), end, owner);
  if (owner_error != std::errc() || owner <= 0 || after_owner == end || *after_owner != '-') {
    return std::nullopt;
  }
  std::uint64_t number = 0;
  const auto [after_number, number_error] = std::from_chars(after_owner + 1, end, number);
  if (number_error != std::errc() || after_number != end) return std::nullopt;
  return owner;
}

// The lock tells of writers in other containers, whose process ids mean nothing here;
// the process id covers the moment between creating a file and locking it.
bool IsAbandoned(const std::string& path, pid_t owner) {
  if (::kill(owner, 0) == 0 || errno != ESRCH) return false;
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) return false;
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return false;
  return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0;
}

class DirectoryWriter final : public ObjectWriter {
 public:
  static Result<std::unique_ptr<ObjectWriter>> Create(const std::string& folder) {
    static std::atomic<std::uint64_t> counter = 0;
    std::string path = folder + "/" + std::string(kTemporaryPrefix) + std::to_string(::getpid()) +
                       "-" + std::to_string(counter++);
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return ErrnoError("create a file in", folder, errno);
    // Where the file system has no locks, the process id alone must do.
    static_cast<void>(::flock(fd, LOCK_EX | LOCK_NB));
    return std::unique_ptr<ObjectWriter>(new DirectoryWriter(fd, folder, std::move(path)));
  }

  ~DirectoryWriter() override {
    if (committed_) return;
    ::unlink(temporary_path_.c_str());
  }

  Status Write(ByteSpan bytes) override {
    DNC_ASSERT(!committed_);
    while (!bytes.empty()) {
      const ssize_t written = ::write(file_.get(), bytes.data(), bytes.size());
      if (written < 0) {
        if (errno == EINTR) continue;
        return ErrnoError("write an object in", folder_, errno);
      }
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return {};
  }

  Status Commit(const std::string& key) override {
    DNC_ASSERT(!committed_);
    if (!IsValidKey(key)) return InvalidKeyError(key);
    const std::string path = folder_ + "/" + key;
    if (::fsync(file_.get()) != 0) return ErrnoError("sync", path, errno);
    if (::rename(temporary_path_.c_str(), path.c_str()) != 0) {
      return ErrnoError("rename to", path, errno);
    }
    committed_ = true;
    return SyncDirectory(folder_);
  }

 private:
  DirectoryWriter(int fd, std::string folder, std::string temporary_path)
      : file_(fd), folder_(std::move(folder)), temporary_path_(std::move(temporary_path)) {}

  const FileDescriptor file_;
  const std::string folder_;
  const std::string temporary_path_;
  bool committed_ = false;
};

class DirectoryStore final : public ObjectStore {
 public:
  explicit DirectoryStore(std::string folder) : folder_(std::move(folder)) {}

  Status RemoveAbandoned() const {
    DNC_ASSIGN(const std::vector<std::string> names, FileNames());
    for (const std::string& name : names) {
      const std::optional<pid_t> owner = OwnerOfTemporary(name);
      const std::string path = folder_ + "/" + name;
      if (owner && IsAbandoned(path, *owner)) ::unlink(path.c_str());
    }
    return {};
  }

  Result<std::unique_ptr<ObjectWriter>> Create() override {
    return DirectoryWriter::Create(folder_);
  }

  Result<std::uint64_t> Size(const std::string& key) const override {
    if (!IsValidKey(key)) return NoObjectError(key, Describe());
    const std::string path = folder_ + "/" + key;
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return ObjectError(key, "read", errno);
    if (!S_ISREG(info.st_mode)) return NoObjectError(key, Describe());
    return static_cast<std::uint64_t>(info.st_size);
  }

  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    if (!IsValidKey(key)) return NoObjectError(key, Describe());
    const std::string path = folder_ + "/" + key;
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) return ObjectError(key, "open", errno);
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) return ErrnoError("read", path, errno);
    if (!S_ISREG(info.st_mode)) return NoObjectError(key, Describe());
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (offset > size || out.size() > size - offset) {
      return ObjectEndsError(key, Describe(), size, offset + out.size());
    }
    while (!out.empty()) {
      const ssize_t got = ::pread(file.get(), out.data(), out.size(), static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError("read", path, errno);
      if (got == 0) return ObjectEndsError(key, Describe(), offset, offset + out.size());
      out = out.subspan(static_cast<std::size_t>(got));
      offset += static_cast<std::uint64_t>(got);
    }
    return {};
  }

  Status Delete(const std::string& key) override {
    DNC_TRY(Size(key).status());  // Never a folder, nor a name that is no key.
    if (::unlink((folder_ + "/" + key).c_str()) != 0) return ObjectError(key, "delete", errno);
    return {};
  }

  Result<std::vector<std::string>> List() const override {
    DNC_ASSIGN(std::vector<std::string> names, FileNames());
    std::erase_if(names, [this](const std::string& name) { return !Size(name).ok(); });
    std::sort(names.begin(), names.end());
    return names;
  }

  std::string Describe() const override { return "folder " + folder_; }
  bool local() const override { return true; }

 private:
  Error ObjectError(const std::string& key, const char* operation, int error_number) const {
    if (error_number == ENOENT) return NoObjectError(key, Describe());
    return ErrnoError(operation, folder_ + "/" + key, error_number);
  }

  // All names in the folder but "." and "..".
  Result<std::vector<std::string>> FileNames() const {
    DIR* const directory = ::opendir(folder_.c_str());
    if (directory == nullptr) return ErrnoError("list", folder_, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    const int error_number = errno;
    ::closedir(directory);
    if (error_number != 0) return ErrnoError("list", folder_, error_number);
    return names;
  }

  const std::string folder_;
};

}  // namespace

Result<std::unique_ptr<ObjectStore>> OpenDirectoryStore(const std::string& folder) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) == 0 && !S_ISDIR(info.st_mode)) {
    return Error{ErrorCode::kInvalidArgument, folder + " is not a folder; expected a folder"};
  }
  DNC_TRY(MakeDirectories(folder));
  auto store = std::make_unique<DirectoryStore>(folder);
  DNC_TRY(store->RemoveAbandoned());
  return std::unique_ptr<ObjectStore>(std::move(store));
}

}  // namespace dnc::store
