#include "divide/split.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/assert.h"

namespace dnc::divide {
namespace {

constexpr std::size_t kNameBytesMax = 64;
constexpr std::uint64_t kSplitSeed = 0x73706c6974;  // "split"

Error Wrong(const std::string& what) {
  return {ErrorCode::kInvalidArgument,
          "splits: " + what + "; write for example train=0.9,validation=0.1"};
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

}  // namespace

Status CheckSplits(const std::vector<SplitFraction>& splits) {
  if (splits.empty()) return Wrong("there are none");
  std::set<std::string> names;
  double sum = 0;
  for (const SplitFraction& split : splits) {
    if (split.name.empty()) return Wrong("one has no name");
    if (split.name.size() > kNameBytesMax ||
        !std::all_of(split.name.begin(), split.name.end(), IsNameCharacter)) {
      return Wrong("\"" + split.name + "\" is not a name of 1 to " + std::to_string(kNameBytesMax) +
                   " letters, digits, _ and -");
    }
    if (!names.insert(split.name).second) return Wrong("\"" + split.name + "\" is there twice");
    if (!(split.fraction > 0 && split.fraction <= 1)) {
      return Wrong("the fraction of \"" + split.name + "\" is " + std::to_string(split.fraction) +
                   "; expected more than 0 and at most 1");
    }
    sum += split.fraction;
  }
  if (!(std::abs(sum - 1) <= 1e-9)) {
    return Wrong("the fractions sum to " + std::to_string(sum) + ", not to 1");
  }
  return {};
}

Result<std::vector<SplitFraction>> ParseSplits(const std::string& text) {
  std::vector<SplitFraction> splits;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const std::size_t equals = part.find('=');
    SplitFraction split;
    split.name = part.substr(0, equals);
    const std::string number = equals == std::string::npos ? "" : part.substr(equals + 1);
    const auto [rest, error] =
        std::from_chars(number.data(), number.data() + number.size(), split.fraction);
    if (error != std::errc() || rest != number.data() + number.size()) {
      return Wrong("\"" + part + "\" is not NAME=FRACTION");
    }
    splits.push_back(std::move(split));
    begin = end + 1;
  }
  DNC_TRY(CheckSplits(splits));
  return splits;
}

SplitAssigner::SplitAssigner(const std::vector<SplitFraction>& splits, std::uint64_t seed,
                             std::uint64_t first_window)
    : bounds_(splits.size(), 0),
      seed_(seed),
      window_index_(first_window),
      samples_(first_window * kSplitWindow),
      order_(0, 0) {
  DNC_ASSERT(!splits.empty());
  double sum = 0;
  for (const SplitFraction& split : splits) cumulative_.push_back(sum += split.fraction);
  cumulative_.back() = 1;
  for (const double fraction : cumulative_) {
    assigned_.push_back(
        static_cast<std::uint64_t>(std::llround(fraction * static_cast<double>(samples_))));
  }
}

void SplitAssigner::BeginWindow(std::uint64_t samples) {
  order_ = Permutation(samples, DeriveSeed(seed_, kSplitSeed, window_index_++));
  samples_ += samples;
  std::uint64_t bound = 0;
  for (std::size_t s = 0; s < cumulative_.size(); ++s) {
    // From the totals, not from the window alone, so that rounding never adds up.
    const auto target =
        static_cast<std::uint64_t>(std::llround(cumulative_[s] * static_cast<double>(samples_)));
    const std::uint64_t wanted = target > assigned_[s] ? target - assigned_[s] : 0;
    bound = s + 1 == cumulative_.size() ? samples : std::clamp(wanted, bound, samples);
    bounds_[s] = bound;
    assigned_[s] += bound;
  }
}

std::uint32_t SplitAssigner::Split(std::uint64_t index) const {
  const std::uint64_t rank = order_(index);
  const auto split = std::upper_bound(bounds_.begin(), bounds_.end(), rank);
  return static_cast<std::uint32_t>(split - bounds_.begin());
}

SplitRouter::SplitRouter(const Options& options)
    : options_(options), assigner_(options.splits, options.seed, options.first_window) {}

std::uint64_t SplitRouter::WindowSamples(std::uint64_t left_in_block) const {
  if (options_.blocks_are_windows) return left_in_block;
  if (!options_.samples_total) return kSplitWindow;
  const std::uint64_t before = window_index_ * kSplitWindow;
  if (before >= *options_.samples_total) return kSplitWindow;
  return std::min(kSplitWindow, *options_.samples_total - before);
}

Status SplitRouter::Route(std::uint64_t sample_count, const Add& add) {
  if (options_.splits.size() == 1) return add(0, 0, sample_count);
  std::uint64_t begin = 0;  // Of the run of samples that go to `split`.
  std::uint32_t split = 0;
  for (std::uint64_t i = 0; i < sample_count; ++i) {
    if (window_left_ == 0) {
      window_samples_ = window_left_ = WindowSamples(sample_count - i);
      assigner_.BeginWindow(window_samples_);
      ++window_index_;
    }
    const std::uint32_t next = assigner_.Split(window_samples_ - window_left_);
    --window_left_;
    if (next != split) {
      if (begin < i) DNC_TRY(add(split, begin, i));
      begin = i;
      split = next;
    }
  }
  return add(split, begin, sample_count);
}

}  // namespace dnc::divide
