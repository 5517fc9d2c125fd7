#include "trainer/protocol.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/file.h"
#include "base/time.h"

namespace dnc::trainer {

namespace {

constexpr std::uint32_t kNameBytesMax = 1024;
constexpr std::uint32_t kErrorTextBytesMax = 64u << 10;
constexpr std::uint32_t kAxisCountMax = 32;
constexpr std::uint32_t kThreadsMax = 4096;
constexpr std::uint32_t kSlotsMax = 64;
constexpr std::uint32_t kColumnsMax = 256;
constexpr std::uint32_t kSumsMax = 1u << 16;
constexpr std::size_t kHeaderBytes = 5;

Error Malformed(const char* message) {
  return {ErrorCode::kCorrupt, std::string("trainer protocol: malformed ") + message + " message"};
}

Error ClosedError() {
  return {ErrorCode::kUnavailable, "the other end of the trainer's socket is closed"};
}

void PutColumn(const array::ColumnSpec& column, ByteWriter* writer) {
  writer->PutString(std::string_view(column.name).substr(0, kNameBytesMax));
  writer->Put(static_cast<std::uint8_t>(column.dtype));
  writer->Put(static_cast<std::uint32_t>(column.shape.size()));
  for (const std::int64_t axis : column.shape) writer->Put(axis);
}

bool GetColumn(ByteReader* reader, array::ColumnSpec* column) {
  column->name = reader->GetString(kNameBytesMax);
  const auto dtype = reader->Get<std::uint8_t>();
  const auto axis_count = reader->Get<std::uint32_t>();
  if (!reader->ok() || dtype >= array::kDTypeCount || axis_count > kAxisCountMax) return false;
  column->dtype = static_cast<array::DType>(dtype);
  for (std::uint32_t i = 0; i < axis_count; ++i) {
    column->shape.push_back(reader->Get<std::int64_t>());
  }
  return reader->ok() && array::ElementCount(column->shape).has_value();
}

void PutColumns(std::span<const array::ColumnSpec> columns, ByteWriter* writer) {
  writer->Put(static_cast<std::uint32_t>(columns.size()));
  for (const array::ColumnSpec& column : columns) PutColumn(column, writer);
}

bool GetColumns(ByteReader* reader, std::vector<array::ColumnSpec>* columns) {
  const auto count = reader->Get<std::uint32_t>();
  if (!reader->ok() || count > kColumnsMax) return false;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!GetColumn(reader, &columns->emplace_back())) return false;
  }
  return true;
}

}  // namespace

Bytes Encode(const Hello& message) {
  ByteWriter writer;
  writer.Put(kProtocolMagic);
  writer.Put(message.version);
  writer.Put(message.threads);
  writer.Put(message.memory_bytes_max);
  writer.Put(static_cast<std::uint8_t>(message.boxed));
  writer.Put(static_cast<std::uint8_t>(message.device));
  writer.Put(static_cast<std::uint8_t>(message.gpu_unboxed));
  return std::move(writer).Take();
}

Result<Hello> DecodeHello(ByteSpan payload) {
  ByteReader reader(payload);
  if (reader.Get<std::uint32_t>() != kProtocolMagic) return Malformed("hello");
  Hello message;
  message.version = reader.Get<std::uint32_t>();
  // Checked before the rest, whose layout another version may have changed.
  if (reader.ok() && message.version != kProtocolVersion) {
    return Error{ErrorCode::kUnsupported,
                 "dnc-trainer speaks version " + std::to_string(kProtocolVersion) +
                     " of the trainer protocol, the program that started it version " +
                     std::to_string(message.version) + "; install both from one release"};
  }
  message.threads = reader.Get<std::uint32_t>();
  message.memory_bytes_max = reader.Get<std::uint64_t>();
  message.boxed = reader.Get<std::uint8_t>() != 0;
  const auto device = reader.Get<std::uint8_t>();
  message.device = static_cast<DeviceChoice>(device);
  message.gpu_unboxed = reader.Get<std::uint8_t>() != 0;
  if (!reader.AtEnd() || device > static_cast<std::uint8_t>(DeviceChoice::kCuda) ||
      message.threads < 1 || message.threads > kThreadsMax) {
    return Malformed("hello");
  }
  return message;
}

Bytes Encode(const HelloReply& message) {
  ByteWriter writer;
  writer.Put(message.version);
  writer.PutString(message.program_version);
  return std::move(writer).Take();
}

Result<HelloReply> DecodeHelloReply(ByteSpan payload) {
  ByteReader reader(payload);
  HelloReply message;
  message.version = reader.Get<std::uint32_t>();
  message.program_version = reader.GetString(kNameBytesMax);
  if (!reader.AtEnd()) return Malformed("hello reply");
  return message;
}

