#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "divide/checked_object.h"
#include "divide/fetch.h"
#include "divide/raw_source.h"
#include "shard/shard_reader.h"

// While a tree is on its way, its folder holds two files more: .dnc-fetch.json says of
// which manifest it is and which shards are done, .dnc-fetch.part has the file that is
// being written. A file has its name once it is whole. A folder gets its own mode when
// all in it is there, since it may be one that nobody can write to.
//
// Paths are walked from the root part by part without following a link, so that no row
// of a manifest, whatever links it made before, leads outside.

namespace dnc::divide {
namespace {

constexpr char kStateName[] = ".dnc-fetch.json";
constexpr char kStateTemporaryName[] = ".dnc-fetch.tmp";
constexpr char kPartName[] = ".dnc-fetch.part";
constexpr std::uint64_t kStateBytesMax = 16u << 20;
constexpr mode_t kFolderModeMeanwhile = 0700;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

struct Row {
  std::string_view path;
  RawKind kind = RawKind::kFile;
  mode_t mode = 0;
  std::uint64_t size = 0;
  std::uint64_t offset = 0;
  ByteSpan bytes;
};

template <typename T>
T ValueAt(const array::SampleBlock& block, RawColumn column, std::uint64_t row) {
  T value;
  std::memcpy(&value, block.columns[column].data() + row * sizeof(T), sizeof(T));
  return value;
}

// Whether a link at `path` to `target` stays within the tree, by its text.
bool StaysInside(std::string_view path, std::string_view target) {
  if (target.starts_with('/')) return false;
  auto depth = std::count(path.begin(), path.end(), '/');
  while (!target.empty()) {
    const std::size_t end = std::min(target.find('/'), target.size());
    const std::string_view part = target.substr(0, end);
    target.remove_prefix(std::min(end + 1, target.size()));
    if (part.empty() || part == ".") continue;
    depth += part == ".." ? -1 : 1;
    if (depth < 0) return false;
  }
  return true;
}

class FileFetcher {
 public:
  FileFetcher(const shard::Manifest& manifest, const store::ObjectStore& store, std::string to,
              const FetchOptions& options, const FetchCallback& callback)
      : manifest_(manifest),
        store_(store),
        to_(std::move(to)),
        options_(options),
        callback_(callback),
        digest_(Sha256(AsBytes(shard::FormatManifest(manifest))).Hex()) {}

  Result<FetchProgress> Run() {
    if (!IsRawDataset(manifest_)) {
      return Error{ErrorCode::kInvalidArgument,
                   manifest_.name +
                       ": not a tree of files, but a dataset of samples; dnc fetch "
                       "copies its shards, dnc export writes its samples"};
    }
    progress_.shards_total = manifest_.shards.size();
    for (const shard::ShardInfo& shard : manifest_.shards) progress_.bytes_total += shard.bytes;
    DNC_TRY(OpenRoot());
    for (; next_shard_ < manifest_.shards.size(); ++next_shard_) {
      const shard::ShardInfo& shard = manifest_.shards[next_shard_];
      if (Status status = FetchShard(shard); !status.ok()) {
        return status.error().WithContext("shard " + shard.cid);
      }
      ++progress_.shards_done;
      DNC_TRY(StoreState(next_shard_ + 1));
    }
    if (part_) return Broken(part_->path, "its last piece is missing");
    DNC_TRY(LeaveFolders(""));
    if (::unlinkat(root_.get(), kStateName, 0) != 0) return ErrnoError("remove", to_, errno);
    DNC_TRY(SyncDirectory(to_));
    if (callback_) static_cast<void>(callback_(progress_));
    return progress_;
  }

 private:
  // The file that is being written, of which `bytes` are there.
  struct Part {
    std::string path;
    mode_t mode = 0;
    std::uint64_t size = 0;
    std::uint64_t bytes = 0;
    Descriptor file;
  };
  struct Folder {
    std::string path;
    mode_t mode = 0;
  };

  Error Broken(std::string_view path, const std::string& what) const {
    return {ErrorCode::kCorrupt, "the file \"" + std::string(path.substr(0, 200)) +
                                     "\" of the tree " + manifest_.name + ": " + what};
  }

  // ---- The folder, and where an earlier fetch stopped

