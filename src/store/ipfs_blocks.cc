#include "store/ipfs_blocks.h"

#include <algorithm>
#include <cstring>

#include "ipfs/car.h"
#include "ipfs/dag_pb.h"
#include "store/store_errors.h"

namespace dnc::store {
namespace {

constexpr std::uint64_t kNodeCacheBytes = 4u << 20;
// Nodes that come with the leaves of a CAR: more than any tree over `out` needs.
constexpr std::uint64_t kCarNodesBytesMax = 8u << 20;

}  // namespace

// The parts of a file that a read wants, and where their bytes go.
struct IpfsBlocks::Wanted {
  std::vector<ipfs::FilePart> parts;
  std::vector<bool> filled;
  std::uint64_t offset = 0;
  std::span<std::byte> out;

  Status Fill(std::size_t index, Bytes block) {
    const ipfs::FilePart& part = parts[index];
    DNC_ASSIGN(const Bytes leaf, ipfs::LeafContents(part, std::move(block)));
    const std::uint64_t begin = std::max(offset, part.leaf_offset);
    const std::uint64_t end = std::min(offset + out.size(), part.leaf_offset + part.leaf_bytes);
    std::memcpy(out.data() + (begin - offset), leaf.data() + (begin - part.leaf_offset),
                static_cast<std::size_t>(end - begin));
    filled[index] = true;
    return {};
  }
};

IpfsBlocks::IpfsBlocks(Kind kind, std::string url, const StoreOptions& options)
    : kind_(kind), url_(std::move(url)), client_(options) {}

Error IpfsBlocks::NoBlock(const ipfs::Cid& cid) const {
  return {ErrorCode::kNotFound, "no block " + cid.Text() + " at " + DisplayUrl(url_)};
}

Result<Bytes> IpfsBlocks::Fetch(const ipfs::Cid& cid) {
  HttpRequest request;
  if (kind_ == Kind::kGateway) {
    request.url = url_ + "/ipfs/" + cid.Text() + "?format=raw";
    request.headers = {"Accept: application/vnd.ipld.raw"};
  } else {
    request.method = "POST";
    request.url = url_ + "/api/v0/block/get?arg=" + cid.Text();
  }
  request.internal_error_passes = false;  // A node says so of a block that it has not.
  request.body_bytes_max = ipfs::kBlockBytesMax;
  DNC_ASSIGN(HttpResponse response, client_.Run(request));
  if (response.status == 404 || response.status == 410 || response.status == 500) {
    return NoBlock(cid);
  }
  if (!response.ok()) return StatusError(response, DisplayUrl(request.url));
  if (Sha256(response.body) != cid.digest) {
    return Error{ErrorCode::kCorrupt, DisplayUrl(url_) + " gives other bytes for the block " +
                                          cid.Text() + " (" + std::to_string(response.body.size()) +
                                          " bytes)"};
  }
  return std::move(response.body);
}

Result<Bytes> IpfsBlocks::FetchNode(const ipfs::Cid& cid) {
  if (cid.codec == ipfs::Codec::kRaw) return Fetch(cid);
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = by_cid_.find(cid); found != by_cid_.end()) {
      nodes_.splice(nodes_.begin(), nodes_, found->second);
      return found->second->second;
    }
  }
  DNC_ASSIGN(Bytes block, Fetch(cid));
  const std::lock_guard lock(mutex_);
  if (by_cid_.contains(cid)) return block;  // Another thread was there first.
  nodes_.emplace_front(cid, block);
  by_cid_[cid] = nodes_.begin();
  node_bytes_ += block.size();
  while (node_bytes_ > kNodeCacheBytes && nodes_.size() > 1) {
    node_bytes_ -= nodes_.back().second.size();
    by_cid_.erase(nodes_.back().first);
    nodes_.pop_back();
  }
  return block;
}

void IpfsBlocks::TryCar(const ipfs::Cid& file, Wanted* wanted) {
  HttpRequest request;
  const std::uint64_t last = wanted->offset + wanted->out.size() - 1;
  request.url = url_ + "/ipfs/" + file.Text() +
                "?format=car&dag-scope=entity&entity-bytes=" + std::to_string(wanted->offset) +
                ":" + std::to_string(last);
  request.headers = {"Accept: application/vnd.ipld.car"};
  std::uint64_t bytes_max = kCarNodesBytesMax;
  for (const ipfs::FilePart& part : wanted->parts) bytes_max += part.leaf_bytes;
  ipfs::CarReader reader([wanted](const ipfs::Cid& cid, ByteSpan block) -> Status {
    for (std::size_t i = 0; i < wanted->parts.size(); ++i) {
      if (wanted->filled[i] || wanted->parts[i].cid != cid) continue;
      DNC_TRY(wanted->Fill(i, Bytes(block.begin(), block.end())));
    }
    return {};
  });
  request.sink = [&](ByteSpan bytes) -> Result<bool> {
    if (bytes.size() > bytes_max) return Error{ErrorCode::kTooLarge, "a CAR without an end"};
    bytes_max -= bytes.size();
    DNC_TRY(reader.Feed(bytes));
    return std::find(wanted->filled.begin(), wanted->filled.end(), false) != wanted->filled.end();
  };
  // Whatever goes wrong, each block that is still missing is then asked for alone, and
  // that request's error is the one to tell.
  const Result<HttpResponse> response = client_.Try(request);
  const bool refused = response.ok() && response->status >= 400 && response->status < 500;
  if (refused || (!response.ok() && response.error().code != ErrorCode::kUnavailable)) {
    gives_cars_ = false;
  }
}

Status IpfsBlocks::ReadFile(const ipfs::Cid& file, const Name& name, std::uint64_t offset,
                            std::span<std::byte> out) {
  if (out.empty() || offset > INT64_MAX || out.size() > INT64_MAX - offset) {
    DNC_ASSIGN(const std::uint64_t size, FileBytes(file));
    if (out.empty() && offset <= size) return {};
    return ObjectEndsError(name.key, name.store, size, offset + out.size());
  }
  const std::uint64_t end = offset + out.size();
  if (file.codec == ipfs::Codec::kRaw) {  // One leaf: to learn its size is to have it.
    DNC_ASSIGN(const Bytes block, Fetch(file));
    if (end > block.size()) return ObjectEndsError(name.key, name.store, block.size(), end);
    std::memcpy(out.data(), block.data() + offset, out.size());
    return {};
  }
  DNC_ASSIGN(const std::uint64_t size, FileBytes(file));
  if (end > size) return ObjectEndsError(name.key, name.store, size, end);
  Wanted wanted;
  DNC_ASSIGN(wanted.parts, ipfs::FindFileParts(file, offset, end, fetch()));
  wanted.filled.resize(wanted.parts.size());
  wanted.offset = offset;
  wanted.out = out;
  if (kind_ == Kind::kGateway && gives_cars_ && wanted.parts.size() > 1) TryCar(file, &wanted);
  for (std::size_t i = 0; i < wanted.parts.size(); ++i) {
    if (wanted.filled[i]) continue;
    DNC_ASSIGN(Bytes block, Fetch(wanted.parts[i].cid));
    DNC_TRY(wanted.Fill(i, std::move(block)));
  }
  return {};
}

}  // namespace dnc::store
