// Event files of TensorBoard: scalars by step, as `tensorboard --logdir` shows them.
// The format is that of tensorboard/compat/proto/event.proto and summary.proto in
// records of TensorFlow (tensorflow/core/lib/io/record_writer.h): each record is its
// length, the length's checksum, the bytes and their checksum.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace dnc::curves {

struct Scalars {
  double wall_time = 0;  // Seconds since 1970.
  std::int64_t step = 0;
  std::vector<std::pair<std::string, double>> values;  // By tag.
};

// The record that every file begins with.
std::string FormatEventFileHeader(double wall_time);
std::string FormatEvent(const Scalars& scalars);

// A file that grows by one record at a time. TensorBoard shows all files of a folder as
// one run, so that a training that goes on adds a file.
class EventFile {
 public:
  // Creates `folder` and in it "events.out.tfevents.<seconds>.dnc.<process>".
  // Errors: those of MakeDirectories; kIo.
  static Result<EventFile> Create(const std::string& folder);

  // Errors: kIo.
  Status Append(std::vector<std::pair<std::string, double>> values, std::int64_t step);

 private:
  explicit EventFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

// CRC-32C (Castagnoli; RFC 3720, B.4).
std::uint32_t Crc32c(std::string_view bytes);

}  // namespace dnc::curves
