#include "divide/raw_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "array/samples.h"
#include "base/file.h"
#include "base/human.h"

namespace dnc::divide {
namespace {

constexpr std::size_t kLinkBytesMax = 1u << 16;

struct Entry {
  std::string path;  // Relative to the root.
  RawKind kind = RawKind::kFile;
  std::uint32_t mode = 0;
  std::uint64_t size = 0;
};

class RawSource final : public source::SampleSource {
 public:
  RawSource(std::string root, bool skip_bad) : root_(std::move(root)), skip_bad_(skip_bad) {}
  ~RawSource() override { CloseFile(); }

  Status Open() {
    struct stat info {};
    if (::stat(root_.c_str(), &info) != 0) return ErrnoError("read", root_, errno);
    if (S_ISDIR(info.st_mode)) {
      return Descend("");
    }
    if (!S_ISREG(info.st_mode)) {
      return Error{ErrorCode::kInvalidArgument, root_ + ": neither a file nor a folder"};
    }
    const std::size_t slash = root_.rfind('/');
    const std::string name = slash == std::string::npos ? root_ : root_.substr(slash + 1);
    root_ = slash == std::string::npos ? "." : root_.substr(0, std::max<std::size_t>(slash, 1));
    levels_.push_back({"", {name}, 0});
    single_ = true;
    total_bytes_ = static_cast<std::uint64_t>(info.st_size);
    return {};
  }

  const std::vector<array::ColumnSpec>& columns() const override { return RawColumns(); }
  std::optional<std::uint64_t> sample_count() const override { return std::nullopt; }
  std::string Describe() const override { return single_ ? "a file as bytes" : "files as bytes"; }
  source::SourceBytes bytes() const override { return {done_bytes_, total_bytes_}; }
  const std::vector<source::SkippedInput>& skipped() const override { return skipped_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    array::ClearSamples(columns(), block);
    while (block->sample_count < sample_count_max) {
      if (file_ < 0) {
        DNC_ASSIGN(const bool more, NextEntry(block));
        if (!more) return {};
        continue;
      }
      DNC_TRY(ReadPiece(block));
    }
    return {};
  }

 private:
  // A folder on the way to the current file, and the names in it.
  struct Level {
    std::string path;  // Relative, with '/' at its end; empty for the root.
    std::vector<std::string> names;
    std::size_t next = 0;
  };

  Status Descend(const std::string& path) {
    const std::string full = root_ + "/" + path;
    DIR* const folder = ::opendir(full.c_str());
    if (folder == nullptr) return ErrnoError("list", full, errno);
    Level level{path, {}, 0};
    errno = 0;
    while (const dirent* entry = ::readdir(folder)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") level.names.emplace_back(name);
      errno = 0;
    }
    const int error_number = errno;
    ::closedir(folder);
    if (error_number != 0) return ErrnoError("list", full, error_number);
    std::sort(level.names.begin(), level.names.end());
    levels_.push_back(std::move(level));
    return {};
  }

  void PutRow(const Entry& entry, std::uint64_t offset, array::SampleBlock* block) const {
    const auto put = [](const void* bytes, std::size_t size, Bytes* column) {
      const auto* begin = static_cast<const std::byte*>(bytes);
      column->insert(column->end(), begin, begin + size);
    };
    const auto kind = static_cast<std::uint8_t>(entry.kind);
    const auto mode = static_cast<std::uint16_t>(entry.mode);
    const auto size = static_cast<std::int64_t>(entry.size);
    const auto begin = static_cast<std::int64_t>(offset);
    put(entry.path.data(), entry.path.size(), &block->columns[kRawPath]);
    block->ends[kRawPath].push_back(static_cast<std::uint32_t>(block->columns[kRawPath].size()));
    put(&kind, sizeof kind, &block->columns[kRawKind]);
    put(&mode, sizeof mode, &block->columns[kRawMode]);
    put(&size, sizeof size, &block->columns[kRawSize]);
    put(&begin, sizeof begin, &block->columns[kRawOffset]);
  }

  static void EndRow(array::SampleBlock* block) {
    block->ends[kRawBytes].push_back(static_cast<std::uint32_t>(block->columns[kRawBytes].size()));
    ++block->sample_count;
  }

  // Leaves `path` out, or makes an error of it.
  Status Bad(const std::string& path, const Error& error) {
    if (!skip_bad_) return error;
    skipped_.push_back({path, error.message});
    return {};
  }

  // The next file is open, or the row of a folder or link was put. False at the end.
  Result<bool> NextEntry(array::SampleBlock* block) {
    while (!levels_.empty() && levels_.back().next == levels_.back().names.size()) {
      levels_.pop_back();
    }
    if (levels_.empty()) return false;
    Level& level = levels_.back();
    Entry entry;
    entry.path = level.path + level.names[level.next++];
    const std::string full = root_ + "/" + entry.path;
    if (!IsSafeRawPath(entry.path)) {
      DNC_TRY(Bad(full, {ErrorCode::kTooLarge,
                         full + ": a path of " + std::to_string(entry.path.size()) +
                             " bytes; at most " + std::to_string(kRawPathBytesMax) + " are kept"}));
      return true;
    }
    if (!single_ && entry.path.starts_with(kRawReservedPrefix)) {
      DNC_TRY(Bad(full, {ErrorCode::kInvalidArgument,
                         full + ": a name that `dnc fetch` needs for itself while it fills a "
                                "folder; finish the fetch, rename or delete it, or leave it out "
                                "with --skip-bad"}));
      return true;
    }
    struct stat info {};
    if (::lstat(full.c_str(), &info) != 0) {
      DNC_TRY(Bad(full, ErrnoError("read", full, errno)));
      return true;
    }
    entry.mode = info.st_mode & 0777;
    if (S_ISDIR(info.st_mode)) return PutFolder(entry, full, block);
    if (S_ISLNK(info.st_mode)) return PutLink(entry, full, block);
    if (S_ISREG(info.st_mode)) return OpenFile(std::move(entry), full, block);
    DNC_TRY(Bad(full, {ErrorCode::kUnsupported,
                       full + ": a device, pipe or socket, which cannot be divided; leave such "
                              "files out with --skip-bad"}));
    return true;
  }

