// JSON on stdout, for scripts. Only .cc files of this room include it.

#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace dnc::cli {

inline void PrintJson(const nlohmann::json& value) {
  const std::string text = value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  std::printf("%s\n", text.c_str());
}

}  // namespace dnc::cli
