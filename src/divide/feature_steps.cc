#include "divide/feature_steps.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "array/dtype.h"
#include "base/assert.h"
#include "divide/divide.h"
#include "divide/split_writer.h"
#include "shard/statistics.h"
#include "source/wrapped_source.h"

namespace dnc::divide {
namespace {

using source::WrappedSource;

constexpr char kFeatures[] = "x";
// Of one reading while statistics are computed.
constexpr std::uint64_t kLearnSamplesMax = 4096;

Result<std::size_t> FeatureColumn(const source::SampleSource& source, const std::string& step) {
  const std::vector<array::ColumnSpec>& columns = source.columns();
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].name == kFeatures) return c;
  }
  return Error{ErrorCode::kInvalidArgument,
               step + ": " + source.Describe() + " has no column \"" + kFeatures + "\""};
}

// Reads from `inner` and replaces the column "x" of each block by what a step makes of it.
class FeatureSource : public WrappedSource {
 public:
  FeatureSource(std::unique_ptr<source::SampleSource> inner, std::size_t column,
                array::ColumnSpec made)
      : WrappedSource(std::move(inner)), column_(column), columns_(this->inner()->columns()) {
    columns_[column_] = std::move(made);
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    DNC_TRY(inner()->Read(sample_count_max, block));
    made_.resize(block->sample_count * columns_[column_].sample_bytes());
    Make(block->columns[column_], block->sample_count, made_);
    std::swap(block->columns[column_], made_);
    return {};
  }

 protected:
  virtual void Make(ByteSpan samples, std::uint64_t count, std::span<std::byte> out) = 0;
  const array::ColumnSpec& given() const { return inner()->columns()[column_]; }

 private:
  const std::size_t column_;
  std::vector<array::ColumnSpec> columns_;
  Bytes made_;
};

array::ColumnSpec Float32Column(array::Shape shape) {
  array::ColumnSpec column;
  column.name = kFeatures;
  column.dtype = array::DType::kFloat32;
  column.shape = std::move(shape);
  return column;
}

// ---- HOG

struct ImageShape {
  image::ImageSize size;
  int channels = 1;
};

Result<ImageShape> ImagesOf(const array::ColumnSpec& column) {
  const auto wrong = [&](const std::string& remedy) {
    return Error{ErrorCode::kInvalidArgument, "hog: x is " + array::ColumnTypeText(column) +
                                                  "; expected images of uint8, (height, width) or "
                                                  "(height, width, channels)" +
                                                  remedy};
  };
  if (column.kind == array::ColumnKind::kImage) return wrong("; decode them with --resize WxH");
  const array::Shape& shape = column.shape;
  const bool is_image = column.is_array() && column.dtype == array::DType::kUint8 &&
                        (shape.size() == 2 || (shape.size() == 3 && shape[2] <= 4));
  if (!is_image || shape[0] > UINT32_MAX || shape[1] > UINT32_MAX) return wrong("");
  return ImageShape{{static_cast<std::uint32_t>(shape[1]), static_cast<std::uint32_t>(shape[0])},
                    shape.size() == 3 ? static_cast<int>(shape[2]) : 1};
}

class HogSource final : public FeatureSource {
 public:
  HogSource(std::unique_ptr<source::SampleSource> inner, std::size_t column, ImageShape images,
            std::uint64_t length, const image::HogOptions& options)
      : FeatureSource(std::move(inner), column, Float32Column({static_cast<std::int64_t>(length)})),
        length_(length),
        extractor_(images.size, images.channels, options) {}

 private:
  void Make(ByteSpan samples, std::uint64_t count, std::span<std::byte> out) override {
    if (count == 0) return;
    features_.resize(length_);
    const std::size_t image_bytes = samples.size() / count;
    for (std::uint64_t i = 0; i < count; ++i) {
      extractor_.Compute(samples.subspan(i * image_bytes, image_bytes), features_);
      std::memcpy(out.data() + i * length_ * sizeof(float), features_.data(),
                  length_ * sizeof(float));
    }
  }

  const std::uint64_t length_;
  image::HogExtractor extractor_;
  std::vector<float> features_;
};

// ---- Standardising

template <typename T>
void StandardiseAs(ByteSpan samples, const std::vector<double>& mean,
                   const std::vector<double>& scale, std::span<std::byte> out) {
  const std::size_t count = samples.size() / sizeof(T);
  for (std::size_t i = 0, element = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, samples.data() + i * sizeof(T), sizeof(T));
    const auto made =
        static_cast<float>((static_cast<double>(value) - mean[element]) * scale[element]);
    std::memcpy(out.data() + i * sizeof(float), &made, sizeof made);
    if (++element == mean.size()) element = 0;
  }
}

class StandardisedSource final : public FeatureSource {
 public:
  StandardisedSource(std::unique_ptr<source::SampleSource> inner, std::size_t column,
                     array::ColumnSpec made, const Standardiser& standardiser)
      : FeatureSource(std::move(inner), column, std::move(made)), mean_(standardiser.mean) {
    for (const double deviation : standardiser.standard_deviation) {
      scale_.push_back(deviation > 0 ? 1 / deviation : 1);
    }
  }

