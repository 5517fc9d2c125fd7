#include "ipfs/unixfs.h"

#include <openssl/evp.h>

#include <map>

#include "base/prng.h"
#include "ipfs/dag_pb.h"
#include "ipfs/murmur3.h"
#include "testing/testing.h"

// The ids that are expected come from Kubo's own tests of the profile unixfs-v1-2025
// (test/cli/cid_profiles_test.go), whose files are ChaCha20 key streams and whose folders
// have names made of one. What is read is the same trees, whole, cut and forged.

namespace dnc::ipfs {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::HasSubstr;

// The key stream of ChaCha20 under SHA-256(seed) with nonce and counter 0.
class KeyStream {
 public:
  explicit KeyStream(std::string_view seed) : context_(EVP_CIPHER_CTX_new()) {
    const Digest key = Sha256(AsBytes(seed));
    const std::array<unsigned char, 16> counter_and_nonce{};
    DNC_ASSERT(EVP_EncryptInit_ex(context_, EVP_chacha20(), nullptr, key.bytes.data(),
                                  counter_and_nonce.data()) == 1);
  }
  ~KeyStream() { EVP_CIPHER_CTX_free(context_); }
  KeyStream(const KeyStream&) = delete;
  KeyStream& operator=(const KeyStream&) = delete;

  // Valid until the next call.
  ByteSpan Next(std::size_t size) {
    zeros_.assign(size, std::byte{0});
    bytes_.resize(size);
    int written = 0;
    DNC_ASSERT(EVP_EncryptUpdate(context_, reinterpret_cast<unsigned char*>(bytes_.data()),
                                 &written, reinterpret_cast<const unsigned char*>(zeros_.data()),
                                 static_cast<int>(size)) == 1);
    return bytes_;
  }

 private:
  EVP_CIPHER_CTX* context_;
  Bytes zeros_;
  Bytes bytes_;
};

// Blocks by their ids, as a node or gateway has them.
class Blocks {
 public:
  Cid Add(Codec codec, ByteSpan block) {
    const Cid cid = CidOf(codec, block);
    blocks_[cid] = Bytes(block.begin(), block.end());
    return cid;
  }
  BlockSink sink() {
    return [this](const Cid& cid, ByteSpan block) {
      EXPECT_EQ(CidOf(cid.codec, block), cid);
      Add(cid.codec, block);
    };
  }
  BlockFetch fetch() {
    return [this](const Cid& cid) -> Result<Bytes> {
      ++fetched;
      const auto found = blocks_.find(cid);
      if (found == blocks_.end()) return Error{ErrorCode::kNotFound, "no block " + cid.Text()};
      return found->second;
    };
  }
  Root AddFile(ByteSpan bytes) {
    std::vector<Digest> leaves;
    for (std::uint64_t i = 0; i < LeafCount(bytes.size()); ++i) {
      const std::size_t begin = i * kLeafBytes;
      const std::size_t size = std::min<std::size_t>(kLeafBytes, bytes.size() - begin);
      leaves.push_back(Add(Codec::kRaw, bytes.subspan(begin, size)).digest);
    }
    return BuildFile(leaves, bytes.size(), sink());
  }
  std::size_t size() const { return blocks_.size(); }

  int fetched = 0;

