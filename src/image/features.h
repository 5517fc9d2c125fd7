// Steps that turn the pixels of one image into what a model is fed: resize, centre
// crop, grayscale, histograms of oriented gradients (HOG). Pixels are rows without
// gaps, 1 or 3 (RGB) interleaved uint8 channels. All of it is deterministic: the
// same pixels give the same bytes on every run.
//
// HOG is that of scikit-image (skimage.feature.hog), with its parameters, within
// 1e-5. That is not OpenCV's HOGDescriptor, which interpolates between cells and
// orientations and whose blocks may step by more than a cell.
//
// The functions are thread-safe; a HogExtractor is not.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "image/image.h"

namespace dnc::image {

// Resizes by area where both sides shrink, else linearly (without smoothing the
// side that shrinks): within 1 of OpenCV's INTER_AREA and INTER_LINEAR.
// Requires: channels is 1 or 3; no side is 0; both spans have channels bytes a
// pixel of their size, and don't overlap.
void Resize(ByteSpan pixels, ImageSize size, int channels, std::span<std::byte> out,
            ImageSize out_size);

// The middle of an image; where it cannot be in the middle, half a pixel up and left.
// Requires: crop is not larger than size on any side; spans as above.
void CentreCrop(ByteSpan pixels, ImageSize size, int channels, std::span<std::byte> out,
                ImageSize crop);

// One channel by ITU-R 601 luma, 0.299 R + 0.587 G + 0.114 B, rounded as PIL's
// convert("L") does (OpenCV's differs by at most 1).
// Requires: rgb.size() == 3 * out.size(). They may begin at the same address.
void Grayscale(ByteSpan rgb, std::span<std::byte> out);

enum class BlockNorm : std::uint8_t { kL1, kL1Sqrt, kL2, kL2Hys };

// "L1", "L1-sqrt", "L2", "L2-Hys".
const char* BlockNormName(BlockNorm norm);

// The parameters of skimage.feature.hog, and its defaults.
struct HogOptions {
  std::uint32_t orientations = 9;      // Bins over 180 degrees.
  ImageSize pixels_per_cell = {8, 8};  // Width and height; scikit-image has rows first.
  ImageSize cells_per_block = {3, 3};  // The same.
  BlockNorm block_norm = BlockNorm::kL2Hys;
  bool transform_sqrt = false;

  friend bool operator==(const HogOptions&, const HogOptions&) = default;
};

inline constexpr std::uint32_t kHogOrientationsMax = 180;
inline constexpr std::uint64_t kHogLengthMax = 1 << 24;

// Reads "orientations=9,pixels_per_cell=8x8,cells_per_block=3x3,block_norm=L2-Hys,
// transform_sqrt=false": any of them, in any order; sides are WIDTHxHEIGHT, or one
// number for both. OpenCV's nbins and cellSize are taken for the first two. An
// empty text gives the defaults.
// Errors: kInvalidArgument, an unknown name (all are listed) or a wrong value.
Result<HogOptions> ParseHogOptions(std::string_view text);
// All parameters, in the form and order above.
std::string FormatHogOptions(const HogOptions& options);

// How many numbers HOG gives of an image of this size: blocks down, blocks across,
// cells down, cells across, orientations, outermost first, in one row as with
// scikit-image's feature_vector=True.
// Errors: kInvalidArgument, a parameter of 0 or an image smaller than one block,
// with the sizes; kTooLarge, beyond the limits above.
Result<std::uint64_t> HogLength(ImageSize size, const HogOptions& options);

class HogExtractor {
 public:
  // Memory: a few rows of pixels and the histograms of all cells; for uint8 without
  // transform_sqrt, a table of 256 KiB.
  // Requires: channels is 1 or more; HogLength(size, options) succeeds.
  HogExtractor(ImageSize size, int channels, const HogOptions& options);
  ~HogExtractor();
  HogExtractor(HogExtractor&&) noexcept;

  // The features of one image, as float32. At each pixel the channel with the
  // greatest gradient counts (scikit-image's channel_axis).
  // Requires: pixels.size() == width * height * channels; out.size() is HogLength.
  void Compute(ByteSpan pixels, std::span<float> out);
  // The same for pixels of another type, as doubles; with transform_sqrt they must
  // not be negative.
  void Compute(std::span<const double> pixels, std::span<float> out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::image
