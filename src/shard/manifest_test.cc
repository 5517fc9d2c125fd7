#include "shard/manifest.h"

#include "shard/content_id.h"
#include "testing/testing.h"

// A manifest may come from a stranger, so every field of a sound one is spoiled here.

namespace dnc::shard {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;

ShardInfo MakeShard(const std::string& split, std::uint64_t samples, std::uint64_t bytes) {
  ShardInfo shard;
  shard.split = split;
  shard.samples = samples;
  shard.block_samples = 2;
  shard.bytes = bytes;
  for (std::uint64_t i = 0; i < LeafCount(bytes); ++i) {
    shard.leaves.push_back(Sha256(AsBytes(split + std::to_string(samples * 100 + i))));
  }
  shard.cid = ContentIdFromLeaves(shard.leaves, bytes);
  return shard;
}

Manifest SoundManifest() {
  Manifest manifest;
  manifest.name = "tiny \"quoted\" \u00e9";
  manifest.description = "Five samples.";
  manifest.columns = {{"x", array::DType::kFloat32, {2, 3}, {}},
                      {"y", array::DType::kUint8, {}, {"cat", "dog"}}};
  manifest.splits = {
      {"train",
       4,
       {{.count = 24,
         .mean = 0.1,
         .standard_deviation = 1.5,
         .min = -3,
         .max = 2.25,
         .class_counts = {},
         .nonfinite_count = 2},
        {.count = 4,
         .mean = 0.5,
         .standard_deviation = 0.5,
         .min = 0,
         .max = 1,
         .class_counts = {{0, 2}, {1, 2}}}}},
      {"empty", 0, {{}, {}}},
      {"test",
       1,
       {{.count = 6, .mean = 1.0 / 3, .standard_deviation = 0, .min = 0, .max = 1e-300},
        {.count = 1, .mean = 1, .standard_deviation = 0, .min = 1, .max = 1}}}};
  manifest.shards = {MakeShard("train", 3, 1000), MakeShard("train", 1, (2u << 20) + 5),
                     MakeShard("test", 1, 100)};
  manifest.parameters = {{"seed", "0"}, {"source", "x.npy"}};
  return manifest;
}

// The text of a sound manifest with one piece of it replaced.
std::string Spoiled(const std::string& from, const std::string& to) {
  std::string text = FormatManifest(SoundManifest());
  const std::size_t place = text.find(from);
  EXPECT_NE(place, std::string::npos) << from;
  if (place != std::string::npos) text.replace(place, from.size(), to);
  return text;
}

TEST(ManifestTest, ComesBackAsItWasWritten) {
  const Manifest manifest = SoundManifest();
  const std::string text = FormatManifest(manifest);
  const auto parsed = ParseManifest(text, "m.json");
  ASSERT_THAT(parsed, Succeeds());
  EXPECT_EQ(FormatManifest(*parsed), text);
  EXPECT_EQ(parsed->name, manifest.name);
  EXPECT_EQ(parsed->columns, manifest.columns);
  EXPECT_EQ(parsed->parameters, manifest.parameters);
  ASSERT_EQ(parsed->splits.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(parsed->splits[i].name, manifest.splits[i].name);
    EXPECT_EQ(parsed->splits[i].samples, manifest.splits[i].samples);
    EXPECT_EQ(parsed->splits[i].statistics, manifest.splits[i].statistics);
    EXPECT_EQ(parsed->shards[i].cid, manifest.shards[i].cid);
    EXPECT_EQ(parsed->shards[i].leaves, manifest.shards[i].leaves);
    EXPECT_EQ(parsed->shards[i].bytes, manifest.shards[i].bytes);
    EXPECT_EQ(parsed->shards[i].block_samples, 2u);
  }
}

// A table, texts, steps and places: everything that SoundManifest() has not.
Manifest TableManifest() {
  Manifest manifest;
  manifest.name = "table";
  manifest.columns = {{.name = "x",
                       .dtype = array::DType::kFloat32,
                       .shape = {2},
                       .features = {{"age", array::FeatureKind::kNumber, {}},
                                    {"city", array::FeatureKind::kCategory, {"Bonn", "Oslo"}}}},
                      {.name = "note", .kind = array::ColumnKind::kText}};
  manifest.splits = {{"train",
                      3,
                      {{.count = 6,
                        .mean = 1,
                        .standard_deviation = 2,
                        .min = -3,
                        .max = 5,
                        .element_mean = {1.5, 0.5},
                        .element_standard_deviation = {2.25, 0.0}},
                       {.count = 3, .mean = 5, .standard_deviation = 1, .min = 4, .max = 6}}}};
  manifest.shards = {MakeShard("train", 3, 1000)};
  manifest.shards[0].block_bytes_max = 51;
  manifest.shards[0].urls = {"https://example.org/a"};
  manifest.steps = {{"standardise", "x", {{"mean", {1.5, 0.5}}}, {{"of", "train"}}}};
  manifest.mirrors = {"s3://bucket/table"};
  return manifest;
}

TEST(ManifestTest, BringsBackTablesTextsStepsAndMirrors) {
  const Manifest manifest = TableManifest();
  const std::string text = FormatManifest(manifest);
  const auto parsed = ParseManifest(text, "m.json");
  ASSERT_THAT(parsed, Succeeds());
  EXPECT_EQ(parsed->columns, manifest.columns);
  EXPECT_EQ(parsed->splits[0].statistics, manifest.splits[0].statistics);
  EXPECT_EQ(parsed->shards[0].block_bytes_max, 51u);
  EXPECT_EQ(parsed->shards[0].urls, manifest.shards[0].urls);
  EXPECT_EQ(parsed->steps, manifest.steps);
  EXPECT_EQ(parsed->mirrors, manifest.mirrors);
  EXPECT_EQ(FormatManifest(*parsed), text);
}

TEST(ManifestTest, NamesWhatIsWrongWithATable) {
  const std::vector<std::array<std::string, 3>> cases = {
      {"\"kind\": \"text\"", "\"kind\": \"song\"", "columns[1].kind"},
      {"\"kind\": \"category\"", "\"kind\": \"song\"", "columns[0].features[1].kind"},
      {"\"Oslo\"", "7", "categories"},
      {"\"block_bytes_max\": 51", "\"block_bytes_max\": 99999999999", "block_bytes_max"},
      {"2.25", "-2.25", "element_standard_deviation"},
      {"\"element_mean\": [", "\"element_mean\": [1,", "element_mean"},
      {"\"https://example.org/a\"", "{}", "shards[0].urls"},
      {"\"s3://bucket/table\"", "1", "mirrors"},
      {"\"of\": \"train\"", "\"of\": 1", "steps[0].texts"},
      {"\"mean\": [\n", "\"mean\": [\"a\",\n", "steps[0].numbers"}};
  for (const auto& [from, to, place] : cases) {
    SCOPED_TRACE(from);
    std::string text = FormatManifest(TableManifest());
    const std::size_t at = text.rfind(from);
    ASSERT_NE(at, std::string::npos);
    text.replace(at, from.size(), to);
    EXPECT_THAT(ParseManifest(text, "m.json"),
                FailsWith(ErrorCode::kCorrupt, ::testing::HasSubstr(place)));
  }
}

TEST(ManifestTest, FindsSplitsAndColumnsByName) {
  const Manifest manifest = SoundManifest();
  EXPECT_EQ(manifest.FindSplit("test"), &manifest.splits[2]);
  EXPECT_EQ(manifest.FindSplit("tes"), nullptr);
  EXPECT_EQ(manifest.ColumnIndex("y"), 1);
  EXPECT_EQ(manifest.ColumnIndex("z"), -1);
}

// The bytes of a small manifest, as docs/formats/manifest.md shows them.
TEST(ManifestTest, WritesTheBytesThatTheFormatShows) {
  Manifest manifest;
  manifest.name = "n";
  manifest.columns = {{"y", array::DType::kUint8, {}, {"a", "b"}}};
  manifest.splits = {{"train",
                      1,
                      {{.count = 1,
                        .mean = 1,
                        .standard_deviation = 0,
                        .min = 1,
                        .max = 1,
                        .class_counts = {{1, 1}}}}}};
  EXPECT_EQ(FormatManifest(manifest), R"({
 "format": "divide-n-conquer manifest",
 "version": 1,
 "name": "n",
 "description": "",
 "columns": [
  {
   "name": "y",
   "dtype": "uint8",
   "shape": [],
   "class_names": [
    "a",
    "b"
   ]
  }
 ],
 "splits": [
  {
   "name": "train",
   "samples": 1,
   "statistics": [
    {
     "count": 1,
     "mean": 1.0,
     "standard_deviation": 0.0,
     "min": 1.0,
     "max": 1.0,
     "class_counts": {
      "1": 1
     }
    }
   ]
  }
 ],
 "shards": [],
 "parameters": {}
}
)");
}