  Status OpenRoot() {
    DNC_TRY(MakeDirectories(to_));
    root_ = Descriptor(::open(to_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root_.ok()) return ErrnoError("open", to_, errno);
    const std::string state_path = to_ + "/" + kStateName;
    if (PathExists(state_path)) return GoOnFrom(state_path);
    DIR* const folder = ::opendir(to_.c_str());
    if (folder == nullptr) return ErrnoError("list", to_, errno);
    bool empty = true;
    while (const dirent* entry = ::readdir(folder)) {
      const std::string_view name = entry->d_name;
      // Of a fetch that was killed before it had stored a state.
      empty = empty && (name == "." || name == ".." || name == kStateTemporaryName);
    }
    ::closedir(folder);
    if (!empty) {
      return Error{ErrorCode::kAlreadyExists,
                   to_ + ": the folder is not empty; fetch into an empty or a new one"};
    }
    return StoreState(0);
  }

  Status GoOnFrom(const std::string& state_path) {
    DNC_ASSIGN(const std::string text, ReadFile(state_path, kStateBytesMax));
    const nlohmann::json state = nlohmann::json::parse(text, nullptr, false);
    const auto broken = [&] {
      return Error{ErrorCode::kCorrupt,
                   state_path + " cannot be read; remove it and what is beside it, and fetch anew"};
    };
    if (!state.is_object() || !state.contains("manifest") || !state["manifest"].is_string() ||
        !state.contains("shards_done") || !state["shards_done"].is_number_unsigned() ||
        !state.contains("folders") || !state["folders"].is_array()) {
      return broken();
    }
    if (state["manifest"] != digest_) {
      return Error{ErrorCode::kAlreadyExists,
                   to_ + " holds a part of another tree; fetch into an empty or a new folder"};
    }
    next_shard_ = state["shards_done"].get<std::size_t>();
    if (next_shard_ > manifest_.shards.size()) return broken();
    for (const nlohmann::json& entry : state["folders"]) {
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() ||
          !entry[1].is_number_unsigned()) {
        return broken();
      }
      const auto path = HexDecode(entry[0].get<std::string>());
      if (!path || !IsSafeRawPath(AsText(*path))) return broken();
      folders_.push_back({std::string(AsText(*path)), entry[1].get<mode_t>() & 0777});
      // It may have got its own mode before the fetch was stopped.
      DNC_ASSIGN(const Descriptor folder, OpenFolder(folders_.back().path));
      if (::fchmod(folder.get(), kFolderModeMeanwhile) != 0) {
        return ErrnoError("chmod", folders_.back().path, errno);
      }
    }
    for (std::size_t i = 0; i < next_shard_; ++i) {
      ++progress_.shards_done;
      progress_.bytes_done += manifest_.shards[i].bytes;
      progress_.bytes_kept += manifest_.shards[i].bytes;
    }
    return {};
  }

  Status StoreState(std::size_t shards_done) {
    if (part_ && ::fdatasync(part_->file.get()) != 0) return ErrnoError("sync", to_, errno);
    nlohmann::json state = {
        {"manifest", digest_}, {"shards_done", shards_done}, {"folders", nlohmann::json::array()}};
    for (const Folder& folder : folders_) {
      state["folders"].push_back({HexEncode(AsBytes(folder.path)), folder.mode});
    }
    return ReplaceState(state.dump());
  }

