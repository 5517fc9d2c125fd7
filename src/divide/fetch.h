// Brings a dataset to a folder of this machine: the files and folders of one that was
// divided with --raw (divide/raw_source.h), or else its shards and manifest, so that the
// folder is a dataset itself. Every leaf is checked before it is used. A fetch that was
// killed goes on where it was.
//
// A manifest may come from a stranger: nothing is written outside of the folder, no
// link is followed, and links that lead outside are refused unless they are allowed.

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "shard/manifest.h"
#include "store/object_store.h"

namespace dnc::divide {

struct FetchOptions {
  // Of a tree: write symbolic links that are absolute or lead out of the folder.
  bool outside_links = false;
};

struct FetchProgress {
  std::uint64_t shards_done = 0;
  std::uint64_t shards_total = 0;
  std::uint64_t bytes_done = 0;  // Of shards, those that were there already included.
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_kept = 0;  // Of them, found there from an earlier fetch.
  std::uint64_t files = 0;       // Of a tree.
  std::uint64_t folders = 0;
  std::uint64_t links = 0;
  std::uint64_t file_bytes = 0;
};

// Called now and then; false cancels.
using FetchCallback = std::function<bool(const FetchProgress&)>;

// Whether the dataset is a tree of files.
bool IsRawDataset(const shard::Manifest& manifest);

// Writes the tree into the folder `to`, which must be empty, missing, or left by a fetch
// of the same manifest that did not end.
// Errors: kAlreadyExists, there are other files; kCorrupt, wrong bytes, a path that
// leads out of the folder, pieces that do not fit together; kCancelled, the same call
// goes on; kInvalidArgument, not a tree; those of `store` and of the folder.
Result<FetchProgress> FetchFiles(const shard::Manifest& manifest, const store::ObjectStore& store,
                                 const std::string& to, const FetchOptions& options,
                                 const FetchCallback& progress = {});

// Copies shards and manifest. `to` may hold some of them already, whole or in part.
// Errors: kAlreadyExists, it holds another manifest; kCorrupt; kCancelled, the same call
// goes on; those of `store` and of the folder.
Result<FetchProgress> FetchShards(const shard::Manifest& manifest, const store::ObjectStore& store,
                                  const std::string& to, const FetchCallback& progress = {});

}  // namespace dnc::divide
