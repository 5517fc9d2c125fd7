#include "stream/decode_ahead.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/assert.h"

namespace dnc::stream {
namespace {

struct Chunk {
  std::vector<Bytes> columns;
  std::vector<std::vector<std::uint32_t>> ends;
  std::uint64_t samples = 0;
  std::uint64_t epoch = 0;
  bool repeated = false;
  bool done = false;  // Decoded, or failed.
  Status failure;
};

class DecodedBatches final : public Batches {
 public:
  DecodedBatches(const shard::Manifest* manifest, WindowPump* pump, const DecodeOptions& options);
  ~DecodedBatches() override;

  // Errors: kResourceExhausted.
  Status Start();
  Result<Gathered> Next(std::uint64_t sample_count_max,
                        std::span<const Destination> destinations) override;
  bool WaitUntilReady(Duration timeout) override;
  Duration waited() const override { return waited_; }

 private:
  // What a thread is to decode next.
  struct Task {
    Chunk* chunk = nullptr;
    Window* window = nullptr;
    std::uint64_t first = 0;
  };

  void RunDecoder();
  // Waits for a free chunk and samples for it. False: there will be none.
  bool Claim(std::unique_lock<std::mutex>* lock, Task* task);
  // Whether Next would not wait.
  bool Ready() const { return order_.empty() ? ended_ : order_.front()->done; }
  // Makes window_ one with samples left, or ended_ true. Called by one thread at a time.
  void TakeWindow(std::unique_lock<std::mutex>* lock);
  Status Decode(const Task& task, image::ImageDecoder* decoder) const;
  Error DamagedImage(const Window& window, std::uint64_t i, std::size_t column,
                     const Error& error) const;
  void CopyOut(const Chunk& chunk, std::uint64_t first, std::uint64_t count,
               std::span<const Destination> destinations, std::uint64_t offset) const;

  const shard::Manifest* manifest_;
  WindowPump* pump_;
  const DecodeOptions options_;
  std::vector<ColumnSize> sizes_;  // In chunks: images do not vary.
  std::vector<bool> is_image_;
  std::mutex large_images_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Under mutex_. Chunks are in order_ from the claim on until they are consumed.
  std::vector<Chunk> chunks_;
  std::vector<Chunk*> free_;
  std::deque<Chunk*> order_;
  std::unique_ptr<Window> window_;
  std::uint64_t claimed_ = 0;      // Samples of window_.
  std::uint64_t outstanding_ = 0;  // Chunks of window_ that are being decoded.
  std::uint32_t repeats_ = 0;
  bool taking_ = false;    // A thread waits for the pump.
  bool starving_ = false;  // The caller waits.
  bool ended_ = false;
  Status failure_;  // Of the pump.
  bool stopping_ = false;

  // The caller's.
  std::uint64_t consumed_ = 0;  // Of the first chunk.
  Duration waited_;