  Result<bool> PutFolder(Entry entry, const std::string& full, array::SampleBlock* block) {
    entry.kind = RawKind::kFolder;
    if (Status status = Descend(entry.path + "/"); !status.ok()) {
      DNC_TRY(Bad(full, status.error()));
      return true;
    }
    PutRow(entry, 0, block);
    EndRow(block);
    return true;
  }

  Result<bool> PutLink(Entry entry, const std::string& full, array::SampleBlock* block) {
    entry.kind = RawKind::kLink;
    std::string target(kLinkBytesMax, '\0');
    const ssize_t size = ::readlink(full.c_str(), target.data(), target.size());
    if (size < 0) {
      DNC_TRY(Bad(full, ErrnoError("read the link", full, errno)));
      return true;
    }
    target.resize(static_cast<std::size_t>(size));
    entry.size = target.size();
    PutRow(entry, 0, block);
    const ByteSpan bytes = AsBytes(target);
    Bytes& column = block->columns[kRawBytes];
    column.insert(column.end(), bytes.begin(), bytes.end());
    EndRow(block);
    return true;
  }

  Result<bool> OpenFile(Entry entry, const std::string& full, array::SampleBlock* block) {
    const int file = ::open(full.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat info {};
    if (file < 0 || ::fstat(file, &info) != 0) {
      DNC_TRY(Bad(full, ErrnoError("open", full, errno)));
      if (file >= 0) ::close(file);
      return true;
    }
    static_cast<void>(::posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL));
    entry.size = static_cast<std::uint64_t>(info.st_size);
    file_ = file;
    offset_ = 0;
    entry_ = std::move(entry);
    if (entry_.size > 0) return true;
    PutRow(entry_, 0, block);
    EndRow(block);
    CloseFile();
    return true;
  }

  Status ReadPiece(array::SampleBlock* block) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(kRawPieceBytes, entry_.size - offset_));
    Bytes& column = block->columns[kRawBytes];
    const std::size_t before = column.size();
    column.resize(before + count);
    const std::string full = root_ + "/" + entry_.path;
    for (std::size_t done = 0; done < count;) {
      const ssize_t got = ::pread(file_, column.data() + before + done, count - done,
                                  static_cast<off_t>(offset_ + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrnoError("read", full, errno);
      if (got == 0) {
        return Error{ErrorCode::kInvalidArgument,
                     full + ": it became shorter while it was read; expected " +
                         FormatByteCount(entry_.size)};
      }
      done += static_cast<std::size_t>(got);
    }
    PutRow(entry_, offset_, block);
    EndRow(block);
    offset_ += count;
    done_bytes_ += count;
    if (offset_ == entry_.size) CloseFile();
    return {};
  }

  void CloseFile() {
    if (file_ >= 0) ::close(file_);
    file_ = -1;
  }

  std::string root_;
  const bool skip_bad_;
  bool single_ = false;
  std::vector<Level> levels_;
  int file_ = -1;
  Entry entry_;  // Of the open file.
  std::uint64_t offset_ = 0;
  std::uint64_t done_bytes_ = 0;
  std::optional<std::uint64_t> total_bytes_;
  std::vector<source::SkippedInput> skipped_;
};

}  // namespace

const std::vector<array::ColumnSpec>& RawColumns() {
  using array::ColumnKind;
  using array::DType;
  static const std::vector<array::ColumnSpec> columns = {
      {"path", DType::kUint8, {}, {}, ColumnKind::kBytes, {}},
      {"kind", DType::kUint8, {}, {"file", "folder", "link"}, ColumnKind::kArray, {}},
      {"mode", DType::kUint16, {}, {}, ColumnKind::kArray, {}},
      {"size", DType::kInt64, {}, {}, ColumnKind::kArray, {}},
      {"offset", DType::kInt64, {}, {}, ColumnKind::kArray, {}},
      {"bytes", DType::kUint8, {}, {}, ColumnKind::kBytes, {}},
  };
  return columns;
}

bool IsSafeRawPath(std::string_view path) {
  if (path.empty() || path.size() > kRawPathBytesMax) return false;
  if (path.find('\0') != std::string_view::npos) return false;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

Result<std::unique_ptr<source::SampleSource>> OpenRawSource(const std::string& root,
                                                            bool skip_bad) {
  std::string path = root;
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  auto source = std::make_unique<RawSource>(path, skip_bad);
  DNC_TRY(source->Open());
  return std::unique_ptr<source::SampleSource>(std::move(source));
}

}  // namespace dnc::divide
