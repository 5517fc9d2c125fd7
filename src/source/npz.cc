#include "source/npz.h"

#include <algorithm>

#include "array/npy_header.h"
#include "source/zip.h"

namespace dnc::source {
namespace {

// A stored member as a file of its own.
class RangeSource final : public RandomAccessSource {
 public:
  RangeSource(SharedSource file, zip::Range range, std::string name)
      : file_(std::move(file)), range_(range), name_(std::move(name)) {}
  std::uint64_t size() const override { return range_.size; }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    if (offset > range_.size || out.size() > range_.size - offset) {
      return Error{ErrorCode::kCorrupt,
                   name_ + ": ends before byte " + std::to_string(offset + out.size())};
    }
    return file_->ReadAt(range_.offset + offset, out);
  }
  const std::string& name() const override { return name_; }

 private:
  SharedSource file_;
  zip::Range range_;
  std::string name_;
};

Result<Input> OpenMember(const SharedSource& source, const zip::Member& member) {
  Input input;
  input.name = source->name() + "(" + member.name + ")";
  input.content_bytes = member.size;
  input.is_checked = true;
  input.open = [source, member] { return OpenZipMember(source, member); };
  DNC_ASSIGN(const auto stream, input.open());
  input.start.resize(std::min<std::uint64_t>(member.size, kInputStartBytes));
  DNC_ASSIGN(const std::size_t size, stream->Read(input.start));
  input.start.resize(size);
  if (member.method == 0) {
    DNC_ASSIGN(const zip::Range range, zip::StoredRange(*source, member));
    input.file = std::make_shared<RangeSource>(source, range, input.name);
  }
  return input;
}

class NpzContainer final : public ArrayContainer {
 public:
  NpzContainer(SharedSource source, const std::vector<zip::Member>& members)
      : source_(std::move(source)) {
    for (const zip::Member& member : members) {
      if (!member.name.ends_with(".npy")) {
        others_.push_back({member.name, ""});
        continue;
      }
      entries_.push_back({member.name.substr(0, member.name.size() - 4), ""});
      members_.push_back(member);
    }
  }

  const std::string& name() const override { return source_->name(); }
  std::string format() const override { return "npz"; }
  std::uint64_t file_bytes() const override { return source_->size(); }
  const std::vector<ArrayEntry>& entries() const override { return entries_; }
  const std::vector<ArrayEntry>& others() const override { return others_; }
  Result<array::Shape> ShapeOf(std::size_t entry) const override {
    DNC_ASSIGN(const Input input, OpenMember(source_, members_[entry]));
    DNC_ASSIGN(const array::NpyHeader header, array::ParseNpyHeader(input.start, input.name));
    return header.shape;
  }
  Result<std::unique_ptr<ArrayInput>> Open(std::size_t entry,
                                           std::size_t sample_axis) const override {
    DNC_ASSIGN(const Input input, OpenMember(source_, members_[entry]));
    return OpenArray(input, static_cast<int>(sample_axis));
  }

 private:
  SharedSource source_;
  std::vector<zip::Member> members_;  // One an entry.
  std::vector<ArrayEntry> entries_;
  std::vector<ArrayEntry> others_;
};

}  // namespace

bool IsZip(ByteSpan start) { return zip::IsZip(start); }

Result<std::unique_ptr<ArrayContainer>> OpenNpzContainer(SharedSource source) {
  DNC_ASSIGN(const std::vector<zip::Member> members, zip::ReadDirectory(*source));
  auto container = std::make_unique<NpzContainer>(source, members);
  if (container->entries().empty()) {
    return Error{ErrorCode::kUnsupported, source->name() +
                                              ": a zip archive without .npy members; an npz "
                                              "written by np.savez has one for each array"};
  }
  return std::unique_ptr<ArrayContainer>(std::move(container));
}

Result<std::unique_ptr<SampleSource>> OpenNpz(const Input& input, const SourceOptions& options) {
  DNC_ASSIGN(const auto container, OpenNpzContainer(input.file));
  return OpenContainer(*container, options);
}

}  // namespace dnc::source
