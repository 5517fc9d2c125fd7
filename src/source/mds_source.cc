#include "source/mds_source.h"

#include <openssl/evp.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/hash.h"
#include "base/human.h"
#include "base/random_access_source.h"
#include "source/block_builder.h"
#include "source/byte_stream.h"
#include "source/decoded_images.h"
#include "source/mds_index.h"

namespace dnc::source {
namespace {

constexpr char kIndexName[] = "index.json";
constexpr std::size_t kCheckBytes = 1 << 20;

// ---- Checksums

// Hashes a stream by one of the algorithms of MDS that are known here.
Result<std::string> HashStream(ByteStream* stream, const std::string& algorithm) {
  Bytes buffer(kCheckBytes);
  if (algorithm == "xxh64") {
    XXH64_state_t* const state = XXH64_createState();
    XXH64_reset(state, 0);
    Result<std::size_t> got = std::size_t{1};
    while (got.ok() && *got > 0) {
      got = stream->Read(buffer);
      if (got.ok()) XXH64_update(state, buffer.data(), *got);
    }
    XXH64_canonical_t canonical;
    XXH64_canonicalFromHash(&canonical, XXH64_digest(state));
    XXH64_freeState(state);
    if (!got.ok()) return got.error();
    return HexEncode(std::as_bytes(std::span(canonical.digest)));
  }
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_get_digestbyname(algorithm.c_str()), nullptr);
  Result<std::size_t> got = std::size_t{1};
  while (got.ok() && *got > 0) {
    got = stream->Read(buffer);
    if (got.ok()) EVP_DigestUpdate(context, buffer.data(), *got);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_DigestFinal_ex(context, digest.data(), &size);
  EVP_MD_CTX_free(context);
  if (!got.ok()) return got.error();
  return HexEncode(std::as_bytes(std::span(digest).first(size)));
}

// By the first known algorithm, if there is one.
Status CheckHash(const SharedSource& file, const MdsFile& stated) {
  for (const char* algorithm : {"sha256", "sha1", "xxh64", "md5"}) {
    const auto found = stated.hashes.find(algorithm);
    if (found == stated.hashes.end()) continue;
    const auto stream = OpenRange(file, {0, file->size()});
    DNC_ASSIGN(const std::string hash, HashStream(stream.get(), algorithm));
    if (hash == found->second) return {};
    return Error{ErrorCode::kCorrupt, file->name() + ": its " + algorithm +
                                          " is not the one of the index: bytes were changed"};
  }
  return {};
}

// ---- Shards

// Reads the samples of one shard in their order.
class ShardStream {
 public:
  // Errors: kCorrupt, a file of another size, or offsets that no shard has.
  static Result<std::unique_ptr<ShardStream>> Open(const std::string& folder,
                                                   const MdsShard& shard) {
    auto opened = std::unique_ptr<ShardStream>(new ShardStream(shard));
    const std::string raw_path = folder + "/" + shard.raw.basename;
    // Readers of MDS leave decompressed shards beside the compressed ones.
    const bool zipped = shard.zip && !PathExists(raw_path);
    const MdsFile& file = zipped ? *shard.zip : shard.raw;
    opened->name_ = folder + "/" + file.basename;
    DNC_ASSIGN(SharedSource source, FileSource::Open(opened->name_));
    if (source->size() != file.bytes) {
      return Error{ErrorCode::kCorrupt, opened->name_ + ": has " + std::to_string(source->size()) +
                                            " bytes; the index says " + std::to_string(file.bytes)};
    }
    DNC_TRY(CheckHash(source, file));
    opened->stream_ = OpenRange(source, {0, source->size()});
    if (zipped) opened->stream_ = OpenZstd(std::move(opened->stream_), opened->name_);
    DNC_TRY(opened->ReadOffsets());
    return opened;
  }

  const std::string& name() const { return name_; }
  std::uint64_t next() const { return next_; }

  // The bytes of the next sample's columns, valid until the next call. Requires: there
  // is one. Errors: kCorrupt, kTooLarge; those of the file.
  Status Read(std::vector<ByteSpan>* columns) {
    const std::uint32_t size = offsets_[next_ + 1] - offsets_[next_];
    if (size > kElementBytesMax) {
      return Error{ErrorCode::kTooLarge, Where() + " has " + FormatByteCount(size) + "; at most " +
                                             FormatByteCount(kElementBytesMax) + " are taken"};
    }
    sample_.resize(size);
    DNC_TRY(ReadExactly(sample_));
    DNC_TRY(SplitSample(columns));
    ++next_;
    return {};
  }

 private:
  explicit ShardStream(const MdsShard& shard) : shard_(shard) {}

  std::string Where() const { return name_ + ": sample " + std::to_string(next_); }

  Status ReadExactly(std::span<std::byte> out) {
    DNC_ASSIGN(const std::size_t got, stream_->Read(out));
    if (got == out.size()) return {};
    return Error{ErrorCode::kCorrupt, name_ + ": ends early"};
  }

  // [samples: 4] [offsets: 4 each, one more than samples] [the configuration again].
  Status ReadOffsets() {
    const Error wrong{ErrorCode::kCorrupt, name_ + ": its table of samples is damaged"};
    std::uint32_t count = 0;
    DNC_TRY(ReadExactly(std::as_writable_bytes(std::span(&count, 1))));
    if (count != shard_.samples || (std::uint64_t{count} + 2) * sizeof count > shard_.raw.bytes) {
      return wrong;
    }
    offsets_.resize(std::size_t{count} + 1);
    DNC_TRY(ReadExactly(std::as_writable_bytes(std::span(offsets_))));
    const std::uint64_t head = sizeof count + offsets_.size() * sizeof count;
    if (!std::is_sorted(offsets_.begin(), offsets_.end()) || offsets_.front() < head ||
        offsets_.back() > shard_.raw.bytes) {
      return wrong;
    }
    DNC_ASSIGN(const std::uint64_t passed, stream_->Skip(offsets_.front() - head));
    return passed == offsets_.front() - head ? Status() : Status(wrong);
  }

