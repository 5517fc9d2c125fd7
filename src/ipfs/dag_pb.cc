#include "ipfs/dag_pb.h"

#include <utility>

namespace dnc::ipfs {
namespace {

constexpr int kVarint = 0;
constexpr int kFixed64 = 1;
constexpr int kDelimited = 2;
constexpr int kFixed32 = 5;

void PutTag(int field, int wire_type, Bytes* out) {
  PutVarint(static_cast<std::uint64_t>(field << 3 | wire_type), out);
}
void PutNumberField(int field, std::uint64_t value, Bytes* out) {
  PutTag(field, kVarint, out);
  PutVarint(value, out);
}
void PutBytesField(int field, ByteSpan bytes, Bytes* out) {
  PutTag(field, kDelimited, out);
  PutVarint(bytes.size(), out);
  out->insert(out->end(), bytes.begin(), bytes.end());
}

std::uint64_t VarintBytes(std::uint64_t value) {
  std::uint64_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

Error Broken(const char* what, const std::string& found) {
  return {ErrorCode::kCorrupt, std::string("not a ") + what + ": " + found};
}

struct Field {
  std::uint64_t number = 0;
  int wire_type = 0;
  std::uint64_t value = 0;  // Of kVarint.
  ByteSpan bytes;           // Of kDelimited.
};

// The next field of a message; nullopt if the bytes are no such.
std::optional<Field> TakeField(ByteSpan* bytes) {
  const auto tag = TakeVarint(bytes);
  if (!tag) return std::nullopt;
  Field field;
  field.number = *tag >> 3;
  field.wire_type = static_cast<int>(*tag & 7);
  std::uint64_t size = 0;
  if (field.wire_type == kVarint) {
    const auto value = TakeVarint(bytes);
    if (!value) return std::nullopt;
    field.value = *value;
    return field;
  }
  if (field.wire_type == kDelimited) {
    const auto said = TakeVarint(bytes);
    if (!said) return std::nullopt;
    size = *said;
  } else if (field.wire_type == kFixed64 || field.wire_type == kFixed32) {
    size = field.wire_type == kFixed64 ? 8 : 4;
  } else {
    return std::nullopt;
  }
  if (size > bytes->size()) return std::nullopt;
  field.bytes = bytes->first(static_cast<std::size_t>(size));
  *bytes = bytes->subspan(static_cast<std::size_t>(size));
  return field;
}

Result<DagLink> DecodeLink(ByteSpan bytes) {
  DagLink link;
  bool has_cid = false;
  while (!bytes.empty()) {
    const std::optional<Field> field = TakeField(&bytes);
    if (!field) return Broken("dag-pb node", "a link is cut short");
    if (field->number == 1 && field->wire_type == kDelimited && !has_cid) {
      ByteSpan binary = field->bytes;
      const std::optional<Cid> cid = TakeCid(&binary);
      if (!cid || !binary.empty()) {
        return Error{ErrorCode::kUnsupported,
                     "a link to content that is neither a raw block nor a dag-pb node named by its "
                     "SHA-256"};
      }
      link.cid = *cid;
      has_cid = true;
    } else if (field->number == 2 && field->wire_type == kDelimited) {
      link.name = AsText(field->bytes);
    } else if (field->number == 3 && field->wire_type == kVarint) {
      link.total_bytes = field->value;
    } else {
      return Broken("dag-pb node", "field " + std::to_string(field->number) + " in a link");
    }
  }
  if (!has_cid) return Broken("dag-pb node", "a link without a CID");
  return link;
}

}  // namespace

Bytes EncodeDagNode(const DagNode& node) {
  Bytes encoded;
  Bytes link_bytes;
  for (const DagLink& link : node.links) {
    link_bytes.clear();
    PutBytesField(1, link.cid.Binary(), &link_bytes);
    PutBytesField(2, AsBytes(link.name), &link_bytes);  // Also where it is empty.
    PutNumberField(3, link.total_bytes, &link_bytes);
    PutBytesField(2, link_bytes, &encoded);
  }
  if (node.data) PutBytesField(1, *node.data, &encoded);
  return encoded;
}

std::uint64_t EncodedLinkBytes(std::uint64_t name_bytes, std::uint64_t total_bytes) {
  constexpr std::uint64_t kCidBytes = 36;
  const std::uint64_t inner = 1 + VarintBytes(kCidBytes) + kCidBytes + 1 + VarintBytes(name_bytes) +
                              name_bytes + 1 + VarintBytes(total_bytes);
  return 1 + VarintBytes(inner) + inner;
}

Result<DagNode> DecodeDagNode(ByteSpan block) {
  if (block.size() > kBlockBytesMax) {
    return Error{ErrorCode::kTooLarge, "a block of " + std::to_string(block.size()) +
                                           " bytes; at most " + std::to_string(kBlockBytesMax) +
                                           " are taken"};
  }
  DagNode node;
  while (!block.empty()) {
    const std::optional<Field> field = TakeField(&block);
    if (!field) return Broken("dag-pb node", "a field is cut short");
    if (field->wire_type != kDelimited || (field->number != 1 && field->number != 2)) {
      return Broken("dag-pb node", "field " + std::to_string(field->number) + " of wire type " +
                                       std::to_string(field->wire_type));
    }
    if (field->number == 2) {
      DNC_ASSIGN(DagLink link, DecodeLink(field->bytes));
      node.links.push_back(std::move(link));
    } else {
      if (node.data) return Broken("dag-pb node", "its data comes twice");
      node.data = Bytes(field->bytes.begin(), field->bytes.end());
    }
  }
  return node;
}

Bytes EncodeUnixFs(const UnixFsData& data) {
  Bytes encoded;
  PutNumberField(1, static_cast<std::uint64_t>(data.type), &encoded);
  if (data.data) PutBytesField(2, *data.data, &encoded);
  if (data.file_bytes) PutNumberField(3, *data.file_bytes, &encoded);
  for (const std::uint64_t bytes : data.child_bytes) PutNumberField(4, bytes, &encoded);
  if (data.hash_type) PutNumberField(5, *data.hash_type, &encoded);
  if (data.fanout) PutNumberField(6, *data.fanout, &encoded);
  return encoded;
}

Result<UnixFsData> DecodeUnixFs(ByteSpan bytes) {
  UnixFsData data;
  bool has_type = false;
  while (!bytes.empty()) {
    const std::optional<Field> field = TakeField(&bytes);
    if (!field) return Broken("UnixFS node", "a field is cut short");
    const bool number = field->wire_type == kVarint;
    const bool delimited = field->wire_type == kDelimited;
    if (field->number == 1 && number && field->value <= 5) {
      data.type = static_cast<UnixFsType>(field->value);
      has_type = true;
    } else if (field->number == 2 && delimited) {
      data.data = Bytes(field->bytes.begin(), field->bytes.end());
    } else if (field->number == 3 && number) {
      data.file_bytes = field->value;
    } else if (field->number == 4 && number) {
      data.child_bytes.push_back(field->value);
    } else if (field->number == 4 && delimited) {  // Packed.
      for (ByteSpan packed = field->bytes; !packed.empty();) {
        const auto size = TakeVarint(&packed);
        if (!size) return Broken("UnixFS node", "a size is cut short");
        data.child_bytes.push_back(*size);
      }
    } else if (field->number == 5 && number) {
      data.hash_type = field->value;
    } else if (field->number == 6 && number) {
      data.fanout = field->value;
    } else if (field->number != 7 && field->number != 8) {  // Mode and time.
      return Broken("UnixFS node", "field " + std::to_string(field->number) + " of wire type " +
                                       std::to_string(field->wire_type));
    }
  }
  if (!has_type) return Broken("UnixFS node", "it has no type");
  return data;
}

}  // namespace dnc::ipfs
