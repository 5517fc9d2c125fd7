// Where the samples of one column of a batch go.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace dnc::stream {

struct Destination {
  // A column of arrays: room for the batch, sample after sample. Null: left out.
  std::byte* rows = nullptr;
  // A column of varying lengths: receives the bytes of the batch and where each sample
  // ends, in place of what they held. Both null: left out.
  Bytes* bytes = nullptr;
  std::vector<std::uint32_t>* ends = nullptr;
};

}  // namespace dnc::stream