TEST(ManifestTest, ReplacesTextThatIsNotUtf8) {
  Manifest manifest = SoundManifest();
  manifest.parameters["source"] = "caf\xe9.npy";
  const auto parsed = ParseManifest(FormatManifest(manifest), "m");
  ASSERT_THAT(parsed, Succeeds());
  EXPECT_EQ(parsed->parameters.at("source"), "caf\ufffd.npy");
}

TEST(ManifestTest, IgnoresFieldsThatALaterWriterMayAdd) {
  EXPECT_THAT(ParseManifest(Spoiled("\"shards\"", "\"signature\": {\"a\": [1]}, \"shards\""), "m"),
              Succeeds());
}

TEST(ManifestTest, NamesBothVersionsOfALaterManifest) {
  EXPECT_THAT(ParseManifest(Spoiled("\"version\": 1", "\"version\": 7, \"columns\": 3"), "m.json"),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("\"columns\" comes twice")));
  EXPECT_THAT(ParseManifest(R"({"format": "divide-n-conquer manifest", "version": 7})", "m.json"),
              FailsWith(ErrorCode::kUnsupported, AllOf(HasSubstr("m.json"), HasSubstr("version 7"),
                                                       HasSubstr("version 1"))));
}

TEST(ManifestTest, SaysWhatIsNotAManifest) {
  EXPECT_THAT(ParseManifest("", "m.json"), FailsWith(ErrorCode::kCorrupt, HasSubstr("not JSON")));
  EXPECT_THAT(ParseManifest("{\"a\": ", "m.json"),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("m.json"), HasSubstr("at byte"))));
  for (const char* text : {"null", "[]", "3", "{}", "{\"format\": 1}", "{\"format\": \"zip\"}"}) {
    EXPECT_THAT(ParseManifest(text, "m"), FailsWith(ErrorCode::kCorrupt, HasSubstr("\"format\"")))
        << text;
  }
  EXPECT_THAT(ParseManifest(Spoiled("\"version\": 1", "\"version\": \"1\""), "m"),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("version")));
}

