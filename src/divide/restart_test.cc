// A run that is killed, stopped or cut off goes on where it was, and its result is the
// one of a run that was never interrupted, byte for byte.

#include <gtest/gtest.h>

#include <map>

#include "divide/dataset_for_test.h"
#include "divide/divide.h"
#include "divide/journal.h"
#include "divide/verify.h"
#include "shard/content_id.h"
#include "testing/testing.h"

namespace dnc::divide {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

DivideOptions SmallShards() {
  DivideOptions options;
  options.name = "made up";
  options.shard_bytes = kShardBytesMin;
  options.zstd_level = 1;
  options.threads = 1;
  options.command = "dnc divide x.npy";
  options.splits = {{"train", 0.75}, {"test", 0.25}};
  return options;
}

std::map<std::string, std::string> Contents(const store::ObjectStore& store) {
  std::map<std::string, std::string> contents;
  const auto keys = store.List();
  EXPECT_THAT(keys, test::Succeeds());
  for (const std::string& key : *keys) {
    const auto bytes = store::GetObject(store, key, 1u << 30);
    EXPECT_THAT(bytes, test::Succeeds());
    contents[key] = std::string(AsText(*bytes));
  }
  return contents;
}

struct Kind {
  bool texts = false;
  std::uint64_t samples = 0;
};

class RestartTest : public ::testing::TestWithParam<Kind> {
 protected:
  Result<DivideReport> Run(store::ObjectStore* store, const DivideOptions& options) const {
    SourceForTest source({.samples = GetParam().samples, .texts = GetParam().texts});
    return Divide(&source, store, options);
  }
  std::map<std::string, std::string> Undisturbed() const {
    const auto store = store::MakeMemoryStore();
    EXPECT_THAT(Run(store.get(), SmallShards()), test::Succeeds());
    return Contents(*store);
  }
};

TEST_P(RestartTest, GoesOnAfterAKillAtAnyStep) {
  const auto expected = Undisturbed();
  ASSERT_GT(expected.size(), 3u);
  std::uint64_t kept = 0;
  for (int step = 0;; ++step) {
    ASSERT_LT(step, 1000);
    SCOPED_TRACE(step);
    const auto store = store::MakeMemoryStore();
    FaultyStore dying(store.get(), step, /*dies=*/true);
    const auto killed = Run(&dying, SmallShards());
    if (!dying.fired()) break;
    // What cannot be removed at the end is no failure.
    EXPECT_TRUE(!killed.ok() || Contents(*store).contains(kManifestKey));
    const auto report = Run(store.get(), SmallShards());
    if (!report.ok()) {
      // Killed while its journal was removed: all was done.
      EXPECT_THAT(report, test::FailsWith(ErrorCode::kAlreadyExists));
    } else {
      kept += report->totals.shards_kept;
      EXPECT_THAT(Verify(report->manifest, *store), test::Succeeds());
    }
    ASSERT_EQ(Contents(*store), expected);
  }
  EXPECT_GT(kept, 10u);
}

TEST_P(RestartTest, GoesOnAfterSeveralKills) {
  const auto expected = Undisturbed();
  const auto store = store::MakeMemoryStore();
  int kills = 0;
  for (;; ++kills) {
    ASSERT_LT(kills, 100);
    FaultyStore dying(store.get(), 30, /*dies=*/true);
    if (Run(&dying, SmallShards()).ok()) break;
  }
  EXPECT_GT(kills, 1);
  EXPECT_EQ(Contents(*store), expected);
}

TEST_P(RestartTest, GoesOnAfterItWasStopped) {
  const auto expected = Undisturbed();
  for (int calls_allowed = 0;; ++calls_allowed) {
    ASSERT_LT(calls_allowed, 10000);
    const auto store = store::MakeMemoryStore();
    SourceForTest source({.samples = GetParam().samples, .texts = GetParam().texts});
    int calls = 0;
    const auto report = Divide(&source, store.get(), SmallShards(),
                               [&](const DivideProgress&) { return calls++ < calls_allowed; });
    if (report.ok()) break;
    if (calls_allowed % 7 != 0) continue;
    ASSERT_THAT(Run(store.get(), SmallShards()), test::Succeeds());
    EXPECT_EQ(Contents(*store), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, RestartTest,
                         ::testing::Values(Kind{.texts = false, .samples = 3000},
                                           Kind{.texts = true, .samples = 1400}),
                         [](const auto& kind) { return kind.param.texts ? "Varying" : "Fixed"; });

// A store in which 3000 of 9000 samples are divided.
std::unique_ptr<store::ObjectStore> Unfinished(const DivideOptions& options) {
  auto store = store::MakeMemoryStore();
  SourceForTest source({.samples = 9000, .fail_after = 6000, .failure = ErrorCode::kUnavailable});
  EXPECT_THAT(Divide(&source, store.get(), options),
              test::FailsWith(ErrorCode::kUnavailable, HasSubstr("run the same command again")));
  EXPECT_THAT(Contents(*store), Contains(::testing::Key("dividing.json")));
  return store;
}

TEST(DivideRestartTest, KeepsShardsWhenTheNetworkFails) {
  const auto store = Unfinished(SmallShards());
  SourceForTest source({.samples = 9000});
  const auto report = Divide(&source, store.get(), SmallShards());
  ASSERT_THAT(report, test::Succeeds());
  EXPECT_GT(report->totals.shards_kept, 3u);
  EXPECT_THAT(Verify(report->manifest, *store), test::Succeeds());
}

TEST(DivideRestartTest, MakesShardsAgainThatAreGone) {
  const auto store = Unfinished(SmallShards());
  const auto whole = store::MakeMemoryStore();
  SourceForTest again({.samples = 9000});
  ASSERT_THAT(Divide(&again, whole.get(), SmallShards()), test::Succeeds());
  int removed = 0;
  for (const auto& [key, bytes] : Contents(*store)) {
    if (key.starts_with("bafk") && removed++ % 2 == 0) {
      ASSERT_THAT(store->Delete(key), test::Succeeds());
    }
  }
  SourceForTest source({.samples = 9000});
  ASSERT_THAT(Divide(&source, store.get(), SmallShards()), test::Succeeds());
  EXPECT_EQ(Contents(*store), Contents(*whole));
}

TEST(DivideRestartTest, RefusesAnotherCommandOnAnUnfinishedTarget) {
  const auto store = Unfinished(SmallShards());
  const auto before = Contents(*store);
  for (const auto change : std::vector<void (*)(DivideOptions*)>{
           [](DivideOptions* o) { o->seed = 1; }, [](DivideOptions* o) { o->zstd_level = 2; },
           [](DivideOptions* o) { o->shard_bytes *= 2; },
           [](DivideOptions* o) { o->name = "other"; },
           [](DivideOptions* o) {
             o->splits = {{"train", 1}};
           },
           [](DivideOptions* o) {
             o->steps = {{"standardise", "x", {}, {}}};
           }}) {
    DivideOptions options = SmallShards();
    change(&options);
    SourceForTest source({.samples = 9000});
    EXPECT_THAT(Divide(&source, store.get(), options),
                test::FailsWith(ErrorCode::kAlreadyExists,
                                AllOf(HasSubstr("dnc divide x.npy"), HasSubstr("--overwrite"))));
    EXPECT_EQ(Contents(*store), before);
  }
}

TEST(DivideRestartTest, OverwriteBeginsAnewAndLeavesNothingOfTheOtherRun) {
  const auto store = Unfinished(SmallShards());
  DivideOptions options = SmallShards();
  options.overwrite = true;
  options.seed = 5;
  SourceForTest source({.samples = 700});
  const auto report = Divide(&source, store.get(), options);
  ASSERT_THAT(report, test::Succeeds());
  EXPECT_EQ(Contents(*store).size(), report->manifest.shards.size() + 1);
}

TEST(DivideRestartTest, RefusesASourceThatChangedAndKeepsWhatIsThere) {
  const auto store = Unfinished(SmallShards());
  const auto before = Contents(*store);
  SourceForTest other({.samples = 9000, .seed = 1});
  EXPECT_THAT(Divide(&other, store.get(), SmallShards()),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("has changed"), HasSubstr("--overwrite"))));
  SourceForTest shorter({.samples = 1000, .count_known = false});
  EXPECT_THAT(Divide(&shorter, store.get(), SmallShards()),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("has changed")));
  EXPECT_EQ(Contents(*store), before);
}