 private:
  void Make(ByteSpan samples, std::uint64_t, std::span<std::byte> out) override {
    switch (given().dtype) {
      case array::DType::kBool:
      case array::DType::kUint8:
        return StandardiseAs<std::uint8_t>(samples, mean_, scale_, out);
      case array::DType::kInt8:
        return StandardiseAs<std::int8_t>(samples, mean_, scale_, out);
      case array::DType::kInt16:
        return StandardiseAs<std::int16_t>(samples, mean_, scale_, out);
      case array::DType::kUint16:
        return StandardiseAs<std::uint16_t>(samples, mean_, scale_, out);
      case array::DType::kInt32:
        return StandardiseAs<std::int32_t>(samples, mean_, scale_, out);
      case array::DType::kUint32:
        return StandardiseAs<std::uint32_t>(samples, mean_, scale_, out);
      case array::DType::kInt64:
        return StandardiseAs<std::int64_t>(samples, mean_, scale_, out);
      case array::DType::kUint64:
        return StandardiseAs<std::uint64_t>(samples, mean_, scale_, out);
      case array::DType::kFloat32:
        return StandardiseAs<float>(samples, mean_, scale_, out);
      case array::DType::kFloat64:
        return StandardiseAs<double>(samples, mean_, scale_, out);
      case array::DType::kFloat16:
        break;  // Refused by LearnStandardiser.
    }
    DNC_ASSERT(false);
  }

  const std::vector<double> mean_;
  std::vector<double> scale_;
};

Status CheckNumbers(const array::ColumnSpec& column) {
  if (column.is_array() && column.dtype != array::DType::kFloat16) return {};
  return Error{
      ErrorCode::kInvalidArgument,
      "standardise: x is " + array::ColumnTypeText(column) +
          "; expected an array of integers, float32 or float64" +
          (column.kind == array::ColumnKind::kImage ? "; decode images with --resize WxH" : "")};
}

}  // namespace

Result<std::unique_ptr<source::SampleSource>> MakeHogSource(
    std::unique_ptr<source::SampleSource> inner, const image::HogOptions& options,
    std::vector<shard::FeatureStep>* steps) {
  DNC_ASSIGN(const std::size_t column, FeatureColumn(*inner, "hog"));
  DNC_ASSIGN(const ImageShape images, ImagesOf(inner->columns()[column]));
  DNC_ASSIGN(const std::uint64_t length, image::HogLength(images.size, options));
  shard::FeatureStep step;
  step.name = "hog";
  step.column = kFeatures;
  step.numbers["size"] = {static_cast<double>(images.size.width),
                          static_cast<double>(images.size.height)};
  step.numbers["channels"] = {static_cast<double>(images.channels)};
  step.texts["options"] = image::FormatHogOptions(options);
  steps->push_back(std::move(step));
  return std::unique_ptr<source::SampleSource>(
      new HogSource(std::move(inner), column, images, length, options));
}

Result<Standardiser> LearnStandardiser(const SourceOpener& open,
                                       const StandardiseOptions& options) {
  DNC_ASSIGN(auto source, open());
  DNC_ASSIGN(const std::size_t column, FeatureColumn(*source, "standardise"));
  DNC_TRY(CheckNumbers(source->columns()[column]));
  SplitRouter::Options routes;
  routes.splits = options.splits;
  routes.seed = options.seed;
  routes.samples_total = source->sample_count();
  if (!routes.samples_total && options.splits.size() > 1) {
    DNC_ASSIGN(const std::uint64_t total, CountSamples(source.get(), options.progress));
    routes.samples_total = total;
    DNC_ASSIGN(source, open());
  }
  SplitRouter router(routes);
  const std::vector<array::ColumnSpec> columns = {source->columns()[column]};
  shard::StatisticsAccumulator statistics(columns);
  const std::uint64_t step =
      std::min<std::uint64_t>(kLearnSamplesMax, FixedBlockSamples(columns, kShardBytesMax));
  const std::size_t sample_bytes = columns[0].sample_bytes();
  array::SampleBlock block;
  array::SampleBlock piece;
  piece.columns.resize(1);
  for (std::uint64_t done = 0;; done += block.sample_count) {
    if (options.progress && !options.progress(done)) {
      return Error{ErrorCode::kCancelled, "learning what to standardise by was stopped"};
    }
    DNC_TRY(source->Read(step, &block));
    if (block.sample_count == 0) break;
    DNC_TRY(router.Route(
        block.sample_count,
        [&](std::uint32_t split, std::uint64_t begin, std::uint64_t end) -> Status {
          if (split != 0) return {};
          const auto* bytes = block.columns[column].data();
          piece.sample_count = end - begin;
          piece.columns[0].assign(bytes + begin * sample_bytes, bytes + end * sample_bytes);
          statistics.Add(piece);
          return {};
        }));
  }
  const shard::ColumnStatistics found = statistics.Compute()[0];
  if (!found.element_mean.empty()) {
    return Standardiser{found.element_mean, found.element_standard_deviation};
  }
  return Standardiser{{found.mean}, {found.standard_deviation}};
}

std::unique_ptr<source::SampleSource> MakeStandardisedSource(
    std::unique_ptr<source::SampleSource> inner, const Standardiser& standardiser,
    std::vector<shard::FeatureStep>* steps) {
  const auto column = FeatureColumn(*inner, "standardise");
  DNC_ASSERT(column.ok());
  const array::ColumnSpec& given = inner->columns()[*column];
  array::ColumnSpec made = Float32Column(given.shape);
  made.features = given.features;
  shard::FeatureStep step;
  step.name = "standardise";
  step.column = kFeatures;
  step.numbers["mean"] = standardiser.mean;
  step.numbers["standard_deviation"] = standardiser.standard_deviation;
  steps->push_back(std::move(step));
  return std::make_unique<StandardisedSource>(std::move(inner), *column, std::move(made),
                                              standardiser);
}

}  // namespace dnc::divide