TEST(ManifestTest, RefusesDeepNestingAndTooManyValues) {
  EXPECT_THAT(ParseManifest(std::string(100'000, '['), "m"),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("nested too deeply")));
  std::string many = "[0";
  for (int i = 0; i < 10'000; ++i) many += ",0";
  EXPECT_THAT(ParseManifest(many + "]", "m"),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("too many values")));
}

struct SpoiledCase {
  const char* from;
  const char* to;
  const char* message;
};

TEST(ManifestTest, NamesTheFieldThatIsWrong) {
  const std::vector<SpoiledCase> cases = {
      {"\"description\": \"Five samples.\",", "", "description: missing"},
      {"\"name\": \"tiny", "\"name\": 3, \"n\": \"tiny", "name: expected a string"},
      {"\"columns\": [", "\"columns\": {}, \"c\": [", "columns: expected an array"},
      {"\"columns\": [", "\"columns\": [], \"c\": [", "columns: 0 of them"},
      {"\"columns\": [", "\"columns\": [4, ", "columns[0]: expected an object"},
      {"\"name\": \"y\"", "\"name\": \"x\"", "columns[1].name: \"x\""},
      {"\"name\": \"y\"", "\"name\": \"\"", "columns[1].name"},
      {"\"uint8\"", "\"object\"", "columns[1].dtype: unknown dtype \"object\""},
      {"\"shape\": []", "\"shape\": [-1]", "columns[1].shape"},
      {"\"shape\": []", "\"shape\": [1.5]", "columns[1].shape"},
      {"\"shape\": []", "\"shape\": [281474976710657]", "columns[1].shape: beyond"},
      {"\"cat\"", "null", "columns[1].class_names"},
      {"\"name\": \"empty\"", "\"name\": \"train\"", "splits[1].name"},
      {"\"samples\": 4", "\"samples\": 5", "splits[0].statistics[0].count: 24"},
      {"\"samples\": 4", "\"samples\": -4", "splits[0].samples: expected a whole number"},
      {"\"count\": 24", "\"count\": 25", "splits[0].statistics[0].count: 25"},
      {"\"nonfinite_count\": 2", "\"nonfinite_count\": 25", "nonfinite_count: 25"},
      {"\"mean\": 0.5,", "\"mean\": 0.5, \"nonfinite_count\": 1,", "elements are integers"},
      {"\"mean\": 0.1", "\"mean\": null", "splits[0].statistics[0].mean: expected a number"},
      {"\"standard_deviation\": 1.5", "\"standard_deviation\": -1.5", "contradict"},
      {"\"min\": -3.0", "\"min\": 3.0", "contradict"},
      {"\"1\": 2", "\"1\": 3", "class_counts: the counts do not add up to 4"},
      {"\"1\": 2", "\"1\": 1", "class_counts: the counts do not add up to 4"},
      {"\"1\": 2", "\"01\": 2", "class_counts: \"01\""},
      {"\"1\": 2", "\"one\": 2", "class_counts: \"one\""},
      {"\"nonfinite_count\": 2", "\"class_counts\": {\"1\": 4}", "only a column of scalar"},
      {"\"statistics\": [", "\"statistics\": [{},", "3 entries for 2 columns"},
      {"\"split\": \"test\"", "\"split\": \"trial\"", "\"trial\" is not a split"},
      {"\"split\": \"train\"", "\"split\": \"test\"", "out of the splits' order"},
      {"\"samples\": 3", "\"samples\": 2", "train has 4 samples, but its shards have 3"},
      {"\"samples\": 3", "\"samples\": 9223372036854775807", "train has 4 samples"},
      {"\"samples\": 3", "\"samples\": 0", "shards[0].samples: 0"},
      {"\"block_samples\": 2", "\"block_samples\": 0", "shards[0].block_samples: 0"},
      {"\"block_samples\": 2", "\"block_samples\": 4294967296", "shards[0].block_samples"},
      {"\"bytes\": 1000", "\"bytes\": 79", "shards[0].bytes: 79"},
      {"\"bytes\": 1000", "\"bytes\": 4294967297", "shards[0].bytes"},
      {"\"bytes\": 1000", "\"bytes\": 2000000", "shards[0].leaves: 64"},
      {"\"cid\": \"bafkrei", "\"cid\": \"bafybei", "but its leaves give bafkrei"},
      {"\"bytes\": 2097157", "\"bytes\": 2097156", "shards[1].cid"},
      {"\"leaves\": \"", "\"leaves\": \"0", "shards[0].leaves: 65"},
      {"\"seed\": \"0\"", "\"seed\": 0", "parameters.seed: expected a string"},
      {"\"parameters\": {", "\"parameters\": [], \"p\": {", "parameters: expected an object"},
  };
  for (const SpoiledCase& spoiled : cases) {
    SCOPED_TRACE(std::string(spoiled.from) + " -> " + spoiled.to);
    EXPECT_THAT(
        ParseManifest(Spoiled(spoiled.from, spoiled.to), "m.json"),
        FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("m.json"), HasSubstr(spoiled.message))));
  }
}

TEST(ManifestTest, RefusesAShardWithAnyDigitOfItsLeavesChanged) {
  const std::string text = FormatManifest(SoundManifest());
  const std::size_t begin = text.find("\"leaves\": \"") + 11;
  for (std::size_t i = 0; i < 64; ++i) {
    std::string damaged = text;
    damaged[begin + i] = damaged[begin + i] == '0' ? '1' : '0';
    EXPECT_THAT(ParseManifest(damaged, "m"), FailsWith(ErrorCode::kCorrupt, HasSubstr("cid")));
    damaged[begin + i] = 'G';
    EXPECT_THAT(ParseManifest(damaged, "m"), FailsWith(ErrorCode::kCorrupt, HasSubstr("leaves")));
  }
}

TEST(ManifestTest, RefusesATextCutOffAnywhere) {
  std::string text = FormatManifest(SoundManifest());
  text.pop_back();  // The last line's end is not missed.
  while (!text.empty()) {
    text.pop_back();
    EXPECT_THAT(ParseManifest(text, "m"), FailsWith(ErrorCode::kCorrupt));
  }
}

TEST(ManifestTest, RefusesSizesBeyondTheLimits) {
  const std::string text = FormatManifest(SoundManifest());
  EXPECT_THAT(ParseManifest(text, "m.json", {.bytes_max = 100}),
              FailsWith(ErrorCode::kTooLarge, AllOf(HasSubstr("m.json"), HasSubstr("100 B"))));
  EXPECT_THAT(ParseManifest(text, "m", {.shard_count_max = 2}),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("shards: 3 of them; at most 2")));
  EXPECT_THAT(ParseManifest(text, "m", {.shard_bytes_max = 2u << 20}),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("shards[1].bytes")));
  EXPECT_THAT(ParseManifest(text, "m", {.column_count_max = 1}),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("columns: 2")));
}

}  // namespace
}  // namespace dnc::shard
