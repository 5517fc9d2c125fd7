#include "server/objects.h"

#include <charconv>

namespace dnc::server {
namespace {

constexpr std::string_view kUpdate = "update-";
constexpr std::string_view kWeights = "weights-";

bool ParseNumber(std::string_view text, std::uint64_t* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::string UpdateKey(ProjectId project, LeaseId lease, const Digest& update) {
  return std::string(kUpdate) + std::to_string(project.value) + "-" + std::to_string(lease.value) +
         "-" + update.Hex();
}

std::string WeightsKey(ProjectId project, std::uint64_t version) {
  return std::string(kWeights) + std::to_string(project.value) + "-" + std::to_string(version);
}

std::optional<ParsedKey> ParseKey(std::string_view key) {
  ParsedKey parsed;
  parsed.is_update = key.starts_with(kUpdate);
  if (!parsed.is_update && !key.starts_with(kWeights)) return std::nullopt;
  key.remove_prefix(parsed.is_update ? kUpdate.size() : kWeights.size());
  const auto dash = key.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  if (!ParseNumber(key.substr(0, dash), &parsed.project.value)) return std::nullopt;
  const std::string_view rest = key.substr(dash + 1);
  if (!parsed.is_update) {
    if (!ParseNumber(rest, &parsed.version)) return std::nullopt;
    return parsed;
  }
  const auto second_dash = rest.find('-');
  if (second_dash == std::string_view::npos) return std::nullopt;
  if (!ParseNumber(rest.substr(0, second_dash), &parsed.lease.value)) return std::nullopt;
  const std::optional<Digest> digest = Digest::FromHex(rest.substr(second_dash + 1));
  if (!digest) return std::nullopt;
  parsed.update = *digest;
  return parsed;
}

}  // namespace dnc::server
