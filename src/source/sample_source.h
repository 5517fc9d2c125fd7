// What people have, as samples in columns. Every source reads in bounded memory:
// a source larger than memory is normal.
//
// The feature column is named "x", the label column "y". Values become
// little-endian in C order. A source names the file (and line) in every message.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/result.h"
#include "image/image.h"

namespace dnc::source {

struct SourceOptions {
  std::string labels_path;   // A labels file beside the data (npy or idx), or empty.
  std::string label_column;  // csv: the column that is the label; by name, or "#3" by index from 0.
  std::optional<image::ImageSize>
      resize;             // Folder of images: decode and resize to this, RGB uint8.
  bool skip_bad = false;  // Folder of images: count and list bad images instead of failing.
  // Folder of images: the order of files is shuffled by this seed, since a folder
  // a class would otherwise give blocks of one class each.
  std::uint64_t seed = 0;
  int threads = 1;  // Decoding threads, where decoding is the work.
};

struct SkippedInput {
  std::string name;
  std::string reason;
};

// How far a source's own bytes (a file's, compressed or not) were read.
struct SourceBytes {
  std::uint64_t done = 0;
  std::optional<std::uint64_t> total;
};

class SampleSource {
 public:
  virtual ~SampleSource() = default;

  // Columns, fixed after Open; "y" is last, if there are labels.
  virtual const std::vector<array::ColumnSpec>& columns() const = 0;
  // How many samples there are, where that is known before they are read (an upper
  // bound with skip_bad).
  virtual std::optional<std::uint64_t> sample_count() const = 0;
  // What was recognised, in a few words: "npy uint8 (60000, 28, 28)".
  virtual std::string Describe() const = 0;
  // Replaces `block` by the next samples: `sample_count_max` of them unless the
  // source ends; zero samples at the end. Memory of `block` is reused.
  // Errors: kCorrupt or kInvalidArgument, naming file and place; kIo.
  virtual Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) = 0;
  virtual SourceBytes bytes() const { return {}; }
  // Passes over samples as if they were read; fewer only at the end. Returns how many.
  virtual Result<std::uint64_t> Skip(std::uint64_t sample_count);
  // Inputs left out because of skip_bad, so far.
  virtual const std::vector<SkippedInput>& skipped() const = 0;
};

// Recognises `path` by its content and opens it: npy (with labels_path), npz, idx
// and idx.gz (with labels_path), csv, a folder with a folder of images per class.
// Errors: kNotFound; kUnsupported, an unknown kind, with the known ones;
// kInvalidArgument, labels of another length (both lengths named), an empty folder.
Result<std::unique_ptr<SampleSource>> OpenSource(const std::string& path,
                                                 const SourceOptions& options);

}  // namespace dnc::source
