// The kinds of source that OpenSource knows: one row each, so that a new kind is
// one row and one file. A row says how the kind is recognised, which options it
// has a use for (others are refused, never ignored), and how it is opened.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "source/input.h"
#include "source/sample_source.h"

namespace dnc::source {

// Groups of options, as bits.
enum OptionGroup : std::uint32_t {
  kLabelsFile = 1 << 0,   // labels_path
  kLabelColumn = 1 << 1,  // label_column
  kTable = 1 << 2,        // TableOptions, but for the next
  kCsvFormat = 1 << 3,    // delimiter, header
  kArray = 1 << 4,        // sample_axis
  kVariable = 1 << 5,     // variable, labels_variable
  kImages = 1 << 6,       // resize, crop, grayscale
  kSkipBad = 1 << 7,      // skip_bad: taken by all, of use to images
  kQuery = 1 << 8,        // query
  kTableName = 1 << 9,    // variable, which names a table
};

// One file, or standard input.
struct FileKind {
  const char* name;
  std::uint32_t options;
  bool needs_file;  // Neither from a pipe nor from within gzip.
  // By its first bytes (with compression taken off). The first row that does wins.
  bool (*recognise)(ByteSpan start);
  Result<std::unique_ptr<SampleSource>> (*open)(const Input& input, const SourceOptions& options);
};

// A folder, a URL, a pattern of names: anything that is not one file.
struct PlaceKind {
  const char* name;
  std::uint32_t options;
  bool (*recognise)(const std::string& location);
  Result<std::unique_ptr<SampleSource>> (*open)(const std::string& location,
                                                const SourceOptions& options);
};

std::span<const FileKind> FileKinds();
std::span<const PlaceKind> PlaceKinds();

// "npy, npz, idx, ...": every kind, for messages.
std::string KnownKinds();

// Errors: kInvalidArgument, an option is set that `kind` has no use for.
Status CheckOptions(const std::string& source_name, const char* kind, std::uint32_t taken,
                    const SourceOptions& options);

// The row for `input`, or what to say about it.
// Errors: kUnsupported, none fits, or it cannot be read in order only;
// kInvalidArgument, a name that promises another content.
Result<const FileKind*> RecogniseInput(const Input& input);

}  // namespace dnc::source