TEST(DivideRestartTest, KeepsTheOldDatasetUntilTheNewOneIsWhole) {
  const auto store = store::MakeMemoryStore();
  SourceForTest first({.samples = 3000, .seed = 9});
  const auto before = Divide(&first, store.get(), SmallShards());
  ASSERT_THAT(before, test::Succeeds());
  DivideOptions options = SmallShards();
  options.overwrite = true;
  for (int step = 0;; ++step) {
    ASSERT_LT(step, 1000);
    FaultyStore dying(store.get(), step, /*dies=*/true);
    SourceForTest source({.samples = 3000});
    if (Divide(&source, &dying, options).ok()) break;
    const auto text = store::GetObject(*store, kManifestKey, 1u << 20);
    ASSERT_THAT(text, test::Succeeds());
    const auto manifest = shard::ParseManifest(AsText(*text), kManifestKey);
    ASSERT_THAT(manifest, test::Succeeds());
    ASSERT_THAT(Verify(*manifest, *store), test::Succeeds()) << step;
  }
  // Another run finishes what was left to clean up: neither the shards that were replaced
  // nor a journal stay.
  SourceForTest last({.samples = 3000});
  EXPECT_THAT(Divide(&last, store.get(), options), test::Succeeds());
  const auto text = store::GetObject(*store, kManifestKey, 1u << 20);
  const auto manifest = shard::ParseManifest(AsText(*text), kManifestKey);
  EXPECT_EQ(Contents(*store).size(), manifest->shards.size() + 1);
}

