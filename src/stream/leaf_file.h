// Leaves on disk: one file of slots, each with room for one leaf, that never grows
// beyond the bytes it was given. It survives from run to run; after a crash a slot is
// whole or empty, and whoever reads one checks its hash anyway.
//
// In a folder of the user's the file is leaves.dnc, locked while a process uses it.
// Nothing else there is touched. docs/formats/cache.md fixes the bytes.
//
// Thread-safe: neighbours are served from it while a stream fills it.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/result.h"

namespace dnc::stream {

inline constexpr char kLeafFileName[] = "leaves.dnc";

// What a slot is known to hold.
struct StoredLeaf {
  Digest digest;
  std::uint32_t bytes = 0;
  // The blocks of its shard that it has a part of.
  std::uint32_t first_block = 0;
  std::uint32_t last_block = 0;

  friend bool operator==(const StoredLeaf&, const StoredLeaf&) = default;
};

class LeafFile {
 public:
  // Opens `folder`/leaves.dnc, creating both if they are missing; a file that is larger
  // than `bytes_max` is cut. With an empty `folder` the file has no name, lies where
  // TMPDIR says (else /var/tmp), and ends with the process.
  //
  // Errors: kAlreadyExists, another process uses it, or the file is none of ours;
  // kInvalidArgument, no room for a single leaf; kIo; kResourceExhausted.
  static Result<std::unique_ptr<LeafFile>> Open(const std::string& folder, std::uint64_t bytes_max);
  ~LeafFile();
  LeafFile(const LeafFile&) = delete;
  LeafFile& operator=(const LeafFile&) = delete;

  // How many slots a file of so many bytes has.
  static std::uint32_t SlotCount(std::uint64_t bytes_max);

  std::uint32_t slot_count() const { return slot_count_; }
  std::uint64_t file_bytes() const;
  // What all slots hold; of empty ones `bytes` is 0.
  std::vector<StoredLeaf> Contents() const;
  bool Has(const Digest& digest) const;
  // Bytes of a leaf; 0 if it is not there.
  std::uint32_t SizeOf(const Digest& digest) const;

  // The leaf's bytes, unchecked. Requires: out.size() == SizeOf(digest).
  // Errors: kNotFound; kIo.
  Status Read(const Digest& digest, std::span<std::byte> out) const;
  // Puts a leaf into a slot, in place of what it held.
  // Requires: slot < slot_count(), bytes of at most a leaf; the digest is in no other slot.
  // Errors: kResourceExhausted, the disk is full; kIo. The slot is empty then.
  Status Write(std::uint32_t slot, const StoredLeaf& leaf, ByteSpan bytes);
  Status Clear(std::uint32_t slot);

 private:
  LeafFile(int fd, std::string path, std::uint32_t slot_count)
      : fd_(fd), path_(std::move(path)), slot_count_(slot_count), leaves_(slot_count) {}
  Status Lock();
  Status Begin();
  Status ReadRecords();
  Status ClearLocked(std::uint32_t slot);

  const int fd_;
  const std::string path_;
  const std::uint32_t slot_count_;
  mutable std::mutex mutex_;  // Held while a slot is read or written.
  std::vector<StoredLeaf> leaves_;
  std::map<Digest, std::uint32_t> slots_;
};

}  // namespace dnc::stream
