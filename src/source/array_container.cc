#include "source/array_container.h"

#include <algorithm>

#include "base/human.h"
#include "source/array_source.h"
#include "source/slab_array.h"

namespace dnc::source {
namespace {

using array::Shape;

std::string ListEntries(const std::vector<ArrayEntry>& entries) {
  std::string list;
  for (const ArrayEntry& entry : entries) {
    if (list.size() > 500) return list + ", ...";
    if (!list.empty()) list += ", ";
    list += entry.name + (entry.text.empty() ? "" : " " + entry.text);
  }
  return list;
}

std::string Contents(const ArrayContainer& container) {
  std::string text = container.entries().empty()
                         ? "it has no arrays of numbers"
                         : "its arrays are " + ListEntries(container.entries());
  if (!container.others().empty()) {
    text += "; not arrays of numbers are " + ListEntries(container.others());
  }
  return text;
}

std::string Join(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

// The one entry whose name is in `names`; nullopt if there is none.
Result<std::optional<std::size_t>> FindOne(const ArrayContainer& container,
                                           const std::vector<std::string>& names,
                                           const std::string& role, const std::string& option) {
  const std::vector<ArrayEntry>& entries = container.entries();
  std::optional<std::size_t> found;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (std::find(names.begin(), names.end(), entries[i].name) == names.end()) continue;
    if (found) {
      return Error{ErrorCode::kInvalidArgument,
                   container.name() + ": both " + entries[*found].name + " and " + entries[i].name +
                       " could be the " + role + "; name one with " + option + "; " +
                       Contents(container)};
    }
    found = i;
  }
  return found;
}

// "/group/data" and "group/data" are the same.
std::string_view Bare(std::string_view name) {
  if (name.starts_with('/')) name.remove_prefix(1);
  return name;
}

Result<std::size_t> FindNamed(const ArrayContainer& container, const std::string& name) {
  std::vector<std::string> known;
  for (std::size_t i = 0; i < container.entries().size(); ++i) {
    if (Bare(container.entries()[i].name) == Bare(name)) return i;
    known.push_back(container.entries()[i].name);
  }
  for (const ArrayEntry& other : container.others()) {
    if (Bare(other.name) != Bare(name)) continue;
    return Error{ErrorCode::kUnsupported, container.name() + ": " + name + " is " + other.text +
                                              ", not an array of numbers; its arrays are " +
                                              ListEntries(container.entries())};
  }
  const std::string nearest = NearestName(name, known);
  return Error{ErrorCode::kInvalidArgument,
               container.name() + ": has no array \"" + name + "\"" +
                   (nearest.empty() ? "" : "; did you mean \"" + nearest + "\"?") + "; " +
                   Contents(container)};
}

Result<std::size_t> ChooseFeatures(const ArrayContainer& container, const SourceOptions& options) {
  if (!options.variable.empty()) return FindNamed(container, options.variable);
  if (container.entries().size() == 1 && container.others().empty()) return std::size_t{0};
  DNC_ASSIGN(const std::optional<std::size_t> found,
             FindOne(container, FeatureNames(), "features", "--variable"));
  if (found) return *found;
  if (container.entries().size() == 1 && container.format() != "npz") return std::size_t{0};
  return Error{ErrorCode::kInvalidArgument,
               container.name() + ": no array is known to be the features (one of " +
                   Join(FeatureNames()) + "); name one with --variable; " + Contents(container)};
}

Result<std::optional<std::size_t>> ChooseLabels(const ArrayContainer& container,
                                                const SourceOptions& options, std::size_t x) {
  if (options.labels_variable == kNoLabels) return std::optional<std::size_t>();
  if (!options.labels_variable.empty()) {
    DNC_ASSIGN(const std::size_t named, FindNamed(container, options.labels_variable));
    return std::optional<std::size_t>(named);
  }
  if (!options.labels_path.empty() && !options.variable.empty()) {
    return std::optional<std::size_t>();
  }
  DNC_ASSIGN(std::optional<std::size_t> found,
             FindOne(container, LabelNames(), "labels", "--labels-variable"));
  if (found == x) found.reset();
  return found;
}

// The axis along which a vector runs; nullopt for what is none.
std::optional<std::size_t> VectorAxis(const Shape& shape) {
  std::optional<std::size_t> axis;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 1) continue;
    if (axis) return std::nullopt;
    axis = i;
  }
  return axis.value_or(0);
}

