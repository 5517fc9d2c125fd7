#include "source/decoded_images.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/human.h"
#include "image/image.h"
#include "source/array_images.h"
#include "source/array_input.h"
#include "source/wrapped_source.h"

namespace dnc::source {
namespace {

image::PixelForm FormOf(const SourceOptions& options) {
  return {options.resize, options.crop, options.grayscale};
}

class DecodedSource final : public WrappedSource {
 public:
  DecodedSource(std::unique_ptr<SampleSource> inner, std::size_t column,
                const SourceOptions& options)
      : WrappedSource(std::move(inner)),
        column_(column),
        form_(FormOf(options)),
        skip_bad_(options.skip_bad),
        columns_(this->inner()->columns()) {
    array::ColumnSpec& x = columns_[column_];
    x.kind = array::ColumnKind::kArray;
    x.shape = {form_.size().height, form_.size().width};
    if (!form_.grayscale) x.shape.push_back(form_.channels());
    for (int i = 0; i < std::clamp(options.threads, 1, 64); ++i) {
      decoders_.emplace_back(&large_images_);
    }
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::string Describe() const override { return inner()->Describe() + DescribePixelForm(form_); }
  // Whatever is skipped has to be decoded, to know whether it is bad.
  Result<std::uint64_t> Skip(std::uint64_t sample_count) override {
    return SampleSource::Skip(sample_count);
  }
  const std::vector<SkippedInput>& skipped() const override {
    all_skipped_ = inner()->skipped();
    all_skipped_.insert(all_skipped_.end(), skipped_.begin(), skipped_.end());
    return all_skipped_;
  }

  // A block whose every image is bad is passed over, since no samples mean the end.
  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    do {
      DNC_TRY(inner()->Read(sample_count_max, block));
      if (block->sample_count == 0) return Clear(block);
      DNC_TRY(DecodeBlock(block));
    } while (block->sample_count == 0);
    return {};
  }

 private:
  Status Clear(array::SampleBlock* block) const {
    block->columns[column_].clear();
    if (array::AllArrays(columns_)) block->ends.clear();
    return {};
  }

  Status DecodeBlock(array::SampleBlock* block) {
    const std::uint64_t count = block->sample_count;
    const std::size_t bytes = form_.bytes();
    pixels_.resize(count * bytes);
    std::vector<Status> statuses(count);
    std::atomic<std::uint64_t> next{0};
    const auto work = [&](image::ImageDecoder* decoder) {
      for (std::uint64_t i = next++; i < count; i = next++) {
        statuses[i] = decoder->Decode(block->element(column_, i), form_,
                                      std::span(pixels_).subspan(i * bytes, bytes));
      }
    };
    {
      std::vector<std::jthread> threads;
      const std::size_t wanted = std::min<std::size_t>(decoders_.size(), count);
      for (std::size_t t = 1; t < wanted; ++t) {
        threads.emplace_back([&work, decoder = &decoders_[t]] { work(decoder); });
      }
      work(&decoders_[0]);
    }
    DNC_TRY(LeaveOutBad(statuses, block));
    block->ends[column_].clear();
    std::swap(block->columns[column_], pixels_);
    if (array::AllArrays(columns_)) block->ends.clear();
    read_ += count;
    return {};
  }

  // Moves what is good together.
  Status LeaveOutBad(const std::vector<Status>& statuses, array::SampleBlock* block) {
    std::uint64_t kept = 0;
    for (std::uint64_t i = 0; i < statuses.size(); ++i) {
      if (statuses[i].ok()) {
        if (kept != i) MoveSample(i, kept, block);
        ++kept;
        continue;
      }
      const std::string name = "image " + FormatCount(read_ + i);
      if (!skip_bad_) return statuses[i].error().WithContext(name);
      skipped_.push_back({name, statuses[i].error().message});
    }
    if (kept == statuses.size()) return {};
    block->sample_count = kept;
    pixels_.resize(kept * form_.bytes());
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (c == column_) continue;
      if (columns_[c].is_array()) {
        block->columns[c].resize(kept * columns_[c].sample_bytes());
      } else {
        block->ends[c].resize(kept);
        block->columns[c].resize(kept == 0 ? 0 : block->ends[c].back());
      }
    }
    return {};
  }

