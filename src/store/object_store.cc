#include "store/object_store.h"

#include <algorithm>

namespace dnc::store {
namespace {

constexpr std::size_t kKeyBytesMax = 128;

class ObjectSource final : public RandomAccessSource {
 public:
  ObjectSource(const ObjectStore* store, std::string key, std::uint64_t size)
      : store_(store), key_(std::move(key)), size_(size) {}

  std::uint64_t size() const override { return size_; }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    return store_->Read(key_, offset, out);
  }
  const std::string& name() const override { return key_; }

 private:
  const ObjectStore* store_;
  std::string key_;
  std::uint64_t size_;
};

}  // namespace

bool IsValidKey(std::string_view key) {
  if (key.empty() || key.size() > kKeyBytesMax || key.front() == '.') return false;
  return std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

Status PutObject(ObjectStore* store, const std::string& key, ByteSpan bytes) {
  DNC_ASSIGN(const std::unique_ptr<ObjectWriter> writer, store->Create());
  DNC_TRY(writer->Write(bytes));
  return writer->Commit(key);
}

Result<Bytes> GetObject(const ObjectStore& store, const std::string& key, std::uint64_t bytes_max) {
  DNC_ASSIGN(const std::uint64_t size, store.Size(key));
  if (size > bytes_max) {
    return Error{ErrorCode::kTooLarge, key + " in " + store.Describe() + " has " +
                                           std::to_string(size) + " bytes; at most " +
                                           std::to_string(bytes_max) + " are read"};
  }
  Bytes bytes(size);
  DNC_TRY(store.Read(key, 0, bytes));
  return bytes;
}

Result<std::unique_ptr<RandomAccessSource>> OpenObject(const ObjectStore* store,
                                                       const std::string& key) {
  DNC_ASSIGN(const std::uint64_t size, store->Size(key));
  return std::unique_ptr<RandomAccessSource>(new ObjectSource(store, key, size));
}

}  // namespace dnc::store