TEST(DivideRestartTest, ReadsShardsBackAndRefusesAStoreThatChangesBytes) {
  class Changing final : public store::ObjectStore {
   public:
    explicit Changing(store::ObjectStore* inner) : inner_(inner) {}
    Result<std::unique_ptr<store::ObjectWriter>> Create() override { return inner_->Create(); }
    Result<std::uint64_t> Size(const std::string& key) const override { return inner_->Size(key); }
    Status Read(const std::string& key, std::uint64_t offset,
                std::span<std::byte> out) const override {
      DNC_TRY(inner_->Read(key, offset, out));
      if (key.starts_with("bafk")) out[out.size() / 2] ^= std::byte{1};
      return {};
    }
    Status Delete(const std::string& key) override { return inner_->Delete(key); }
    Result<std::vector<std::string>> List() const override { return inner_->List(); }
    std::string Describe() const override { return "a bad disk"; }

   private:
    store::ObjectStore* inner_;
  };
  const auto inner = store::MakeMemoryStore();
  Changing changing(inner.get());
  DivideOptions options = SmallShards();
  options.read_back = true;
  SourceForTest source({.samples = 3000});
  EXPECT_THAT(Divide(&source, &changing, options),
              test::FailsWith(ErrorCode::kUnavailable,
                              AllOf(HasSubstr("a bad disk"), HasSubstr("other bytes back"))));
  SourceForTest again({.samples = 3000});
  EXPECT_THAT(Divide(&again, inner.get(), options), test::Succeeds());
}

TEST(JournalTest, ReadsBackManySegments) {
  const auto store = store::MakeMemoryStore();
  Journal journal(store.get(), "dividing");
  JournalContent content;
  content.run = Sha256(AsBytes("run"));
  content.command = "dnc divide";
  journal.Begin(content);
  for (std::uint64_t i = 0; i < 200; ++i) {
    FinishedShard shard;
    shard.info.bytes = i;
    shard.info.leaves = {Sha256(AsBytes(std::to_string(i)))};
    shard.info.cid = shard::ContentIdFromLeaves(shard.info.leaves, i);
    shard.info.split = "train";
    shard.info.samples = i + 1;
    shard.raw_digest = UINT64_MAX - i;
    ASSERT_THAT(journal.Record(shard), test::Succeeds());
  }
  ASSERT_THAT(journal.RecordEnd(Sha256(AsBytes("manifest")), {"a", "b"}), test::Succeeds());
  EXPECT_EQ(Contents(*store).size(), 4u);

  Journal again(store.get(), "dividing");
  auto read = again.Read();
  ASSERT_THAT(read, test::Succeeds());
  ASSERT_TRUE(read->has_value());
  EXPECT_EQ((*read)->run, content.run);
  EXPECT_EQ((*read)->command, "dnc divide");
  EXPECT_EQ((*read)->manifest, Sha256(AsBytes("manifest")));
  EXPECT_EQ((*read)->replaced, (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ((*read)->shards.size(), 200u);
  EXPECT_EQ((*read)->shards[199].raw_digest, UINT64_MAX - 199);
  EXPECT_EQ((*read)->shards[70].info.samples, 71u);
  EXPECT_THAT(again.Remove(), test::Succeeds());
  EXPECT_TRUE(Contents(*store).empty());
}

TEST(JournalTest, RefusesWhatIsNoJournal) {
  for (const char* text :
       {"", "{", "[]", "{\"format\": \"dnc-dividing\"}",
        "{\"format\": \"dnc-dividing\", \"version\": 1, \"run\": \"00\", \"shards\": []}",
        "{\"format\": \"dnc-dividing\", \"version\": 2}"}) {
    SCOPED_TRACE(text);
    const auto store = store::MakeMemoryStore();
    ASSERT_THAT(store::PutObject(store.get(), "dividing.json", AsBytes(text)), test::Succeeds());
    SourceForTest source({.samples = 100});
    EXPECT_THAT(Divide(&source, store.get(), SmallShards()),
                test::FailsWith(ErrorCode::kCorrupt, HasSubstr("--overwrite")));
    DivideOptions options = SmallShards();
    options.overwrite = true;
    SourceForTest again({.samples = 100});
    EXPECT_THAT(Divide(&again, store.get(), options), test::Succeeds());
    EXPECT_FALSE(Contents(*store).contains("dividing.json"));
  }
}

}  // namespace
}  // namespace dnc::divide
