#include "source/sample_source.h"

#include <algorithm>
#include <filesystem>

#include "image/image.h"
#include "source/array_source.h"
#include "source/csv_source.h"
#include "source/image_folder.h"
#include "source/npz.h"
#include "source/open_file.h"

namespace dnc::source {
namespace {

constexpr std::size_t kStartBytes = 4096;

enum class Kind { kUnknown, kArray, kNpz, kCsv };

Kind Recognise(ByteSpan start) {
  if (RecogniseArray(start) != ArrayKind::kNone) return Kind::kArray;
  const std::string_view text = AsText(start);
  if (text.starts_with("PK\x03\x04") || text.starts_with("PK\x05\x06")) return Kind::kNpz;
  if (image::RecogniseImage(start) != image::ImageKind::kUnknown) return Kind::kUnknown;
  return LooksLikeCsv(start) ? Kind::kCsv : Kind::kUnknown;
}

Error Wrong(const std::string& what) { return {ErrorCode::kInvalidArgument, what}; }

// An option that the kind of source has no use for would be ignored silently.
Status CheckOptions(const std::string& name, const SourceOptions& options, bool is_csv,
                    bool is_folder) {
  if (!options.labels_path.empty() && (is_csv || is_folder)) {
    return Wrong(name +
                 (is_csv ? ": a csv has its labels in a column (--label-column NAME), so "
                         : ": the folders' names are the labels, so ") +
                 options.labels_path + " is one too many");
  }
  if (!options.label_column.empty() && !is_csv) {
    return Wrong(name + ": not a csv, so it has no column \"" + options.label_column +
                 "\"; give a file of labels instead (--labels FILE)");
  }
  if (options.resize && !is_folder) {
    return Wrong(name + ": only a folder of images can be resized");
  }
  return {};
}

Result<std::unique_ptr<SampleSource>> OpenArrays(SharedSource file, const SourceOptions& options) {
  DNC_ASSIGN(auto x, OpenArray(std::move(file)));
  DNC_ASSIGN(auto y, OpenLabels(options));
  std::string description = x->info().format + " " + x->info().TypeText();
  if (y != nullptr) description += ", labels " + y->info().TypeText();
  return MakeArraySource(std::move(x), std::move(y), std::move(description));
}

}  // namespace

Result<std::uint64_t> SampleSource::Skip(std::uint64_t sample_count) {
  constexpr std::uint64_t kStep = 256;
  array::SampleBlock block;
  std::uint64_t skipped = 0;
  while (skipped < sample_count) {
    DNC_TRY(Read(std::min(kStep, sample_count - skipped), &block));
    if (block.sample_count == 0) break;
    skipped += block.sample_count;
  }
  return skipped;
}

Result<std::unique_ptr<SampleSource>> OpenFileSource(SharedSource file,
                                                     const SourceOptions& options) {
  const std::string& name = file->name();
  if (file->size() == 0) return Wrong(name + ": an empty file");
  Bytes start(std::min<std::uint64_t>(file->size(), kStartBytes));
  DNC_TRY(file->ReadAt(0, start));
  const Kind kind = Recognise(start);
  if (kind == Kind::kUnknown) {
    const bool is_image = image::RecogniseImage(start) != image::ImageKind::kUnknown;
    return Error{ErrorCode::kUnsupported,
                 name + (is_image ? ": a single image" : ": not a known kind of data") +
                     "; known are npy, npz, idx, idx.gz, csv, and a folder with a folder of "
                     "images (JPEG, PNG) per class"};
  }
  DNC_TRY(CheckOptions(name, options, kind == Kind::kCsv, false));
  if (kind == Kind::kArray) return OpenArrays(std::move(file), options);
  if (kind == Kind::kNpz) return OpenNpz(std::move(file), options);
  return OpenCsv(std::move(file), options);
}

Result<std::unique_ptr<SampleSource>> OpenSource(const std::string& path,
                                                 const SourceOptions& options) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    DNC_TRY(CheckOptions(path, options, false, true));
    return OpenImageFolder(path, options);
  }
  DNC_ASSIGN(auto file, FileSource::Open(path));
  return OpenFileSource(std::move(file), options);
}

}  // namespace dnc::source
