#include "server/objects.h"

#include "store/object_store.h"
#include "testing/testing.h"

namespace dnc::server {
namespace {

TEST(ObjectKeysTest, KeysAreReadBack) {
  const Digest digest = Sha256(AsBytes("update"));
  const std::string update = UpdateKey({3}, {17}, digest);
  EXPECT_TRUE(store::IsValidKey(update));
  const auto parsed = ParseKey(update);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(parsed->is_update);
  EXPECT_EQ(parsed->project, ProjectId{3});
  EXPECT_EQ(parsed->lease, LeaseId{17});
  EXPECT_EQ(parsed->update, digest);

  const auto weights = ParseKey(WeightsKey({3}, 0));
  ASSERT_TRUE(weights);
  EXPECT_FALSE(weights->is_update);
  EXPECT_EQ(weights->project, ProjectId{3});
  EXPECT_EQ(weights->version, 0u);
  EXPECT_TRUE(store::IsValidKey(UpdateKey({UINT64_MAX}, {UINT64_MAX}, digest)));
}

TEST(ObjectKeysTest, OtherNamesAreNotKeys) {
  const std::string hex = Sha256({}).Hex();
  for (const std::string& name :
       {std::string("bafkreigh2akiscaildc"), std::string("weights-"), std::string("weights-3"),
        std::string("weights-3-x"), std::string("weights--1-2"), std::string("update-3-17"),
        "update-3-" + hex, "update-3-17-" + hex + "0", "update-x-17-" + hex,
        std::string("weights-99999999999999999999-1"), std::string()}) {
    EXPECT_FALSE(ParseKey(name)) << name;
  }
}

}  // namespace
}  // namespace dnc::server
