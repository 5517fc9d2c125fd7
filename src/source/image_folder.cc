#include "source/image_folder.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/file.h"
#include "base/human.h"
#include "base/prng.h"
#include "image/image.h"
#include "source/array_input.h"
#include "source/block_builder.h"
#include "source/decoded_images.h"

namespace dnc::source {
namespace {

constexpr std::uint64_t kRingBytes = 8 << 20;
constexpr std::size_t kRingSlotsMax = 64;

Error Wrong(const std::string& what) { return {ErrorCode::kInvalidArgument, what}; }

bool IsBadImage(const Error& error) {
  return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kUnsupported ||
         error.code == ErrorCode::kTooLarge || error.code == ErrorCode::kInvalidArgument;
}

std::vector<array::ColumnSpec> MakeColumns(const array::ColumnSpec& label,
                                           const image::PixelForm& form) {
  array::ColumnSpec x{.name = "x"};
  if (!form.has_size()) {
    x.kind = array::ColumnKind::kImage;
  } else if (form.grayscale) {
    x.shape = {form.size().height, form.size().width};
  } else {
    x.shape = {form.size().height, form.size().width, form.channels()};
  }
  return {std::move(x), label};
}

class ImageFolderSource final : public SampleSource {
 public:
  ImageFolderSource(ImageListing listing, const image::PixelForm& form,
                    const SourceOptions& options)
      : listing_(std::move(listing)),
        order_(listing_.size(), options.seed),
        form_(form),
        skip_bad_(options.skip_bad),
        thread_count_(std::clamp(options.threads, 1, 64)),
        columns_(MakeColumns(listing_.label, form_)),
        slots_(std::max(kRingSlotsMax, static_cast<std::size_t>(thread_count_) + 1)) {}

  ~ImageFolderSource() override {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    slot_free_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override { return listing_.size(); }
  const std::vector<SkippedInput>& skipped() const override { return skipped_; }
  std::string Describe() const override {
    return "folder of " + FormatCount(listing_.size()) + " images " + listing_.description +
           DescribePixelForm(form_);
  }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    DNC_TRY(StartThreads());
    BlockBuilder builder(columns_, block);
    while (builder.sample_count() < sample_count_max && next_ < listing_.size() &&
           !builder.is_full()) {
      Slot& slot = WaitForSlot();
      if (slot.status.ok()) {
        builder.Add(0, slot.data);
        builder.Add(1, listing_.LabelOf(order_(next_)));
        builder.EndSample();
      } else {
        DNC_TRY(LeaveOut(slot.status.error()));
      }
      FreeSlot(&slot);
    }
    read_count_ += builder.sample_count();
    if (sample_count_max > 0 && read_count_ == 0) {
      return Wrong(listing_.root + ": none of its " + FormatCount(listing_.size()) +
                   " files is an image that can be read; the first: " + skipped_[0].name + ": " +
                   skipped_[0].reason);
    }
    return {};
  }

 private:
  // Sample i is made in slot i modulo their number, in any order.
  struct Slot {
    Bytes data;  // The file, or its pixels.
    Status status;
    bool is_ready = false;
  };

  Status StartThreads() {
    if (!threads_.empty()) return {};
    try {
      for (int i = 0; i < thread_count_; ++i) threads_.emplace_back([this] { FillSlots(); });
    } catch (const std::system_error& error) {
      if (threads_.empty()) {
        return Error{ErrorCode::kResourceExhausted,
                     std::string("cannot start a thread: ") + error.what()};
      }
    }
    return {};
  }

  void FillSlots() {
    image::ImageDecoder decoder(&large_images_);
    for (;;) {
      std::uint64_t index = 0;
      {
        std::unique_lock lock(mutex_);
        slot_free_.wait(lock, [this] { return stopped_ || AtEnd() || MayGoAhead(); });
        if (stopped_ || AtEnd()) return;
        index = next_to_fill_++;
      }
      Slot& slot = slots_[index % slots_.size()];
      slot.status = Fill(index, &decoder, &slot.data);
      if (!slot.status.ok()) slot.data = {};
      {
        const std::lock_guard lock(mutex_);
        slot.is_ready = true;
        held_bytes_ += slot.data.size();
      }
      slot_ready_.notify_one();
    }
  }

  bool AtEnd() const { return next_to_fill_ == listing_.size(); }
  // The reader waits for the next one, whatever is held.
  bool MayGoAhead() const {
    return next_to_fill_ == next_ ||
           (next_to_fill_ < next_ + slots_.size() && held_bytes_ < kRingBytes);
  }

  Status Fill(std::uint64_t index, image::ImageDecoder* decoder, Bytes* data) const {
    const std::string path = listing_.PathOf(order_(index));
    DNC_ASSIGN(const std::string bytes, ReadFile(path, kImageFileBytesMax));
    Status status;
    if (form_.has_size()) {
      data->resize(form_.bytes());
      status = decoder->Decode(AsBytes(bytes), form_, *data);
    } else {
      status = decoder->Check(AsBytes(bytes));
      const ByteSpan file = AsBytes(bytes);
      data->assign(file.begin(), file.end());
    }
    return status.ok() ? status : status.error().WithContext(path);
  }

  Slot& WaitForSlot() {
    std::unique_lock lock(mutex_);
    Slot& slot = slots_[next_ % slots_.size()];
    slot_ready_.wait(lock, [&] { return slot.is_ready; });
    return slot;
  }

  void FreeSlot(Slot* slot) {
    const std::size_t bytes = slot->data.size();
    slot->data.clear();
    // Files of any size come along; what one of them took is not kept for ever.
    if (slot->data.capacity() > kRingBytes / kRingSlotsMax) slot->data.shrink_to_fit();
    {
      const std::lock_guard lock(mutex_);
      slot->is_ready = false;
      held_bytes_ -= bytes;
      ++next_;
    }
    slot_free_.notify_all();
  }

  // Lists a bad image, or fails with its error; then the next Read fails alike.
  Status LeaveOut(const Error& error) {
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

  const ImageListing listing_;
  const Permutation order_;
  const image::PixelForm form_;
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
  std::uint64_t next_to_fill_ = 0;
  std::uint64_t held_bytes_ = 0;  // In slots that are ready.
  bool stopped_ = false;
  std::vector<Slot> slots_;
  std::vector<std::thread> threads_;
};

}  // namespace

Result<std::unique_ptr<SampleSource>> OpenImageFolder(const std::string& path,
                                                      const SourceOptions& options) {
  const image::PixelForm form{options.resize, options.crop, options.grayscale};
  DNC_TRY(CheckImageOptions(path, options));
  const bool has_table = !options.labels_path.empty();
  if (!has_table && !options.label_column.empty()) {
    return Wrong(path + ": a column of labels (--label-column) needs their table (--labels FILE)");
  }
  DNC_ASSIGN(ImageListing listing,
             has_table ? ListLabelledImages(path, options.labels_path, options.label_column)
                       : ListClassFolders(path));
  return std::unique_ptr<SampleSource>(
      std::make_unique<ImageFolderSource>(std::move(listing), form, options));
}

}  // namespace dnc::source
