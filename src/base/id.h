// Ids are distinct types, so that a task cannot be passed where a step is due.

#pragma once

#include <compare>
#include <cstdint>

namespace dnc {

// An unsigned number that is only an identity. 0 means "none".
template <typename Tag>
struct Id {
  std::uint64_t value = 0;

  explicit operator bool() const { return value != 0; }
  friend auto operator<=>(const Id&, const Id&) = default;
};

using ProjectId = Id<struct ProjectTag>;
using ProviderId = Id<struct ProviderTag>;  // One joined provider process.
using LeaseId = Id<struct LeaseTag>;        // Also the fencing token: never reused.
using AccountId = Id<struct AccountTag>;

}  // namespace dnc