 private:
  std::map<Cid, Bytes> blocks_;
};

// The bytes [begin, end) by their parts.
Result<Bytes> ReadParts(Blocks* blocks, const Cid& file, std::uint64_t begin, std::uint64_t end) {
  DNC_ASSIGN(const auto parts, FindFileParts(file, begin, end, blocks->fetch()));
  Bytes out;
  for (const FilePart& part : parts) {
    DNC_ASSIGN(Bytes block, blocks->fetch()(part.cid));
    DNC_ASSIGN(const Bytes leaf, LeafContents(part, std::move(block)));
    const std::uint64_t from = std::max(begin, part.leaf_offset);
    const std::uint64_t to = std::min(end, part.leaf_offset + part.leaf_bytes);
    out.insert(out.end(), leaf.begin() + static_cast<std::ptrdiff_t>(from - part.leaf_offset),
               leaf.begin() + static_cast<std::ptrdiff_t>(to - part.leaf_offset));
  }
  return out;
}

// The entries of Kubo's test folders: files of one byte with names of 11 letters, but for
// the last, whose name is longer.
std::vector<DirectoryEntry> KuboEntries(std::size_t last_name_size) {
  constexpr std::string_view kAlphabet = "abcdefghijklmnopqrstuvwxyz01234567890-_";
  KeyStream stream("hamt-unixfs-v1-2025");
  const Cid file = CidOf(Codec::kRaw, AsBytes("x"));
  std::vector<DirectoryEntry> entries;
  for (int i = 0; i < 4766; ++i) {
    std::string name;
    for (const std::byte b : stream.Next(i == 4765 ? last_name_size : 11)) {
      name.push_back(kAlphabet[std::to_integer<std::size_t>(b) % kAlphabet.size()]);
    }
    entries.push_back({name, file, 1});
  }
  return entries;
}

TEST(UnixFsTest, NamesAFileOf1024LeavesAndOfOneByteMoreAsKuboDoes) {
  KeyStream stream("v1-2025-seed");
  std::vector<Digest> leaves;
  for (int i = 0; i < 1024; ++i) leaves.push_back(Sha256(stream.Next(kLeafBytes)));
  EXPECT_EQ(BuildFile(leaves, 1024 * kLeafBytes).cid.Text(),
            "bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm");
  leaves.push_back(Sha256(stream.Next(1)));
  EXPECT_EQ(BuildFile(leaves, 1024 * kLeafBytes + 1).cid.Text(),
            "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe");
}

TEST(UnixFsTest, NamesAFolderAtTheLimitAndAboveItAsKuboDoes) {
  Blocks basic;
  const auto at_limit = BuildDirectory(KuboEntries(21), basic.sink());
  ASSERT_THAT(at_limit, Succeeds());
  EXPECT_EQ(at_limit->cid.Text(), "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4");
  EXPECT_EQ(basic.size(), 1u);
  Blocks hamt;
  const auto above = BuildDirectory(KuboEntries(22), hamt.sink());
  ASSERT_THAT(above, Succeeds());
  EXPECT_EQ(above->cid.Text(), "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu");
  EXPECT_GT(hamt.size(), 256u);
}

TEST(UnixFsTest, ListsAFolderAtTheLimitAndAboveIt) {
  for (const std::size_t last_name_size : {21u, 22u}) {
    Blocks blocks;
    std::vector<DirectoryEntry> entries = KuboEntries(last_name_size);
    const auto root = BuildDirectory(entries, blocks.sink());
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    EXPECT_EQ(*ListDirectory(root->cid, blocks.fetch()), entries);
    EXPECT_THAT(ListDirectory(root->cid, blocks.fetch(), {.entry_count_max = 4765}),
                FailsWith(ErrorCode::kTooLarge));
  }
}

TEST(UnixFsTest, NamesAnEmptyFolderAsEveryoneDoes) {
  Blocks blocks;
  const auto root = BuildDirectory({}, blocks.sink());
  EXPECT_EQ(root->cid.Text(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
  EXPECT_TRUE(ListDirectory(root->cid, blocks.fetch())->empty());
}

TEST(UnixFsTest, NamesASymbolicLinkAsKuboDoes) {
  EXPECT_EQ(BuildSymlink("../x").cid.Text(),
            "bafybeih2lj6etznrpm3z6suw7a4czbmlyzar5kytsro2lq7qqeejcrwuja");
}

TEST(UnixFsTest, RefusesNamesThatNoFolderHas) {
  const Cid cid;
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("a/b"), std::string("a\0b", 3)}) {
    EXPECT_THAT(BuildDirectory({{name, cid, 0}}), FailsWith(ErrorCode::kInvalidArgument)) << name;
  }
  EXPECT_THAT(BuildDirectory({{"a", cid, 0}, {"a", cid, 1}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("twice")));
}

// The values are those of the reference implementation (SMHasher) and of its port to Go.
TEST(UnixFsTest, HashesNamesByMurmur3) {
  EXPECT_EQ(Murmur3({}), 0u);
  EXPECT_EQ(Murmur3(AsBytes("hello")), 0xcbd8a7b341bd9b02u);
  EXPECT_EQ(Murmur3(AsBytes("The quick brown fox jumps over the lazy dog.")), 0xcd99481f9ee902c9u);
}

TEST(UnixFsTest, ReadsAnyPartOfAFile) {
  Blocks blocks;
  KeyStream stream("read");
  const ByteSpan bytes = stream.Next(2 * kLeafBytes + 77);
  const Root root = blocks.AddFile(bytes);
  EXPECT_EQ(*FileBytes(root.cid, blocks.fetch()), bytes.size());
  Prng prng(1);
  for (int i = 0; i < 50; ++i) {
    const std::uint64_t begin = prng.Below(bytes.size() + 1);
    const std::uint64_t end = begin + prng.Below(bytes.size() - begin + 1);
    const auto part = ReadParts(&blocks, root.cid, begin, end);
    ASSERT_THAT(part, Succeeds());
    EXPECT_TRUE(std::equal(part->begin(), part->end(), bytes.begin() + begin)) << begin;
    EXPECT_EQ(part->size(), end - begin);
  }
  EXPECT_THAT(FindFileParts(root.cid, 0, bytes.size() + 1, blocks.fetch()),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("2097229 bytes")));
}

TEST(UnixFsTest, FetchesOnlyTheNodesAboveWhatIsRead) {
  Blocks blocks;
  std::vector<Digest> leaves(3000);
  for (std::size_t i = 0; i < leaves.size(); ++i) leaves[i] = Sha256(AsBytes(std::to_string(i)));
  const Root root = BuildFile(leaves, 3000 * kLeafBytes, blocks.sink());
  EXPECT_EQ(blocks.size(), 4u);
  const auto parts =
      FindFileParts(root.cid, 1500 * kLeafBytes + 1, 1502 * kLeafBytes, blocks.fetch());
  ASSERT_THAT(parts, Succeeds());
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].cid.digest, leaves[1500]);
  EXPECT_EQ((*parts)[1].leaf_offset, 1501 * kLeafBytes);
  EXPECT_EQ(blocks.fetched, 2);
}

