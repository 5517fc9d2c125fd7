#include "store/spool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/assert.h"
#include "base/file.h"

namespace dnc::store {
namespace {

constexpr std::size_t kMemoryBytesMax = 1u << 20;

std::string TemporaryFolder() {
  const char* folder = std::getenv("TMPDIR");
  return folder != nullptr && folder[0] != '\0' ? folder : "/tmp";
}

}  // namespace

Spool::~Spool() {
  if (fd_ >= 0) ::close(fd_);
}

Status Spool::OpenFile() {
  const std::string folder = TemporaryFolder();
  fd_ = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
    // A file system that knows no files without names.
    std::string path = folder + "/dnc-spool-XXXXXX";
    fd_ = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd_ >= 0) ::unlink(path.c_str());
  }
  if (fd_ < 0) return ErrnoError("create a temporary file in", folder, errno);
  return {};
}

Status Spool::WriteToFile(ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError("write a temporary file in", TemporaryFolder(), errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status Spool::Write(ByteSpan bytes) {
  if (fd_ < 0 && memory_.size() + bytes.size() <= kMemoryBytesMax) {
    memory_.insert(memory_.end(), bytes.begin(), bytes.end());
  } else {
    if (fd_ < 0) {
      DNC_TRY(OpenFile());
      DNC_TRY(WriteToFile(memory_));
      memory_ = Bytes();
    }
    DNC_TRY(WriteToFile(bytes));
  }
  size_ += bytes.size();
  return {};
}

Status Spool::ReadAt(std::uint64_t offset, std::span<std::byte> out) const {
  DNC_ASSERT(offset <= size_ && out.size() <= size_ - offset);
  if (fd_ < 0) {
    std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return ErrnoError("read a temporary file in", TemporaryFolder(), errno);
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

}  // namespace dnc::store
