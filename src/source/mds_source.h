// MosaicML Streaming's folders: index.json (version 2) and shards of MDS, plain or zstd.
// Numbers, arrays, texts, JSON, bytes and images are taken; lists of images stay bytes;
// pickles are refused, since their reading runs code. Checksums that the index states by
// sha1, sha256, md5 or xxh64 are checked, each in a pass over its shard before a sample
// of it is used. Source of the format: mosaicml/streaming, base/format/mds.
//
// index.json and shards may come from a stranger: sizes are believed only within the
// file that is there, and the names of shards only as names in this folder.

#pragma once

#include <memory>
#include <string>

#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::uint64_t kMdsIndexBytesMax = 256 << 20;
inline constexpr std::uint64_t kMdsShardSamplesMax = 1 << 26;

// A folder with an index.json.
bool IsMdsFolder(const std::string& location);

// Errors: kCorrupt, the index or a shard is damaged; kUnsupported, another version,
// format, compression or an encoding that is unknown or pickle; kInvalidArgument, no
// samples; kTooLarge; kNotFound; kIo.
Result<std::unique_ptr<SampleSource>> OpenMds(const std::string& location,
                                              const SourceOptions& options);

}  // namespace dnc::source
