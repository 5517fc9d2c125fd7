#include "source/byte_stream.h"

#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "base/file.h"
#include "base/human.h"

namespace dnc::source {
namespace {

constexpr std::size_t kInputBytes = 256 << 10;
constexpr std::size_t kSkipBytes = 64 << 10;

class RangeStream final : public ByteStream {
 public:
  RangeStream(SharedSource source, ByteRange range) : source_(std::move(source)), range_(range) {
    DNC_ASSERT(range.offset <= source_->size() && range.size <= source_->size() - range.offset);
  }

  Result<std::size_t> Read(std::span<std::byte> out) override {
    const std::size_t size = std::min<std::uint64_t>(out.size(), range_.size);
    if (size == 0) return std::size_t{0};
    DNC_TRY(source_->ReadAt(range_.offset, out.first(size)));
    range_.offset += size;
    range_.size -= size;
    done_ += size;
    return size;
  }
  Result<std::uint64_t> Skip(std::uint64_t size) override {
    size = std::min(size, range_.size);
    range_.offset += size;
    range_.size -= size;
    done_ += size;
    return size;
  }
  std::uint64_t position() const override { return done_; }

 private:
  SharedSource source_;
  ByteRange range_;
  std::uint64_t done_ = 0;
};

class DescriptorStream final : public ByteStream {
 public:
  DescriptorStream(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}

  Result<std::size_t> Read(std::span<std::byte> out) override {
    std::size_t filled = 0;
    while (filled < out.size()) {
      const ssize_t got = ::read(fd_, out.data() + filled, out.size() - filled);
      if (got == 0) break;
      if (got < 0) {
        if (errno == EINTR) continue;
        return ErrnoError("read", name_, errno);
      }
      filled += static_cast<std::size_t>(got);
    }
    done_ += filled;
    return filled;
  }
  std::uint64_t position() const override { return done_; }

 private:
  int fd_;
  std::string name_;
  std::uint64_t done_ = 0;
};

class PrefixedStream final : public ByteStream {
 public:
  PrefixedStream(Bytes prefix, std::size_t offset, std::unique_ptr<ByteStream> rest)
      : prefix_(std::move(prefix)), offset_(offset), rest_(std::move(rest)) {
    DNC_ASSERT(offset_ <= prefix_.size());
  }

  Result<std::size_t> Read(std::span<std::byte> out) override {
    const std::size_t size = std::min(out.size(), prefix_.size() - offset_);
    if (size > 0) std::memcpy(out.data(), prefix_.data() + offset_, size);
    Advance(size);
    if (size == out.size()) return size;
    DNC_ASSIGN(const std::size_t more, rest_->Read(out.subspan(size)));
    return size + more;
  }
  Result<std::uint64_t> Skip(std::uint64_t size) override {
    const std::uint64_t here = std::min<std::uint64_t>(size, prefix_.size() - offset_);
    Advance(here);
    DNC_ASSIGN(const std::uint64_t more, rest_->Skip(size - here));
    return here + more;
  }
  std::uint64_t position() const override { return rest_->position(); }

 private:
  void Advance(std::size_t size) {
    offset_ += size;
    if (offset_ == prefix_.size()) prefix_ = {}, offset_ = 0;
  }

  Bytes prefix_;
  std::size_t offset_;
  std::unique_ptr<ByteStream> rest_;
};

// Inflates a stream: gzip or zlib (with headers and checksums of their own) or raw
// deflate.
class InflateStream final : public ByteStream {
 public:
  enum class Framing { kGzip, kZlib, kRaw };

  InflateStream(std::unique_ptr<ByteStream> input, Framing framing, std::string name)
      : input_(std::move(input)), framing_(framing), name_(std::move(name)) {
    // A window of 2^15, the largest; +16 makes zlib read gzip framing.
    const int window_bits = framing == Framing::kGzip   ? 15 + 16
                            : framing == Framing::kZlib ? 15
                                                        : -15;
    DNC_ASSERT(inflateInit2(&zlib_, window_bits) == Z_OK);
  }
  ~InflateStream() override { inflateEnd(&zlib_); }
  InflateStream(const InflateStream&) = delete;
  InflateStream& operator=(const InflateStream&) = delete;

