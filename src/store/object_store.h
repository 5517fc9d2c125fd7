// Where objects lie: a folder, memory, later S3, IPFS or HTTP. An object is
// immutable bytes under a key. A store does not know what it holds; whoever reads
// checks the content.
//
// Thread-safe: any thread may call any store.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/random_access_source.h"
#include "base/result.h"

namespace dnc::store {

// A key is 1 to 128 of [A-Za-z0-9._-] and does not begin with a dot: it is safe
// as a file name and in a URL.
bool IsValidKey(std::string_view key);

// An object being written. Destroyed without Commit(), it leaves nothing.
class ObjectWriter {
 public:
  virtual ~ObjectWriter() = default;
  // Errors: kResourceExhausted, no space; those of the medium.
  virtual Status Write(ByteSpan bytes) = 0;
  // Makes the object visible under `key`, durably, and replaces what was there.
  // Errors: kInvalidArgument, not a key; as Write.
  virtual Status Commit(const std::string& key) = 0;
};

class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  virtual Result<std::unique_ptr<ObjectWriter>> Create() = 0;
  // Errors for the three below: kNotFound, naming the key; those of the medium.
  virtual Result<std::uint64_t> Size(const std::string& key) const = 0;
  // Fills all of `out`. kCorrupt, if the object ends before.
  virtual Status Read(const std::string& key, std::uint64_t offset,
                      std::span<std::byte> out) const = 0;
  // Says that the bytes that Read gave there are wrong. True: another mirror has
  // them perhaps, and the next Read there asks it. False: there is no other.
  virtual bool Reject(const std::string& /*key*/, std::uint64_t /*offset*/) const { return false; }
  virtual Status Delete(const std::string& key) = 0;
  // Keys in ascending order.
  virtual Result<std::vector<std::string>> List() const = 0;
  // Where everyone finds what the store holds now, as OpenStore takes it: "ipfs://CID".
  // Empty: where it was opened.
  virtual Result<std::string> PublicLocation() const { return std::string(); }
  // For messages: "folder ./shards".
  virtual std::string Describe() const = 0;
  // Whether its objects lie on this machine, so that no copy of them is worth keeping.
  virtual bool local() const { return false; }
};

// Writes `bytes` under `key` in one call.
Status PutObject(ObjectStore* store, const std::string& key, ByteSpan bytes);
// Reads a whole object. Errors: kTooLarge, above `bytes_max`; those of Size, Read.
Result<Bytes> GetObject(const ObjectStore& store, const std::string& key, std::uint64_t bytes_max);

// An object as a RandomAccessSource. `store` must outlive it.
Result<std::unique_ptr<RandomAccessSource>> OpenObject(const ObjectStore* store,
                                                       const std::string& key);

std::unique_ptr<ObjectStore> MakeMemoryStore();

// Objects are files `folder`/key. Creates the folder if it is missing. Removes
// only what it created; temporary files of a killed process are removed when the
// store is opened for writing.
// Errors: kInvalidArgument, the path is not a folder; kIo.
Result<std::unique_ptr<ObjectStore>> OpenDirectoryStore(const std::string& folder);

}  // namespace dnc::store
