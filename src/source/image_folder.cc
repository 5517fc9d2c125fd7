#include "source/image_folder.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/file.h"
#include "base/human.h"
#include "base/prng.h"
#include "image/image.h"
#include "source/array_input.h"
#include "source/text.h"

namespace dnc::source {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kRingBytes = 8 << 20;
constexpr std::size_t kRingSlotsMax = 64;

// Every image of a folder in sorted order. Names lie in one string, since a large
// data set has millions of them.
class Listing {
 public:
  explicit Listing(std::string root) : root_(std::move(root)) {}

  void AddClass(std::string name, const std::vector<std::string>& sorted_files) {
    for (const std::string& file : sorted_files) {
      names_ += file;
      name_ends_.push_back(names_.size());
    }
    class_names_.push_back(std::move(name));
    class_ends_.push_back(name_ends_.size());
  }
  const std::string& root() const { return root_; }
  const std::vector<std::string>& class_names() const { return class_names_; }
  std::uint64_t file_count() const { return name_ends_.size(); }
  std::size_t ClassOf(std::uint64_t file) const {
    return static_cast<std::size_t>(std::upper_bound(class_ends_.begin(), class_ends_.end(), file) -
                                    class_ends_.begin());
  }
  std::string PathOf(std::uint64_t file) const {
    const std::uint64_t begin = file == 0 ? 0 : name_ends_[file - 1];
    return root_ + "/" + class_names_[ClassOf(file)] + "/" +
           names_.substr(begin, name_ends_[file] - begin);
  }

 private:
  std::string root_;
  std::vector<std::string> class_names_;
  std::vector<std::uint64_t> class_ends_;  // One behind each class's last file.
  std::string names_;
  std::vector<std::uint64_t> name_ends_;
};

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

Error Wrong(const std::string& what) { return {ErrorCode::kInvalidArgument, what}; }

Result<Listing> ListImages(const std::string& root) {
  constexpr const char* kExpected = "; expected a folder of images per class, such as cat/1.jpg";
  DNC_ASSIGN(FolderEntries top, ListEntries(root));
  if (top.folders.empty()) {
    return Wrong(root +
                 (top.files.empty()
                      ? ": an empty folder"
                      : ": " + FormatCount(top.files.size()) + " files, but no folders") +
                 kExpected);
  }
  if (top.folders.size() > kImageClassCountMax) {
    return Error{ErrorCode::kTooLarge, root + ": " + FormatCount(top.folders.size()) +
                                           " folders of classes; at most " +
                                           FormatCount(kImageClassCountMax) + " are taken"};
  }
  Listing listing(root);
  for (std::string& name : top.folders) {
    const std::string path = root + "/" + name;
    if (!IsUtf8(name)) {
      return Wrong(root + "/" + Printable(name, 200) + ": the name of a class must be UTF-8 text");
    }
    DNC_ASSIGN(const FolderEntries entries, ListEntries(path));
    if (!entries.folders.empty()) {
      return Wrong(path + ": holds the folder " + Printable(entries.folders[0], 200) +
                   "; expected only images in the folder of a class");
    }
    if (entries.files.empty()) {
      return Wrong(path + ": a folder of a class without images; add some or remove it");
    }
    listing.AddClass(std::move(name), entries.files);
  }
  return listing;
}

bool IsBadImage(const Error& error) {
  return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kUnsupported ||
         error.code == ErrorCode::kTooLarge;
}

std::vector<array::ColumnSpec> MakeColumns(const Listing& listing, image::ImageSize size) {
  const auto& names = listing.class_names();
  return {{"x", array::DType::kUint8, {size.height, size.width, 3}, {}},
          {"y", ClassIndexDType(names.size()), {}, names}};
}

class ImageFolderSource final : public SampleSource {
 public:
  ImageFolderSource(Listing listing, const SourceOptions& options)
      : listing_(std::move(listing)),
        order_(listing_.file_count(), options.seed),
        size_(*options.resize),
        skip_bad_(options.skip_bad),
        thread_count_(std::clamp(options.threads, 1, 64)),
        columns_(MakeColumns(listing_, size_)),
        slots_(std::clamp<std::size_t>(kRingBytes / columns_[0].sample_bytes(),
                                       static_cast<std::size_t>(thread_count_) + 1,
                                       kRingSlotsMax)) {}

  ~ImageFolderSource() override {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    slot_free_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override { return listing_.file_count(); }
  const std::vector<SkippedInput>& skipped() const override { return skipped_; }
  std::string Describe() const override {
    return "folder of " + FormatCount(listing_.file_count()) + " images in " +
           FormatCount(listing_.class_names().size()) + " classes, resized to " +
           std::to_string(size_.width) + "x" + std::to_string(size_.height);
  }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    DNC_TRY(StartThreads());
    const std::size_t x_bytes = columns_[0].sample_bytes();
    const std::size_t y_bytes = columns_[1].sample_bytes();
    const std::uint64_t count_max = std::min(sample_count_max, listing_.file_count() - next_);
    block->sample_count = 0;
    block->columns.resize(2);
    block->columns[0].resize(count_max * x_bytes);
    block->columns[1].resize(count_max * y_bytes);
    std::uint64_t count = 0;
    while (count < count_max && next_ < listing_.file_count()) {
      Slot& slot = WaitForSlot();
      if (slot.status.ok()) {
        std::memcpy(block->columns[0].data() + count * x_bytes, slot.pixels.data(), x_bytes);
        const std::uint64_t label = listing_.ClassOf(order_(next_));
        std::memcpy(block->columns[1].data() + count * y_bytes, &label, y_bytes);
        ++count;
      } else {
        DNC_TRY(Skip(slot.status.error()));
      }
      FreeSlot(&slot);
    }
    block->columns[0].resize(count * x_bytes);
    block->columns[1].resize(count * y_bytes);
    block->sample_count = count;
    read_count_ += count;
    if (sample_count_max > 0 && read_count_ == 0) {
      return Wrong(listing_.root() + ": none of its " + FormatCount(listing_.file_count()) +
                   " files is an image that can be read; the first: " + skipped_[0].name + ": " +
                   skipped_[0].reason);
    }
    return {};
  }