  Result<std::size_t> Read(std::span<std::byte> out) override {
    std::size_t filled = 0;
    while (filled < out.size() && !ended_) {
      if (zlib_.avail_in == 0) {
        DNC_TRY(Refill());
        if (zlib_.avail_in == 0) return Damaged("it ends in the middle; the file is truncated");
      }
      const std::size_t wanted = std::min<std::size_t>(out.size() - filled, 1 << 30);
      zlib_.next_out = reinterpret_cast<Bytef*>(out.data() + filled);
      zlib_.avail_out = static_cast<uInt>(wanted);
      const int code = inflate(&zlib_, Z_NO_FLUSH);
      filled += wanted - zlib_.avail_out;
      if (code == Z_STREAM_END) {
        DNC_TRY(FinishMember());
      } else if (code == Z_MEM_ERROR) {
        return Error{ErrorCode::kResourceExhausted, name_ + ": no memory to decompress it"};
      } else if (code != Z_OK && code != Z_BUF_ERROR) {
        return Damaged(zlib_.msg != nullptr ? zlib_.msg : "unknown framing");
      }
    }
    return filled;
  }
  std::uint64_t position() const override { return input_->position(); }

 private:
  Status Refill() {
    if (buffer_.empty()) buffer_.resize(kInputBytes);
    DNC_ASSIGN(const std::size_t size, input_->Read(buffer_));
    zlib_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
    zlib_.avail_in = static_cast<uInt>(size);
    return {};
  }

  // Another gzip member may follow; anything else is padding, as gzip has it.
  Status FinishMember() {
    if (framing_ == Framing::kGzip) {
      if (zlib_.avail_in == 0) DNC_TRY(Refill());
      if (zlib_.avail_in > 0 && zlib_.next_in[0] == 0x1f) {
        DNC_ASSERT(inflateReset(&zlib_) == Z_OK);
        return {};
      }
    }
    ended_ = true;
    return {};
  }

  Error Damaged(const std::string& what) const {
    return {ErrorCode::kCorrupt, name_ + ": damaged compressed data: " + what};
  }

  std::unique_ptr<ByteStream> input_;
  Framing framing_;
  std::string name_;
  Bytes buffer_;
  z_stream zlib_{};
  bool ended_ = false;
};

class ZstdStream final : public ByteStream {
 public:
  ZstdStream(std::unique_ptr<ByteStream> input, std::string name)
      : input_(std::move(input)), name_(std::move(name)), context_(ZSTD_createDStream()) {
    DNC_ASSERT(context_ != nullptr);
    const int window_log = std::countr_zero(kZstdWindowBytesMax);
    DNC_ASSERT(!ZSTD_isError(ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, window_log)));
  }
  ~ZstdStream() override { ZSTD_freeDStream(context_); }
  ZstdStream(const ZstdStream&) = delete;
  ZstdStream& operator=(const ZstdStream&) = delete;

  Result<std::size_t> Read(std::span<std::byte> out) override {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos < output.size) {
      if (in_.pos == in_.size) {
        if (buffer_.empty()) buffer_.resize(kInputBytes);
        DNC_ASSIGN(const std::size_t size, input_->Read(buffer_));
        in_ = {buffer_.data(), size, 0};
        // Nothing may be left inside the decoder either: it asks for 0 bytes more then.
        if (size == 0 && wanted_ == 0) break;
      }
      const bool at_end = in_.size == 0;
      const std::size_t before = output.pos;
      wanted_ = ZSTD_decompressStream(context_, &output, &in_);
      if (ZSTD_isError(wanted_)) return Failure(wanted_);
      if (at_end && output.pos == before && wanted_ != 0) {
        return Error{ErrorCode::kCorrupt, name_ +
                                              ": damaged compressed data: it ends in the "
                                              "middle; the file is truncated"};
      }
    }
    return output.pos;
  }
  std::uint64_t position() const override { return input_->position(); }