  std::vector<std::thread> threads_;
};

DecodedBatches::DecodedBatches(const shard::Manifest* manifest, WindowPump* pump,
                               const DecodeOptions& options)
    : manifest_(manifest), pump_(pump), options_(options), chunks_(options.chunk_count) {
  DNC_ASSERT(options.chunk_count >= 2 && options.chunk_samples > 0);
  for (const array::ColumnSpec& column : manifest->columns) {
    is_image_.push_back(column.kind == array::ColumnKind::kImage);
    ColumnSize size{0, true};
    if (is_image_.back()) {
      size = {std::size_t{3} * options.size.width * options.size.height, false};
    } else if (column.is_array()) {
      size = {column.sample_bytes(), false};
    }
    sizes_.push_back(size);
  }
}

DecodedBatches::~DecodedBatches() {
  pump_->Stop();  // Whoever waits for a window wakes.
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Status DecodedBatches::Start() {
  try {
    for (Chunk& chunk : chunks_) {
      chunk.columns.resize(sizes_.size());
      chunk.ends.resize(sizes_.size());
      for (std::size_t c = 0; c < sizes_.size(); ++c) {
        chunk.columns[c].resize(sizes_[c].bytes * options_.chunk_samples);
      }
      free_.push_back(&chunk);
    }
    for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { RunDecoder(); });
  } catch (const std::exception& failure) {
    return Error{ErrorCode::kResourceExhausted,
                 std::string("cannot start decoding images: ") + failure.what() +
                     "; free memory or threads, or give a smaller budget"};
  }
  return {};
}

void DecodedBatches::TakeWindow(std::unique_lock<std::mutex>* lock) {
  taking_ = true;
  if (window_ != nullptr) {
    // Chunks of it may still be decoded by other threads.
    changed_.wait(*lock, [this] { return outstanding_ == 0 || stopping_; });
    const bool repeat = repeats_ < options_.reuse_max && order_.empty() && !pump_->Ready();
    if (repeat && !stopping_) {
      window_->Reorder(++repeats_);
      claimed_ = 0;
      taking_ = false;
      return;
    }
    pump_->Return(std::move(window_));
  }
  lock->unlock();
  Result<std::unique_ptr<Window>> taken = pump_->Take();
  lock->lock();
  taking_ = false;
  claimed_ = 0;
  repeats_ = 0;
  if (taken.ok()) window_ = std::move(taken).value();
  if (!taken.ok()) failure_ = taken.error();
  ended_ = window_ == nullptr;
  changed_.notify_all();
}

bool DecodedBatches::Claim(std::unique_lock<std::mutex>* lock, Task* task) {
  for (;;) {
    if (stopping_ || ended_) return false;
    if (!taking_ && !free_.empty()) {
      if (window_ != nullptr && claimed_ < window_->samples()) break;
      // Where a window may be repeated, that is decided when the caller waits.
      if (window_ == nullptr || options_.reuse_max == 0 || starving_ || pump_->Ready()) {
        TakeWindow(lock);
        continue;
      }
    }
    if (options_.reuse_max > 0) {
      // The pump does not say when it is ready; a look now and then is enough.
      changed_.wait_for(*lock, std::chrono::milliseconds(5));
    } else {
      changed_.wait(*lock);
    }
  }
  Chunk* const chunk = free_.back();
  free_.pop_back();
  chunk->samples = std::min(options_.chunk_samples, window_->samples() - claimed_);
  chunk->epoch = window_->epoch();
  chunk->repeated = repeats_ > 0;
  chunk->done = false;
  *task = {chunk, window_.get(), claimed_};
  claimed_ += chunk->samples;
  ++outstanding_;
  order_.push_back(chunk);
  return true;
}

Error DecodedBatches::DamagedImage(const Window& window, std::uint64_t i, std::size_t column,
                                   const Error& error) const {
  const Window::Origin origin = window.OriginOf(i);
  const shard::ShardInfo& shard = manifest_->shards[origin.shard_index];
  return error.WithContext(
      "image \"" + manifest_->columns[column].name + "\" of sample " +
      std::to_string(std::uint64_t{origin.block_index} * shard.block_samples + origin.row) +
      " of shard " + shard.cid);
}

Status DecodedBatches::Decode(const Task& task, image::ImageDecoder* decoder) const {
  Chunk& chunk = *task.chunk;
  std::vector<Destination> destinations(sizes_.size());
  for (std::size_t c = 0; c < sizes_.size(); ++c) {
    if (is_image_[c]) continue;  // Left out.
    if (sizes_[c].varies) {
      chunk.columns[c].clear();
      chunk.ends[c].clear();
      destinations[c].bytes = &chunk.columns[c];
      destinations[c].ends = &chunk.ends[c];
    } else {
      destinations[c].rows = chunk.columns[c].data();
    }
  }
  DNC_TRY(task.window->Gather(task.first, chunk.samples, destinations, 0));
  for (std::size_t c = 0; c < sizes_.size(); ++c) {
    if (!is_image_[c]) continue;
    for (std::uint64_t i = 0; i < chunk.samples; ++i) {
      const std::span<std::byte> out =
          std::span(chunk.columns[c]).subspan(i * sizes_[c].bytes, sizes_[c].bytes);
      const Status decoded =
          decoder->Decode(task.window->Element(task.first + i, c), options_.size, out);
      if (!decoded.ok()) {
        return DamagedImage(*task.window, task.first + i, c, decoded.error());
      }
    }
  }
  return {};
}

void DecodedBatches::RunDecoder() {
  image::ImageDecoder decoder(&large_images_);
  std::unique_lock lock(mutex_);
  Task task;
  while (Claim(&lock, &task)) {
    lock.unlock();
    Status status;
    try {
      status = Decode(task, &decoder);
    } catch (const std::exception& failure) {
      status = Error{ErrorCode::kResourceExhausted,
                     std::string("no memory while decoding images: ") + failure.what()};
    }
    lock.lock();
    task.chunk->failure = std::move(status);
    task.chunk->done = true;
    --outstanding_;
    changed_.notify_all();
  }
}

void DecodedBatches::CopyOut(const Chunk& chunk, std::uint64_t first, std::uint64_t count,
                             std::span<const Destination> destinations,
                             std::uint64_t offset) const {
  for (std::size_t c = 0; c < sizes_.size(); ++c) {
    const Destination& out = destinations[c];
    const std::size_t bytes = sizes_[c].bytes;
    if (!sizes_[c].varies) {
      if (out.rows != nullptr && bytes > 0) {
        std::memcpy(out.rows + offset * bytes, chunk.columns[c].data() + first * bytes,
                    count * bytes);
      }
      continue;
    }
    if (out.bytes == nullptr) continue;
    for (std::uint64_t i = first; i < first + count; ++i) {
      const std::uint32_t begin = i == 0 ? 0 : chunk.ends[c][i - 1];
      const ByteSpan element = ByteSpan(chunk.columns[c]).subspan(begin, chunk.ends[c][i] - begin);
      out.bytes->insert(out.bytes->end(), element.begin(), element.end());
      out.ends->push_back(static_cast<std::uint32_t>(out.bytes->size()));
    }
  }
}

bool DecodedBatches::WaitUntilReady(Duration timeout) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::microseconds(timeout.us), [this] { return Ready(); });
}