// MATLAB's N x 1 labels are scalars.
class Squeezed final : public ArrayInput {
 public:
  static std::unique_ptr<ArrayInput> Make(std::unique_ptr<ArrayInput> inner) {
    ArrayInfo info = inner->info();
    info.shape.resize(1);
    return std::make_unique<Squeezed>(std::move(info), std::move(inner));
  }
  Squeezed(ArrayInfo info, std::unique_ptr<ArrayInput> inner)
      : ArrayInput(std::move(info)), inner_(std::move(inner)) {}
  Status Read(std::span<std::byte> out) override { return inner_->Read(out); }
  Result<std::uint64_t> Skip(std::uint64_t count) override { return inner_->Skip(count); }
  std::uint64_t position() const override { return inner_->position(); }

 private:
  std::unique_ptr<ArrayInput> inner_;
};

Result<std::unique_ptr<ArrayInput>> OpenAsLabels(const ArrayContainer& container,
                                                 std::size_t entry) {
  DNC_ASSIGN(const Shape shape, container.ShapeOf(entry));
  const std::optional<std::size_t> axis =
      container.is_matlab() ? VectorAxis(shape) : std::optional<std::size_t>();
  DNC_ASSIGN(auto labels, container.Open(entry, axis.value_or(0)));
  if (axis && labels->info().shape.size() > 1) return Squeezed::Make(std::move(labels));
  return labels;
}

// Without labels: MATLAB's arrays of three axes or more are images with the
// samples last; of two, rows are samples (a single row is a vector).
std::size_t UsualAxis(const ArrayContainer& container, const Shape& shape) {
  if (!container.is_matlab()) return 0;
  if (shape.size() >= 3) return shape.size() - 1;
  return shape.size() == 2 && shape[0] == 1 ? 1 : 0;
}

Result<std::size_t> SampleAxis(const ArrayContainer& container, std::size_t entry,
                               std::optional<int> wanted,
                               std::optional<std::uint64_t> label_count) {
  DNC_ASSIGN(const Shape shape, container.ShapeOf(entry));
  if (wanted) {
    const ArrayInfo info{container.name() + "(" + container.entries()[entry].name + ")",
                         container.format(), array::DType::kUint8, shape};
    return ResolveAxis(info, *wanted);
  }
  const std::size_t usual = UsualAxis(container, shape);
  if (!label_count || !container.axis_follows_labels() || shape.empty()) return usual;
  const auto fits = [&](std::int64_t axis) {
    return static_cast<std::uint64_t>(axis) == *label_count;
  };
  if (fits(shape[usual]) || std::count_if(shape.begin(), shape.end(), fits) == 0) return usual;
  return static_cast<std::size_t>(std::find_if(shape.begin(), shape.end(), fits) - shape.begin());
}

// A short list of what is not read.
std::string LeftOut(const ArrayContainer& container, const std::vector<std::size_t>& read) {
  std::string list;
  for (std::size_t i = 0; i < container.entries().size() && list.size() <= 200; ++i) {
    if (std::find(read.begin(), read.end(), i) != read.end()) continue;
    list += (list.empty() ? "" : ", ") + container.entries()[i].name;
  }
  return list;
}

// "/group/data" is the column "data".
std::string ColumnName(const std::string& name) { return name.substr(name.rfind('/') + 1); }

// Vectors are of one number a sample, whichever way MATLAB writes them.
Result<std::unique_ptr<ArrayInput>> OpenAsColumn(const ArrayContainer& container, std::size_t entry,
                                                 std::optional<int> sample_axis) {
  DNC_ASSIGN(const Shape shape, container.ShapeOf(entry));
  if (container.is_matlab() && !sample_axis && VectorAxis(shape)) {
    return OpenAsLabels(container, entry);
  }
  DNC_ASSIGN(const std::size_t axis, SampleAxis(container, entry, sample_axis, std::nullopt));
  return container.Open(entry, axis);
}

