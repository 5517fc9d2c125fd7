// A file with several named arrays: npz, HDF5, MATLAB. Which of them are the
// features and which the labels is one rule for all.
//
// The features are the array that options.variable names; else the only array
// there is; else the one whose name is in FeatureNames(). The labels are
// options.labels_variable ("-": none), else the one named in LabelNames(). Two
// candidates are an error that lists all, as none is. With options.table.columns instead
// each array that it names is a column, called as the array is.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "source/array_input.h"
#include "source/sample_source.h"

namespace dnc::source {

const std::vector<std::string>& FeatureNames();
const std::vector<std::string>& LabelNames();

// An option's value that says: no labels.
inline constexpr char kNoLabels[] = "-";

struct ArrayEntry {
  std::string name;
  std::string text;  // "uint8 (32, 32, 3, 1000)" or why it cannot be read; may be empty.
};

class ArrayContainer {
 public:
  virtual ~ArrayContainer() = default;

  virtual const std::string& name() const = 0;  // Of the file.
  virtual std::string format() const = 0;       // "npz".
  virtual std::uint64_t file_bytes() const = 0;
  // Those that can be read as arrays.
  virtual const std::vector<ArrayEntry>& entries() const = 0;
  // What else is there, for messages.
  virtual const std::vector<ArrayEntry>& others() const = 0;
  // MATLAB has no vectors (they are 1 x N or N x 1), and its images have the samples
  // last.
  virtual bool is_matlab() const { return false; }
  // Where no labels are read, the sample axis is the first; where labels say
  // otherwise, the one of their length, if this is true.
  virtual bool axis_follows_labels() const { return false; }

  // The shape as the file's own users see it.
  virtual Result<array::Shape> ShapeOf(std::size_t entry) const = 0;
  // `sample_axis` is of that shape.
  virtual Result<std::unique_ptr<ArrayInput>> Open(std::size_t entry,
                                                   std::size_t sample_axis) const = 0;
};

// The arrays chosen by the rule above. Labels come from options.labels_path where
// the container has none.
// Errors: kInvalidArgument, it is not clear which arrays to take (all are listed),
// labels of another length, no such axis; those of the container.
Result<std::unique_ptr<SampleSource>> OpenContainer(const ArrayContainer& container,
                                                    const SourceOptions& options);

// An array of labels: `variable`, else the only array there is, else one named in
// LabelNames().
// Errors: as above.
Result<std::unique_ptr<ArrayInput>> OpenLabelsIn(const ArrayContainer& container,
                                                 const std::string& variable);

}  // namespace dnc::source
