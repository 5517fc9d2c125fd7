#include "sink/output_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/file.h"

namespace dnc::sink {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBufferBytes = 1 << 20;

Status WriteAll(int fd, const std::string& path, std::uint64_t offset, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoError("write", path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<OutputFile>> OutputFile::Create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) {
    if (errno != EEXIST) return ErrnoError("create", path, errno);
    return Error{ErrorCode::kAlreadyExists, path + " is there already; export to another place"};
  }
  return std::unique_ptr<OutputFile>(new OutputFile(fd, path));
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Status OutputFile::Flush() {
  DNC_TRY(WriteAll(fd_, path_, bytes_ - buffer_.size(), buffer_));
  buffer_.clear();
  return {};
}

Status OutputFile::Write(ByteSpan bytes) {
  if (buffer_.size() + bytes.size() > kBufferBytes) {
    DNC_TRY(Flush());
    if (bytes.size() > kBufferBytes) {
      DNC_TRY(WriteAll(fd_, path_, bytes_, bytes));
      bytes_ += bytes.size();
      return {};
    }
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  bytes_ += bytes.size();
  return {};
}

Status OutputFile::WriteAt(std::uint64_t offset, ByteSpan bytes) {
  return WriteAll(fd_, path_, offset, bytes);
}

Status OutputFile::Close() {
  DNC_TRY(Flush());
  if (::fsync(fd_) != 0) return ErrnoError("sync", path_, errno);
  const int fd = std::exchange(fd_, -1);
  return ::close(fd) == 0 ? Status() : Status(ErrnoError("close", path_, errno));
}

Result<std::unique_ptr<OutputFolder>> OutputFolder::Create(const std::string& path) {
  std::string clean = path;
  while (clean.size() > 1 && clean.ends_with('/')) clean.pop_back();
  std::error_code error;
  if (fs::exists(clean, error) && !(fs::is_directory(clean, error) && fs::is_empty(clean, error))) {
    return Error{ErrorCode::kAlreadyExists,
                 clean + " is there already and not empty; export to another place"};
  }
  const fs::path parent = fs::path(clean).parent_path();
  if (!parent.empty()) DNC_TRY(MakeDirectories(parent.string()));
  const std::string temporary = clean + ".tmp-" + std::to_string(::getpid());
  if (!fs::create_directory(temporary, error)) {
    return ErrnoError("make the folder", temporary, error ? error.value() : EEXIST);
  }
  return std::unique_ptr<OutputFolder>(new OutputFolder(clean, temporary));
}

OutputFolder::~OutputFolder() {
  if (committed_) return;
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);  // Made by us, under our process's number.
}

Status OutputFolder::Commit() {
  DNC_TRY(SyncDirectory(temporary_));
  // An empty folder of that name is replaced.
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return ErrnoError("rename to", path_, errno);
  }
  committed_ = true;
  const fs::path parent = fs::path(path_).parent_path();
  return SyncDirectory(parent.empty() ? "." : parent.string());
}

}  // namespace dnc::sink
