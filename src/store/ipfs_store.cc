#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "ipfs/car.h"
#include "ipfs/dag_pb.h"
#include "ipfs/unixfs.h"
#include "store/ipfs_blocks.h"
#include "store/ipfs_node.h"
#include "store/rate_limiter.h"
#include "store/spool.h"
#include "store/store_errors.h"
#include "store/stores.h"

namespace dnc::store {
namespace {

constexpr std::string_view kScheme = "ipfs://";
constexpr char kDefaultApi[] = "http://127.0.0.1:5001";
constexpr char kFolderOfAll[] = "/dnc/";
constexpr char kManifestKey[] = "manifest.json";
// A node replaces a name in two steps; who reads between them looks again.
constexpr Duration kSecondLook = Duration::Milliseconds(50);

// ---- Reading

// Objects by their CIDs, and by their names in a folder with a CID.
class IpfsStore final : public ObjectStore {
 public:
  IpfsStore(std::optional<ipfs::Cid> root, IpfsBlocks::Kind kind, std::string url,
            const StoreOptions& options)
      : root_(root), blocks_(kind, std::move(url), options) {}

  Result<std::unique_ptr<ObjectWriter>> Create() override { return ReadOnly(); }
  Status Delete(const std::string& key) override {
    DNC_TRY(Find(key).status());
    return ReadOnly();
  }

  Result<std::uint64_t> Size(const std::string& key) const override {
    DNC_ASSIGN(const ipfs::Cid cid, Find(key));
    return Named(key, blocks_.FileBytes(cid));
  }
  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    DNC_ASSIGN(const ipfs::Cid cid, Find(key));
    return Named(key, blocks_.ReadFile(cid, {key, Describe()}, offset, out));
  }

  Result<std::vector<std::string>> List() const override {
    if (!root_) {
      return Error{ErrorCode::kUnsupported, "all of IPFS cannot be listed; name a folder's CID"};
    }
    DNC_TRY(Load());
    std::vector<std::string> keys;
    for (const auto& [name, cid] : names_) {
      if (IsValidKey(name)) keys.push_back(name);
    }
    return keys;
  }

  std::string Describe() const override {
    return std::string(kScheme) + (root_ ? root_->Text() : "") + " by " + DisplayUrl(blocks_.url());
  }

 private:
  Error ReadOnly() const {
    return {ErrorCode::kUnsupported,
            Describe() + " is read only, since a CID names its content; write to ipfs://NAME"};
  }

  template <typename ResultOfRead>
  ResultOfRead Named(const std::string& key, ResultOfRead result) const {
    if (result.ok() || result.error().code != ErrorCode::kNotFound) return result;
    Error error = NoObjectError(key, Describe());
    error.message += ": " + result.error().message;
    return error;
  }

  // What the root holds: the names of a folder, or itself as the manifest.
  Status Load() const {
    const std::lock_guard lock(mutex_);
    if (loaded_) return {};
    auto entries = root_->codec == ipfs::Codec::kRaw
                       ? Result<std::vector<ipfs::DirectoryEntry>>(
                             Error{ErrorCode::kInvalidArgument, "a raw block"})
                       : ipfs::ListDirectory(*root_, blocks_.fetch());
    if (!entries.ok()) {
      if (entries.error().code != ErrorCode::kInvalidArgument) return entries.error();
      names_[kManifestKey] = *root_;  // A file.
    } else {
      for (ipfs::DirectoryEntry& entry : *entries) names_[std::move(entry.name)] = entry.cid;
    }
    loaded_ = true;
    return {};
  }

  // By name first: a folder may hold a shard under another tree than its own CID's.
  Result<ipfs::Cid> Find(const std::string& key) const {
    if (!IsValidKey(key)) return NoObjectError(key, Describe());
    if (root_) {
      DNC_TRY(Load());
      const std::lock_guard lock(mutex_);
      if (const auto found = names_.find(key); found != names_.end()) return found->second;
    }
    const auto cid = ipfs::ParseCid(key);
    if (!cid) return NoObjectError(key, Describe());
    return *cid;
  }

  const std::optional<ipfs::Cid> root_;
  mutable IpfsBlocks blocks_;
  mutable std::mutex mutex_;  // Guards both below.
  mutable bool loaded_ = false;
  mutable std::map<std::string, ipfs::Cid> names_;
};

// ---- Writing

// An object as a CAR: its header, the leaves out of the spool, then the nodes over them.
class ObjectCar {
 public:
  // Errors: those of the spool.
  static Result<ObjectCar> Build(const Spool* spool) {
    ObjectCar car(spool);
    std::vector<Digest> leaves;
    Bytes leaf;
    for (std::uint64_t i = 0; i < ipfs::LeafCount(spool->size()); ++i) {
      const std::uint64_t begin = i * ipfs::kLeafBytes;
      leaf.resize(static_cast<std::size_t>(
          std::min<std::uint64_t>(ipfs::kLeafBytes, spool->size() - begin)));
      DNC_TRY(spool->ReadAt(begin, leaf));
      leaves.push_back(Sha256(leaf));
    }
    Bytes nodes;
    car.root_ = ipfs::BuildFile(leaves, spool->size(), [&](const ipfs::Cid& cid, ByteSpan block) {
      ipfs::AppendCarBlock(cid, block, &nodes);
    });
    Bytes header;
    ipfs::AppendCarHeader({car.root_.cid}, &header);
    car.AddBytes(std::move(header));
    for (std::uint64_t i = 0; i < leaves.size(); ++i) {
      const std::uint64_t begin = i * ipfs::kLeafBytes;
      const std::uint64_t bytes = std::min(ipfs::kLeafBytes, spool->size() - begin);
      Bytes head;
      ipfs::AppendCarBlockHead({ipfs::Codec::kRaw, leaves[i]}, bytes, &head);
      car.AddBytes(std::move(head));
      car.pieces_.push_back({car.bytes_, {}, begin, bytes});
      car.bytes_ += bytes;
    }
    car.AddBytes(std::move(nodes));
    return car;
  }

