#include "source/npz.h"

#include <algorithm>

#include "source/array_source.h"
#include "source/zip.h"

namespace dnc::source {
namespace {

struct NpyMember {
  std::string name;  // Without ".npy".
  ZipMember zip;
};

struct Chosen {
  const NpyMember* x = nullptr;
  const NpyMember* y = nullptr;
  std::string left_out;  // Their names, with commas.
};

std::string ListNames(const std::vector<NpyMember>& members) {
  std::string list;
  for (const NpyMember& member : members) {
    if (list.size() > 500) return list + ", ...";
    if (!list.empty()) list += ", ";
    list += member.name;
  }
  return list;
}

std::string Join(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) {
    if (!list.empty()) list += ", ";
    list += name;
  }
  return list;
}

struct Members {
  std::vector<NpyMember> arrays;
  bool is_single = false;  // One array, and nothing else in the archive.
};

Result<Members> ReadMembers(const RandomAccessSource& source) {
  DNC_ASSIGN(const std::vector<ZipMember> all, ReadZipDirectory(source));
  std::vector<NpyMember> members;
  for (const ZipMember& zip : all) {
    if (!zip.name.ends_with(".npy")) continue;
    members.push_back({zip.name.substr(0, zip.name.size() - 4), zip});
  }
  if (members.empty()) {
    return Error{ErrorCode::kUnsupported, source.name() +
                                              ": a zip archive without .npy members; an npz "
                                              "written by np.savez has one for each array"};
  }
  const bool is_single = all.size() == 1;
  return Members{std::move(members), is_single};
}

// The one member whose name is in `names`, null if there is none.
Result<const NpyMember*> FindOne(const std::vector<NpyMember>& members,
                                 const std::vector<std::string>& names, const std::string& archive,
                                 const std::string& role) {
  const NpyMember* found = nullptr;
  for (const NpyMember& member : members) {
    if (std::find(names.begin(), names.end(), member.name) == names.end()) continue;
    if (found != nullptr) {
      return Error{ErrorCode::kInvalidArgument,
                   archive + ": both " + found->name + " and " + member.name + " could be the " +
                       role + "; its members are " + ListNames(members) +
                       "; keep one, such as np.savez(path, x=..., y=...)"};
    }
    found = &member;
  }
  return found;
}

Result<Chosen> Choose(const Members& all, const std::string& archive) {
  const std::vector<NpyMember>& members = all.arrays;
  Chosen chosen;
  if (all.is_single) {
    chosen.x = &members[0];
    return chosen;
  }
  DNC_ASSIGN(chosen.x, FindOne(members, NpzFeatureNames(), archive, "features"));
  DNC_ASSIGN(chosen.y, FindOne(members, NpzLabelNames(), archive, "labels"));
  if (chosen.x == nullptr) {
    return Error{ErrorCode::kInvalidArgument,
                 archive + ": no member is known to be the features; its members are " +
                     ListNames(members) + "; expected one of " + Join(NpzFeatureNames())};
  }
  for (const NpyMember& member : members) {
    if (&member == chosen.x || &member == chosen.y) continue;
    if (chosen.left_out.size() > 200) break;
    chosen.left_out += (chosen.left_out.empty() ? "" : ", ") + member.name;
  }
  return chosen;
}

Result<std::unique_ptr<ArrayInput>> OpenMember(const SharedSource& source,
                                               const NpyMember& member) {
  DNC_ASSIGN(auto stream, OpenZipMember(source, member.zip));
  return OpenNpyStream(std::move(stream), member.zip.size,
                       source->name() + "(" + member.zip.name + ")");
}

}  // namespace

const std::vector<std::string>& NpzFeatureNames() {
  static const std::vector<std::string> names = {
      "x", "X", "data", "images", "x_train", "X_train", "train_images", "features", "arr_0"};
  return names;
}

const std::vector<std::string>& NpzLabelNames() {
  static const std::vector<std::string> names = {"y",       "Y",       "labels",       "label",
                                                 "y_train", "Y_train", "train_labels", "targets",
                                                 "target",  "arr_1"};
  return names;
}

Result<std::unique_ptr<SampleSource>> OpenNpz(SharedSource source, const SourceOptions& options) {
  DNC_ASSIGN(const Members members, ReadMembers(*source));
  DNC_ASSIGN(const Chosen chosen, Choose(members, source->name()));
  if (chosen.y != nullptr && !options.labels_path.empty()) {
    return Error{ErrorCode::kInvalidArgument, source->name() + ": has its own labels (" +
                                                  chosen.y->name + "), so " + options.labels_path +
                                                  " is one too many"};
  }
  DNC_ASSIGN(auto x, OpenMember(source, *chosen.x));
  std::string description = "npz " + chosen.x->name + " " + x->info().TypeText();
  std::unique_ptr<ArrayInput> y;
  if (chosen.y != nullptr) {
    DNC_ASSIGN(y, OpenMember(source, *chosen.y));
    description += ", " + chosen.y->name + " " + y->info().TypeText();
  } else {
    DNC_ASSIGN(y, OpenLabels(options));
    if (y != nullptr) description += ", labels " + y->info().TypeText();
  }
  if (!chosen.left_out.empty()) description += "; not read: " + chosen.left_out;
  return MakeArraySource(std::move(x), std::move(y), std::move(description));
}

}  // namespace dnc::source