Bytes Encode(const ConfigureMessage& message) {
  ByteWriter writer;
  writer.Put(static_cast<std::uint32_t>(message.options.threads));
  writer.Put(message.options.batch_size_max);
  PutColumns(message.options.x, &writer);
  PutColumns(message.options.y, &writer);
  writer.Put(static_cast<std::uint8_t>(message.options.weighted));
  writer.Put(message.slots);
  writer.Put(message.model_json_bytes);
  return std::move(writer).Take();
}

Result<ConfigureMessage> DecodeConfigure(ByteSpan payload) {
  ByteReader reader(payload);
  ConfigureMessage message;
  const auto threads = reader.Get<std::uint32_t>();
  message.options.batch_size_max = reader.Get<std::uint32_t>();
  if (!GetColumns(&reader, &message.options.x) || !GetColumns(&reader, &message.options.y)) {
    return Malformed("configure");
  }
  message.options.weighted = reader.Get<std::uint8_t>() != 0;
  message.slots = reader.Get<std::uint32_t>();
  message.model_json_bytes = reader.Get<std::uint64_t>();
  if (!reader.AtEnd() || threads < 1 || threads > kThreadsMax || message.slots < 1 ||
      message.slots > kSlotsMax || message.model_json_bytes > kModelJsonBytesMax) {
    return Malformed("configure");
  }
  message.options.threads = static_cast<int>(threads);
  return message;
}

Bytes Encode(const SubmitMessage& message) {
  ByteWriter writer;
  writer.Put(message.slot);
  writer.Put(static_cast<std::uint8_t>(message.kind));
  writer.Put(message.samples);
  writer.Put(message.seed);
  return std::move(writer).Take();
}

Result<SubmitMessage> DecodeSubmit(ByteSpan payload) {
  ByteReader reader(payload);
  SubmitMessage message;
  message.slot = reader.Get<std::uint32_t>();
  const auto kind = reader.Get<std::uint8_t>();
  message.samples = reader.Get<std::uint32_t>();
  message.seed = reader.Get<std::uint64_t>();
  if (!reader.AtEnd() || kind > static_cast<std::uint8_t>(BatchKind::kScore)) {
    return Malformed("submit");
  }
  message.kind = static_cast<BatchKind>(kind);
  return message;
}

Bytes Encode(const Totals& message) {
  ByteWriter writer;
  writer.Put(message.samples);
  writer.Put(message.loss_sum);
  writer.Put(message.correct);
  writer.Put(static_cast<std::uint32_t>(message.sums.size()));
  for (const double sum : message.sums) writer.Put(sum);
  return std::move(writer).Take();
}

Result<Totals> DecodeTotals(ByteSpan payload) {
  ByteReader reader(payload);
  Totals message;
  message.samples = reader.Get<std::uint64_t>();
  message.loss_sum = reader.Get<double>();
  message.correct = reader.Get<std::uint64_t>();
  const auto sum_count = reader.Get<std::uint32_t>();
  if (!reader.ok() || sum_count > kSumsMax) return Malformed("totals");
  for (std::uint32_t i = 0; i < sum_count && reader.ok(); ++i) {
    message.sums.push_back(reader.Get<double>());
  }
  if (!reader.AtEnd() || message.correct > message.samples) return Malformed("totals");
  return message;
}

Bytes Encode(const Error& message) {
  ByteWriter writer;
  writer.PutString(ErrorCodeName(message.code));
  writer.PutString(std::string_view(message.message).substr(0, kErrorTextBytesMax));
  return std::move(writer).Take();
}

Error DecodeError(ByteSpan payload) {
  ByteReader reader(payload);
  const std::optional<ErrorCode> code = ErrorCodeFromName(reader.GetString(kNameBytesMax));
  std::string text = reader.GetString(kErrorTextBytesMax);
  if (!reader.AtEnd() || !code.has_value()) return Malformed("error");
  return {*code, std::move(text)};
}

Bytes Encode(const SlotDone& message) {
  ByteWriter writer;
  writer.Put(message.slot);
  if (message.failure.has_value()) writer.PutBytes(Encode(*message.failure));
  return std::move(writer).Take();
}

Result<SlotDone> DecodeSlotDone(ByteSpan payload) {
  ByteReader reader(payload);
  SlotDone message;
  message.slot = reader.Get<std::uint32_t>();
  if (!reader.ok()) return Malformed("slot done");
  if (reader.remaining() > 0) message.failure = DecodeError(payload.subspan(sizeof(message.slot)));
  return message;
}

Bytes EncodeU32(std::uint32_t value) {
  ByteWriter writer;
  writer.Put(value);
  return std::move(writer).Take();
}

Bytes EncodeU64(std::uint64_t value) {
  ByteWriter writer;
  writer.Put(value);
  return std::move(writer).Take();
}

Result<std::uint32_t> DecodeU32(ByteSpan payload) {
  ByteReader reader(payload);
  const auto value = reader.Get<std::uint32_t>();
  if (!reader.AtEnd()) return Malformed("number");
  return value;
}

