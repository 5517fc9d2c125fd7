// What people have, as samples in columns. Every source reads in bounded memory:
// a source larger than memory is normal.
//
// The feature column is named "x", the label column "y". Values become
// little-endian in C order. A source names the file (and line) in every message.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/result.h"
#include "image/image.h"
#include "source/table_options.h"

namespace dnc::source {

// How far a source's own bytes (a file's, compressed or not) were read.
struct SourceBytes {
  std::uint64_t done = 0;
  std::optional<std::uint64_t> total;
};

struct SourceOptions {
  // The labels beside the data: a file of one array (npy, idx, mat, or
  // file.h5:/dataset), for a folder of images a csv; or empty.
  std::string labels_path;
  // Tables: the column that is the label; by name, or "#3" by index from 0.
  std::string label_column;
  // Folder of images: decode and resize to this, then cut the middle out; RGB uint8,
  // or one channel. Without either, the files stay as they are.
  std::optional<image::ImageSize> resize;
  std::optional<image::ImageSize> crop;
  bool grayscale = false;
  bool skip_bad = false;  // Folder of images: count and list bad images instead of failing.
  // Folder of images: the order of files is shuffled by this seed, since a folder
  // a class would otherwise give blocks of one class each.
  std::uint64_t seed = 0;
  int threads = 1;  // Decoding threads, where decoding is the work.
  TableOptions table;
  std::string query;  // Databases: the SELECT whose rows are the samples.
  // npz, hdf5, mat: the arrays to take, by name, where it is not clear which.
  std::string variable;
  std::string labels_variable;
  // Arrays: the axis that counts the samples; from the end if negative.
  std::optional<int> sample_axis;
  // Called now and then while OpenSource reads all of a table once; false stops it
  // with kCancelled.
  std::function<bool(const SourceBytes&)> survey_progress;
};

struct SkippedInput {
  std::string name;
  std::string reason;
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
  // source ends, or fewer where samples vary in length and have a few MiB together;
  // zero samples at the end. Memory of `block` is reused.
  // Errors: kCorrupt or kInvalidArgument, naming file and place; kIo.
  virtual Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) = 0;
  virtual SourceBytes bytes() const { return {}; }
  // Passes over samples as if they were read; fewer only at the end. Returns how many.
  virtual Result<std::uint64_t> Skip(std::uint64_t sample_count);
  // What the samples depend on beside the source itself, for the manifest: the
  // delimiter that was found, the policy for missing values.
  virtual std::map<std::string, std::string> parameters() const { return {}; }
  // Inputs left out because of skip_bad, so far.
  virtual const std::vector<SkippedInput>& skipped() const = 0;
};

// Recognises `location` by its content and opens it; kinds.h lists what is known.
// A location is a path, "-" for standard input, "file.h5:/dataset" for an array
// inside a file, or the URL of a database.
// Errors: kNotFound; kUnsupported, an unknown kind, with the known ones;
// kInvalidArgument, labels of another length (both lengths named), an empty
// folder, an option that the kind has no use for; kCancelled, by survey_progress.
Result<std::unique_ptr<SampleSource>> OpenSource(const std::string& location,
                                                 const SourceOptions& options);

// What a location may be called in messages and manifests: without a password.
std::string ShownLocation(const std::string& location);

}  // namespace dnc::source
