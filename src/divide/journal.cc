#include "divide/journal.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/bytes.h"
#include "shard/content_id.h"

namespace dnc::divide {
namespace {

using Json = nlohmann::json;

constexpr char kFormatName[] = "dnc-dividing";
constexpr int kVersion = 1;
constexpr std::size_t kSegmentShards = 64;
// 64 shards of 1 GiB have 4 MiB of leaves in hexadecimal; the rest is the list of
// replaced shards.
constexpr std::uint64_t kSegmentBytesMax = 256u << 20;

std::string Hex64(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

Json ShardJson(const FinishedShard& shard) {
  Json leaves = Json::array();
  for (const Digest& leaf : shard.info.leaves) leaves.push_back(leaf.Hex());
  return {{"split", shard.info.split},
          {"cid", shard.info.cid},
          {"bytes", shard.info.bytes},
          {"samples", shard.info.samples},
          {"block_samples", shard.info.block_samples},
          {"block_bytes_max", shard.info.block_bytes_max},
          {"leaves", std::move(leaves)},
          {"raw", Hex64(shard.raw_digest)},
          {"last", shard.last}};
}

// Throws what nlohmann::json throws; returns false for values that are no shard's.
bool ParseShard(const Json& json, FinishedShard* shard) {
  shard->info.split = json.at("split").get<std::string>();
  shard->info.cid = json.at("cid").get<std::string>();
  shard->info.bytes = json.at("bytes").get<std::uint64_t>();
  shard->info.samples = json.at("samples").get<std::uint64_t>();
  shard->info.block_samples = json.at("block_samples").get<std::uint32_t>();
  shard->info.block_bytes_max = json.at("block_bytes_max").get<std::uint64_t>();
  shard->last = json.at("last").get<bool>();
  const auto raw = json.at("raw").get<std::string>();
  const auto [end, error] =
      std::from_chars(raw.data(), raw.data() + raw.size(), shard->raw_digest, 16);
  if (error != std::errc() || end != raw.data() + raw.size()) return false;
  for (const Json& leaf : json.at("leaves")) {
    const auto digest = Digest::FromHex(leaf.get<std::string>());
    if (!digest) return false;
    shard->info.leaves.push_back(*digest);
  }
  return shard->info.leaves.size() == shard::LeafCount(shard->info.bytes) &&
         shard::ContentIdFromLeaves(shard->info.leaves, shard->info.bytes) == shard->info.cid;
}

bool ParseSegment(const Json& json, JournalContent* content) {
  if (json.at("format") != kFormatName || json.at("version") != kVersion) return false;
  const auto run = Digest::FromHex(json.at("run").get<std::string>());
  if (!run) return false;
  content->run = *run;
  content->command = json.value("command", std::string());
  for (const Json& entry : json.at("shards")) {
    if (!ParseShard(entry, &content->shards.emplace_back())) return false;
  }
  if (json.contains("manifest")) {
    content->manifest = Digest::FromHex(json.at("manifest").get<std::string>());
    content->replaced = json.at("replaced").get<std::vector<std::string>>();
    if (!content->manifest) return false;
  }
  return true;
}

Result<JournalContent> ReadSegment(const store::ObjectStore& store, const std::string& key) {
  DNC_ASSIGN(const Bytes text, store::GetObject(store, key, kSegmentBytesMax));
  const Error damaged{ErrorCode::kCorrupt,
                      key + " in " + store.Describe() +
                          " is not the journal of an unfinished run of dnc divide; pass "
                          "--overwrite to begin anew"};
  JournalContent content;
  try {
    if (!ParseSegment(Json::parse(AsText(text)), &content)) return damaged;
  } catch (const Json::exception&) {
    return damaged;
  }
  return content;
}

}  // namespace

Journal::Journal(store::ObjectStore* store, std::string name)
    : store_(store), name_(std::move(name)) {}

std::string Journal::Key(std::size_t segment) const {
  return name_ + (segment == 0 ? "" : "-" + std::to_string(segment)) + ".json";
}

Result<std::optional<JournalContent>> Journal::Read() {
  std::optional<JournalContent> content;
  for (stored_segments_ = 0;; ++stored_segments_) {
    Result<JournalContent> segment = ReadSegment(*store_, Key(stored_segments_));
    if (!segment.ok() && segment.error().code == ErrorCode::kNotFound) return content;
    if (!content) {
      if (!segment.ok()) {
        ++stored_segments_;  // It is there, and Remove() would remove it.
        return segment.error();
      }
      content = std::move(segment).value();
      continue;
    }
    // What a run before left behind is overwritten or removed with the rest.
    if (!segment.ok() || segment->run != content->run) continue;
    if (content->shards.size() != stored_segments_ * kSegmentShards) continue;
    for (FinishedShard& shard : segment->shards) content->shards.push_back(std::move(shard));
  }
}

void Journal::Begin(const JournalContent& content) {
  content_ = content;
  segment_ = content.shards.size() / kSegmentShards;
  const auto begin = content.shards.begin();
  const auto size = static_cast<std::ptrdiff_t>(content.shards.size());
  const auto tail = static_cast<std::ptrdiff_t>(segment_ * kSegmentShards);
  segment_shards_.assign(begin + tail, begin + size);
  content_.shards.assign(begin, begin + std::min<std::ptrdiff_t>(size, kSegmentShards));
  content_.manifest.reset();
  content_.replaced.clear();
}

std::string Journal::Format(std::size_t segment) const {
  Json shards = Json::array();
  for (const FinishedShard& shard : segment == 0 ? content_.shards : segment_shards_) {
    shards.push_back(ShardJson(shard));
  }
  Json json = {{"format", kFormatName},
               {"version", kVersion},
               {"run", content_.run.Hex()},
               {"command", content_.command},
               {"shards", std::move(shards)}};
  if (segment == 0 && content_.manifest) {
    json["manifest"] = content_.manifest->Hex();
    json["replaced"] = content_.replaced;
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status Journal::Store(std::size_t segment) {
  stored_segments_ = std::max(stored_segments_, segment + 1);
  return store::PutObject(store_, Key(segment), AsBytes(Format(segment)));
}

Status Journal::Record(const FinishedShard& shard) {
  if (segment_shards_.size() == kSegmentShards) {
    segment_shards_.clear();
    ++segment_;
  }
  segment_shards_.push_back(shard);
  if (segment_ == 0) content_.shards = segment_shards_;
  return Store(segment_);
}

Status Journal::RecordEnd(const Digest& manifest, const std::vector<std::string>& replaced) {
  content_.manifest = manifest;
  content_.replaced = replaced;
  return Store(0);
}

Status Journal::Remove() {
  while (stored_segments_ > 0) {
    const Status status = store_->Delete(Key(stored_segments_ - 1));
    if (!status.ok() && status.error().code != ErrorCode::kNotFound) return status;
    --stored_segments_;
  }
  return {};
}

}  // namespace dnc::divide
