#include "source/image_listing.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/file.h"
#include "base/human.h"
#include "source/csv_reader.h"
#include "source/input.h"
#include "source/text.h"

namespace dnc::source {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPathColumns[] = {"file", "filename", "path", "image", "name", "id"};
constexpr const char* kLabelColumns[] = {"label", "class", "target", "category", "y"};
constexpr const char* kExtensions[] = {".jpg", ".jpeg", ".png", ".webp", ".JPG", ".PNG"};

Error Wrong(const std::string& what) { return {ErrorCode::kInvalidArgument, what}; }

struct FolderEntries {
  std::vector<std::string> folders;
  std::vector<std::string> files;
};

// What is in a folder but hidden entries, sorted by bytes.
Result<FolderEntries> ListEntries(const std::string& path) {
  FolderEntries entries;
  std::error_code error;
  fs::directory_iterator it(path, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    std::string name = it->path().filename().string();
    if (name.starts_with(".")) continue;
    std::error_code ignored;  // A dangling link counts as a file, and fails as one.
    (it->is_directory(ignored) ? entries.folders : entries.files).push_back(std::move(name));
  }
  if (error) return ErrnoError("list folder", path, error.value());
  std::sort(entries.folders.begin(), entries.folders.end());
  std::sort(entries.files.begin(), entries.files.end());
  return entries;
}

// Every file in `folder` (a path within the root) and the folders inside it.
Status AddFiles(const std::string& folder, int depth, ImageListing* listing) {
  if (depth > kImageFolderDepthMax) {  // A link to a folder above, most likely.
    return Error{ErrorCode::kTooLarge, listing->root + "/" + Printable(folder, 200) +
                                           ": folders lie in each other more than " +
                                           std::to_string(kImageFolderDepthMax) + " deep"};
  }
  DNC_ASSIGN(const FolderEntries entries, ListEntries(listing->root + "/" + folder));
  for (const std::string& file : entries.files) listing->AddPath(folder + "/" + file);
  for (const std::string& name : entries.folders) {
    DNC_TRY(AddFiles(folder + "/" + name, depth + 1, listing));
  }
  return {};
}

void AddLabel(std::uint64_t value, std::size_t bytes, Bytes* labels) {
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  labels->insert(labels->end(), begin, begin + bytes);
}

Error TooManyClasses(const std::string& name, std::size_t count) {
  return {ErrorCode::kTooLarge, name + ": " + FormatCount(count) + " classes; at most " +
                                    FormatCount(kImageClassCountMax) + " are taken"};
}

std::string InClasses(std::size_t count) {
  return "in " + FormatCount(count) + (count == 1 ? " class" : " classes");
}

bool IsFile(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && !S_ISDIR(info.st_mode);
}

// The path as it is, or with one of the extensions; nullopt if there is no such file.
std::optional<std::string> FindImage(const std::string& root, const std::string& path) {
  if (IsFile(root + "/" + path)) return path;
  for (const char* extension : kExtensions) {
    if (IsFile(root + "/" + path + extension)) return path + extension;
  }
  return std::nullopt;
}

bool LeadsOut(const std::string& path) {
  if (path.empty() || path[0] == '/' || path.find('\0') != std::string::npos) return true;
  const fs::path parts(path);
  return std::find(parts.begin(), parts.end(), "..") != parts.end();
}

struct TableColumns {
  std::size_t path = 0;
  std::size_t label = 1;
  bool has_header = false;
};

std::optional<std::size_t> FindColumn(const std::vector<std::string>& names,
                                      std::span<const char* const> known) {
  for (const char* name : known) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  return std::nullopt;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return lower;
}

// From the first record, which is a header unless it names an image.
Result<TableColumns> ChooseColumns(const std::string& name, const std::string& root,
                                   std::span<const std::string_view> first,
                                   const std::string& label_column) {
  std::string list;
  std::vector<std::string> names;
  for (const std::string_view field : first) {
    names.push_back(Lower(field));
    list += (list.empty() ? "" : ", ") + Printable(field, 40);
  }
  if (names.size() < 2) {
    return Wrong(name + ": its first line has one field (" + list +
                 "); expected a path and a label, such as cat/1.jpg,cat");
  }
  TableColumns columns;
  const std::string path(first[0]);
  columns.has_header = LeadsOut(path) || !FindImage(root, path);
  if (columns.has_header) columns.path = FindColumn(names, kPathColumns).value_or(0);
  if (!label_column.empty()) {
    std::size_t index = 0;
    const char* end = label_column.data() + label_column.size();
    if (label_column[0] == '#' && std::from_chars(label_column.data() + 1, end, index).ptr == end &&
        index < names.size()) {
      columns.label = index;
      return columns;
    }
    const std::string wanted = Lower(label_column);
    const auto found = FindColumn(names, std::array{wanted.c_str()});
    if (!columns.has_header || !found) {
      return Wrong(name + ": has no column \"" + label_column + "\"; its first line is " + list);
    }
    columns.label = *found;
    return columns;
  }
  const auto named = columns.has_header ? FindColumn(names, kLabelColumns) : std::nullopt;
  if (!named && names.size() != 2) {
    return Wrong(name + ": which of its columns is the label is not clear (" + list +
                 "); name it (--label-column NAME)");
  }
  columns.label = named.value_or(1 - columns.path);
  return columns;
}

// The labels as they are written, to be made one column of.
class LabelTexts {
 public:
  void Add(std::string_view text) {
    texts_ += text;
    ends_.push_back(texts_.size());
    std::int64_t integer = 0;
    double number = 0;
    const char* end = text.data() + text.size();
    const auto is_all = [&](const std::from_chars_result& result) {
      return result.ec == std::errc() && result.ptr == end;
    };
    are_integers_ = are_integers_ && is_all(std::from_chars(text.data(), end, integer));
    are_numbers_ =
        are_numbers_ && is_all(std::from_chars(text.data(), end, number)) && std::isfinite(number);
  }