  const ipfs::Cid& root() const { return root_.cid; }
  HttpBody body() const {
    return {bytes_,
            [this](std::uint64_t offset, std::span<std::byte> out) { return ReadAt(offset, out); }};
  }

 private:
  struct Piece {
    std::uint64_t begin = 0;  // In the CAR.
    Bytes literal;            // Or, if `spool_bytes` is not 0,
    std::uint64_t spool_begin = 0;
    std::uint64_t spool_bytes = 0;

    std::uint64_t end() const { return begin + (spool_bytes > 0 ? spool_bytes : literal.size()); }
  };

  explicit ObjectCar(const Spool* spool) : spool_(spool) {}

  void AddBytes(Bytes bytes) {
    if (bytes.empty()) return;
    const std::uint64_t size = bytes.size();
    pieces_.push_back({bytes_, std::move(bytes), 0, 0});
    bytes_ += size;
  }

  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const {
    auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                                  [](std::uint64_t at, const Piece& p) { return at < p.end(); });
    while (!out.empty()) {
      DNC_ASSERT(piece != pieces_.end());
      const std::uint64_t at = offset - piece->begin;
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), piece->end() - offset));
      if (piece->spool_bytes > 0) {
        DNC_TRY(spool_->ReadAt(piece->spool_begin + at, out.first(count)));
      } else {
        std::copy_n(piece->literal.begin() + static_cast<std::ptrdiff_t>(at), count, out.begin());
      }
      out = out.subspan(count);
      offset += count;
      ++piece;
    }
    return {};
  }

  const Spool* spool_;
  ipfs::Root root_;
  std::vector<Piece> pieces_;  // In order, without gaps.
  std::uint64_t bytes_ = 0;
};

struct NodeFolder {
  NodeFolder(std::string path_of_folder, const std::string& api, const StoreOptions& options)
      : path(std::move(path_of_folder)), node(api, options) {}

  std::string PathOf(const std::string& key) const { return path + "/" + key; }

  const std::string path;
  IpfsNode node;
};

class NodeWriter final : public ObjectWriter {
 public:
  explicit NodeWriter(std::shared_ptr<NodeFolder> folder) : folder_(std::move(folder)) {}

  Status Write(ByteSpan bytes) override {
    DNC_ASSERT(folder_ != nullptr);
    return spool_.Write(bytes);
  }

  // All blocks come at once, in one CAR; the object has no name before that.
  Status Commit(const std::string& key) override {
    DNC_ASSERT(folder_ != nullptr);
    if (!IsValidKey(key)) return InvalidKeyError(key);
    DNC_ASSIGN(const ObjectCar car, ObjectCar::Build(&spool_));
    IpfsNode& node = folder_->node;
    DNC_ASSIGN(const auto before, node.FindFile(folder_->PathOf(key)));
    DNC_TRY(node.ImportCar(car.body(), car.root()));
    DNC_TRY(node.Pin(car.root()));
    DNC_TRY(node.LinkFile(car.root(), folder_->PathOf(key)));
    if (before && before->cid != car.root()) DNC_TRY(node.Unpin(before->cid));
    folder_ = nullptr;
    return {};
  }

 private:
  std::shared_ptr<NodeFolder> folder_;  // nullptr once committed.
  Spool spool_;
};

// A folder of the node's own files: names that can change, of content that cannot.
class NodeStore final : public ObjectStore {
 public:
  NodeStore(std::shared_ptr<NodeFolder> folder, const StoreOptions& options)
      : folder_(std::move(folder)),
        blocks_(IpfsBlocks::Kind::kNode, folder_->node.url(), options) {}

  Result<std::unique_ptr<ObjectWriter>> Create() override {
    return std::unique_ptr<ObjectWriter>(new NodeWriter(folder_));
  }

