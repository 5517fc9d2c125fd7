#include "source/array_source.h"

#include <algorithm>
#include <filesystem>

#include "source/array_container.h"
#include "source/hdf5_source.h"
#include "source/mat5_source.h"
#include "source/npz.h"

namespace dnc::source {
namespace {

class ArraySource final : public SampleSource {
 public:
  explicit ArraySource(ArraySourceInput input)
      : description_(std::move(input.description)),
        file_bytes_(input.file_bytes),
        sample_count_(input.arrays.front().input->info().sample_count()),
        remaining_(sample_count_) {
    for (NamedArray& array : input.arrays) {
      const ArrayInfo& info = array.input->info();
      columns_.push_back({array.column, info.dtype, info.sample_shape(), {}});
      inputs_.push_back(std::move(array.input));
    }
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override { return sample_count_; }
  std::string Describe() const override { return description_; }
  const std::vector<SkippedInput>& skipped() const override { return skipped_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    const std::uint64_t count = std::min(sample_count_max, remaining_);
    block->sample_count = 0;
    block->columns.resize(inputs_.size());
    for (std::size_t c = 0; c < inputs_.size(); ++c) {
      block->columns[c].resize(count * inputs_[c]->sample_bytes());
      if (count > 0) DNC_TRY(inputs_[c]->Read(block->columns[c]));
    }
    block->sample_count = count;
    remaining_ -= count;
    return {};
  }
  // By share of the samples: what is compressed is read ahead, or in passes.
  SourceBytes bytes() const override {
    if (!file_bytes_) return {inputs_[0]->position(), std::nullopt};
    const double share = static_cast<double>(sample_count_ - remaining_) /
                         static_cast<double>(std::max<std::uint64_t>(1, sample_count_));
    return {static_cast<std::uint64_t>(share * static_cast<double>(*file_bytes_)), file_bytes_};
  }
  Result<std::uint64_t> Skip(std::uint64_t sample_count) override {
    const std::uint64_t count = std::min(sample_count, remaining_);
    for (const auto& input : inputs_) DNC_TRY(input->Skip(count));
    remaining_ -= count;
    return count;
  }

 private:
  std::string description_;
  std::optional<std::uint64_t> file_bytes_;
  std::uint64_t sample_count_;
  std::uint64_t remaining_;
  std::vector<array::ColumnSpec> columns_;
  std::vector<std::unique_ptr<ArrayInput>> inputs_;
  std::vector<SkippedInput> skipped_;  // Stays empty: an array has no bad samples.
};

// Null for a file that is no container of named arrays.
Result<std::unique_ptr<ArrayContainer>> OpenContainerOf(const Input& input) {
  if (input.file != nullptr && IsZip(input.start)) return OpenNpzContainer(input.file);
  if (input.file != nullptr && IsHdf5(input.start)) return OpenHdf5Container(input);
  if (input.file != nullptr && IsMat5(input.start)) return OpenMat5Container(input);
  return std::unique_ptr<ArrayContainer>();
}

}  // namespace

ArrayLocation SplitArrayLocation(const std::string& location) {
  std::error_code ignored;
  if (std::filesystem::exists(location, ignored)) return {location, ""};
  for (std::size_t colon = location.rfind(':'); colon != std::string::npos && colon > 0;
       colon = location.rfind(':', colon - 1)) {
    const std::string path = location.substr(0, colon);
    if (std::filesystem::is_regular_file(path, ignored)) return {path, location.substr(colon + 1)};
  }
  return {location, ""};
}

Result<std::unique_ptr<SampleSource>> MakeArraySource(ArraySourceInput input) {
  const ArrayInfo& first = input.arrays.front().input->info();
  for (const NamedArray& array : input.arrays) {
    const ArrayInfo& info = array.input->info();
    if (info.sample_count() == first.sample_count()) continue;
    return Error{ErrorCode::kInvalidArgument,
                 first.name + ": " + std::to_string(first.sample_count()) + " samples, but " +
                     info.name + " has " + std::to_string(info.sample_count()) +
                     (array.column == "y" ? " labels" : "")};
  }
  return std::unique_ptr<SampleSource>(std::make_unique<ArraySource>(std::move(input)));
}

Result<std::unique_ptr<SampleSource>> OpenArrays(const Input& input, const SourceOptions& options) {
  DNC_ASSIGN(auto x, OpenArray(input, options.sample_axis));
  DNC_ASSIGN(auto y, OpenLabels(options));
  ArraySourceInput arrays;
  arrays.description = x->info().format + " " + x->info().TypeText();
  if (y != nullptr) arrays.description += ", labels " + y->info().TypeText();
  arrays.file_bytes = input.medium_bytes;
  arrays.arrays.push_back({"x", std::move(x)});
  if (y != nullptr) arrays.arrays.push_back({"y", std::move(y)});
  return MakeArraySource(std::move(arrays));
}

Result<std::unique_ptr<ArrayInput>> OpenLabels(const SourceOptions& options) {
  if (options.labels_path.empty()) return std::unique_ptr<ArrayInput>();
  const ArrayLocation where = SplitArrayLocation(options.labels_path);
  DNC_ASSIGN(auto source, FileSource::Open(where.path));
  DNC_ASSIGN(const Input input, OpenInput(std::move(source)));
  DNC_ASSIGN(const auto container, OpenContainerOf(input));
  if (container != nullptr) return OpenLabelsIn(*container, where.variable);
  if (!where.variable.empty()) {
    return Error{
        ErrorCode::kInvalidArgument,
        where.path + ": holds no arrays by name, so there is none named " + where.variable};
  }
  return OpenArray(input);
}

}  // namespace dnc::source
