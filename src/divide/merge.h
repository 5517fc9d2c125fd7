// Joins the manifests of the parts of a dataset into one, without touching a shard.

#pragma once

#include <vector>

#include "base/result.h"
#include "shard/manifest.h"

namespace dnc::divide {

// Parts that were divided with --part come in the order of their numbers, and none may be
// missing or come twice; other manifests in the order given. Splits of one name become
// one. Counts, minima, maxima and classes are exact; means and deviations are those of
// the parts, combined (Chan, Golub and LeVeque 1979), within a few units in the last
// place of the ones over all samples; those of single elements are left out where some are
// not finite. `name` is that of the result; empty: of the first.
// Requires: at least one manifest.
// Errors: kInvalidArgument, columns or steps that differ (naming what), a part that is
// missing or comes twice, or more shards than a manifest may have.
Result<shard::Manifest> MergeManifests(std::vector<shard::Manifest> manifests,
                                       const std::string& name = {});

}  // namespace dnc::divide
