// Features of images for notebooks: what a feature step of dividing computes, of arrays
// that are in memory already.

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "base/human.h"
#include "binding.h"
#include "image/features.h"

namespace dnc::python {
namespace {

// (samples, height, width) or (samples, height, width, channels), without gaps.
struct ImageBatch {
  std::uint64_t samples = 0;
  image::ImageSize size;
  int channels = 1;
  std::uint64_t values() const { return std::uint64_t{size.width} * size.height * channels; }
};

ImageBatch ShapeOf(const py::array& images) {
  const py::ssize_t dimensions = images.ndim();
  bool sound = dimensions == 3 || (dimensions == 4 && images.shape(3) >= 1 && images.shape(3) <= 4);
  for (py::ssize_t d = 1; sound && d < dimensions; ++d) {
    sound = images.shape(d) <= std::numeric_limits<std::int32_t>::max();
  }
  if (!sound) {
    Raise({ErrorCode::kInvalidArgument,
           "images of shape " + py::str(images.attr("shape")).cast<std::string>() +
               "; expected (samples, height, width) or (samples, height, width, channels); "
               "of one image: hog(image[None])"});
  }
  ImageBatch batch;
  batch.samples = static_cast<std::uint64_t>(images.shape(0));
  batch.size = {static_cast<std::uint32_t>(images.shape(2)),
                static_cast<std::uint32_t>(images.shape(1))};
  if (dimensions == 4) batch.channels = static_cast<int>(images.shape(3));
  return batch;
}

image::HogOptions ParseOptions(const py::dict& values) {
  image::HogOptions parsed;
  Options options(values, "hog");
  using Sides = std::pair<std::uint32_t, std::uint32_t>;  // Rows first, as in scikit-image.
  options.Read("orientations", &parsed.orientations);
  Sides cell{parsed.pixels_per_cell.height, parsed.pixels_per_cell.width};
  options.Read("pixels_per_cell", &cell);
  parsed.pixels_per_cell = {cell.second, cell.first};
  Sides block{parsed.cells_per_block.height, parsed.cells_per_block.width};
  options.Read("cells_per_block", &block);
  parsed.cells_per_block = {block.second, block.first};
  options.Read("transform_sqrt", &parsed.transform_sqrt);
  std::string norm = image::BlockNormName(parsed.block_norm);
  options.Read("block_norm", &norm);
  parsed.block_norm = Take(image::ParseHogOptions("block_norm=" + norm)).block_norm;
  options.Finish();
  return parsed;
}

// Requires: without the lock. Stops when `callback` says so.
template <typename T>
Status ComputeAll(const ImageBatch& batch, const T* values, const image::HogOptions& options,
                  std::span<float> features, Callback* callback) {
  image::HogExtractor extractor(batch.size, batch.channels, options);
  const std::uint64_t length = batch.samples == 0 ? 0 : features.size() / batch.samples;
  for (std::uint64_t i = 0; i < batch.samples; ++i) {
    const std::span<const T> pixels(values + i * batch.values(), batch.values());
    if constexpr (std::is_same_v<T, double>) {
      const bool sound = std::all_of(pixels.begin(), pixels.end(), [&](double value) {
        return std::isfinite(value) && (value >= 0 || !options.transform_sqrt);
      });
      if (!sound) {
        return Error{ErrorCode::kInvalidArgument,
                     "image " + FormatCount(i) + " has values that are not finite" +
                         (options.transform_sqrt ? ", or negative ones" : "")};
      }
      extractor.Compute(pixels, features.subspan(i * length, length));
    } else {
      extractor.Compute(std::as_bytes(pixels), features.subspan(i * length, length));
    }
    if (!callback->Call([] { return py::tuple(); })) return {};
  }
  return {};
}

py::array_t<float> Hog(const py::array& images, const py::dict& values) {
  CheckNumPy();
  const ImageBatch batch = ShapeOf(images);
  const image::HogOptions options = ParseOptions(values);
  const std::uint64_t length = Take(image::HogLength(batch.size, options));
  py::array_t<float> result(
      {static_cast<py::ssize_t>(batch.samples), static_cast<py::ssize_t>(length)});
  const std::span<float> features(result.mutable_data(), batch.samples * length);
  Callback callback{py::none()};
  const auto compute = [&](const auto& array) {
    const auto* data = array.data();
    const py::gil_scoped_release unlocked;
    return ComputeAll(batch, data, options, features, &callback);
  };
  Status status;
  constexpr int kWithoutGaps = py::array::c_style | py::array::forcecast;
  if (py::isinstance<py::array_t<std::uint8_t>>(images)) {
    status = compute(py::array_t<std::uint8_t, kWithoutGaps>(images));
  } else {
    status = compute(py::array_t<double, kWithoutGaps>(images));
  }
  callback.Rethrow();
  Check(status);
  return result;
}

}  // namespace

void BindImages(py::module_* module) {
  module->def("hog", &Hog, py::arg("images"), py::arg("options"));
}

}  // namespace dnc::python
