// Manifests of given shapes for this room's tests, without any bytes behind them.

#pragma once

#include <string>
#include <vector>

#include "shard/manifest.h"

namespace dnc::stream {

struct ShardShape {
  std::uint64_t samples = 0;
  std::uint32_t block_samples = 1;
  std::string split = "train";
};

inline shard::Manifest ManifestOf(const std::vector<ShardShape>& shapes) {
  shard::Manifest manifest;
  manifest.name = "shapes";
  manifest.columns = {{"x", array::DType::kFloat32, {2}, {}}};
  manifest.splits = {{"train", 0, {}}, {"test", 0, {}}};
  for (const ShardShape& shape : shapes) {
    shard::ShardInfo info;
    info.cid = "shard" + std::to_string(manifest.shards.size());
    info.split = shape.split;
    info.samples = shape.samples;
    info.block_samples = shape.block_samples;
    for (shard::SplitInfo& split : manifest.splits) {
      if (split.name == shape.split) split.samples += shape.samples;
    }
    manifest.shards.push_back(info);
  }
  return manifest;
}

}  // namespace dnc::stream
