// A source around another, for decorators to change what they need.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "source/sample_source.h"

namespace dnc::source {

class WrappedSource : public SampleSource {
 public:
  explicit WrappedSource(std::unique_ptr<SampleSource> inner) : inner_(std::move(inner)) {}

  const std::vector<array::ColumnSpec>& columns() const override { return inner_->columns(); }
  std::optional<std::uint64_t> sample_count() const override { return inner_->sample_count(); }
  std::string Describe() const override { return inner_->Describe(); }
  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    return inner_->Read(sample_count_max, block);
  }
  SourceBytes bytes() const override { return inner_->bytes(); }
  Result<std::uint64_t> Skip(std::uint64_t sample_count) override {
    return inner_->Skip(sample_count);
  }
  std::map<std::string, std::string> parameters() const override { return inner_->parameters(); }
  const std::vector<SkippedInput>& skipped() const override { return inner_->skipped(); }

 protected:
  SampleSource* inner() const { return inner_.get(); }

 private:
  std::unique_ptr<SampleSource> inner_;
};

}  // namespace dnc::source