Result<std::unique_ptr<SampleSource>> OpenColumns(const ArrayContainer& container,
                                                  const SourceOptions& options) {
  if (!options.variable.empty() || !options.labels_path.empty() ||
      (!options.labels_variable.empty() && options.labels_variable != kNoLabels)) {
    return Error{ErrorCode::kInvalidArgument,
                 container.name() +
                     ": --columns names all arrays to read, so that --variable, --labels and "
                     "--labels-variable have no place beside it"};
  }
  ArraySourceInput arrays;
  std::vector<std::size_t> read;
  for (const std::string& name : options.table.columns) {
    DNC_ASSIGN(const std::size_t entry, FindNamed(container, name));
    DNC_ASSIGN(auto input, OpenAsColumn(container, entry, options.sample_axis));
    const std::string column = ColumnName(container.entries()[entry].name);
    for (const NamedArray& other : arrays.arrays) {
      if (other.column != column) continue;
      return Error{ErrorCode::kInvalidArgument,
                   container.name() + ": --columns names two arrays called " + column};
    }
    arrays.description +=
        (read.empty() ? container.format() + " " : ", ") + column + " " + input->info().TypeText();
    read.push_back(entry);
    arrays.arrays.push_back({column, std::move(input)});
  }
  const std::string left_out = LeftOut(container, read);
  if (!left_out.empty()) arrays.description += "; not read: " + left_out;
  arrays.file_bytes = container.file_bytes();
  return MakeArraySource(std::move(arrays));
}

}  // namespace

const std::vector<std::string>& FeatureNames() {
  static const std::vector<std::string> names = {
      "x", "X", "data", "images", "x_train", "X_train", "train_images", "features", "arr_0"};
  return names;
}

const std::vector<std::string>& LabelNames() {
  static const std::vector<std::string> names = {"y",       "Y",       "labels",       "label",
                                                 "y_train", "Y_train", "train_labels", "targets",
                                                 "target",  "arr_1"};
  return names;
}

Result<std::unique_ptr<SampleSource>> OpenContainer(const ArrayContainer& container,
                                                    const SourceOptions& options) {
  if (!options.table.columns.empty()) return OpenColumns(container, options);
  DNC_ASSIGN(const std::size_t x, ChooseFeatures(container, options));
  DNC_ASSIGN(const std::optional<std::size_t> y, ChooseLabels(container, options, x));
  if (y && !options.labels_path.empty()) {
    return Error{ErrorCode::kInvalidArgument, container.name() + ": has its own labels (" +
                                                  container.entries()[*y].name + "), so " +
                                                  options.labels_path + " is one too many"};
  }
  std::unique_ptr<ArrayInput> labels;
  if (y) {
    DNC_ASSIGN(labels, OpenAsLabels(container, *y));
  } else {
    DNC_ASSIGN(labels, OpenLabels(options));
  }
  std::optional<std::uint64_t> label_count;
  if (labels != nullptr) label_count = labels->info().sample_count();
  DNC_ASSIGN(const std::size_t axis, SampleAxis(container, x, options.sample_axis, label_count));
  DNC_ASSIGN(auto features, container.Open(x, axis));
  ArraySourceInput arrays;
  arrays.description =
      container.format() + " " + container.entries()[x].name + " " + features->info().TypeText();
  if (labels != nullptr) {
    arrays.description += ", " + (y ? container.entries()[*y].name : std::string("labels")) + " " +
                          labels->info().TypeText();
  }
  const std::string left_out = LeftOut(container, {x, y.value_or(x)});
  if (!left_out.empty()) arrays.description += "; not read: " + left_out;
  arrays.file_bytes = container.file_bytes();
  arrays.arrays.push_back({"x", std::move(features)});
  if (labels != nullptr) arrays.arrays.push_back({"y", std::move(labels)});
  return MakeArraySource(std::move(arrays));
}

Result<std::unique_ptr<ArrayInput>> OpenLabelsIn(const ArrayContainer& container,
                                                 const std::string& variable) {
  if (!variable.empty()) {
    DNC_ASSIGN(const std::size_t named, FindNamed(container, variable));
    return OpenAsLabels(container, named);
  }
  if (container.entries().size() == 1) return OpenAsLabels(container, 0);
  DNC_ASSIGN(const std::optional<std::size_t> found,
             FindOne(container, LabelNames(), "labels", "a name behind a colon"));
  if (found) return OpenAsLabels(container, *found);
  return Error{ErrorCode::kInvalidArgument,
               container.name() + ": no array is known to be the labels (one of " +
                   Join(LabelNames()) + "); name one, such as --labels " + container.name() +
                   ":NAME; " + Contents(container)};
}

}  // namespace dnc::source