 private:
  Error Failure(std::size_t code) const {
    if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge) {
      return {ErrorCode::kTooLarge, name_ + ": its zstd frame needs a window above " +
                                        FormatByteCount(kZstdWindowBytesMax) +
                                        " to decode; compress it again without --long or --ultra"};
    }
    return {ErrorCode::kCorrupt,
            name_ + ": damaged compressed data: " + std::string(ZSTD_getErrorName(code))};
  }

  std::unique_ptr<ByteStream> input_;
  std::string name_;
  ZSTD_DStream* context_;
  Bytes buffer_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  std::size_t wanted_ = 0;
};

// Checks that a stream has the size and CRC-32 that its archive states.
class CheckedStream final : public ByteStream {
 public:
  CheckedStream(std::unique_ptr<ByteStream> inner, DeflatedMember member)
      : inner_(std::move(inner)), member_(std::move(member)) {}

  Result<std::size_t> Read(std::span<std::byte> out) override {
    DNC_ASSIGN(const std::size_t size, inner_->Read(out));
    crc_ =
        static_cast<std::uint32_t>(crc32_z(crc_, reinterpret_cast<const Bytef*>(out.data()), size));
    size_ += size;
    if (size_ > member_.size || (size < out.size() && size_ != member_.size)) {
      return Error{ErrorCode::kCorrupt,
                   member_.name + ": the archive states " + std::to_string(member_.size) +
                       " bytes, but there are " +
                       (size_ > member_.size ? "more" : std::to_string(size_))};
    }
    if (size_ == member_.size && crc_ != member_.crc32) {
      return Error{ErrorCode::kCorrupt,
                   member_.name + ": its checksum is not the one that the archive states"};
    }
    return size;
  }
  std::uint64_t position() const override { return inner_->position(); }

 private:
  std::unique_ptr<ByteStream> inner_;
  DeflatedMember member_;
  std::uint64_t size_ = 0;
  std::uint32_t crc_ = 0;
};

}  // namespace

Result<std::uint64_t> ByteStream::Skip(std::uint64_t size) {
  Bytes scratch(std::min<std::uint64_t>(size, kSkipBytes));
  std::uint64_t skipped = 0;
  while (skipped < size) {
    const std::size_t wanted = std::min<std::uint64_t>(size - skipped, kSkipBytes);
    DNC_ASSIGN(const std::size_t got, Read(std::span(scratch).first(wanted)));
    skipped += got;
    if (got < wanted) break;
  }
  return skipped;
}

std::unique_ptr<ByteStream> OpenRange(SharedSource source, ByteRange range) {
  return std::make_unique<RangeStream>(std::move(source), range);
}

std::unique_ptr<ByteStream> OpenGzip(std::unique_ptr<ByteStream> inner, std::string name) {
  return std::make_unique<InflateStream>(std::move(inner), InflateStream::Framing::kGzip,
                                         std::move(name));
}

std::unique_ptr<ByteStream> OpenZlib(std::unique_ptr<ByteStream> inner, std::string name) {
  return std::make_unique<InflateStream>(std::move(inner), InflateStream::Framing::kZlib,
                                         std::move(name));
}

std::unique_ptr<ByteStream> OpenZstd(std::unique_ptr<ByteStream> inner, std::string name) {
  return std::make_unique<ZstdStream>(std::move(inner), std::move(name));
}

std::unique_ptr<ByteStream> OpenDescriptor(int fd, std::string name) {
  return std::make_unique<DescriptorStream>(fd, std::move(name));
}

std::unique_ptr<ByteStream> OpenPrefixed(Bytes prefix, std::size_t offset,
                                         std::unique_ptr<ByteStream> rest) {
  return std::make_unique<PrefixedStream>(std::move(prefix), offset, std::move(rest));
}

std::unique_ptr<ByteStream> OpenDeflated(SharedSource source, DeflatedMember member) {
  auto inflated = std::make_unique<InflateStream>(OpenRange(std::move(source), member.range),
                                                  InflateStream::Framing::kRaw, member.name);
  return std::make_unique<CheckedStream>(std::move(inflated), std::move(member));
}

std::unique_ptr<ByteStream> OpenStored(SharedSource source, DeflatedMember member) {
  auto range = std::make_unique<RangeStream>(std::move(source), member.range);
  return std::make_unique<CheckedStream>(std::move(range), std::move(member));
}

}  // namespace dnc::source
