// A folder that appears under its name whole: files are written into a folder of
// another name beside it, which is renamed at the end, or removed. Private to this room.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc::sink {

// A new file, written from front to back, or over what was written.
class OutputFile {
 public:
  // Errors: kAlreadyExists; those of the disk.
  static Result<std::unique_ptr<OutputFile>> Create(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Errors: kResourceExhausted, the disk is full; kIo.
  Status Write(ByteSpan bytes);
  // Anywhere; the file becomes longer where needed. What Write() holds back is not seen.
  Status WriteAt(std::uint64_t offset, ByteSpan bytes);
  // Durable; nothing can be written after it.
  Status Close();

  std::uint64_t bytes() const { return bytes_; }  // By Write().

 private:
  OutputFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  Status Flush();

  int fd_;
  const std::string path_;
  std::uint64_t bytes_ = 0;
  Bytes buffer_;
};

class OutputFolder {
 public:
  // `path` must be missing, or an empty folder.
  // Errors: kAlreadyExists, with what is there; those of the disk.
  static Result<std::unique_ptr<OutputFolder>> Create(const std::string& path);
  ~OutputFolder();  // Without Commit(): nothing was there.
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // Where a file of that name is written.
  std::string PathOf(const std::string& name) const { return temporary_ + "/" + name; }
  Status Commit();

 private:
  OutputFolder(std::string path, std::string temporary)
      : path_(std::move(path)), temporary_(std::move(temporary)) {}

  const std::string path_;
  const std::string temporary_;
  bool committed_ = false;
};

}  // namespace dnc::sink
