// Errors that all stores word alike. Private to this room.

#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace dnc::store {

inline Error InvalidKeyError(const std::string& key) {
  return {ErrorCode::kInvalidArgument,
          "\"" + key.substr(0, 200) +
              "\" is not an object's key; expected 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', "
              "not beginning with a dot"};
}

inline Error NoObjectError(const std::string& key, const std::string& store) {
  return {ErrorCode::kNotFound, "no object " + key.substr(0, 200) + " in " + store};
}

inline Error ObjectEndsError(const std::string& key, const std::string& store, std::uint64_t size,
                             std::uint64_t end) {
  return {ErrorCode::kCorrupt, key + " in " + store + " has " + std::to_string(size) +
                                   " bytes, but bytes up to " + std::to_string(end) +
                                   " were wanted"};
}

}  // namespace dnc::store
