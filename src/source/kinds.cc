#include "source/kinds.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "image/image.h"
#include "source/array_container.h"
#include "source/array_source.h"
#include "source/csv_source.h"
#include "source/hdf5_source.h"
#include "source/image_folder.h"
#include "source/mat5_source.h"
#include "source/mds_source.h"
#include "source/npz.h"
#include "source/sql_source.h"
#include "source/tar_reader.h"
#include "source/webdataset_source.h"

namespace dnc::source {
namespace {

bool IsNpy(ByteSpan start) { return RecogniseArray(start) == ArrayKind::kNpy; }
bool IsIdx(ByteSpan start) { return RecogniseArray(start) == ArrayKind::kIdx; }
bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

// tar before csv, which is last: almost any text could be one.
constexpr FileKind kFileKinds[] = {
    {"npy", kLabelsFile | kArray | kVariable | kImages, false, IsNpy, OpenArrays},
    {"idx", kLabelsFile | kArray | kVariable | kImages, false, IsIdx, OpenArrays},
    {"npz", kLabelsFile | kArray | kVariable | kImages, true, IsZip, OpenNpz},
    {"hdf5", kLabelsFile | kArray | kVariable | kImages, true, IsHdf5, OpenHdf5},
    {"mat", kLabelsFile | kArray | kVariable | kImages, true, IsMat5, OpenMat5},
    {"sqlite", kLabelColumn | kTable | kQuery | kTableName, true, IsSqlite, OpenSqliteFile},
    {"tar", kLabelColumn | kImages | kSkipBad, false, IsTar, OpenTar},
    {"csv", kLabelColumn | kTable | kCsvFormat, false, LooksLikeCsv, OpenCsv},
};

// A folder of images last: any folder could be one.
constexpr PlaceKind kPlaceKinds[] = {
    {"database (postgresql://, mysql://, mariadb:// or sqlite:///, with a query)",
     kLabelColumn | kTable | kQuery | kTableName, IsDatabaseUrl, OpenDatabase},
    {"folder of tars", kLabelColumn | kImages | kSkipBad, IsTarPlace, OpenTars},
    {"mds", kLabelColumn | kImages | kSkipBad, IsMdsFolder, OpenMds},
    {"folder of images", kImages | kSkipBad | kLabelsFile | kLabelColumn, IsFolder,
     OpenImageFolder},
};

struct UsedOption {
  std::uint32_t group;
  const char* flag;
};

std::vector<UsedOption> UsedOptions(const SourceOptions& options) {
  std::vector<UsedOption> used;
  const auto add = [&](bool is_set, std::uint32_t group, const char* flag) {
    if (is_set) used.push_back({group, flag});
  };
  const TableOptions& table = options.table;
  add(!options.labels_path.empty(), kLabelsFile, "--labels");
  add(!options.label_column.empty(), kLabelColumn, "--label-column");
  add(!options.query.empty(), kQuery, "--query");
  add(!options.variable.empty(), kVariable | kTableName, "--variable");
  add(!options.labels_variable.empty() && options.labels_variable != kNoLabels, kVariable,
      "--labels-variable");
  add(options.sample_axis.has_value(), kArray, "--sample-axis");
  add(options.resize.has_value(), kImages, "--resize");
  add(options.crop.has_value(), kImages, "--crop");
  add(options.grayscale, kImages, "--grayscale");
  add(table.delimiter != '\0', kCsvFormat, "--delimiter");
  add(table.header.has_value(), kCsvFormat,
      table.header.value_or(true) ? "--header" : "--no-header");
  add(!table.columns.empty(), kTable | kVariable, "--columns");
  add(!table.drop_columns.empty(), kTable, "--drop-columns");
  add(!table.category_columns.empty(), kTable, "--categories");
  add(table.missing != MissingPolicy::kError, kTable, "--missing");
  add(table.missing_texts.has_value(), kTable, "--missing-values");
  add(table.decimal_comma, kTable, "--decimal-comma");
  add(table.date_order != DateOrder::kUnknown, kTable, "--date-order");
  add(table.dtype.has_value(), kTable, "--dtype");
  return used;
}

std::string KindsThatTake(std::uint32_t group) {
  std::string list;
  const auto add = [&](const char* name, std::uint32_t options) {
    if ((options & group) != 0) list += (list.empty() ? "" : ", ") + std::string(name);
  };
  for (const FileKind& kind : FileKinds()) add(kind.name, kind.options);
  for (const PlaceKind& kind : PlaceKinds()) add(kind.name, kind.options);
  return list;
}

// What a name's extension promises, as the name of a kind; csv promises nothing
// that the reader would not say better.
std::string PromisedKind(const std::string& name) {
  std::string extension = std::filesystem::path(name).extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (extension == ".h5" || extension == ".hdf5") return "hdf5";
  if (extension.empty() || extension == ".csv") return "";
  for (const FileKind& kind : FileKinds()) {
    if (extension.substr(1) == kind.name) return kind.name;
  }
  return "";
}

}  // namespace

std::span<const FileKind> FileKinds() { return kFileKinds; }
std::span<const PlaceKind> PlaceKinds() { return kPlaceKinds; }

std::string KnownKinds() {
  std::string list;
  for (const FileKind& kind : FileKinds()) {
    list += (list.empty() ? "" : ", ") + std::string(kind.name);
  }
  for (const PlaceKind& kind : PlaceKinds()) list += ", " + std::string(kind.name);
  return list;
}

Status CheckOptions(const std::string& source_name, const char* kind, std::uint32_t taken,
                    const SourceOptions& options) {
  for (const UsedOption& option : UsedOptions(options)) {
    if ((option.group & taken) != 0) continue;
    std::string hint;
    if (option.group == kLabelsFile && (taken & kLabelColumn) != 0) {
      hint = "; its labels are a column (--label-column NAME)";
    } else if (option.group == kLabelColumn && (taken & kLabelsFile) != 0) {
      hint = "; its labels are a file or variable of their own (--labels FILE)";
    }
    return Error{ErrorCode::kInvalidArgument,
                 source_name + ": is of kind " + kind + ", which has no use for " + option.flag +
                     " (that is for " + KindsThatTake(option.group) + ")" + hint};
  }
  return {};
}

Result<const FileKind*> RecogniseInput(const Input& input) {
  const auto fits = [&](const FileKind& kind) { return kind.recognise(input.start); };
  const auto kinds = FileKinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(), fits);
  const bool is_image = image::RecogniseImage(input.start) != image::ImageKind::kUnknown;
  if (found == kinds.end() || is_image) {
    return Error{ErrorCode::kUnsupported,
                 input.name + (is_image ? ": a single image" : ": not a known kind of data") +
                     "; known are " + KnownKinds() + " (files also inside gzip or zstd)"};
  }
  const std::string promised = input.wrapping.empty() ? PromisedKind(input.name) : "";
  if (found->recognise == LooksLikeCsv && !promised.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 input.name + ": is named as " + promised +
                     ", but holds text; if it is a table, rename it to .csv, else find the file "
                     "that it should be (a failed download often leaves a page of text)"};
  }
  if (found->needs_file && input.file == nullptr) {
    return Error{ErrorCode::kUnsupported,
                 input.name + ": " + found->name + " needs to be read at any place, which " +
                     (input.is_once ? "a pipe does not allow; save it to a file first"
                                    : "compression around it does not allow; decompress it first")};
  }
  return &*found;
}

}  // namespace dnc::source
