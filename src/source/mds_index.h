// The index.json of an MDS folder: its shards, and how their columns are encoded.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "source/fields.h"

namespace dnc::source {

struct MdsFile {
  std::string basename;
  std::uint64_t bytes = 0;
  std::map<std::string, std::string> hashes;  // Algorithm to hexadecimal digits.
};

struct MdsColumn {
  Field field;
  std::string encoding;
  std::optional<std::uint32_t> size;  // Where it is the same for all samples.

  friend bool operator==(const MdsColumn& a, const MdsColumn& b) {
    return a.field.name == b.field.name && a.encoding == b.encoding && a.size == b.size;
  }
};

struct MdsShard {
  std::vector<MdsColumn> columns;
  std::uint64_t samples = 0;
  MdsFile raw;
  std::optional<MdsFile> zip;  // The raw file compressed by zstd.
};

// `name` is used in messages. Errors: as OpenMds (mds_source.h).
Result<std::vector<MdsShard>> ParseMdsIndex(std::string_view json, const std::string& name);

// "ndarray:uint8:28,28" as a field. Errors: kUnsupported, naming the encoding.
Result<Field> FieldOfMdsEncoding(const std::string& encoding);

}  // namespace dnc::source
