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
        sample_count_(input.x->info().sample_count()),
        remaining_(sample_count_) {
    Add("x", std::move(input.x));
    if (input.y != nullptr) Add("y", std::move(input.y));
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
  void Add(const char* name, std::unique_ptr<ArrayInput> input) {
    columns_.push_back({name, input->info().dtype, input->info().sample_shape(), {}});
    inputs_.push_back(std::move(input));
  }

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
  const ArrayInput& x = *input.x;
  if (input.y != nullptr && input.y->info().sample_count() != x.info().sample_count()) {
    return Error{ErrorCode::kInvalidArgument,
                 x.info().name + ": " + std::to_string(x.info().sample_count()) + " samples, but " +
                     input.y->info().name + " has " +
                     std::to_string(input.y->info().sample_count()) + " labels"};
  }
  return std::unique_ptr<SampleSource>(std::make_unique<ArraySource>(std::move(input)));
}

Result<std::unique_ptr<SampleSource>> OpenArrays(const Input& input, const SourceOptions& options) {
  ArraySourceInput arrays;
  DNC_ASSIGN(arrays.x, OpenArray(input, options.sample_axis));
  DNC_ASSIGN(arrays.y, OpenLabels(options));
  arrays.description = arrays.x->info().format + " " + arrays.x->info().TypeText();
  if (arrays.y != nullptr) arrays.description += ", labels " + arrays.y->info().TypeText();
  arrays.file_bytes = input.medium_bytes;
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
