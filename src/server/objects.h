// Which objects there are beside shards, and under which keys. Keys hold the numbers
// of their project and lease, so that equal bytes of two results are two objects, and
// deleting the one leaves the other.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/id.h"

namespace dnc::server {

// A result's update container: "update-3-17-<64 hexadecimal digits>". With the digest
// in it, a lease's second, different result cannot take the place of its first.
std::string UpdateKey(ProjectId project, LeaseId lease, const Digest& update);
// A version's weights as an update container: "weights-3-5".
std::string WeightsKey(ProjectId project, std::uint64_t version);

struct ParsedKey {
  ProjectId project;
  bool is_update = false;
  LeaseId lease;  // These two if is_update.
  Digest update;
  std::uint64_t version = 0;  // If not.
};
// nullopt for a shard's key.
std::optional<ParsedKey> ParseKey(std::string_view key);

}  // namespace dnc::server
