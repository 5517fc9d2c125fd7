#include <algorithm>

#include "stream/batches.h"

namespace dnc::stream {
namespace {

class DirectBatches final : public Batches {
 public:
  DirectBatches(WindowPump* pump, std::uint32_t reuse_max) : pump_(pump), reuse_max_(reuse_max) {}

  Result<Gathered> Next(std::uint64_t sample_count_max,
                        std::span<const Destination> destinations) override;
  bool WaitUntilReady(Duration timeout) override {
    const bool here =
        window_ != nullptr && (consumed_ < window_->samples() || repeats_ < reuse_max_);
    return here || pump_->WaitReady(timeout);
  }
  Duration waited() const override { return pump_->waited(); }

 private:
  // Makes window_ one with samples left. False at the end.
  Result<bool> HaveSamples();

  WindowPump* pump_;
  const std::uint32_t reuse_max_;
  std::unique_ptr<Window> window_;
  std::uint64_t consumed_ = 0;  // Of window_.
  std::uint32_t repeats_ = 0;   // Of window_.
};

Result<bool> DirectBatches::HaveSamples() {
  if (window_ != nullptr && consumed_ < window_->samples()) return true;
  if (window_ != nullptr) {
    // With reuse_max 0 it was given back at once.
    if (repeats_ < reuse_max_ && !pump_->Ready()) {
      window_->Reorder(++repeats_);
      consumed_ = 0;
      return true;
    }
    pump_->Return(std::move(window_));
  }
  DNC_ASSIGN(window_, pump_->Take());
  consumed_ = 0;
  repeats_ = 0;
  return window_ != nullptr;
}

Result<Gathered> DirectBatches::Next(std::uint64_t sample_count_max,
                                     std::span<const Destination> destinations) {
  Gathered gathered;
  while (gathered.samples < sample_count_max) {
    const Result<bool> more = HaveSamples();
    // What was gathered is handed out first; the error is still there next time.
    if (!more.ok() && gathered.samples == 0) return more.error();
    if (!more.ok() || !*more) break;
    if (gathered.samples > 0 && window_->epoch() != gathered.epoch) break;
    gathered.epoch = window_->epoch();
    const std::uint64_t count =
        std::min(sample_count_max - gathered.samples, window_->samples() - consumed_);
    DNC_TRY(window_->Gather(consumed_, count, destinations, gathered.samples));
    consumed_ += count;
    gathered.samples += count;
    if (repeats_ > 0) gathered.repeated += count;
    // At once, so that the next window but one is filled while the caller computes.
    if (reuse_max_ == 0 && consumed_ == window_->samples()) pump_->Return(std::move(window_));
  }
  return gathered;
}

}  // namespace

std::unique_ptr<Batches> MakeDirectBatches(WindowPump* pump, std::uint32_t reuse_max) {
  return std::make_unique<DirectBatches>(pump, reuse_max);
}

}  // namespace dnc::stream
