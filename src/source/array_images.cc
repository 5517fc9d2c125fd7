#include "source/array_images.h"

#include <cstring>
#include <utility>
#include <vector>

#include "image/features.h"
#include "image/image.h"
#include "source/decoded_images.h"
#include "source/wrapped_source.h"

namespace dnc::source {
namespace {

std::size_t PixelBytes(image::ImageSize size, int channels) {
  return std::size_t{size.width} * size.height * static_cast<std::size_t>(channels);
}

class FormedSource final : public WrappedSource {
 public:
  // Requires: IsImage() of the column.
  FormedSource(std::unique_ptr<SampleSource> inner, std::size_t column,
               const image::PixelForm& form)
      : WrappedSource(std::move(inner)),
        column_(column),
        form_(form),
        columns_(this->inner()->columns()) {
    array::Shape& shape = columns_[column_].shape;
    given_ = {static_cast<std::uint32_t>(shape[1]), static_cast<std::uint32_t>(shape[0])};
    channels_ = shape.size() == 3 ? static_cast<int>(shape[2]) : 1;
    made_ = form_.has_size() ? form_.size() : given_;
    shape[0] = made_.height;
    shape[1] = made_.width;
    if (form_.grayscale) shape.resize(2);
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::string Describe() const override { return inner()->Describe() + DescribePixelForm(form_); }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    DNC_TRY(inner()->Read(sample_count_max, block));
    const std::size_t from = PixelBytes(given_, channels_);
    const std::size_t to = PixelBytes(made_, form_.grayscale ? 1 : channels_);
    pixels_.resize(block->sample_count * to);
    for (std::uint64_t i = 0; i < block->sample_count; ++i) {
      Form(ByteSpan(block->columns[column_]).subspan(i * from, from),
           std::span(pixels_).subspan(i * to, to));
    }
    std::swap(block->columns[column_], pixels_);
    return {};
  }

 private:
  void Form(ByteSpan pixels, std::span<std::byte> out) {
    image::ImageSize size = given_;
    if (form_.resize) {
      resized_.resize(PixelBytes(*form_.resize, channels_));
      image::Resize(pixels, size, channels_, resized_, *form_.resize);
      pixels = resized_;
      size = *form_.resize;
    }
    if (form_.crop) {
      cropped_.resize(PixelBytes(*form_.crop, channels_));
      image::CentreCrop(pixels, size, channels_, cropped_, *form_.crop);
      pixels = cropped_;
    }
    if (form_.grayscale && channels_ == 3) {
      image::Grayscale(pixels, out);
    } else {
      std::memcpy(out.data(), pixels.data(), out.size());
    }
  }

  const std::size_t column_;
  const image::PixelForm form_;
  std::vector<array::ColumnSpec> columns_;
  image::ImageSize given_;
  image::ImageSize made_;
  int channels_ = 1;
  Bytes pixels_;
  Bytes resized_;
  Bytes cropped_;
};

bool IsImage(const array::ColumnSpec& column) {
  const array::Shape& shape = column.shape;
  return column.is_array() && column.dtype == array::DType::kUint8 &&
         (shape.size() == 2 || (shape.size() == 3 && (shape[2] == 1 || shape[2] == 3))) &&
         shape[0] > 0 && shape[1] > 0 && shape[0] <= UINT32_MAX && shape[1] <= UINT32_MAX;
}

}  // namespace

Result<std::unique_ptr<SampleSource>> FormArrayImages(std::unique_ptr<SampleSource> inner,
                                                      const std::string& name,
                                                      const SourceOptions& options) {
  const image::PixelForm form{options.resize, options.crop, options.grayscale};
  if (!form.has_size() && !form.grayscale) return inner;
  if (form.has_size()) DNC_TRY(CheckImageOptions(name, options));
  const std::vector<array::ColumnSpec>& columns = inner->columns();
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].name != "x") continue;
    if (!IsImage(columns[c])) {
      return Error{ErrorCode::kInvalidArgument,
                   name + ": x is " + array::ColumnTypeText(columns[c]) +
                       "; images to be resized, cropped or made grey are uint8 of (height, "
                       "width), (height, width, 1) or (height, width, 3)"};
    }
    const image::ImageSize given{static_cast<std::uint32_t>(columns[c].shape[1]),
                                 static_cast<std::uint32_t>(columns[c].shape[0])};
    const image::ImageSize before = form.resize.value_or(given);
    if (form.crop && (form.crop->width > before.width || form.crop->height > before.height)) {
      return Error{ErrorCode::kInvalidArgument, name + ": images of " + SizeText(before) +
                                                    " cannot be cropped to " +
                                                    SizeText(*form.crop)};
    }
    return std::unique_ptr<SampleSource>(new FormedSource(std::move(inner), c, form));
  }
  return Error{ErrorCode::kInvalidArgument, name + ": has no column \"x\" of images"};
}

}  // namespace dnc::source
