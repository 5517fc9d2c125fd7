// Whole files, atomically: a file is written under a temporary name in the same
// folder, synced, then renamed, so that a crash leaves the old file or the new.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc {

// The whole of a file.
// Errors: kNotFound; kTooLarge, above `bytes_max`; kIo.
Result<std::string> ReadFile(const std::string& path, std::uint64_t bytes_max);

// Replaces `path` by `bytes`, durable when it returns.
// Errors: kResourceExhausted, the disk is full; kIo. On an error `path` is as it was.
Status WriteFileAtomically(const std::string& path, ByteSpan bytes);

// Creates `path` and its missing parents.
Status MakeDirectories(const std::string& path);

// fsync of a folder, so that renames in it last.
Status SyncDirectory(const std::string& path);

bool PathExists(const std::string& path);

// An output file that appears under its name only at Commit().
class AtomicFile {
 public:
  static Result<AtomicFile> Create(const std::string& path);
  ~AtomicFile();  // Without Commit(): removes the temporary file.
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;

  // Errors: kResourceExhausted, the disk is full; kIo.
  Status Write(ByteSpan bytes);
  // Overwrites bytes already written.
  Status WriteAt(std::uint64_t offset, ByteSpan bytes);
  // Syncs and renames.
  Status Commit();
  // Where the bytes are until Commit().
  const std::string& temporary_path() const { return temporary_path_; }

 private:
  AtomicFile(int fd, std::string path, std::string temporary_path)
      : fd_(fd), path_(std::move(path)), temporary_path_(std::move(temporary_path)) {}
  void Abandon();

  int fd_ = -1;
  std::string path_;
  std::string temporary_path_;
};

// An Error for `errno` after `operation` on `path`: "cannot open x.npy: No such
// file or directory". ENOENT is kNotFound; ENOSPC, EDQUOT, EMFILE, ENOMEM are
// kResourceExhausted; all else kIo.
Error ErrnoError(std::string_view operation, std::string_view path, int error_number);

}  // namespace dnc
