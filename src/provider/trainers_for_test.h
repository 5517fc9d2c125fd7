// Trainers for this room's tests: the real least squares, with hooks to hold a batch,
// to die in one, or to lie.

#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "trainer/fake_trainer.h"
#include "trainer/trainer.h"

namespace dnc::provider {

struct TrainerHooks {
  // Called before each batch; an error is Submit's answer, and from then on that of
  // every call, as if the process had died. `stopped` turns true with Stop().
  std::function<Status(const std::atomic<bool>& stopped)> on_submit;
  std::atomic<int> started{0};
  std::atomic<int> configured{0};
};

class HookedTrainer final : public trainer::Trainer {
 public:
  explicit HookedTrainer(TrainerHooks* hooks) : hooks_(hooks) { ++hooks_->started; }

  Status Configure(const model::Model& model, const trainer::TrainerOptions& options) override {
    DNC_TRY(dead_);
    ++hooks_->configured;
    return inner_.Configure(model, options);
  }
  Status SetWeights(std::span<const float> weights) override {
    DNC_TRY(dead_);
    return inner_.SetWeights(weights);
  }
  Result<std::vector<float>> GetWeights() override {
    DNC_TRY(dead_);
    return inner_.GetWeights();
  }
  Status SetOptimizerState(std::span<const std::byte> state) override {
    DNC_TRY(dead_);
    return inner_.SetOptimizerState(state);
  }
  Result<Bytes> GetOptimizerState() override { return inner_.GetOptimizerState(); }
  Result<trainer::BatchSlot> AcquireSlot() override {
    DNC_TRY(dead_);
    return inner_.AcquireSlot();
  }
  Status Submit(const trainer::BatchSlot& slot, trainer::BatchKind kind, std::uint32_t samples,
                std::uint64_t seed) override {
    DNC_TRY(dead_);
    if (hooks_->on_submit) dead_ = hooks_->on_submit(stopped_);
    DNC_TRY(dead_);
    return inner_.Submit(slot, kind, samples, seed);
  }
  Result<trainer::Totals> Drain() override {
    DNC_TRY(dead_);
    return inner_.Drain();
  }
  Result<std::vector<float>> TakeOutputs() override { return inner_.TakeOutputs(); }
  void Stop() override {
    stopped_ = true;
    inner_.Stop();
  }

 private:
  TrainerHooks* hooks_;
  trainer::FakeTrainer inner_;
  Status dead_;
  std::atomic<bool> stopped_{false};
};

inline Result<std::unique_ptr<trainer::Trainer>> MakeHookedTrainer(TrainerHooks* hooks) {
  return std::unique_ptr<trainer::Trainer>(std::make_unique<HookedTrainer>(hooks));
}

// Waits until `flag`, for up to 20 s.
inline bool WaitFor(const std::atomic<bool>& flag) {
  for (int i = 0; i < 20'000 && !flag; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return flag;
}

}  // namespace dnc::provider