  // [sizes: 4 each, of columns whose size varies] [the columns].
  Status SplitSample(std::vector<ByteSpan>* columns) const {
    const Error wrong{ErrorCode::kCorrupt, Where() + ": its sizes do not add up"};
    ByteSpan rest = sample_;
    std::vector<std::uint32_t> sizes;
    for (const MdsColumn& column : shard_.columns) {
      // As its reader does, a size of 0 is one that varies.
      std::uint32_t size = column.size.value_or(0);
      if (size == 0) {
        if (rest.size() < sizeof size) return wrong;
        std::memcpy(&size, rest.data(), sizeof size);
        rest = rest.subspan(sizeof size);
      }
      sizes.push_back(size);
    }
    columns->clear();
    for (const std::uint32_t size : sizes) {
      if (rest.size() < size) return wrong;
      columns->push_back(rest.first(size));
      rest = rest.subspan(size);
    }
    return rest.empty() ? Status() : Status(wrong);
  }

  const MdsShard& shard_;
  std::string name_;
  std::unique_ptr<ByteStream> stream_;
  std::vector<std::uint32_t> offsets_;
  std::uint64_t next_ = 0;
  Bytes sample_;
};

class MdsSource final : public SampleSource {
 public:
  MdsSource(std::string folder, std::vector<MdsShard> shards,
            std::unique_ptr<FieldConverter> converter, bool skip_bad)
      : folder_(std::move(folder)),
        shards_(std::move(shards)),
        converter_(std::move(converter)),
        skip_bad_(skip_bad) {
    for (const MdsShard& shard : shards_) {
      samples_ += shard.samples;
      bytes_ += shard.raw.bytes;
    }
  }

  const std::vector<array::ColumnSpec>& columns() const override { return converter_->columns(); }
  std::optional<std::uint64_t> sample_count() const override { return samples_; }
  std::string Describe() const override {
    return "MDS of " + FormatCount(samples_) + " samples in " + FormatCount(shards_.size()) +
           " shards";
  }
  SourceBytes bytes() const override { return {done_bytes_, bytes_}; }
  const std::vector<SkippedInput>& skipped() const override { return skipped_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    BlockBuilder builder(columns(), block);
    std::vector<ByteSpan> fields;
    while (builder.sample_count() < sample_count_max && !builder.is_full()) {
      if (stream_ != nullptr && stream_->next() == shards_[next_].samples) {
        stream_.reset();
        done_bytes_ += shards_[next_++].raw.bytes;
      }
      if (next_ == shards_.size()) break;
      if (stream_ == nullptr) {
        DNC_ASSIGN(stream_, ShardStream::Open(folder_, shards_[next_]));
        continue;  // It may be empty.
      }
      DNC_TRY(stream_->Read(&fields));
      const Status status = converter_->Add(fields, &builder);
      if (status.ok()) continue;
      const std::string name = stream_->name() + ": sample " + std::to_string(stream_->next() - 1);
      if (!skip_bad_) return status.error().WithContext(name);
      skipped_.push_back({name, status.error().message});
    }
    return {};
  }

 private:
  const std::string folder_;
  const std::vector<MdsShard> shards_;
  const std::unique_ptr<FieldConverter> converter_;
  const bool skip_bad_;
  std::uint64_t samples_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t done_bytes_ = 0;
  std::size_t next_ = 0;
  std::unique_ptr<ShardStream> stream_;  // Of shard next_, if it was begun.
  std::vector<SkippedInput> skipped_;
};

}  // namespace

bool IsMdsFolder(const std::string& location) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(location + "/" + kIndexName, ignored);
}

Result<std::unique_ptr<SampleSource>> OpenMds(const std::string& location,
                                              const SourceOptions& options) {
  const std::string index_path = location + "/" + kIndexName;
  DNC_ASSIGN(const std::string text, ReadFile(index_path, kMdsIndexBytesMax));
  DNC_ASSIGN(std::vector<MdsShard> shards, ParseMdsIndex(text, index_path));
  const auto first = std::find_if(shards.begin(), shards.end(),
                                  [](const MdsShard& shard) { return shard.samples > 0; });
  if (first == shards.end()) {
    return Error{ErrorCode::kInvalidArgument, location + ": an MDS folder without samples"};
  }
  DNC_ASSIGN(const auto stream, ShardStream::Open(location, *first));
  std::vector<ByteSpan> bytes;
  DNC_TRY(stream->Read(&bytes));
  std::vector<Field> fields;
  for (std::size_t i = 0; i < first->columns.size(); ++i) {
    fields.push_back(first->columns[i].field);
    const Status status = CompleteColumn(bytes[i], &fields.back());
    if (!status.ok()) {
      return status.error().WithContext(stream->name() + ": sample 0: field " + fields.back().name);
    }
  }
  auto arranged = ArrangeColumns(fields, options.label_column);
  if (!arranged.ok()) return arranged.error().WithContext(location);
  auto converter = std::make_unique<FieldConverter>(std::move(fields), std::move(*arranged));
  return DecodeImages(std::make_unique<MdsSource>(location, std::move(shards), std::move(converter),
                                                  options.skip_bad),
                      location, options);
}

}  // namespace dnc::source