Result<std::uint64_t> DecodeU64(ByteSpan payload) {
  ByteReader reader(payload);
  const auto value = reader.Get<std::uint64_t>();
  if (!reader.AtEnd()) return Malformed("size");
  return value;
}

void UniqueFd::Reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Channel::Channel(UniqueFd socket, bool take_descriptors)
    : socket_(std::move(socket)), take_descriptors_(take_descriptors) {}

Status Channel::Send(MessageKind kind, ByteSpan payload, int fd) {
  DNC_ASSERT(payload.size() <= kFramePayloadMax);
  std::array<std::byte, kHeaderBytes> header;
  const auto size = static_cast<std::uint32_t>(payload.size());
  std::memcpy(header.data(), &size, sizeof(size));
  header[4] = static_cast<std::byte>(kind);

  std::array<iovec, 2> parts{
      {{header.data(), header.size()}, {const_cast<std::byte*>(payload.data()), payload.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (fd >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const item = CMSG_FIRSTHDR(&message);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(item), &fd, sizeof(fd));
  }

  std::size_t left = header.size() + payload.size();
  while (left > 0) {
    const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EPIPE || errno == ECONNRESET) return ClosedError();
      return ErrnoError("cannot write to", "the trainer's socket", errno);
    }
    left -= static_cast<std::size_t>(sent);
    // The descriptor went with the first byte.
    message.msg_control = nullptr;
    message.msg_controllen = 0;
    auto done = static_cast<std::size_t>(sent);
    for (iovec& part : parts) {
      const std::size_t step = std::min(done, part.iov_len);
      part.iov_base = static_cast<char*>(part.iov_base) + step;
      part.iov_len -= step;
      done -= step;
    }
  }
  return {};
}

Status Channel::SendChunks(ByteSpan blob) {
  while (!blob.empty()) {
    const std::size_t size = std::min<std::size_t>(blob.size(), kFramePayloadMax);
    DNC_TRY(Send(MessageKind::kChunk, blob.first(size)));
    blob = blob.subspan(size);
  }
  return {};
}

Status Channel::ReceiveAll(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_WAITALL);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == ECONNRESET) return ClosedError();
      return ErrnoError("cannot read from", "the trainer's socket", errno);
    }
    if (got == 0) return ClosedError();
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Status Channel::ReceiveHeader(MessageKind* kind, std::uint32_t* size, UniqueFd* fd) {
  std::array<std::byte, kHeaderBytes> header;
  iovec part{header.data(), header.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  if (take_descriptors_) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got == 0 || (got < 0 && errno == ECONNRESET)) return ClosedError();
  if (got < 0) return ErrnoError("cannot read from", "the trainer's socket", errno);

  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr;
       item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS &&
        item->cmsg_len == CMSG_LEN(sizeof(int))) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(item), sizeof(received));
      *fd = UniqueFd(received);
    }
  }
  DNC_TRY(ReceiveAll(std::span(header).subspan(static_cast<std::size_t>(got))));
  std::memcpy(size, header.data(), sizeof(*size));
  *kind = static_cast<MessageKind>(header[4]);
  if (*size > kFramePayloadMax) {
    return Error{ErrorCode::kCorrupt, "trainer protocol: a frame of " + std::to_string(*size) +
                                          " bytes; at most " + std::to_string(kFramePayloadMax) +
                                          " are allowed"};
  }
  return {};
}

Result<Frame> Channel::Receive() {
  Frame frame;
  std::uint32_t size = 0;
  DNC_TRY(ReceiveHeader(&frame.kind, &size, &frame.fd));
  payload_.resize(size);
  DNC_TRY(ReceiveAll(payload_));
  frame.payload = payload_;
  return frame;
}

Status Channel::ReceiveChunks(std::span<std::byte> blob) {
  while (!blob.empty()) {
    MessageKind kind{};
    std::uint32_t size = 0;
    UniqueFd dropped;
    DNC_TRY(ReceiveHeader(&kind, &size, &dropped));
    if (kind != MessageKind::kChunk || size == 0 || size > blob.size()) return Malformed("chunk");
    DNC_TRY(ReceiveAll(blob.first(size)));
    blob = blob.subspan(size);
  }
  return {};
}

Status Channel::WaitReadable(int timeout_ms) {
  pollfd entry{socket_.get(), POLLIN, 0};
  const std::int64_t deadline_us = MonotonicNow().us + std::int64_t{timeout_ms} * 1000;
  for (;;) {
    const std::int64_t left_us = std::max<std::int64_t>(deadline_us - MonotonicNow().us, 0);
    const int ready = ::poll(&entry, 1, static_cast<int>((left_us + 999) / 1000));
    if (ready > 0) return {};
    if (ready == 0) return Error{ErrorCode::kUnavailable, "no answer in time"};
    if (errno != EINTR) return ErrnoError("cannot wait for", "the trainer's socket", errno);
  }
}

}  // namespace dnc::trainer
