// What the targets that read a data source share.

#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "source/hdf5_source.h"
#include "source/open_file.h"

namespace dnc::fuzz {

// The fuzzer's bytes as a file.
inline source::SharedSource File(const std::uint8_t* data, std::size_t size) {
  return std::make_shared<MemorySource>(ByteSpan(reinterpret_cast<const std::byte*>(data), size),
                                        "fuzz");
}

// Reads all of a source, checking what the interface promises.
inline void ReadSource(source::SampleSource* source) {
  const auto& columns = source->columns();
  const std::optional<std::uint64_t> count = source->sample_count();
  DNC_ASSERT(!columns.empty() && !source->Describe().empty());
  const std::uint64_t samples_a_read =
      1 + (1 << 20) / std::max<std::size_t>(array::SampleBytes(columns), 64);
  array::SampleBlock block;
  std::uint64_t read = 0;
  // Megabytes from a few bytes (a zip bomb) are legal, but slow: enough is enough.
  for (int i = 0; i < 64; ++i) {
    if (!source->Read(samples_a_read, &block).ok()) return;
    DNC_ASSERT(block.columns.size() == columns.size());
    for (std::size_t c = 0; c < columns.size(); ++c) {
      if (columns[c].is_array()) {
        DNC_ASSERT(block.columns[c].size() == block.sample_count * columns[c].sample_bytes());
      } else {
        DNC_ASSERT(block.ends[c].size() == block.sample_count);
        DNC_ASSERT(block.sample_count == 0 || block.ends[c].back() == block.columns[c].size());
      }
    }
    read += block.sample_count;
    DNC_ASSERT(!count || read <= *count);
    if (block.sample_count == 0) {
      DNC_ASSERT(!count || read == *count);
      return;
    }
  }
}

// Opens the bytes as a source and reads all of it, checking what the interface
// promises. Reads are bounded in bytes, as a caller's are.
inline void ReadEverything(source::SharedSource file, const source::SourceOptions& options) {
  // The HDF5 library is not made for hostile files (hdf/open_source.h), and not ours.
  Bytes start(std::min<std::uint64_t>(file->size(), 64 << 10));
  DNC_ASSERT(file->ReadAt(0, start).ok());
  if (source::IsHdf5(start)) return;
  auto source = source::OpenFileSource(std::move(file), options);
  if (!source.ok()) {
    DNC_ASSERT(!source.error().message.empty());
    return;
  }
  ReadSource(source->get());
}

}  // namespace dnc::fuzz
