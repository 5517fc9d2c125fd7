// The order of a stream: which samples a worker visits, window after window and epoch
// after epoch, from a position on, and what position it is at after so many of them.
// Pure; memory is proportional to the number of shards and lanes.
//
// An epoch's sequence of runs (plan.h) is cut into windows of W samples. Epoch 0 begins
// with smaller ones, each twice as large as the one before, so that the first samples
// are there when their blocks are, not when a whole window is. In a window of S samples, lane l has
// its samples number l, l + L, l + 2L... of the visited order. Shuffled, these are a stretch of the
// window's sequence of their own, so that a worker fetches only what its lanes need; else they are
// those samples themselves.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "shard/manifest.h"
#include "stream/plan.h"
#include "stream/position.h"
#include "stream/visit.h"

namespace dnc::stream {

struct Worker {
  std::uint32_t index = 0;
  std::uint32_t count = 1;
};

class StreamOrder {
 public:
  // A window of an epoch.
  struct Place {
    std::uint64_t epoch = 0;
    std::uint64_t window = 0;
  };

  // `manifest` must outlive the order. `epochs` 0: without end.
  // Errors: kInvalidArgument, workers that do not divide the lanes, a window that the
  // lanes do not divide, a worker without samples; kCorrupt, rows beyond the epoch or
  // apart from each other; those of Plan::Create.
  static Result<StreamOrder> Create(const shard::Manifest* manifest, const StreamPosition& begin,
                                    const Worker& worker, std::uint64_t epochs);

  // The first window with samples left for this worker; nullopt at the end.
  Result<std::optional<Place>> First() const;
  // The one after `place`.
  Result<std::optional<Place>> After(const Place& place) const;
  // `number` is given to the visit.
  Result<WindowVisit> VisitOf(const Place& place, std::uint64_t number) const;

  // After `count` samples of an epoch were visited, from where the order began in it.
  StreamPosition After(std::uint64_t epoch, std::uint64_t count) const;
  // Samples that this worker visits in an epoch, from where the order began in it. Any
  // number of an epoch may be asked for.
  std::uint64_t SamplesOf(std::uint64_t epoch) const;

  // The first ordinal from `from` on, in its epoch or the one after, of a window for
  // which this worker needs a block. UINT64_MAX: there is none.
  Result<std::uint64_t> NextNeed(std::uint32_t shard_index, std::uint32_t block_index,
                                 std::uint64_t from) const;
  std::uint64_t Ordinal(const Place& place) const {
    return place.epoch * WindowCount(0) + place.window;
  }

  std::uint64_t sample_count() const { return sample_count_; }  // Of an epoch, all workers.
  std::uint64_t WindowCount(std::uint64_t epoch) const;

 private:
  StreamOrder() = default;
  std::uint64_t lane_count() const { return begin_.rows.size(); }
  // Samples of a lane among the first `samples` of an epoch (or of a window).
  std::uint64_t LaneRows(std::uint64_t lane, std::uint64_t samples) const {
    return samples <= lane ? 0 : (samples - lane - 1) / lane_count() + 1;
  }
  // Where lane `lane` begins in the sequence of a window of so many samples.
  std::uint64_t LaneStart(std::uint64_t lane, std::uint64_t samples) const;
  // Positions of a window.
  struct Span {
    std::uint64_t begin = 0;
    std::uint64_t samples = 0;
  };
  Span SpanOf(const Place& place) const;
  std::uint64_t WindowAt(std::uint64_t epoch, std::uint64_t position) const;
  // Rows of each lane that are consumed where the order begins in an epoch.
  std::vector<std::uint64_t> FirstRows(std::uint64_t epoch) const;
  // The row from which all lanes of a group go on together, and the (row, lane) that come
  // before, in order.
  struct Start {
    std::uint64_t whole_row = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ragged;
  };
  Start StartOf(const std::vector<std::uint64_t>& rows, std::uint64_t lane_begin,
                std::uint64_t lane_end) const;
  std::uint64_t SamplesLeft(const Place& place) const;
  // The part of a window's sequence that this worker needs.
  std::pair<std::uint64_t, std::uint64_t> Stretch(std::uint64_t samples) const;
  // The plan of an epoch; the last two are kept.
  Result<std::shared_ptr<const Plan>> PlanOf(std::uint64_t epoch) const;

  const shard::Manifest* manifest_ = nullptr;
  StreamPosition begin_;
  Worker worker_;
  std::uint64_t epochs_ = 1;
  std::uint64_t sample_count_ = 0;
  std::vector<std::uint64_t> ramp_ = {0};  // Where the windows of epoch 0 begin, up to the
                                           // first of W samples.
  std::uint64_t lane_begin_ = 0;           // Of the worker's group.
  std::uint64_t lane_end_ = 0;
  mutable std::vector<std::shared_ptr<const Plan>> plans_;
};

}  // namespace dnc::stream
