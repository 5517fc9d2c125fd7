// How the columns of a dataset are stored: filters, codecs, ratio and speed, measured on a
// few shards.

#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"

namespace dnc::divide {

struct ColumnSurvey {
  // "bit shuffle, zstd" to chunks stored so.
  std::map<std::string, std::uint64_t> methods;
  std::uint64_t raw_bytes = 0;
  std::uint64_t stored_bytes = 0;
  double decoded_bytes_per_second = 0;  // Of this machine, one core; 0: not measured.
};

struct StorageSurvey {
  std::vector<ColumnSurvey> columns;  // One a column of the manifest.
  std::size_t shards = 0;             // That were looked at.
};

// Reads the indexes of up to `shards_max` shards, spread over all of them, and decodes a
// few MiB of the first. Every leaf is checked before it is used.
// Errors: kCorrupt; those of `store`.
Result<StorageSurvey> SurveyStorage(const shard::Manifest& manifest,
                                    const store::ObjectStore& store, std::size_t shards_max = 4);

}  // namespace dnc::divide
