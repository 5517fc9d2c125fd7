#include "image/features.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <functional>
#include <vector>

#include "base/assert.h"

namespace dnc::image {
namespace {

constexpr const char* kBlockNormNames[] = {"L1", "L1-sqrt", "L2", "L2-Hys"};

Error Wrong(const std::string& what) { return {ErrorCode::kInvalidArgument, "HOG: " + what}; }

std::string SizeText(ImageSize size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

bool ParseNumber(std::string_view text, std::uint32_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size() && *value > 0;
}

bool ParseSides(std::string_view text, ImageSize* size) {
  const std::size_t x = text.find('x');
  if (x == std::string_view::npos) {
    return ParseNumber(text, &size->width) && ParseNumber(text, &size->height);
  }
  return ParseNumber(text.substr(0, x), &size->width) &&
         ParseNumber(text.substr(x + 1), &size->height);
}

bool ParseNorm(std::string_view text, BlockNorm* norm) {
  const auto* const found = std::find(std::begin(kBlockNormNames), std::end(kBlockNormNames), text);
  if (found == std::end(kBlockNormNames)) return false;
  *norm = static_cast<BlockNorm>(found - std::begin(kBlockNormNames));
  return true;
}

bool ParseBool(std::string_view text, bool* value) {
  *value = text == "true" || text == "True" || text == "1";
  return *value || text == "false" || text == "False" || text == "0";
}

Status ParseParameter(std::string_view name, std::string_view value, HogOptions* options) {
  bool ok = false;
  const char* expected = "a whole number above 0";
  if (name == "orientations" || name == "nbins") {
    ok = ParseNumber(value, &options->orientations);
  } else if (name == "pixels_per_cell" || name == "cellSize") {
    expected = "WIDTHxHEIGHT, such as 8x8";
    ok = ParseSides(value, &options->pixels_per_cell);
  } else if (name == "cells_per_block") {
    expected = "WIDTHxHEIGHT, such as 3x3";
    ok = ParseSides(value, &options->cells_per_block);
  } else if (name == "block_norm") {
    expected = "L1, L1-sqrt, L2 or L2-Hys";
    ok = ParseNorm(value, &options->block_norm);
  } else if (name == "transform_sqrt") {
    expected = "true or false";
    ok = ParseBool(value, &options->transform_sqrt);
  } else {
    return Wrong("unknown parameter \"" + std::string(name) +
                 "\"; known are orientations, pixels_per_cell, cells_per_block, block_norm and "
                 "transform_sqrt");
  }
  if (ok) return {};
  return Wrong(std::string(name) + " is \"" + std::string(value) + "\"; expected " + expected);
}

}  // namespace

void CentreCrop(ByteSpan pixels, ImageSize size, int channels, std::span<std::byte> out,
                ImageSize crop) {
  DNC_ASSERT(crop.width <= size.width && crop.height <= size.height);
  const auto channel_count = static_cast<std::size_t>(channels);
  DNC_ASSERT(pixels.size() == channel_count * size.width * size.height);
  DNC_ASSERT(out.size() == channel_count * crop.width * crop.height);
  const std::size_t left = (size.width - crop.width) / 2;
  const std::size_t top = (size.height - crop.height) / 2;
  const std::size_t row_bytes = channel_count * crop.width;
  for (std::size_t y = 0; y < crop.height; ++y) {
    std::memcpy(out.data() + y * row_bytes,
                pixels.data() + channel_count * ((top + y) * size.width + left), row_bytes);
  }
}

void Grayscale(ByteSpan rgb, std::span<std::byte> out) {
  DNC_ASSERT(rgb.size() == 3 * out.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto at = [&](std::size_t c) { return std::to_integer<std::uint32_t>(rgb[3 * i + c]); };
    // The weights times 2^16.
    out[i] = static_cast<std::byte>((at(0) * 19595 + at(1) * 38470 + at(2) * 7471 + 0x8000) >> 16);
  }
}

const char* BlockNormName(BlockNorm norm) {
  return kBlockNormNames[static_cast<std::size_t>(norm)];
}

Result<HogOptions> ParseHogOptions(std::string_view text) {
  HogOptions options;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view parameter = text.substr(0, comma);
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos) {
      return Wrong("\"" + std::string(parameter) + "\" is not a parameter; expected NAME=VALUE");
    }
    DNC_TRY(ParseParameter(parameter.substr(0, equals), parameter.substr(equals + 1), &options));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return options;
}

std::string FormatHogOptions(const HogOptions& options) {
  return "orientations=" + std::to_string(options.orientations) +
         ",pixels_per_cell=" + SizeText(options.pixels_per_cell) +
         ",cells_per_block=" + SizeText(options.cells_per_block) +
         ",block_norm=" + BlockNormName(options.block_norm) +
         ",transform_sqrt=" + (options.transform_sqrt ? "true" : "false");
}

Result<std::uint64_t> HogLength(ImageSize size, const HogOptions& options) {
  const ImageSize cell = options.pixels_per_cell;
  const ImageSize block = options.cells_per_block;
  if (options.orientations == 0 || cell.width == 0 || cell.height == 0 || block.width == 0 ||
      block.height == 0) {
    return Wrong("orientations, pixels_per_cell and cells_per_block must be above 0");
  }
  const ImageSize cells{size.width / cell.width, size.height / cell.height};
  if (cells.width < block.width || cells.height < block.height) {
    return Wrong("an image of " + SizeText(size) + " pixels has " + SizeText(cells) + " cells of " +
                 SizeText(cell) + "; a block takes " + SizeText(block) +
                 " of them, so choose smaller cells or blocks");
  }
  const std::uint64_t block_values =
      std::uint64_t{block.width} * block.height * options.orientations;
  const std::uint64_t blocks =
      std::uint64_t{cells.width - block.width + 1} * (cells.height - block.height + 1);
  if (options.orientations > kHogOrientationsMax || block_values > kHogLengthMax ||
      blocks > kHogLengthMax / block_values) {
    return Error{ErrorCode::kTooLarge,
                 "HOG: " + std::to_string(blocks) + " blocks of " + std::to_string(block_values) +
                     " values; at most " + std::to_string(kHogLengthMax) + " values and " +
                     std::to_string(kHogOrientationsMax) + " orientations are taken"};
  }
  return blocks * block_values;
}

}  // namespace dnc::image
