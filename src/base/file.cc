#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/random_access_source.h"

namespace dnc {
namespace {

Status WriteAll(int fd, ByteSpan bytes, std::int64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = offset < 0 ? ::write(fd, bytes.data(), bytes.size())
                                       : ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("write", path, errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    if (offset >= 0) offset += written;
  }
  return {};
}

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

Error ErrnoError(std::string_view operation, std::string_view path, int error_number) {
  ErrorCode code = ErrorCode::kIo;
  if (error_number == ENOENT || error_number == ENOTDIR) code = ErrorCode::kNotFound;
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EMFILE ||
      error_number == ENFILE || error_number == ENOMEM || error_number == EFBIG) {
    code = ErrorCode::kResourceExhausted;
  }
  std::string message = "cannot ";
  message.append(operation).append(" ").append(path).append(": ");
  message.append(std::generic_category().message(error_number));
  return {code, message};
}

Result<std::unique_ptr<FileSource>> FileSource::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoError("open", path, errno);
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    const int error_number = errno;
    ::close(fd);
    return ErrnoError("read", path, error_number);
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return Error{ErrorCode::kInvalidArgument, path + " is not a regular file; expected a file"};
  }
  return std::unique_ptr<FileSource>(
      new FileSource(fd, static_cast<std::uint64_t>(info.st_size), path));
}

FileSource::~FileSource() { ::close(fd_); }

Status FileSource::ReadAt(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return ErrnoError("read", path_, errno);
    }
    if (got == 0) {
      return Error{ErrorCode::kCorrupt, path_ + ": ends at byte " + std::to_string(offset) + ", " +
                                            std::to_string(out.size()) +
                                            " bytes short; the file is truncated"};
    }
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Status MemorySource::ReadAt(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return Error{ErrorCode::kCorrupt, name_ + ": " + std::to_string(out.size()) +
                                          " bytes wanted at " + std::to_string(offset) +
                                          ", but it has only " + std::to_string(bytes_.size())};
  }
  if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
  return {};
}

Result<std::string> ReadFile(const std::string& path, std::uint64_t bytes_max) {
  DNC_ASSIGN(auto source, FileSource::Open(path));
  if (source->size() > bytes_max) {
    return Error{ErrorCode::kTooLarge, path + " has " + std::to_string(source->size()) +
                                           " bytes; at most " + std::to_string(bytes_max) +
                                           " are read"};
  }
  std::string text(source->size(), '\0');
  DNC_TRY(source->ReadAt(0, std::as_writable_bytes(std::span(text))));
  return text;
}

Status MakeDirectories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return ErrnoError("create folder", path, error.value());
  return {};
}

Status SyncDirectory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoError("open", path, errno);
  const int result = ::fsync(fd);
  const int error_number = errno;
  ::close(fd);
  if (result != 0) return ErrnoError("sync", path, error_number);
  return {};
}

bool PathExists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Status WriteFileAtomically(const std::string& path, ByteSpan bytes) {
  DNC_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  DNC_TRY(file.Write(bytes));
  return file.Commit();
}

Result<AtomicFile> AtomicFile::Create(const std::string& path) {
  static std::atomic<unsigned> counter = 0;
  std::string temporary =
      path + ".tmp" + std::to_string(::getpid()) + "." + std::to_string(counter++);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoError("create", path, errno);
  return AtomicFile(fd, path, std::move(temporary));
}

AtomicFile::~AtomicFile() { Abandon(); }

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temporary_path_(std::move(other.temporary_path_)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    Abandon();
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
    temporary_path_ = std::move(other.temporary_path_);
  }
  return *this;
}

void AtomicFile::Abandon() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_path_.c_str());
  fd_ = -1;
}

Status AtomicFile::Write(ByteSpan bytes) { return WriteAll(fd_, bytes, -1, path_); }

Status AtomicFile::WriteAt(std::uint64_t offset, ByteSpan bytes) {
  return WriteAll(fd_, bytes, static_cast<std::int64_t>(offset), path_);
}

Status AtomicFile::Commit() {
  if (::fsync(fd_) != 0) return ErrnoError("sync", path_, errno);
  if (::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    return ErrnoError("rename to", path_, errno);
  }
  ::close(fd_);
  fd_ = -1;
  return SyncDirectory(ParentOf(path_));
}

}  // namespace dnc
