#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_output.h"
#include "cli/progress.h"
#include "ipfs/unixfs.h"
#include "shard/content_id.h"

namespace dnc::cli {
namespace {

namespace fs = std::filesystem;

// Folders within folders; a node of IPFS has no such limit, a stack has.
constexpr int kFolderDepthMax = 200;
constexpr std::size_t kReadBytes = 1 << 20;

struct CidOptions {
  std::vector<std::string> paths;
  bool hidden = false;
  bool json = false;
};

// Reads trees and names them; nothing of a file is kept.
class TreeNamer {
 public:
  TreeNamer(bool hidden, Progress* progress) : hidden_(hidden), progress_(progress) {}

  Result<ipfs::Root> Name(const std::string& path, int depth = 0) {
    if (depth == 0 && path == "-") return NameStream(STDIN_FILENO, "standard input");
    std::error_code error;
    // What the user names is followed where it is a link; what is in a folder is not.
    const fs::file_status status =
        depth == 0 ? fs::status(path, error) : fs::symlink_status(path, error);
    if (status.type() == fs::file_type::not_found) {
      return Error{ErrorCode::kNotFound, path + ": no such file or folder"};
    }
    if (error) return ErrnoError("look at", path, error.value());
    switch (status.type()) {
      case fs::file_type::regular:
        return NameFile(path);
      case fs::file_type::directory:
        return NameFolder(path, depth);
      case fs::file_type::symlink: {
        const fs::path target = fs::read_symlink(path, error);
        if (error) return ErrnoError("read link", path, error.value());
        return ipfs::BuildSymlink(target.native());
      }
      default:
        return Error{ErrorCode::kInvalidArgument,
                     path + ": neither a file, a folder nor a link; it has no bytes to name"};
    }
  }

 private:
  Result<ipfs::Root> NameFile(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ErrnoError("open", path, errno);
    auto root = NameStream(fd, path);
    ::close(fd);
    return root;
  }

  Result<ipfs::Root> NameStream(int fd, const std::string& name) {
    shard::ContentHasher hasher;
    buffer_.resize(kReadBytes);
    for (;;) {
      const ssize_t count = ::read(fd, buffer_.data(), buffer_.size());
      if (count < 0 && errno == EINTR && !Interrupted()) continue;
      if (Interrupted()) return Error{ErrorCode::kCancelled, "cid: interrupted"};
      if (count < 0) return ErrnoError("read", name, errno);
      if (count == 0) break;
      hasher.Update(ByteSpan(buffer_).first(static_cast<std::size_t>(count)));
      bytes_ += static_cast<std::uint64_t>(count);
      if (progress_->Due()) {
        progress_->Show(name + ": " + RateText(bytes_, 0, "bytes", progress_->elapsed()));
      }
    }
    const shard::ContentHasher::Identity identity = hasher.Finish();
    return ipfs::BuildFile(identity.leaves, identity.bytes);
  }

  Result<ipfs::Root> NameFolder(const std::string& path, int depth) {
    if (depth == kFolderDepthMax) {
      return Error{ErrorCode::kTooLarge, path + ": more than " + std::to_string(kFolderDepthMax) +
                                             " folders within folders"};
    }
    std::vector<std::string> names;
    std::error_code error;
    fs::directory_iterator it(path, error);
    for (; !error && it != fs::directory_iterator(); it.increment(error)) {
      std::string name = it->path().filename().native();
      if (hidden_ || !name.starts_with(".")) names.push_back(std::move(name));
    }
    if (error) return ErrnoError("list folder", path, error.value());
    std::sort(names.begin(), names.end());
    std::vector<ipfs::DirectoryEntry> entries;
    for (std::string& name : names) {
      DNC_ASSIGN(const ipfs::Root child, Name(path + "/" + name, depth + 1));
      entries.push_back({std::move(name), child.cid, child.total_bytes});
    }
    return ipfs::BuildDirectory(std::move(entries));
  }

  bool hidden_;
  Progress* progress_;
  std::uint64_t bytes_ = 0;
  Bytes buffer_;
};

Status NamePaths(const CidOptions& options) {
  Progress progress(options.json);
  TreeNamer namer(options.hidden, &progress);
  nlohmann::json rows = nlohmann::json::array();
  for (const std::string& path : options.paths) {
    DNC_ASSIGN(const ipfs::Root root, namer.Name(path));
    if (options.json) {
      rows.push_back({{"path", path},
                      {"cid", root.cid.Text()},
                      {"bytes", root.file_bytes},
                      {"total_bytes", root.total_bytes}});
    } else {
      std::printf("%s  %s\n", root.cid.Text().c_str(), path.c_str());
      std::fflush(stdout);
    }
  }
  if (options.json) PrintJson(rows);
  return {};
}

}  // namespace

void AddCid(Registry* registry) {
  const auto options = std::make_shared<CidOptions>();
  CLI::App* command = AddCommand(
      registry,
      {.name = "cid",
       .description = "Print the IPFS content id of files and folders: what `ipfs add` would\n"
                      "print with the profile unixfs-v1-2025. Nothing is sent or stored",
       .examples = "  dnc cid shards/bafkrei...           # a shard is named by its own id\n"
                   "  dnc cid photos/ --json\n"
                   "  tar c photos | dnc cid -"},
      [options] { return NamePaths(*options); });
  command->add_option("PATH", options->paths, "Files and folders; - is standard input")->required();
  command->add_flag("--hidden", options->hidden, "Take hidden files in folders too");
  command->add_flag("--json", options->json, "Print JSON");
}

}  // namespace dnc::cli
