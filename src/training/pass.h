// Feeds the samples that a Loader streams to a Trainer, batch by batch, gathering
// each batch straight into the memory that the trainer reads.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "stream/loader.h"
#include "trainer/trainer.h"
#include "training/sample_weights.h"

namespace dnc::training {

struct PassOptions {
  trainer::BatchKind kind = trainer::BatchKind::kTrain;
  std::uint32_t batch_size = 32;
  // Batch number b of the pass is given DeriveSeed(seed, b).
  std::uint64_t seed = 0;
  // Number of the first batch, when a pass is resumed.
  std::uint64_t first_batch = 0;
  // Batches after which the pass returns, though samples are left.
  std::uint64_t batch_count_max = UINT64_MAX;
  std::size_t column_count = 0;  // Of the manifest.
  // Those of the inputs and of the labels, as the trainer was configured for them.
  std::vector<int> x_columns;
  std::vector<int> y_columns;
  // Called after each batch was queued, with the samples so far in this call; false
  // ends the pass with kCancelled. May be empty.
  std::function<bool(std::uint64_t samples_done)> progress;
  // If the trainer was configured for weighted samples; null: all weights are 1.
  SampleWeights* weights = nullptr;
  // Called with the labels of each batch, of the first column of them, before it is
  // queued. May be empty.
  std::function<void(ByteSpan)> on_labels;
};

// Totals over the samples of this call. Zero samples: the loader is at its end.
// Requires: the trainer was configured for these columns and batch_size_max >=
// batch_size.
// Errors: those of the loader and the trainer; kCancelled.
Result<trainer::Totals> RunPass(stream::Loader* loader, trainer::Trainer* trainer,
                                const PassOptions& options);

}  // namespace dnc::training