  Result<std::uint64_t> Size(const std::string& key) const override {
    DNC_ASSIGN(const ipfs::Cid cid, Find(key));
    return blocks_.FileBytes(cid);
  }

  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    DNC_ASSIGN(const ipfs::Cid cid, Find(key));
    return blocks_.ReadFile(cid, {key, Describe()}, offset, out);
  }

  Status Delete(const std::string& key) override {
    DNC_ASSIGN(const ipfs::Cid cid, Find(key));
    DNC_TRY(folder_->node.RemoveFile(folder_->PathOf(key)));
    return folder_->node.Unpin(cid);
  }

  Result<std::vector<std::string>> List() const override {
    DNC_ASSIGN(std::vector<std::string> names, folder_->node.ListFolder(folder_->path));
    std::erase_if(names, [](const std::string& name) { return !IsValidKey(name); });
    return names;
  }

  Result<std::string> PublicLocation() const override {
    DNC_ASSIGN(const auto stat, folder_->node.FindFile(folder_->path));
    if (!stat) return NoObjectError(folder_->path, Describe());
    return std::string(kScheme) + stat->cid.Text();
  }

  std::string Describe() const override {
    return "the folder " + folder_->path + " of the IPFS node at " +
           DisplayUrl(folder_->node.url());
  }

 private:
  Result<ipfs::Cid> Find(const std::string& key) const {
    if (!IsValidKey(key)) return NoObjectError(key, Describe());
    for (int look = 0;; ++look) {
      DNC_ASSIGN(const auto stat, folder_->node.FindFile(folder_->PathOf(key)));
      if (stat && !stat->is_folder) return stat->cid;
      if (stat || look == 1) return NoObjectError(key, Describe());
      SleepFor(kSecondLook, nullptr);
    }
  }

  const std::shared_ptr<NodeFolder> folder_;  // Shared with its writers.
  mutable IpfsBlocks blocks_;
};

// ---- Opening

std::string ApiOf(const StoreOptions& options) {
  const char* set = std::getenv("DNC_IPFS_API");
  std::string api = !options.ipfs_api.empty() ? options.ipfs_api : set != nullptr ? set : "";
  if (api.empty()) api = kDefaultApi;
  while (api.ends_with('/')) api.pop_back();
  return api;
}

std::vector<std::string> GatewaysOf(const StoreOptions& options) {
  std::vector<std::string> gateways = options.ipfs_gateways;
  if (gateways.empty()) {
    const char* set = std::getenv("IPFS_GATEWAY");
    if (set != nullptr && set[0] != '\0') gateways.push_back(set);
  }
  for (std::string& gateway : gateways) {
    while (gateway.ends_with('/')) gateway.pop_back();
  }
  return gateways;
}

Status CheckUrls(const std::vector<std::string>& urls) {
  for (const std::string& url : urls) {
    if (!IsHttpUrl(url) || url.find_first_of("?#") != std::string::npos) {
      return Error{ErrorCode::kInvalidArgument,
                   "\"" + DisplayUrl(url) +
                       "\" is no address of an IPFS gateway or node; expected one such as "
                       "http://127.0.0.1:8080"};
    }
  }
  return {};
}

Result<std::unique_ptr<ObjectStore>> OpenNodeFolder(const std::string& name,
                                                    const StoreOptions& options) {
  const std::string api = ApiOf(options);
  auto folder = std::make_shared<NodeFolder>(kFolderOfAll + name, api, options);
  if (options.create) {
    DNC_TRY(folder->node.MakeFolder(folder->path));
  } else {
    DNC_ASSIGN(const auto stat, folder->node.FindFile(folder->path));
    if (!stat || !stat->is_folder) {
      return Error{ErrorCode::kNotFound, "no folder " + folder->path + " in the IPFS node at " +
                                             DisplayUrl(api) + "; expected one, or a CID"};
    }
  }
  return std::unique_ptr<ObjectStore>(new NodeStore(std::move(folder), options));
}

}  // namespace

Result<std::unique_ptr<ObjectStore>> OpenIpfsStore(const std::string& url,
                                                   const StoreOptions& options) {
  std::string name = url.substr(kScheme.size());
  while (name.ends_with('/')) name.pop_back();
  const std::optional<ipfs::Cid> root = ipfs::ParseCid(name);
  if (!name.empty() && !IsValidKey(name)) {
    return Error{ErrorCode::kInvalidArgument,
                 "\"" + url +
                     "\" names nothing in IPFS; expected ipfs://CID, or ipfs://NAME for a "
                     "folder of a node"};
  }
  DNC_TRY(CheckUrls({ApiOf(options)}));
  if (!name.empty() && !root) return OpenNodeFolder(name, options);
  if (options.create) {
    return Error{ErrorCode::kInvalidArgument,
                 url +
                     ": a CID names its content, so nothing can be written there; expected "
                     "ipfs://NAME"};
  }
  const std::vector<std::string> gateways = GatewaysOf(options);
  DNC_TRY(CheckUrls(gateways));
  std::vector<std::unique_ptr<ObjectStore>> stores;
  for (const std::string& gateway : gateways) {
    stores.push_back(
        std::make_unique<IpfsStore>(root, IpfsBlocks::Kind::kGateway, gateway, options));
  }
  // The node's RPC, if it is named or there is nothing else.
  if (stores.empty() || !options.ipfs_api.empty()) {
    stores.push_back(
        std::make_unique<IpfsStore>(root, IpfsBlocks::Kind::kNode, ApiOf(options), options));
  }
  return MakeMirrors(std::move(stores), options.report);
}

}  // namespace dnc::store
