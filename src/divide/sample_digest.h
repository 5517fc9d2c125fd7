// A fast digest of samples as they come, to know them again: the same however they
// were cut into blocks. Not for security. Private to this room.

#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "array/column.h"

namespace dnc::divide {

class SampleDigest {
 public:
  explicit SampleDigest(const std::vector<array::ColumnSpec>& columns);
  ~SampleDigest();
  SampleDigest(const SampleDigest&) = delete;
  SampleDigest& operator=(const SampleDigest&) = delete;

  // All samples of `block`.
  void Add(const array::SampleBlock& block);
  // Of the samples since the last Finish(); begins anew.
  std::uint64_t Finish();

 private:
  struct Impl;  // Keeps xxHash out of this header.
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::divide