  // Under one temporary name, so that fetches that are killed leave no more than that file.
  Status ReplaceState(const std::string& text) const {
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW;
    const Descriptor file(::openat(root_.get(), kStateTemporaryName, flags, 0600));
    if (!file.ok()) return ErrnoError("create", to_ + "/" + kStateTemporaryName, errno);
    ByteSpan bytes = AsBytes(text);
    while (!bytes.empty()) {
      const ssize_t put = ::write(file.get(), bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return ErrnoError("write", to_ + "/" + kStateTemporaryName, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
    if (::fsync(file.get()) != 0 ||
        ::renameat(root_.get(), kStateTemporaryName, root_.get(), kStateName) != 0) {
      return ErrnoError("store the state of the fetch in", to_, errno);
    }
    return SyncDirectory(to_);
  }

  // ---- Rows

  Status FetchShard(const shard::ShardInfo& info) {
    const CheckedObject object(&store_, &info);
    DNC_ASSIGN(const shard::ShardReader reader, shard::ShardReader::Open(&object));
    if (reader.summary().columns.size() != RawColumns().size()) {
      return Error{ErrorCode::kCorrupt, "has other columns than its manifest"};
    }
    for (std::size_t c = 0; c < RawColumns().size(); ++c) {
      const array::ColumnSpec& column = reader.summary().columns[c];
      if (column.dtype != RawColumns()[c].dtype || column.shape != RawColumns()[c].shape ||
          column.kind != RawColumns()[c].kind) {
        return Error{ErrorCode::kCorrupt, "has other columns than its manifest"};
      }
    }
    const std::uint64_t bytes_before = progress_.bytes_done;
    for (std::uint32_t b = 0; b < reader.summary().block_count; ++b) {
      if (callback_ && !callback_(progress_)) {
        return Error{ErrorCode::kCancelled,
                     "fetching was stopped; run the same command again to go on"};
      }
      DNC_TRY(decoder_.Decode(reader, b, &block_));
      for (std::uint64_t i = 0; i < block_.sample_count; ++i) DNC_TRY(Put(RowAt(i)));
      progress_.bytes_done += reader.extent(b).bytes;
    }
    progress_.bytes_done = bytes_before + info.bytes;
    return {};
  }

  Row RowAt(std::uint64_t i) const {
    Row row;
    row.path = AsText(block_.element(kRawPath, i));
    row.kind = static_cast<RawKind>(ValueAt<std::uint8_t>(block_, kRawKind, i));
    row.mode = ValueAt<std::uint16_t>(block_, kRawMode, i) & 0777;
    row.size = static_cast<std::uint64_t>(ValueAt<std::int64_t>(block_, kRawSize, i));
    row.offset = static_cast<std::uint64_t>(ValueAt<std::int64_t>(block_, kRawOffset, i));
    row.bytes = block_.element(kRawBytes, i);
    return row;
  }

  Status Put(const Row& row) {
    if (!IsSafeRawPath(row.path) || row.path.starts_with(kRawReservedPrefix)) {
      return Broken(row.path, "a path that no tree has");
    }
    if (part_ && (row.kind != RawKind::kFile || row.offset == 0)) {
      return Broken(part_->path, "its last piece is missing");
    }
    DNC_TRY(LeaveFolders(row.path));
    switch (row.kind) {
      case RawKind::kFile:
        return PutPiece(row);
      case RawKind::kFolder:
        return PutFolder(row);
      case RawKind::kLink:
        return PutLink(row);
    }
    return Broken(row.path, "neither a file, a folder nor a link");
  }

  // Gives folders that do not hold `path` their modes.
  Status LeaveFolders(std::string_view path) {
    while (!folders_.empty()) {
      const Folder& folder = folders_.back();
      if (path.size() > folder.path.size() && path.starts_with(folder.path) &&
          path[folder.path.size()] == '/') {
        return {};
      }
      DNC_ASSIGN(const Descriptor opened, OpenFolder(folder.path));
      if (::fchmod(opened.get(), folder.mode) != 0) return ErrnoError("chmod", folder.path, errno);
      folders_.pop_back();
    }
    return {};
  }

  // A folder of the tree by its path; the root by an empty one.
  Result<Descriptor> OpenFolder(std::string_view path) const {
    Descriptor folder(::openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    while (!path.empty()) {
      const std::size_t end = std::min(path.find('/'), path.size());
      const std::string part(path.substr(0, end));
      folder = Descriptor(
          ::openat(folder.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!folder.ok()) {
        if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) {
          return Broken(path, "its folder is not there, or a link");
        }
        return ErrnoError("open", part, errno);
      }
      path.remove_prefix(std::min(end + 1, path.size()));
    }
    return folder;
  }

  struct Named {
    Descriptor folder;
    std::string name;
  };
  Result<Named> OpenParent(std::string_view path) const {
    const std::size_t slash = path.rfind('/');
    const bool at_root = slash == std::string_view::npos;
    DNC_ASSIGN(Descriptor folder, OpenFolder(at_root ? "" : path.substr(0, slash)));
    return Named{std::move(folder), std::string(at_root ? path : path.substr(slash + 1))};
  }

  Status PutFolder(const Row& row) {
    DNC_ASSIGN(const Named place, OpenParent(row.path));
    if (::mkdirat(place.folder.get(), place.name.c_str(), kFolderModeMeanwhile) != 0) {
      if (errno != EEXIST) return ErrnoError("make the folder", row.path, errno);
      // Made by the fetch that this one goes on from, perhaps with its own mode by now.
      DNC_ASSIGN(const Descriptor folder, OpenFolder(row.path));
      if (::fchmod(folder.get(), kFolderModeMeanwhile) != 0) {
        return ErrnoError("chmod", row.path, errno);
      }
    }
    folders_.push_back({std::string(row.path), row.mode});
    ++progress_.folders;
    return {};
  }

  Status PutLink(const Row& row) {
    const std::string target(AsText(row.bytes));
    if (target.empty() || target.find('\0') != std::string::npos) {
      return Broken(row.path, "a link to nowhere");
    }
    if (!options_.outside_links && !StaysInside(row.path, target)) {
      return Error{ErrorCode::kPermissionDenied,
                   "the link \"" + std::string(row.path) + "\" leads out of the tree, to \"" +
                       target.substr(0, 200) + "\"; allow such links with --outside-links"};
    }
    DNC_ASSIGN(const Named place, OpenParent(row.path));
    if (::symlinkat(target.c_str(), place.folder.get(), place.name.c_str()) != 0) {
      if (errno != EEXIST) return ErrnoError("make the link", row.path, errno);
      std::string there(target.size() + 1, '\0');
      const ssize_t size =
          ::readlinkat(place.folder.get(), place.name.c_str(), there.data(), there.size());
      if (size < 0 || there.substr(0, static_cast<std::size_t>(size)) != target) {
        return Broken(row.path, "comes twice");
      }
    }
    ++progress_.links;
    return {};
  }

  Status PutPiece(const Row& row) {
    if (row.offset > row.size || row.bytes.size() > row.size - row.offset ||
        (row.bytes.empty() && row.size > 0)) {
      return Broken(row.path, "a piece that lies outside of it");
    }
    if (!part_ && row.offset > 0) {
      DNC_ASSIGN(const bool finished, WasFinished(row));
      if (finished) return {};
    }
    if (!part_) DNC_TRY(OpenPart(row));
    if (part_->path != row.path || part_->size != row.size || part_->bytes != row.offset) {
      return Broken(row.path, "its pieces do not follow each other");
    }
    ByteSpan bytes = row.bytes;
    while (!bytes.empty()) {
      const ssize_t put =
          ::pwrite(part_->file.get(), bytes.data(), bytes.size(), static_cast<off_t>(part_->bytes));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return ErrnoError("write", row.path, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
      part_->bytes += static_cast<std::uint64_t>(put);
    }
    progress_.file_bytes += row.bytes.size();
    return part_->bytes == part_->size ? FinishPart() : Status();
  }

  // Whether the fetch that this one goes on from, which got further within this shard,
  // had the whole file already; what .dnc-fetch.part has then is of another one.
  Result<bool> WasFinished(const Row& row) const {
    DNC_ASSIGN(const Named place, OpenParent(row.path));
    struct stat info {};
    if (::fstatat(place.folder.get(), place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return false;
      return ErrnoError("read", row.path, errno);
    }
    return S_ISREG(info.st_mode) && static_cast<std::uint64_t>(info.st_size) == row.size;
  }

  // A new file, or the rest of one of which a shard before had the beginning.
  Status OpenPart(const Row& row) {
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (row.offset == 0 ? O_TRUNC : 0);
    Part part{std::string(row.path), row.mode, row.size, row.offset,
              Descriptor(::openat(root_.get(), kPartName, flags, 0600))};
    if (!part.file.ok()) return ErrnoError("create", to_ + "/" + kPartName, errno);
    struct stat info {};
    if (::fstat(part.file.get(), &info) != 0) return ErrnoError("read", to_, errno);
    if (static_cast<std::uint64_t>(info.st_size) < row.offset) {
      return Broken(row.path, "its first pieces are missing");
    }
    if (::ftruncate(part.file.get(), static_cast<off_t>(row.offset)) != 0) {
      return ErrnoError("cut", to_, errno);
    }
    part_ = std::move(part);
    return {};
  }

  Status FinishPart() {
    const Part part = std::move(*part_);
    part_.reset();
    if (::fchmod(part.file.get(), part.mode) != 0) return ErrnoError("chmod", part.path, errno);
    DNC_ASSIGN(const Named place, OpenParent(part.path));
    if (::renameat(root_.get(), kPartName, place.folder.get(), place.name.c_str()) != 0) {
      return ErrnoError("rename to", part.path, errno);
    }
    ++progress_.files;
    return {};
  }

  const shard::Manifest& manifest_;
  const store::ObjectStore& store_;
  const std::string to_;
  const FetchOptions options_;
  const FetchCallback& callback_;
  const std::string digest_;  // Of the manifest.
  FetchProgress progress_;
  Descriptor root_;
  std::size_t next_shard_ = 0;
  std::vector<Folder> folders_;  // Those that hold what comes next, from the root down.
  std::optional<Part> part_;
  shard::BlockDecoder decoder_;
  array::SampleBlock block_;
};

}  // namespace

bool IsRawDataset(const shard::Manifest& manifest) {
  const auto content = manifest.parameters.find("content");
  return content != manifest.parameters.end() && content->second == kRawContent &&
         manifest.columns == RawColumns() && manifest.splits.size() == 1;
}

Result<FetchProgress> FetchFiles(const shard::Manifest& manifest, const store::ObjectStore& store,
                                 const std::string& to, const FetchOptions& options,
                                 const FetchCallback& progress) {
  return FileFetcher(manifest, store, to, options, progress).Run();
}

}  // namespace dnc::divide
