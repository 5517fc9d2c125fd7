#include "ipfs/car.h"

#include <algorithm>
#include <string>
#include <utility>

#include "ipfs/dag_pb.h"

namespace dnc::ipfs {
namespace {

constexpr std::uint64_t kHeaderBytesMax = 64u << 10;
constexpr std::uint64_t kCidBytesMax = 36;
constexpr std::size_t kVarintBytesMax = 9;

// The header is DAG-CBOR: {"roots": [CID, ...], "version": 1}, where a CID is tag 42 on a
// byte string of 0 and the binary id. These are the major types of CBOR.
constexpr int kCborUnsigned = 0;
constexpr int kCborBytes = 2;
constexpr int kCborText = 3;
constexpr int kCborArray = 4;
constexpr int kCborMap = 5;
constexpr int kCborTag = 6;
constexpr std::uint64_t kCidTag = 42;

Error NotACar(const std::string& what) {
  return {ErrorCode::kCorrupt, "not a CAR of version 1: " + what};
}

void PutCborHead(int major, std::uint64_t value, Bytes* out) {
  const auto put = [out](std::uint64_t byte) { out->push_back(static_cast<std::byte>(byte)); };
  const auto type = static_cast<std::uint64_t>(major) << 5;
  if (value < 24) {
    put(type | value);
  } else if (value < 0x100) {
    put(type | 24);
    put(value);
  } else {
    put(type | 25);
    put(value >> 8);
    put(value & 0xff);
  }
}

void PutCborText(std::string_view text, Bytes* out) {
  PutCborHead(kCborText, text.size(), out);
  const ByteSpan bytes = AsBytes(text);
  out->insert(out->end(), bytes.begin(), bytes.end());
}

// The type and value at the head of an item.
std::optional<std::pair<int, std::uint64_t>> TakeCborHead(ByteSpan* bytes) {
  if (bytes->empty()) return std::nullopt;
  const auto first = std::to_integer<unsigned>((*bytes)[0]);
  const int major = static_cast<int>(first >> 5);
  const unsigned info = first & 31;
  *bytes = bytes->subspan(1);
  if (info < 24) return std::pair(major, std::uint64_t{info});
  if (info > 27) return std::nullopt;  // Of indefinite length, which DAG-CBOR has not.
  const std::size_t size = std::size_t{1} << (info - 24);
  if (bytes->size() < size) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    value = value << 8 | std::to_integer<std::uint64_t>((*bytes)[i]);
  }
  *bytes = bytes->subspan(size);
  return std::pair(major, value);
}

std::optional<ByteSpan> TakeCborString(int major, ByteSpan* bytes) {
  const auto head = TakeCborHead(bytes);
  if (!head || head->first != major || head->second > bytes->size()) return std::nullopt;
  const ByteSpan text = bytes->first(static_cast<std::size_t>(head->second));
  *bytes = bytes->subspan(text.size());
  return text;
}

Result<std::vector<Cid>> TakeRoots(ByteSpan* bytes) {
  const auto array = TakeCborHead(bytes);
  if (!array || array->first != kCborArray) return NotACar("its roots are no list");
  std::vector<Cid> roots;
  for (std::uint64_t i = 0; i < array->second; ++i) {
    const auto tag = TakeCborHead(bytes);
    if (!tag || *tag != std::pair(kCborTag, kCidTag)) return NotACar("a root is no CID");
    auto binary = TakeCborString(kCborBytes, bytes);
    if (!binary || binary->empty() || (*binary)[0] != std::byte{0}) {
      return NotACar("a root is no CID");
    }
    *binary = binary->subspan(1);
    const auto cid = TakeCid(&*binary);
    if (!cid || !binary->empty()) {
      return Error{
          ErrorCode::kUnsupported,
          "a CAR whose root is neither a raw block nor a dag-pb node named by its SHA-256"};
    }
    roots.push_back(*cid);
  }
  return roots;
}

}  // namespace

