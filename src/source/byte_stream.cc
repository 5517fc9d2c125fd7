#include "source/byte_stream.h"

#include <zlib.h>

#include <algorithm>

#include "base/assert.h"

namespace dnc::source {
namespace {

constexpr std::size_t kInputBytes = 256 << 10;

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
    return size;
  }

 private:
  SharedSource source_;
  ByteRange range_;
};

// Inflates a range: gzip (with headers and checksums of its own) or raw deflate.
class InflateStream final : public ByteStream {
 public:
  enum class Framing { kGzip, kRaw };

  InflateStream(SharedSource source, ByteRange range, Framing framing, std::string name)
      : input_(std::move(source), range), framing_(framing), name_(std::move(name)) {
    // A window of 2^15, the largest; +16 makes zlib read gzip framing.
    const int window_bits = framing == Framing::kGzip ? 15 + 16 : -15;
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

 private:
  Status Refill() {
    if (buffer_.empty()) buffer_.resize(kInputBytes);
    DNC_ASSIGN(const std::size_t size, input_.Read(buffer_));
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

  RangeStream input_;
  Framing framing_;
  std::string name_;
  Bytes buffer_;
  z_stream zlib_{};
  bool ended_ = false;
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

 private:
  std::unique_ptr<ByteStream> inner_;
  DeflatedMember member_;
  std::uint64_t size_ = 0;
  std::uint32_t crc_ = 0;
};

}  // namespace

std::unique_ptr<ByteStream> OpenRange(SharedSource source, ByteRange range) {
  return std::make_unique<RangeStream>(std::move(source), range);
}

std::unique_ptr<ByteStream> OpenGzip(SharedSource source) {
  const ByteRange all{0, source->size()};
  std::string name = source->name();
  return std::make_unique<InflateStream>(std::move(source), all, InflateStream::Framing::kGzip,
                                         std::move(name));
}

std::unique_ptr<ByteStream> OpenDeflated(SharedSource source, DeflatedMember member) {
  auto inflated = std::make_unique<InflateStream>(std::move(source), member.range,
                                                  InflateStream::Framing::kRaw, member.name);
  return std::make_unique<CheckedStream>(std::move(inflated), std::move(member));
}

std::unique_ptr<ByteStream> OpenStored(SharedSource source, DeflatedMember member) {
  auto range = std::make_unique<RangeStream>(std::move(source), member.range);
  return std::make_unique<CheckedStream>(std::move(range), std::move(member));
}

}  // namespace dnc::source