 private:
  // Sample i is decoded into slot i modulo their number, in any order.
  struct Slot {
    Bytes pixels;
    Status status;
    bool is_ready = false;
  };

  Status StartThreads() {
    if (!threads_.empty()) return {};
    try {
      for (int i = 0; i < thread_count_; ++i) threads_.emplace_back([this] { DecodeAll(); });
    } catch (const std::system_error& error) {
      if (threads_.empty()) {
        return Error{ErrorCode::kResourceExhausted,
                     std::string("cannot start a thread: ") + error.what()};
      }
    }
    return {};
  }

  void DecodeAll() {
    image::ImageDecoder decoder(&large_images_);
    for (;;) {
      std::uint64_t index = 0;
      {
        std::unique_lock lock(mutex_);
        slot_free_.wait(lock, [this] {
          return stopped_ || next_to_decode_ == listing_.file_count() ||
                 next_to_decode_ < next_ + slots_.size();
        });
        if (stopped_ || next_to_decode_ == listing_.file_count()) return;
        index = next_to_decode_++;
      }
      Slot& slot = slots_[index % slots_.size()];
      slot.pixels.resize(columns_[0].sample_bytes());
      slot.status = DecodeFile(index, &decoder, slot.pixels);
      {
        const std::lock_guard lock(mutex_);
        slot.is_ready = true;
      }
      slot_ready_.notify_one();
    }
  }

  Status DecodeFile(std::uint64_t index, image::ImageDecoder* decoder,
                    std::span<std::byte> out) const {
    const std::string path = listing_.PathOf(order_(index));
    DNC_ASSIGN(const std::string bytes, ReadFile(path, kImageFileBytesMax));
    const Status status = decoder->Decode(AsBytes(bytes), size_, out);
    return status.ok() ? status : status.error().WithContext(path);
  }

  Slot& WaitForSlot() {
    std::unique_lock lock(mutex_);
    Slot& slot = slots_[next_ % slots_.size()];
    slot_ready_.wait(lock, [&] { return slot.is_ready; });
    return slot;
  }

  void FreeSlot(Slot* slot) {
    {
      const std::lock_guard lock(mutex_);
      slot->is_ready = false;
      ++next_;
    }
    slot_free_.notify_one();
  }

  // Lists a bad image, or fails with its error; then the next Read fails alike.
  Status Skip(const Error& error) {
    if (!IsBadImage(error)) return error;
    if (!skip_bad_) {
      return Error{error.code, error.message + "; remove it, or leave out bad images (--skip-bad)"};
    }
    std::string path = listing_.PathOf(order_(next_));
    std::string reason = error.message;
    if (reason.starts_with(path + ": ")) reason.erase(0, path.size() + 2);
    skipped_.push_back({std::move(path), std::move(reason)});
    return {};
  }

  const Listing listing_;
  const Permutation order_;
  const image::ImageSize size_;
  const bool skip_bad_;
  const int thread_count_;
  const std::vector<array::ColumnSpec> columns_;
  std::vector<SkippedInput> skipped_;
  std::uint64_t read_count_ = 0;

  std::mutex large_images_;
  std::mutex mutex_;  // Guards what follows, and is_ready of each slot.
  std::condition_variable slot_free_;
  std::condition_variable slot_ready_;
  std::uint64_t next_ = 0;  // Read by the caller next; only its thread writes it.
  std::uint64_t next_to_decode_ = 0;
  bool stopped_ = false;
  std::vector<Slot> slots_;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenImageFolder(const std::string& path,
                                                      const SourceOptions& options) {
  DNC_ASSIGN(Listing listing, ListImages(path));
  if (!options.resize) {
    return Wrong(path +
                 ": images differ in size; give the size that all are resized to "
                 "(--resize WIDTHxHEIGHT)");
  }
  const image::ImageSize size = *options.resize;
  if (size.width == 0 || size.height == 0 ||
      std::uint64_t{size.width} * size.height > kSampleBytesMax / 3) {
    return Error{
        size.width == 0 || size.height == 0 ? ErrorCode::kInvalidArgument : ErrorCode::kTooLarge,
        "images cannot be resized to " + std::to_string(size.width) + "x" +
            std::to_string(size.height) + "; expected 1x1 to 64 MiB of RGB"};
  }
  return std::unique_ptr<SampleSource>(
      std::make_unique<ImageFolderSource>(std::move(listing), options));
}

}  // namespace dnc::source