void AppendCarHeader(const std::vector<Cid>& roots, Bytes* out) {
  Bytes header;
  PutCborHead(kCborMap, 2, &header);
  PutCborText("roots", &header);
  PutCborHead(kCborArray, roots.size(), &header);
  for (const Cid& root : roots) {
    const Bytes binary = root.Binary();
    PutCborHead(kCborTag, kCidTag, &header);
    PutCborHead(kCborBytes, binary.size() + 1, &header);
    header.push_back(std::byte{0});
    header.insert(header.end(), binary.begin(), binary.end());
  }
  PutCborText("version", &header);
  PutCborHead(kCborUnsigned, 1, &header);
  PutVarint(header.size(), out);
  out->insert(out->end(), header.begin(), header.end());
}

void AppendCarBlockHead(const Cid& cid, std::uint64_t block_bytes, Bytes* out) {
  const Bytes binary = cid.Binary();
  PutVarint(binary.size() + block_bytes, out);
  out->insert(out->end(), binary.begin(), binary.end());
}

void AppendCarBlock(const Cid& cid, ByteSpan block, Bytes* out) {
  AppendCarBlockHead(cid, block.size(), out);
  out->insert(out->end(), block.begin(), block.end());
}

CarReader::CarReader(BlockHandler handler) : handler_(std::move(handler)) {}

Status CarReader::Feed(ByteSpan bytes) {
  while (!bytes.empty()) {
    if (!section_bytes_) {
      pending_.push_back(bytes[0]);
      bytes = bytes.subspan(1);
      if ((pending_.back() & std::byte{0x80}) != std::byte{0}) {
        if (pending_.size() < kVarintBytesMax) continue;
        return NotACar("a length that is none");
      }
      ByteSpan length = pending_;
      section_bytes_ = TakeVarint(&length);
      if (!section_bytes_ || *section_bytes_ == 0) return NotACar("a length that is none");
      pending_.clear();
      const std::uint64_t limit = header_ ? kBlockBytesMax + kCidBytesMax : kHeaderBytesMax;
      if (*section_bytes_ > limit) {
        return Error{ErrorCode::kTooLarge,
                     "a CAR with a " + std::string(header_ ? "block" : "header") + " of " +
                         std::to_string(*section_bytes_) + " bytes; at most " +
                         std::to_string(limit) + " are taken"};
      }
      continue;
    }
    const auto count = static_cast<std::size_t>(
        std::min<std::uint64_t>(*section_bytes_ - pending_.size(), bytes.size()));
    pending_.insert(pending_.end(), bytes.begin(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    if (pending_.size() == *section_bytes_) DNC_TRY(TakeSection());
  }
  return {};
}

Status CarReader::TakeSection() {
  section_bytes_.reset();
  const Bytes section = std::exchange(pending_, {});
  if (!header_) return TakeHeader(section);
  ByteSpan block = section;
  const std::optional<Cid> cid = TakeCid(&block);
  if (!cid) {
    return Error{ErrorCode::kUnsupported,
                 "a CAR with a block that is neither raw nor a dag-pb node named by its SHA-256"};
  }
  if (Sha256(block) != cid->digest) {
    return Error{ErrorCode::kCorrupt, "a CAR whose block " + cid->Text() + " has other bytes"};
  }
  return handler_(*cid, block);
}

Status CarReader::TakeHeader(ByteSpan header) {
  const auto map = TakeCborHead(&header);
  if (!map || map->first != kCborMap || map->second != 2) return NotACar("no header");
  std::optional<std::uint64_t> version;
  std::optional<std::vector<Cid>> roots;
  for (int i = 0; i < 2; ++i) {
    const auto key = TakeCborString(kCborText, &header);
    if (!key) return NotACar("no header");
    if (AsText(*key) == "roots" && !roots) {
      DNC_ASSIGN(roots, TakeRoots(&header));
    } else if (AsText(*key) == "version" && !version) {
      const auto value = TakeCborHead(&header);
      if (!value || value->first != kCborUnsigned) return NotACar("its version is no number");
      version = value->second;
    } else {
      return NotACar("an unknown field in its header");
    }
  }
  if (*version != 1) {
    return Error{ErrorCode::kUnsupported,
                 "a CAR of version " + std::to_string(*version) + "; expected 1"};
  }
  if (!header.empty()) return NotACar("more behind its header");
  header_ = true;
  roots_ = std::move(*roots);
  return {};
}

Status CarReader::Finish() const {
  if (!header_) return NotACar("it ends within its header");
  if (section_bytes_ || !pending_.empty()) return NotACar("it ends within a block");
  return {};
}

}  // namespace dnc::ipfs