TEST(UnixFsTest, ReadsFilesThatOlderProfilesMade) {
  Blocks blocks;
  // Leaves as nodes with data, and a node with data of its own before its links.
  const auto leaf = [&](std::string_view text) {
    UnixFsData data;
    data.type = UnixFsType::kFile;
    data.data = Bytes(AsBytes(text).begin(), AsBytes(text).end());
    data.file_bytes = text.size();
    DagNode node;
    node.data = EncodeUnixFs(data);
    return blocks.Add(Codec::kDagPb, EncodeDagNode(node));
  };
  UnixFsData data;
  data.data = Bytes(AsBytes("ab").begin(), AsBytes("ab").end());
  data.child_bytes = {3, 2};
  DagNode node;
  node.links = {{leaf("cde"), "", 11}, {leaf("fg"), "", 10}};
  node.data = EncodeUnixFs(data);
  const Cid root = blocks.Add(Codec::kDagPb, EncodeDagNode(node));
  EXPECT_EQ(AsText(*ReadParts(&blocks, root, 0, 7)), "abcdefg");
  EXPECT_EQ(AsText(*ReadParts(&blocks, root, 1, 6)), "bcdef");
}

TEST(UnixFsTest, RefusesATreeWhoseSizesDoNotAgree) {
  Blocks blocks;
  const Cid leaf = blocks.Add(Codec::kRaw, AsBytes("leaf"));
  const auto root_of = [&](std::vector<std::uint64_t> sizes, std::optional<std::uint64_t> total) {
    UnixFsData data;
    data.child_bytes = std::move(sizes);
    data.file_bytes = total;
    DagNode node;
    node.links = {{leaf, "", 4}, {leaf, "", 4}};
    node.data = EncodeUnixFs(data);
    return blocks.Add(Codec::kDagPb, EncodeDagNode(node));
  };
  EXPECT_THAT(FileBytes(root_of({4, 4}, 8), blocks.fetch()), Succeeds());
  EXPECT_THAT(FileBytes(root_of({4, 4}, 9), blocks.fetch()), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(FileBytes(root_of({4}, 4), blocks.fetch()), FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(FileBytes(root_of({INT64_MAX, 4}, {}), blocks.fetch()),
              FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(ReadParts(&blocks, root_of({4, 5}, 9), 0, 9),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("its parent says 5")));
}

TEST(UnixFsTest, TellsFilesAndFoldersApart) {
  Blocks blocks;
  const Cid leaf = blocks.Add(Codec::kRaw, AsBytes("leaf"));
  const auto folder = BuildDirectory({{"leaf", leaf, 4}}, blocks.sink());
  EXPECT_THAT(FileBytes(folder->cid, blocks.fetch()),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("is not a file")));
  EXPECT_THAT(ListDirectory(leaf, blocks.fetch()),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("is not a folder")));
  EXPECT_THAT(FileBytes(CidOf(Codec::kDagPb, {}), blocks.fetch()), FailsWith(ErrorCode::kNotFound));
}

TEST(DagPbTest, ReadsBackWhatItWrites) {
  DagNode node;
  node.links = {{CidOf(Codec::kRaw, AsBytes("a")), "name", 1234567}, {Cid{}, "", 0}};
  node.data = Bytes{std::byte{1}, std::byte{2}};
  const Bytes block = EncodeDagNode(node);
  EXPECT_EQ(*DecodeDagNode(block), node);
  EXPECT_EQ(block.size(), EncodedLinkBytes(4, 1234567) + EncodedLinkBytes(0, 0) + 4);
  UnixFsData data;
  data.type = UnixFsType::kHamtShard;
  data.data = Bytes(32);
  data.file_bytes = 1u << 30;
  data.child_bytes = {1, 300};
  data.hash_type = 0x22;
  data.fanout = 256;
  EXPECT_EQ(*DecodeUnixFs(EncodeUnixFs(data)), data);
}

TEST(DagPbTest, NeverBelievesACutOrChangedNode) {
  DagNode node;
  node.links = {{CidOf(Codec::kDagPb, AsBytes("a")), "name", 300}};
  UnixFsData data;
  data.child_bytes = {300};
  node.data = EncodeUnixFs(data);
  const Bytes intact = EncodeDagNode(node);
  for (std::size_t size = 1; size < intact.size(); ++size) {
    const auto cut = DecodeDagNode(ByteSpan(intact).first(size));
    EXPECT_TRUE(!cut.ok() || *cut != node) << size;
  }
  for (std::size_t i = 0; i < intact.size(); ++i) {
    Bytes damaged = intact;
    damaged[i] ^= std::byte{0x10};
    const auto changed = DecodeDagNode(damaged);
    EXPECT_TRUE(!changed.ok() || *changed != node) << i;
  }
  EXPECT_THAT(DecodeDagNode(Bytes(kBlockBytesMax + 1)), FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(DecodeUnixFs({}), FailsWith(ErrorCode::kCorrupt, HasSubstr("no type")));
}

}  // namespace
}  // namespace dnc::ipfs