  Status Finish(const std::string& name, ImageListing* listing) const {
    listing->label = {.name = "y"};
    if (are_integers_) {
      listing->label.dtype = array::DType::kInt64;
      for (std::size_t i = 0; i < ends_.size(); ++i) {
        std::int64_t value = 0;
        std::from_chars(text(i).data(), text(i).data() + text(i).size(), value);
        AddLabel(static_cast<std::uint64_t>(value), 8, &listing->labels);
      }
      return {};
    }
    if (are_numbers_) {
      listing->label.dtype = array::DType::kFloat32;
      for (std::size_t i = 0; i < ends_.size(); ++i) {
        double value = 0;
        std::from_chars(text(i).data(), text(i).data() + text(i).size(), value);
        const auto single = static_cast<float>(value);
        std::uint32_t bits = 0;
        std::memcpy(&bits, &single, sizeof bits);
        AddLabel(bits, sizeof bits, &listing->labels);
      }
      return {};
    }
    return FinishClasses(name, listing);
  }

 private:
  std::string_view text(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(texts_).substr(begin, ends_[i] - begin);
  }

  Status FinishClasses(const std::string& name, ImageListing* listing) const {
    std::vector<std::string_view> classes;
    for (std::size_t i = 0; i < ends_.size(); ++i) classes.push_back(text(i));
    std::sort(classes.begin(), classes.end());
    classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
    if (classes.size() > kImageClassCountMax) return TooManyClasses(name, classes.size());
    listing->label.dtype = ClassIndexDType(classes.size());
    for (const std::string_view label : classes) {
      if (label.empty() || !IsUtf8(label)) {
        return Wrong(name + ": the label \"" + Printable(label, 100) +
                     "\" is empty or not UTF-8 text; the name of a class must be text");
      }
      listing->label.class_names.emplace_back(label);
    }
    for (std::size_t i = 0; i < ends_.size(); ++i) {
      const auto found = std::lower_bound(classes.begin(), classes.end(), text(i));
      AddLabel(static_cast<std::uint64_t>(found - classes.begin()),
               array::DTypeSize(listing->label.dtype), &listing->labels);
    }
    return {};
  }

