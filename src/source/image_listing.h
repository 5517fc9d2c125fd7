// Which images a folder holds, and their labels: from folders of classes, or from
// a table beside the images.
//
// Folders of classes: the folders of the first level, sorted, are the classes; the
// images of a class may lie in folders inside it. A table has a row per image: its
// path within the folder, and its label.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "array/column.h"
#include "base/result.h"

namespace dnc::source {

inline constexpr std::size_t kImageClassCountMax = 1 << 16;
inline constexpr int kImageFolderDepthMax = 64;

// Paths lie in one string, since a large data set has millions of them.
struct ImageListing {
  std::string root;
  std::string paths;  // Within root, one behind the other.
  std::vector<std::uint64_t> path_ends;
  array::ColumnSpec label;  // The column "y".
  Bytes labels;             // As many elements of it.
  std::string description;  // "in 10 classes", "with labels of labels.csv".

  std::uint64_t size() const { return path_ends.size(); }
  void AddPath(const std::string& path) {
    paths += path;
    path_ends.push_back(paths.size());
  }
  std::string PathOf(std::uint64_t i) const {
    const std::uint64_t begin = i == 0 ? 0 : path_ends[i - 1];
    return root + "/" + paths.substr(begin, path_ends[i] - begin);
  }
  ByteSpan LabelOf(std::uint64_t i) const {
    const std::size_t bytes = label.sample_bytes();
    return ByteSpan(labels).subspan(i * bytes, bytes);
  }
};

// Hidden entries, and files beside the folders of classes, are left out. Sorted by
// path, class after class.
// Errors: kInvalidArgument, an empty folder, no folder of a class, or one without
// images; kTooLarge, too many classes or folders too deep; kIo.
Result<ImageListing> ListClassFolders(const std::string& root);

// The images that the csv at `labels_path` names, in its order. With a header, the
// paths are in the column file, filename, path, image, name or id, or in the first
// one; the label is in `label_column` or else in label, class, target, category or
// y, or in the only other column. A path may lack its extension (.jpg, .jpeg,
// .png, .webp). Labels that are all whole numbers stay these numbers, all numbers
// become float32; other labels are classes, sorted.
// Errors: kInvalidArgument, no such column or one that cannot be told, a path that
// is empty, absolute or leads out of the folder, or a class beyond the limits;
// kNotFound, an image that is not there, with the line; those of the csv.
Result<ImageListing> ListLabelledImages(const std::string& root, const std::string& labels_path,
                                        const std::string& label_column);

}  // namespace dnc::source
