#include "curves/event_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "base/protobuf_writer.h"
#include "base/time.h"

namespace dnc::curves {
namespace {

constexpr std::array<std::uint32_t, 256> MakeTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
    table[i] = value;
  }
  return table;
}
constexpr auto kTable = MakeTable();

// Checksums of records that contain checksums are turned, as the format asks for.
std::uint32_t Masked(std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; }

template <typename Number>
void PutNumber(Number value, std::string* out) {
  for (std::size_t i = 0; i < sizeof value; ++i) *out += static_cast<char>(value >> 8 * i & 0xff);
}

std::string Record(const std::string& bytes) {
  std::string record;
  PutNumber(static_cast<std::uint64_t>(bytes.size()), &record);
  PutNumber(Masked(Crc32c(record)), &record);
  record += bytes;
  PutNumber(Masked(Crc32c(bytes)), &record);
  return record;
}

Error IoError(const std::string& path) {
  return {ErrorCode::kIo, path + ": " + std::strerror(errno)};
}

Status AppendTo(const std::string& path, int flags, const std::string& bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0644);
  if (file < 0) return IoError(path);
  const ssize_t written = ::write(file, bytes.data(), bytes.size());
  Status status;
  if (written != static_cast<ssize_t>(bytes.size())) status = IoError(path);
  ::close(file);
  return status;
}

double NowInSeconds() { return static_cast<double>(WallNow().us) / 1e6; }

}  // namespace

std::uint32_t Crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

std::string FormatEventFileHeader(double wall_time) {
  ProtobufWriter event;
  event.Double(1, wall_time);
  event.Text(3, "brain.Event:2");  // file_version
  return Record(event.bytes());
}

std::string FormatEvent(const Scalars& scalars) {
  ProtobufWriter summary;
  for (const auto& [tag, number] : scalars.values) {
    ProtobufWriter value;
    value.Text(1, tag);
    value.Float(2, static_cast<float>(number));  // simple_value
    summary.Message(1, value);
  }
  ProtobufWriter event;
  event.Double(1, scalars.wall_time);
  event.Int(2, scalars.step);
  event.Message(5, summary);
  return Record(event.bytes());
}

Result<EventFile> EventFile::Create(const std::string& folder) {
  DNC_TRY(MakeDirectories(folder));
  const double now = NowInSeconds();
  EventFile file(folder + "/events.out.tfevents." + std::to_string(static_cast<std::int64_t>(now)) +
                 ".dnc." + std::to_string(::getpid()));
  DNC_TRY(AppendTo(file.path_, O_CREAT | O_EXCL, FormatEventFileHeader(now)));
  return file;
}

Status EventFile::Append(std::vector<std::pair<std::string, double>> values, std::int64_t step) {
  return AppendTo(
      path_, 0,
      FormatEvent({.wall_time = NowInSeconds(), .step = step, .values = std::move(values)}));
}

}  // namespace dnc::curves
