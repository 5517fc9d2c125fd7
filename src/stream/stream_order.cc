#include "stream/stream_order.h"

#include <algorithm>

#include "base/assert.h"
#include "base/human.h"

namespace dnc::stream {
namespace {

constexpr std::uint64_t kLaneSeed = 0x6c616e65;  // "lane"
// How far lanes may be apart where a stream goes on: after a change of the number of
// workers in the middle of a row it is one.
constexpr std::uint64_t kRaggedRowsMax = 64;
// The first window of all is a window's sixteenth, within what a batch usually has.
constexpr std::uint64_t kRampParts = 16;
constexpr std::uint64_t kRampSamplesMin = 32;
constexpr std::uint64_t kRampSamplesMax = 256;

Error Invalid(const std::string& message) { return {ErrorCode::kInvalidArgument, message}; }

}  // namespace

Result<StreamOrder> StreamOrder::Create(const shard::Manifest* manifest,
                                        const StreamPosition& begin, const Worker& worker,
                                        std::uint64_t epochs) {
  const std::uint64_t lanes = begin.rows.size();
  if (worker.count == 0 || worker.index >= worker.count) {
    return Invalid("worker " + std::to_string(worker.index) + " of " +
                   std::to_string(worker.count) + "; workers are counted from 0");
  }
  if (lanes == 0 || lanes > kLanesMax || lanes % worker.count != 0) {
    return Invalid(std::to_string(worker.count) + " workers cannot share " + std::to_string(lanes) +
                   " lanes evenly; give a number of lanes that is a multiple of the workers, at "
                   "most " +
                   std::to_string(kLanesMax));
  }
  if (begin.window_samples == 0 || begin.window_samples % lanes != 0) {
    return Invalid("a window of " + std::to_string(begin.window_samples) +
                   " samples; expected a multiple of the " + std::to_string(lanes) + " lanes");
  }
  StreamOrder order;
  order.manifest_ = manifest;
  order.begin_ = begin;
  order.worker_ = worker;
  order.epochs_ = epochs;
  order.lane_begin_ = worker.index * (lanes / worker.count);
  order.lane_end_ = order.lane_begin_ + lanes / worker.count;
  DNC_ASSIGN(const auto plan, order.PlanOf(begin.epoch));
  order.sample_count_ = plan->sample_count();
  // A multiple of the lanes, like all windows but the last of an epoch; not more than a
  // block for the sake of that.
  const std::uint64_t block = plan->sequence().block_samples_max();
  const std::uint64_t least = std::max(
      std::clamp(begin.window_samples / kRampParts, kRampSamplesMin, kRampSamplesMax), block);
  for (std::uint64_t size = std::max<std::uint64_t>(least / lanes, 1) * lanes;
       size < begin.window_samples && order.ramp_.back() + size < order.sample_count_; size *= 2) {
    order.ramp_.push_back(order.ramp_.back() + size);
  }
  if (order.sample_count_ <= order.lane_begin_) {
    return Invalid("worker " + std::to_string(worker.index) + " would have no sample of the " +
                   std::to_string(order.sample_count_) + " of split \"" + begin.split +
                   "\"; use fewer workers");
  }
  const auto [low, high] = std::minmax_element(begin.rows.begin(), begin.rows.end());
  bool sound = *high - *low <= kRaggedRowsMax;
  for (std::uint64_t lane = 0; lane < lanes; ++lane) {
    sound = sound && begin.rows[lane] <= order.LaneRows(lane, order.sample_count_);
  }
  if (!sound) {
    return Error{ErrorCode::kCorrupt, "a position whose rows are beyond an epoch of " +
                                          FormatCount(order.sample_count_) +
                                          " samples, or too far apart"};
  }
  return order;
}

Result<std::shared_ptr<const Plan>> StreamOrder::PlanOf(std::uint64_t epoch) const {
  for (const auto& plan : plans_) {
    if (plan->options().epoch == epoch) return plan;
  }
  PlanOptions options;
  options.split = begin_.split;
  options.seed = begin_.seed;
  options.epoch = epoch;
  options.shuffle = begin_.shuffle;
  options.window_samples = begin_.window_samples;
  options.run_blocks = begin_.run_blocks;
  DNC_ASSIGN(Plan plan, Plan::Create(manifest_, options));
  auto shared = std::make_shared<const Plan>(std::move(plan));
  if (plans_.size() == 2) plans_.erase(plans_.begin());
  plans_.push_back(shared);
  return std::shared_ptr<const Plan>(std::move(shared));
}

std::uint64_t StreamOrder::WindowCount(std::uint64_t epoch) const {
  return WindowAt(epoch, sample_count_ - 1) + 1;
}

StreamOrder::Span StreamOrder::SpanOf(const Place& place) const {
  if (place.epoch == 0 && place.window + 1 < ramp_.size()) {
    return {ramp_[place.window], ramp_[place.window + 1] - ramp_[place.window]};
  }
  std::uint64_t begin = place.window * begin_.window_samples;
  if (place.epoch == 0) {
    begin = ramp_.back() + (place.window + 1 - ramp_.size()) * begin_.window_samples;
  }
  return {begin, std::min(begin_.window_samples, sample_count_ - begin)};
}

std::uint64_t StreamOrder::WindowAt(std::uint64_t epoch, std::uint64_t position) const {
  if (epoch > 0) return position / begin_.window_samples;
  if (position >= ramp_.back()) {
    return ramp_.size() - 1 + (position - ramp_.back()) / begin_.window_samples;
  }
  const auto after = std::upper_bound(ramp_.begin(), ramp_.end(), position);
  return static_cast<std::uint64_t>(after - ramp_.begin()) - 1;
}

std::uint64_t StreamOrder::LaneStart(std::uint64_t lane, std::uint64_t samples) const {
  // The first samples % lanes of the lanes have one sample more.
  return lane * (samples / lane_count()) + std::min(lane, samples % lane_count());
}

std::vector<std::uint64_t> StreamOrder::FirstRows(std::uint64_t epoch) const {
  return epoch == begin_.epoch ? begin_.rows : std::vector<std::uint64_t>(lane_count(), 0);
}

StreamOrder::Start StreamOrder::StartOf(const std::vector<std::uint64_t>& rows,
                                        std::uint64_t lane_begin, std::uint64_t lane_end) const {
  const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(lane_begin);
  const auto end = rows.begin() + static_cast<std::ptrdiff_t>(lane_end);
  Start start;
  start.whole_row = *std::max_element(begin, end);
  for (std::uint64_t row = *std::min_element(begin, end); row < start.whole_row; ++row) {
    for (std::uint64_t lane = lane_begin; lane < lane_end; ++lane) {
      if (rows[lane] <= row && row < LaneRows(lane, sample_count_)) {
        start.ragged.push_back({row, lane});
      }
    }
  }
  return start;
}

std::uint64_t StreamOrder::SamplesOf(std::uint64_t epoch) const {
  const std::vector<std::uint64_t> rows = FirstRows(epoch);
  std::uint64_t samples = 0;
  for (std::uint64_t lane = lane_begin_; lane < lane_end_; ++lane) {
    samples += LaneRows(lane, sample_count_) - rows[lane];
  }
  return samples;
}

std::uint64_t StreamOrder::SamplesLeft(const Place& place) const {
  const Span span = SpanOf(place);
  const std::uint64_t first = span.begin / lane_count();
  const std::vector<std::uint64_t> rows = FirstRows(place.epoch);
  std::uint64_t samples = 0;
  for (std::uint64_t lane = lane_begin_; lane < lane_end_; ++lane) {
    const std::uint64_t end = first + LaneRows(lane, span.samples);
    samples += end - std::min(end, std::max(first, rows[lane]));
  }
  return samples;
}

Result<std::optional<StreamOrder::Place>> StreamOrder::First() const {
  const std::uint64_t row =
      *std::min_element(begin_.rows.begin() + static_cast<std::ptrdiff_t>(lane_begin_),
                        begin_.rows.begin() + static_cast<std::ptrdiff_t>(lane_end_));
  const std::uint64_t position = std::min(row * lane_count(), sample_count_ - 1);
  const Place place{begin_.epoch, WindowAt(begin_.epoch, position)};
  if (epochs_ != 0 && place.epoch >= epochs_) return std::optional<Place>();
  if (SamplesLeft(place) > 0) return std::optional<Place>(place);
  return After(place);
}

Result<std::optional<StreamOrder::Place>> StreamOrder::After(const Place& place) const {
  Place next = place;
  // A worker has samples in every epoch, if not in its last window.
  do {
    if (++next.window == WindowCount(next.epoch)) {
      ++next.epoch;
      next.window = 0;
      if (epochs_ != 0 && next.epoch >= epochs_) return std::optional<Place>();
    }
  } while (SamplesLeft(next) == 0);
  return std::optional<Place>(next);
}

std::pair<std::uint64_t, std::uint64_t> StreamOrder::Stretch(std::uint64_t samples) const {
  if (!begin_.shuffle) return {0, samples};
  return {LaneStart(lane_begin_, samples), LaneStart(lane_end_, samples)};
}

Result<WindowVisit> StreamOrder::VisitOf(const Place& place, std::uint64_t number) const {
  DNC_ASSIGN(const auto plan, PlanOf(place.epoch));
  const auto [position, samples] = SpanOf(place);
  const std::uint64_t seed = plan->WindowSeed(position);
  const auto [begin, end] = Stretch(samples);
  std::vector<VisitOrder::Lane> lanes;
  for (std::uint64_t lane = lane_begin_; lane < lane_end_; ++lane) {
    const std::uint64_t rows = LaneRows(lane, samples);
    if (begin_.shuffle) {
      lanes.push_back({.start = LaneStart(lane, samples) - begin,
                       .stride = 1,
                       .rows = Permutation(rows, DeriveSeed(seed, kLaneSeed, lane))});
    } else {
      lanes.push_back({.start = lane, .stride = lane_count(), .rows = Permutation::Identity(rows)});
    }
  }
  const std::uint64_t first = position / lane_count();
  const Start start = StartOf(FirstRows(place.epoch), lane_begin_, lane_end_);
  std::vector<std::uint64_t> ragged;
  for (const auto& [row, lane] : start.ragged) {
    const VisitOrder::Lane& rows = lanes[lane - lane_begin_];
    if (row < first || row - first >= rows.rows.count()) continue;
    ragged.push_back(rows.start + rows.stride * rows.rows(row - first));
  }
  WindowVisit visit;
  visit.number = number;
  visit.epoch = place.epoch;
  visit.ordinal = Ordinal(place);
  visit.slices = plan->Slices(position + begin, position + end);
  const bool in_order = !begin_.shuffle && worker_.count == 1 && start.whole_row <= first;
  visit.order =
      in_order ? VisitOrder::InOrder(samples)
               : VisitOrder(std::move(lanes), start.whole_row - std::min(start.whole_row, first),
                            std::move(ragged));
  return visit;
}

StreamPosition StreamOrder::After(std::uint64_t epoch, std::uint64_t count) const {
  StreamPosition position = begin_;
  position.epoch = epoch;
  position.rows = FirstRows(epoch);
  const std::vector<std::uint64_t> first_rows = position.rows;
  const bool at_end = count == SamplesOf(epoch);
  const std::uint64_t group = lane_count() / worker_.count;
  for (std::uint64_t begin = 0; begin < lane_count(); begin += group) {
    const Start start = StartOf(first_rows, begin, begin + group);
    const std::uint64_t ragged = std::min<std::uint64_t>(count, start.ragged.size());
    for (std::uint64_t i = 0; i < ragged; ++i) ++position.rows[start.ragged[i].second];
    for (std::uint64_t i = 0; i < group; ++i) {
      const std::uint64_t lane = begin + i;
      const std::uint64_t rows = LaneRows(lane, sample_count_);
      if (count > ragged) {
        const std::uint64_t rest = count - ragged;
        position.rows[lane] =
            std::min(rows, start.whole_row + (rest > i ? (rest - i - 1) / group + 1 : 0));
      }
      // At the end of its epoch for one worker, it is at its end for all.
      if (at_end) position.rows[lane] = rows;
    }
  }
  return position;
}

Result<std::uint64_t> StreamOrder::NextNeed(std::uint32_t shard_index, std::uint32_t block_index,
                                            std::uint64_t from) const {
  const shard::ShardInfo& shard = manifest_->shards[shard_index];
  const std::uint64_t samples = std::min<std::uint64_t>(
      shard.block_samples, shard.samples - std::uint64_t{block_index} * shard.block_samples);
  const std::uint64_t first = from / WindowCount(0);
  for (std::uint64_t epoch = first; epoch <= first + 1; ++epoch) {
    if (epochs_ != 0 && epoch >= epochs_) break;
    DNC_ASSIGN(const auto plan, PlanOf(epoch));
    const std::uint64_t begin = plan->sequence().PositionOf(shard_index, block_index);
    const std::uint64_t last = begin + samples - 1;
    for (std::uint64_t window = WindowAt(epoch, begin); window <= WindowAt(epoch, last); ++window) {
      const Place place{epoch, window};
      if (Ordinal(place) < from) continue;
      const Span span = SpanOf(place);
      if (LaneRows(lane_begin_, span.samples) == 0) continue;  // None for this worker.
      const auto [low, high] = Stretch(span.samples);
      if (span.begin + low <= last && begin < span.begin + high) return Ordinal(place);
    }
  }
  return UINT64_MAX;
}

}  // namespace dnc::stream
