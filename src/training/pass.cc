#include "training/pass.h"

#include <algorithm>
#include <vector>

#include "base/prng.h"

namespace dnc::training {

Result<trainer::Totals> RunPass(stream::Loader* loader, trainer::Trainer* trainer,
                                const PassOptions& options) {
  std::vector<std::byte*> destinations(options.column_count, nullptr);
  std::uint64_t samples_done = 0;
  for (std::uint64_t batch = 0; batch < options.batch_count_max; ++batch) {
    DNC_ASSIGN(const trainer::BatchSlot slot, trainer->AcquireSlot());
    for (std::size_t i = 0; i < options.x_columns.size(); ++i) {
      destinations[static_cast<std::size_t>(options.x_columns[i])] = slot.x[i].data();
    }
    for (std::size_t i = 0; i < options.y_columns.size(); ++i) {
      destinations[static_cast<std::size_t>(options.y_columns[i])] = slot.y[i].data();
    }
    if (options.weights != nullptr && options.weights->column() >= 0) {
      destinations[static_cast<std::size_t>(options.weights->column())] =
          options.weights->Values(options.batch_size).data();
    }
    DNC_ASSIGN(const std::uint64_t samples, loader->Next(options.batch_size, destinations));
    if (samples == 0) break;
    ByteSpan labels;
    if (!slot.y.empty()) labels = slot.y[0].first(slot.y[0].size() / options.batch_size * samples);
    if (options.on_labels) options.on_labels(labels);
    if (!slot.weights.empty()) {
      const std::span<float> weights = slot.weights.first(samples);
      std::fill(weights.begin(), weights.end(), 1.0f);
      if (options.weights != nullptr) DNC_TRY(options.weights->Fill(labels, weights));
    }
    DNC_TRY(trainer->Submit(slot, options.kind, static_cast<std::uint32_t>(samples),
                            DeriveSeed(options.seed, options.first_batch + batch)));
    samples_done += samples;
    if (options.progress && !options.progress(samples_done)) {
      return Error{ErrorCode::kCancelled, "stopped"};
    }
  }
  return trainer->Drain();
}

}  // namespace dnc::training
