#include "shard/content_id.h"

#include <openssl/evp.h>

#include <algorithm>

#include "base/prng.h"
#include "testing/testing.h"

// The expected ids come from kubo's own tests of the profile unixfs-v1-2025
// (test/cli/cid_profiles_test.go), whose files are ChaCha20 key streams, and, where a
// comment says so, from an independent computation.

namespace dnc::shard {
namespace {

std::string CidOf(ByteSpan bytes) {
  ContentHasher hasher;
  hasher.Update(bytes);
  return hasher.Finish().cid;
}

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
    zeros_.resize(size);
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

std::vector<Digest> NumberedLeaves(std::uint64_t count) {
  std::vector<Digest> leaves;
  for (std::uint64_t i = 0; i < count; ++i) leaves.push_back(Sha256(AsBytes(std::to_string(i))));
  return leaves;
}

TEST(ContentIdTest, NamesSmallFilesByTheirRawLeaf) {
  EXPECT_EQ(CidOf({}), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
  EXPECT_EQ(CidOf(AsBytes("hello world")),
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
}

TEST(ContentIdTest, EqualsKuboForOneFullLeafAndForOneByteMore) {
  KeyStream stream("chunk-v1-seed");
  const ByteSpan bytes = stream.Next(kLeafBytes + 1);
  EXPECT_EQ(CidOf(bytes.first(kLeafBytes)),
            "bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta");
  EXPECT_EQ(CidOf(bytes), "bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64");
}

// Computed by a recursive program in another language, which also gives the ids of
// kubo's files of 1024 and 1025 leaves: 1 GiB each, too slow to hash here.
TEST(ContentIdTest, EqualsAnIndependentComputation) {
  EXPECT_EQ(ContentIdFromLeaves(NumberedLeaves(2049), 2049 * kLeafBytes - 7),
            "bafybeigatrbrgpmgkjdkp2ee4mqopo2nw4xfwqbvxbjjxx77bvynemlure");
  EXPECT_EQ(ContentIdFromLeaves(NumberedLeaves(1024), 1024 * kLeafBytes),
            "bafybeidurd5okdc3bxasfhuqf6skor4qgnpgc4izls4rijnazx5pxjgklm");
  EXPECT_EQ(ContentIdFromLeaves(NumberedLeaves(1025), 1024 * kLeafBytes + 1),
            "bafybeidj52csqzgvzxhhhrvi6kcuetafz5o7f77m7y2csdshsnmo6ooigq");
  EXPECT_EQ(CidOf(Bytes(3 * kLeafBytes + 5)),
            "bafybeiayxwb54rnxpofwvtqrlwuuy45oxvliezr7ryekoimjfagbs6p5gi");
}

TEST(ContentIdTest, DoesNotDependOnHowTheBytesCome) {
  KeyStream stream("pieces");
  const ByteSpan bytes = stream.Next(2 * kLeafBytes + 77);
  ContentHasher whole;
  whole.Update(bytes);
  const ContentHasher::Identity expected = whole.Finish();
  EXPECT_EQ(expected.bytes, bytes.size());
  EXPECT_EQ(expected.leaves.size(), 3u);
  Prng prng(1);
  for (int round = 0; round < 5; ++round) {
    ContentHasher hasher;
    ByteSpan rest = bytes;
    while (!rest.empty()) {
      const std::size_t size = std::min<std::size_t>(prng.Below(kLeafBytes * 3 / 2), rest.size());
      hasher.Update(rest.first(size));
      rest = rest.subspan(size);
    }
    const ContentHasher::Identity identity = hasher.Finish();
    EXPECT_EQ(identity.cid, expected.cid);
    EXPECT_EQ(identity.leaves, expected.leaves);
  }
}

TEST(ContentIdTest, CountsLeaves) {
  EXPECT_EQ(LeafCount(0), 1u);
  EXPECT_EQ(LeafCount(1), 1u);
  EXPECT_EQ(LeafCount(kLeafBytes), 1u);
  EXPECT_EQ(LeafCount(kLeafBytes + 1), 2u);
  EXPECT_EQ(LeafCount(5 * kLeafBytes), 5u);
}

TEST(ContentIdTest, RecognisesWhatItMakesAndNothingElse) {
  const std::string leaf = CidOf({});
  const std::string node = ContentIdFromLeaves(NumberedLeaves(2), kLeafBytes + 1);
  EXPECT_TRUE(IsContentId(leaf));
  EXPECT_TRUE(IsContentId(node));
  for (const std::string& wrong :
       {std::string(), leaf.substr(1), leaf + "a", "B" + leaf.substr(1),
        "bafkreh" + leaf.substr(7),                  // Another hash function.
        leaf.substr(0, 7) + "i" + leaf.substr(8),    // Another length of the hash.
        leaf.substr(0, 58) + "b",                    // Bits beyond the last byte.
        leaf.substr(0, 20) + "/" + leaf.substr(21),  // Not base32, and a path.
        leaf.substr(0, 20) + "1" + leaf.substr(21),
        std::string("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn")}) {
    EXPECT_FALSE(IsContentId(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace dnc::shard
