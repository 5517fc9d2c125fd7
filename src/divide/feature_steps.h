// Feature steps: what is done to the features of every sample while it is divided, in
// bounded memory. Each is a source around a source, and is declared in the manifest
// (Manifest::steps), so that whoever predicts on new data repeats it. Resize, crop and
// grayscale are steps too; the source itself does them while it decodes.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "divide/part_source.h"
#include "divide/split.h"
#include "image/features.h"
#include "shard/manifest.h"
#include "source/sample_source.h"

namespace dnc::divide {

// Histograms of oriented gradients of the images "x", as float32 of shape (n,).
// Appends the step to `steps`.
// Errors: kInvalidArgument, "x" is not decoded images of uint8 (saying what it is), or
// they are smaller than one block.
Result<std::unique_ptr<source::SampleSource>> MakeHogSource(
    std::unique_ptr<source::SampleSource> inner, const image::HogOptions& options,
    std::vector<shard::FeatureStep>* steps);

// The samples that standardising learns from: those of the first split.
struct StandardiseOptions {
  std::vector<SplitFraction> splits = {{"train", 1.0}};
  std::uint64_t seed = 0;  // Of the splits.
  CountCallback progress;
};

// "x" as float32 with mean 0 and standard deviation 1 over the first split: each element
// of a row by its own mean and deviation (a row of more than kElementStatisticsMax
// elements, and images, by one pair for all); where the deviation is 0, it counts as 1.
// The statistics are exact, so the source is read once more before it is divided (and
// once more still where it does not know how many samples it has, but has several
// splits).
// Errors: kInvalidArgument, "x" is not numbers; kCancelled; those of `open`.
struct Standardiser {
  std::vector<double> mean;  // One, or one an element.
  std::vector<double> standard_deviation;
};
Result<Standardiser> LearnStandardiser(const SourceOpener& open, const StandardiseOptions& options);
std::unique_ptr<source::SampleSource> MakeStandardisedSource(
    std::unique_ptr<source::SampleSource> inner, const Standardiser& standardiser,
    std::vector<shard::FeatureStep>* steps);

}  // namespace dnc::divide