  std::string texts_;
  std::vector<std::size_t> ends_;
  bool are_integers_ = true;
  bool are_numbers_ = true;
};

}  // namespace

Result<ImageListing> ListClassFolders(const std::string& root) {
  constexpr const char* kExpected =
      "; expected a folder of images per class, such as cat/1.jpg, or a table of labels "
      "(--labels labels.csv)";
  DNC_ASSIGN(const FolderEntries top, ListEntries(root));
  if (top.folders.empty()) {
    return Wrong(root +
                 (top.files.empty()
                      ? ": an empty folder"
                      : ": " + FormatCount(top.files.size()) + " files, but no folders") +
                 kExpected);
  }
  if (top.folders.size() > kImageClassCountMax) return TooManyClasses(root, top.folders.size());
  ImageListing listing;
  listing.root = root;
  listing.label = {.name = "y", .dtype = ClassIndexDType(top.folders.size())};
  listing.description = InClasses(top.folders.size());
  for (std::size_t c = 0; c < top.folders.size(); ++c) {
    const std::string& name = top.folders[c];
    if (!IsUtf8(name)) {
      return Wrong(root + "/" + Printable(name, 200) + ": the name of a class must be UTF-8 text");
    }
    const std::uint64_t before = listing.size();
    DNC_TRY(AddFiles(name, 1, &listing));
    if (listing.size() == before) {
      return Wrong(root + "/" + name +
                   ": a folder of a class without images; add some or remove it");
    }
    for (std::uint64_t i = before; i < listing.size(); ++i) {
      AddLabel(c, array::DTypeSize(listing.label.dtype), &listing.labels);
    }
    listing.label.class_names.push_back(name);
  }
  return listing;
}

Result<ImageListing> ListLabelledImages(const std::string& root, const std::string& labels_path,
                                        const std::string& label_column) {
  DNC_ASSIGN(auto file, FileSource::Open(labels_path));
  DNC_ASSIGN(const Input input, OpenInput(std::move(file)));
  DNC_ASSIGN(auto stream, input.open());
  CsvReader csv(std::move(stream), {.name = labels_path, .is_rectangular = true});
  DNC_ASSIGN(bool has_record, csv.Next());
  if (!has_record) return Wrong(labels_path + ": no lines; expected a path and a label on each");
  DNC_ASSIGN(const TableColumns columns,
             ChooseColumns(labels_path, root, csv.fields(), label_column));
  if (columns.has_header) {
    DNC_ASSIGN(has_record, csv.Next());
  }
  ImageListing listing;
  listing.root = root;
  LabelTexts labels;
  while (has_record) {
    const std::string path(csv.fields()[columns.path]);
    const std::string where = labels_path + ": line " + std::to_string(csv.number()) + ": ";
    if (LeadsOut(path)) {
      return Wrong(where + "\"" + Printable(path, 200) + "\" is no path within " + root);
    }
    const auto found = FindImage(root, path);
    if (!found) {
      return Error{ErrorCode::kNotFound, where + root + "/" + Printable(path, 200) +
                                             ": no such image (nor with .jpg, .png or .webp)"};
    }
    listing.AddPath(*found);
    labels.Add(csv.fields()[columns.label]);
    DNC_ASSIGN(has_record, csv.Next());
  }
  if (listing.size() == 0) return Wrong(labels_path + ": a header, but no images below it");
  DNC_TRY(labels.Finish(labels_path, &listing));
  listing.description = listing.label.class_names.empty()
                            ? "with labels of " + fs::path(labels_path).filename().string()
                            : InClasses(listing.label.class_names.size());
  return listing;
}

}  // namespace dnc::source