Result<Gathered> DecodedBatches::Next(std::uint64_t sample_count_max,
                                      std::span<const Destination> destinations) {
  Gathered gathered;
  std::unique_lock lock(mutex_);
  while (gathered.samples < sample_count_max) {
    if (!Ready()) {
      const Instant begin = MonotonicNow();
      starving_ = true;
      changed_.notify_all();
      changed_.wait(lock, [this] { return Ready(); });
      starving_ = false;
      waited_ = waited_ + (MonotonicNow() - begin);
    }
    if (order_.empty()) {
      if (!failure_.ok() && gathered.samples == 0) return failure_.error();
      break;
    }
    Chunk* const chunk = order_.front();
    if (!chunk->failure.ok()) {
      if (gathered.samples == 0) return chunk->failure.error();
      break;
    }
    if (gathered.samples > 0 && chunk->epoch != gathered.epoch) break;
    gathered.epoch = chunk->epoch;
    const std::uint64_t count =
        std::min(sample_count_max - gathered.samples, chunk->samples - consumed_);
    lock.unlock();  // A chunk that is done is the caller's.
    CopyOut(*chunk, consumed_, count, destinations, gathered.samples);
    lock.lock();
    consumed_ += count;
    gathered.samples += count;
    if (chunk->repeated) gathered.repeated += count;
    if (consumed_ == chunk->samples) {
      consumed_ = 0;
      order_.pop_front();
      free_.push_back(chunk);
      changed_.notify_all();
    }
  }
  return gathered;
}

}  // namespace

DecodeOptions SpreadRing(std::uint64_t ring_bytes, std::uint64_t sample_bytes, int threads) {
  sample_bytes = std::max<std::uint64_t>(sample_bytes, 1);
  DecodeOptions options;
  const std::uint64_t samples = std::max<std::uint64_t>(ring_bytes / sample_bytes, 2);
  // One chunk is consumed while each thread fills another, and two wait.
  const std::uint64_t wanted = static_cast<std::uint64_t>(std::max(threads, 1)) + 3;
  options.chunk_samples = std::clamp<std::uint64_t>(samples / wanted, 1, 32);
  options.chunk_count = std::clamp<std::uint64_t>(samples / options.chunk_samples, 2, 256);
  options.threads = static_cast<int>(std::min<std::uint64_t>(
      static_cast<std::uint64_t>(std::max(threads, 1)), options.chunk_count - 1));
  return options;
}

Result<std::unique_ptr<Batches>> MakeDecodedBatches(const shard::Manifest* manifest,
                                                    WindowPump* pump,
                                                    const DecodeOptions& options) {
  auto batches = std::make_unique<DecodedBatches>(manifest, pump, options);
  DNC_TRY(batches->Start());
  return std::unique_ptr<Batches>(std::move(batches));
}

}  // namespace dnc::stream
