#include "source/array_source.h"

#include <algorithm>

namespace dnc::source {
namespace {

class ArraySource final : public SampleSource {
 public:
  ArraySource(std::unique_ptr<ArrayInput> x, std::unique_ptr<ArrayInput> y, std::string description)
      : description_(std::move(description)), remaining_(x->info().sample_count()) {
    sample_count_ = remaining_;
    columns_.push_back({"x", x->info().dtype, x->info().sample_shape(), {}});
    inputs_.push_back(std::move(x));
    if (y == nullptr) return;
    columns_.push_back({"y", y->info().dtype, y->info().sample_shape(), {}});
    inputs_.push_back(std::move(y));
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

 private:
  std::string description_;
  std::uint64_t remaining_;
  std::uint64_t sample_count_ = 0;
  std::vector<array::ColumnSpec> columns_;
  std::vector<std::unique_ptr<ArrayInput>> inputs_;
  std::vector<SkippedInput> skipped_;  // Stays empty: an array has no bad samples.
};

}  // namespace

Result<std::unique_ptr<SampleSource>> MakeArraySource(std::unique_ptr<ArrayInput> x,
                                                      std::unique_ptr<ArrayInput> y,
                                                      std::string description) {
  if (y != nullptr && y->info().sample_count() != x->info().sample_count()) {
    return Error{ErrorCode::kInvalidArgument,
                 x->info().name + ": " + std::to_string(x->info().sample_count()) +
                     " samples, but " + y->info().name + " has " +
                     std::to_string(y->info().sample_count()) + " labels"};
  }
  return std::unique_ptr<SampleSource>(
      std::make_unique<ArraySource>(std::move(x), std::move(y), std::move(description)));
}

Result<std::unique_ptr<ArrayInput>> OpenLabels(const SourceOptions& options) {
  if (options.labels_path.empty()) return std::unique_ptr<ArrayInput>();
  DNC_ASSIGN(auto source, FileSource::Open(options.labels_path));
  return OpenArray(std::move(source));
}

}  // namespace dnc::source