  // Sample `from` becomes sample `to`, which is before it; those between are gone.
  void MoveSample(std::uint64_t from, std::uint64_t to, array::SampleBlock* block) {
    const auto copy = [](Bytes* bytes, std::size_t begin, std::size_t size, std::size_t target) {
      std::copy_n(bytes->begin() + static_cast<std::ptrdiff_t>(begin), size,
                  bytes->begin() + static_cast<std::ptrdiff_t>(target));
    };
    const std::size_t image_bytes = form_.bytes();
    copy(&pixels_, from * image_bytes, image_bytes, to * image_bytes);
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (c == column_) continue;
      if (columns_[c].is_array()) {
        const std::size_t size = columns_[c].sample_bytes();
        copy(&block->columns[c], from * size, size, to * size);
        continue;
      }
      std::vector<std::uint32_t>& ends = block->ends[c];
      const std::uint32_t begin = from == 0 ? 0 : ends[from - 1];
      const std::uint32_t size = ends[from] - begin;
      const std::uint32_t target = to == 0 ? 0 : ends[to - 1];
      copy(&block->columns[c], begin, size, target);
      ends[to] = target + size;  // Not the end of any sample that is yet to move.
    }
  }

  const std::size_t column_;
  const image::PixelForm form_;
  const bool skip_bad_;
  std::vector<array::ColumnSpec> columns_;
  std::mutex large_images_;
  std::vector<image::ImageDecoder> decoders_;
  Bytes pixels_;
  std::uint64_t read_ = 0;
  std::vector<SkippedInput> skipped_;
  mutable std::vector<SkippedInput> all_skipped_;
};

}  // namespace

std::string SizeText(image::ImageSize size) {
  return std::to_string(size.width) + "x" + std::to_string(size.height);
}

std::string DescribePixelForm(const image::PixelForm& form) {
  std::string text;
  if (form.resize) text += ", resized to " + SizeText(*form.resize);
  if (form.crop) text += ", cropped to " + SizeText(*form.crop);
  if (form.grayscale) text += ", grayscale";
  return text;
}

Status CheckImageOptions(const std::string& name, const SourceOptions& options) {
  const image::PixelForm form = FormOf(options);
  if (!form.has_size()) {
    if (!form.grayscale) return {};
    return Error{ErrorCode::kInvalidArgument,
                 name +
                     ": only decoded images can be grayscale; give a size too (--resize "
                     "WIDTHxHEIGHT)"};
  }
  const Status status = image::CheckPixelForm(form);
  if (!status.ok()) return status.error().WithContext(name);
  if (form.bytes() <= kSampleBytesMax) return {};
  return Error{ErrorCode::kTooLarge, name + ": images of " + SizeText(form.size()) +
                                         " pixels have " + FormatByteCount(form.bytes()) +
                                         " each; at most " + FormatByteCount(kSampleBytesMax) +
                                         " are taken"};
}

Result<std::unique_ptr<SampleSource>> DecodeImages(std::unique_ptr<SampleSource> inner,
                                                   const std::string& name,
                                                   const SourceOptions& options) {
  const std::vector<array::ColumnSpec>& columns = inner->columns();
  const auto is_pixels = [](const array::ColumnSpec& column) {
    return column.name == "x" && column.is_array();
  };
  if (std::any_of(columns.begin(), columns.end(), is_pixels)) {
    return FormArrayImages(std::move(inner), name, options);
  }
  DNC_TRY(CheckImageOptions(name, options));
  if (!FormOf(options).has_size()) return inner;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].name != "x" || columns[c].kind != array::ColumnKind::kImage) continue;
    return std::unique_ptr<SampleSource>(new DecodedSource(std::move(inner), c, options));
  }
  return Error{ErrorCode::kInvalidArgument,
               name + ": has no single column of images to be resized or cropped"};
}

}  // namespace dnc::source
