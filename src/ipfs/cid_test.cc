#include "ipfs/cid.h"

#include "testing/testing.h"

namespace dnc::ipfs {
namespace {

TEST(CidTest, WritesAndReadsVersion1) {
  const Cid cid = CidOf(Codec::kRaw, AsBytes("hello world"));
  EXPECT_EQ(cid.Text(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
  EXPECT_EQ(ParseCid(cid.Text()), cid);
  const Bytes binary = cid.Binary();
  ByteSpan rest = binary;
  EXPECT_EQ(TakeCid(&rest), cid);
  EXPECT_TRUE(rest.empty());
}

// The empty folder in both versions, as every IPFS node prints it.
TEST(CidTest, ReadsVersion0AsTheSameContent) {
  EXPECT_EQ(ParseCid("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"),
            ParseCid("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"));
}

TEST(CidTest, RefusesWhatIsNoCidOfOurs) {
  const std::string good = CidOf(Codec::kRaw, {}).Text();
  for (const std::string& text :
       {std::string(), std::string("b"), good.substr(1), good + "a", "z" + good.substr(1),
        good.substr(0, 58) + "b", good.substr(0, 20) + "1" + good.substr(21),
        std::string("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3N0"),
        std::string("Qmzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz").substr(0, 46),
        // dag-cbor, and an identity hash.
        std::string("bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"),
        std::string("bafkqaaa")}) {
    EXPECT_FALSE(ParseCid(text)) << text;
  }
  const Bytes short_binary(10, std::byte{1});
  ByteSpan rest = short_binary;
  EXPECT_FALSE(TakeCid(&rest));
  EXPECT_EQ(rest.size(), 10u);
}

TEST(CidTest, ReadsVarintsInTheirShortestFormOnly) {
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{127}, std::uint64_t{128},
                                    std::uint64_t{1} << 40, (std::uint64_t{1} << 63) - 1}) {
    Bytes bytes;
    PutVarint(value, &bytes);
    ByteSpan rest = bytes;
    EXPECT_EQ(TakeVarint(&rest), value);
    EXPECT_TRUE(rest.empty());
    ByteSpan cut = ByteSpan(bytes).first(bytes.size() - 1);
    EXPECT_FALSE(TakeVarint(&cut));
  }
  const Bytes longer = {std::byte{0x81}, std::byte{0}};
  ByteSpan rest = longer;
  EXPECT_FALSE(TakeVarint(&rest));
  const Bytes endless(20, std::byte{0xff});
  rest = endless;
  EXPECT_FALSE(TakeVarint(&rest));
}

}  // namespace
}  // namespace dnc::ipfs
