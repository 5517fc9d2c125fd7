// Helpers for this room's tests: small files of each kind, made in memory.

#pragma once

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "array/npy_header.h"
#include "source/byte_stream.h"
#include "source/open_file.h"
#include "source/sample_source.h"

namespace dnc::source {

class OwnedFile final : public RandomAccessSource {
 public:
  OwnedFile(std::string bytes, const std::string& name)
      : bytes_(std::move(bytes)), view_(AsBytes(bytes_), name) {}
  std::uint64_t size() const override { return view_.size(); }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    return view_.ReadAt(offset, out);
  }
  const std::string& name() const override { return view_.name(); }

 private:
  std::string bytes_;
  MemorySource view_;
};

inline SharedSource InMemory(std::string bytes, const std::string& name) {
  return std::make_shared<OwnedFile>(std::move(bytes), name);
}

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <typename T>
std::vector<T> ValuesOf(const Bytes& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

// 0, 1, 2... as uint8, modulo 251 so that no row is like another.
inline std::string Ramp(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i % 251);
  return bytes;
}

inline std::string NpyFile(array::DType dtype, const array::Shape& shape, const std::string& data) {
  return std::string(AsText(array::FormatNpyHeader(dtype, shape))) + data;
}

// With a header of any text.
inline std::string RawNpyFile(const std::string& dict, const std::string& data) {
  std::string file = std::string("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(dict.size() & 0xff);
  file += static_cast<char>(dict.size() >> 8);
  return file + dict + data;
}

inline std::string IdxFile(char type, const std::vector<std::uint32_t>& axes,
                           const std::string& data) {
  std::string file = {0, 0, type, static_cast<char>(axes.size())};
  for (const std::uint32_t axis : axes) {
    for (const int shift : {24, 16, 8, 0}) file += static_cast<char>(axis >> shift & 0xff);
  }
  return file + data;
}

// window_bits: 15 + 16 for gzip, -15 for raw deflate.
inline std::string Deflate(const std::string& data, int window_bits) {
  z_stream zlib{};
  DNC_ASSERT(deflateInit2(&zlib, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&zlib, data.size()) + 64, '\0');
  zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  zlib.avail_in = static_cast<uInt>(data.size());
  zlib.next_out = reinterpret_cast<Bytef*>(out.data());
  zlib.avail_out = static_cast<uInt>(out.size());
  DNC_ASSERT(deflate(&zlib, Z_FINISH) == Z_STREAM_END);
  out.resize(zlib.total_out);
  deflateEnd(&zlib);
  return out;
}

inline std::string Gzip(const std::string& data) { return Deflate(data, 15 + 16); }

// With a checksum.
inline std::string Zstd(const std::string& data) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  DNC_ASSERT(context != nullptr);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(data.size()), '\0');
  const std::size_t size =
      ZSTD_compress2(context, out.data(), out.size(), data.data(), data.size());
  ZSTD_freeCCtx(context);
  DNC_ASSERT(!ZSTD_isError(size));
  out.resize(size);
  return out;
}

struct ZipEntry {
  std::string name;
  std::string data;
  bool is_deflated = false;
  bool is_zip64 = false;  // Sizes and offset in the extra field.
  std::uint16_t flags = 0;
  int method = -1;  // Another method than the two above.
};

inline std::string ZipFile(const std::vector<ZipEntry>& entries) {
  ByteWriter file;
  ByteWriter directory;
  for (const ZipEntry& entry : entries) {
    const std::string packed = entry.is_deflated ? Deflate(entry.data, -15) : entry.data;
    const auto method =
        static_cast<std::uint16_t>(entry.method >= 0 ? entry.method : (entry.is_deflated ? 8 : 0));
    const auto crc = static_cast<std::uint32_t>(
        crc32_z(0, reinterpret_cast<const Bytef*>(entry.data.data()), entry.data.size()));
    const std::uint64_t offset = file.size();
    ByteWriter common;
    common.Put(std::uint16_t{20});
    common.Put(entry.flags);
    common.Put(method);
    common.Put(std::uint32_t{0});
    common.Put(crc);
    common.Put(entry.is_zip64 ? UINT32_MAX : static_cast<std::uint32_t>(packed.size()));
    common.Put(entry.is_zip64 ? UINT32_MAX : static_cast<std::uint32_t>(entry.data.size()));
    common.Put(static_cast<std::uint16_t>(entry.name.size()));
    file.Put(std::uint32_t{0x04034b50});
    file.PutBytes(common.bytes());
    file.Put(std::uint16_t{0});
    file.PutBytes(AsBytes(entry.name));
    file.PutBytes(AsBytes(packed));
    directory.Put(std::uint32_t{0x02014b50});
    directory.Put(std::uint16_t{45});
    directory.PutBytes(common.bytes());
    directory.Put(static_cast<std::uint16_t>(entry.is_zip64 ? 28 : 0));
    directory.PutBytes(Bytes(2 + 2 + 2 + 4));
    directory.Put(entry.is_zip64 ? UINT32_MAX : static_cast<std::uint32_t>(offset));
    directory.PutBytes(AsBytes(entry.name));
    if (entry.is_zip64) {
      directory.Put(std::uint16_t{1});
      directory.Put(std::uint16_t{24});
      directory.Put(std::uint64_t{entry.data.size()});
      directory.Put(std::uint64_t{packed.size()});
      directory.Put(offset);
    }
  }
  const auto directory_offset = static_cast<std::uint32_t>(file.size());
  file.PutBytes(directory.bytes());
  file.Put(std::uint32_t{0x06054b50});
  file.Put(std::uint32_t{0});
  file.Put(static_cast<std::uint16_t>(entries.size()));
  file.Put(static_cast<std::uint16_t>(entries.size()));
  file.Put(static_cast<std::uint32_t>(directory.size()));
  file.Put(directory_offset);
  file.Put(std::uint16_t{0});
  return std::string(AsText(file.bytes()));
}

// A folder of real data that may be absent: the test is skipped then.
inline std::string SharedData(const std::string& name) {
  const char* data = std::getenv("DNC_SHARED_DATA");
  return std::string(data != nullptr ? data : DNC_SOURCE_DIR "/../shared/data") + "/" + name;
}

// Everything that a source gives, read `samples_a_read` at a time.
inline Result<array::SampleBlock> ReadToEnd(SampleSource* source, std::uint64_t samples_a_read) {
  array::SampleBlock all;
  all.columns.resize(source->columns().size());
  array::SampleBlock block;
  for (;;) {
    DNC_TRY(source->Read(samples_a_read, &block));
    if (block.sample_count == 0) return all;
    all.sample_count += block.sample_count;
    for (std::size_t c = 0; c < all.columns.size(); ++c) {
      EXPECT_EQ(block.columns[c].size(), block.sample_count * source->columns()[c].sample_bytes());
      all.columns[c].insert(all.columns[c].end(), block.columns[c].begin(), block.columns[c].end());
    }
  }
}

inline Result<array::SampleBlock> OpenAndRead(SharedSource file, const SourceOptions& options = {},
                                              std::uint64_t samples_a_read = 3) {
  DNC_ASSIGN(auto source, OpenFileSource(std::move(file), options));
  return ReadToEnd(source.get(), samples_a_read);
}

}  // namespace dnc::source
