// Bytes that wait until they can be sent: in memory while they are few, then in a file
// without a name in $TMPDIR (or /tmp), which ends with its process whatever happens.

#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc::store {

class Spool {
 public:
  Spool() = default;
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Errors: kResourceExhausted, no space; kIo.
  Status Write(ByteSpan bytes);
  std::uint64_t size() const { return size_; }
  // Requires: offset + out.size() <= size().
  // Errors: kIo.
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  Status OpenFile();
  Status WriteToFile(ByteSpan bytes);

  Bytes memory_;
  int fd_ = -1;  // Holds all bytes, once it is open.
  std::uint64_t size_ = 0;
};

}  // namespace dnc::store
