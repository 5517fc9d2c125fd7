#include "divide/part_source.h"

#include <algorithm>
#include <charconv>

#include "array/samples.h"
#include "base/human.h"
#include "divide/split.h"
#include "source/wrapped_source.h"

namespace dnc::divide {
namespace {

using source::WrappedSource;

constexpr std::uint32_t kPartCountMax = 1u << 20;
// Parts of at least so many windows of splits begin at one: no part is then more than a
// few percent larger than another.
constexpr std::uint64_t kAlignedWindowsMin = 20;

class PartSource final : public WrappedSource {
 public:
  PartSource(std::unique_ptr<source::SampleSource> inner, std::uint64_t samples)
      : WrappedSource(std::move(inner)), samples_(samples) {}

  std::optional<std::uint64_t> sample_count() const override { return samples_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    const std::uint64_t count = std::min(sample_count_max, samples_ - done_);
    if (count == 0) {
      array::ClearSamples(columns(), block);
      return {};
    }
    DNC_TRY(inner()->Read(count, block));
    done_ += block->sample_count;
    return {};
  }

  Result<std::uint64_t> Skip(std::uint64_t sample_count) override {
    DNC_ASSIGN(const std::uint64_t skipped,
               inner()->Skip(std::min(sample_count, samples_ - done_)));
    done_ += skipped;
    return skipped;
  }

  // Progress is told by samples; the bytes are those of the whole source.
  source::SourceBytes bytes() const override { return {}; }

 private:
  const std::uint64_t samples_;
  std::uint64_t done_ = 0;
};

}  // namespace

Result<Part> ParsePart(const std::string& text) {
  Part part;
  const char* const end = text.data() + text.size();
  const auto index = std::from_chars(text.data(), end, part.index);
  if (index.ec == std::errc() && index.ptr != end && *index.ptr == '/') {
    const auto count = std::from_chars(index.ptr + 1, end, part.count);
    if (count.ec == std::errc() && count.ptr == end && part.index >= 1 &&
        part.index <= part.count && part.count <= kPartCountMax) {
      return part;
    }
  }
  return Error{ErrorCode::kInvalidArgument,
               "part \"" + text + "\": expected i/n with 1 <= i <= n, such as 2/8"};
}

Result<std::uint64_t> CountSamples(source::SampleSource* source, const CountCallback& progress) {
  constexpr std::uint64_t kStep = 4096;
  for (std::uint64_t count = 0;;) {
    if (progress && !progress(count)) {
      return Error{ErrorCode::kCancelled, "counting the samples was stopped"};
    }
    DNC_ASSIGN(const std::uint64_t passed, source->Skip(kStep));
    count += passed;
    if (passed < kStep) return count;
  }
}

Result<OpenedPart> OpenPart(const SourceOpener& open, const Part& part, bool count_exact,
                            const CountCallback& progress) {
  DNC_ASSIGN(auto source, open());
  std::optional<std::uint64_t> count = source->sample_count();
  if (!count || !count_exact) {
    DNC_ASSIGN(count, CountSamples(source.get(), progress));
    DNC_ASSIGN(source, open());
  }
  if (*count < part.count) {
    return Error{ErrorCode::kInvalidArgument, FormatCount(*count) + " samples cannot make " +
                                                  FormatCount(part.count) +
                                                  " parts; ask for fewer"};
  }
  const bool aligned = *count / part.count >= kAlignedWindowsMin * kSplitWindow;
  const auto begin_of = [&](std::uint64_t index) {
    const std::uint64_t each = *count / part.count;
    const std::uint64_t rest = *count % part.count;
    const std::uint64_t begin = each * index + rest * index / part.count;
    return aligned && index < part.count ? begin / kSplitWindow * kSplitWindow : begin;
  };
  OpenedPart opened;
  opened.first_sample = begin_of(part.index - 1);
  opened.first_split_window = aligned ? opened.first_sample / kSplitWindow : 0;
  DNC_ASSIGN(const std::uint64_t skipped, source->Skip(opened.first_sample));
  if (skipped != opened.first_sample) {
    return Error{ErrorCode::kInvalidArgument, source->Describe() + " ends after " +
                                                  FormatCount(skipped) + " samples, of " +
                                                  FormatCount(*count)};
  }
  opened.source =
      std::make_unique<PartSource>(std::move(source), begin_of(part.index) - opened.first_sample);
  return opened;
}

}  // namespace dnc::divide
