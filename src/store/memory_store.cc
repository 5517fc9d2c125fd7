#include <cstring>
#include <map>
#include <mutex>

#include "base/assert.h"
#include "store/object_store.h"
#include "store/store_errors.h"

namespace dnc::store {
namespace {

// Objects are shared, so that one can be read while another takes its place.
struct Shelf {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const Bytes>> objects;
};

class MemoryWriter final : public ObjectWriter {
 public:
  explicit MemoryWriter(std::shared_ptr<Shelf> shelf) : shelf_(std::move(shelf)) {}

  Status Write(ByteSpan bytes) override {
    DNC_ASSERT(shelf_ != nullptr);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return {};
  }

  Status Commit(const std::string& key) override {
    DNC_ASSERT(shelf_ != nullptr);
    if (!IsValidKey(key)) return InvalidKeyError(key);
    auto object = std::make_shared<const Bytes>(std::move(bytes_));
    {
      const std::lock_guard lock(shelf_->mutex);
      shelf_->objects[key] = std::move(object);
    }
    shelf_ = nullptr;
    return {};
  }

 private:
  std::shared_ptr<Shelf> shelf_;  // nullptr once committed.
  Bytes bytes_;
};

class MemoryStore final : public ObjectStore {
 public:
  Result<std::unique_ptr<ObjectWriter>> Create() override {
    return std::unique_ptr<ObjectWriter>(new MemoryWriter(shelf_));
  }

  Result<std::uint64_t> Size(const std::string& key) const override {
    DNC_ASSIGN(const std::shared_ptr<const Bytes> object, Find(key));
    return object->size();
  }

  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    DNC_ASSIGN(const std::shared_ptr<const Bytes> object, Find(key));
    if (offset > object->size() || out.size() > object->size() - offset) {
      return ObjectEndsError(key, Describe(), object->size(), offset + out.size());
    }
    if (!out.empty()) std::memcpy(out.data(), object->data() + offset, out.size());
    return {};
  }

  Status Delete(const std::string& key) override {
    const std::lock_guard lock(shelf_->mutex);
    if (shelf_->objects.erase(key) == 0) return NoObjectError(key, Describe());
    return {};
  }

  Result<std::vector<std::string>> List() const override {
    const std::lock_guard lock(shelf_->mutex);
    std::vector<std::string> keys;
    for (const auto& [key, object] : shelf_->objects) keys.push_back(key);
    return keys;
  }

  std::string Describe() const override { return "memory"; }
  bool local() const override { return true; }

 private:
  Result<std::shared_ptr<const Bytes>> Find(const std::string& key) const {
    const std::lock_guard lock(shelf_->mutex);
    const auto found = shelf_->objects.find(key);
    if (found == shelf_->objects.end()) return NoObjectError(key, Describe());
    return found->second;
  }

  const std::shared_ptr<Shelf> shelf_ = std::make_shared<Shelf>();
};

}  // namespace

std::unique_ptr<ObjectStore> MakeMemoryStore() { return std::make_unique<MemoryStore>(); }

}  // namespace dnc::store
