// Something of a known size that can be read at any offset: a file, bytes in
// memory, an object in a store. Errors of the medium pass through unchanged.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc {

class RandomAccessSource {
 public:
  virtual ~RandomAccessSource() = default;

  virtual std::uint64_t size() const = 0;
  // Fills all of `out` from `offset`. Thread-safe unless an implementation says
  // otherwise.
  // Errors: kCorrupt, if offset + out.size() is past the end; those of the medium.
  virtual Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const = 0;
  // What to call it in messages: a path or a content id.
  virtual const std::string& name() const = 0;
};

// Views bytes that the caller keeps alive.
class MemorySource final : public RandomAccessSource {
 public:
  explicit MemorySource(ByteSpan bytes, std::string name = "memory")
      : bytes_(bytes), name_(std::move(name)) {}

  std::uint64_t size() const override { return bytes_.size(); }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override;
  const std::string& name() const override { return name_; }

 private:
  ByteSpan bytes_;
  std::string name_;
};

// A regular file, read with pread.
class FileSource final : public RandomAccessSource {
 public:
  // Errors: kNotFound; kInvalidArgument, a directory; kIo.
  static Result<std::unique_ptr<FileSource>> Open(const std::string& path);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  std::uint64_t size() const override { return size_; }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override;
  const std::string& name() const override { return path_; }

 private:
  FileSource(int fd, std::uint64_t size, std::string path)
      : fd_(fd), size_(size), path_(std::move(path)) {}

  int fd_;
  std::uint64_t size_;
  std::string path_;
};

}  // namespace dnc
