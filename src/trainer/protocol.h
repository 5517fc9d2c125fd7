// The protocol between ProcessTrainer and dnc-trainer: messages over a Unix stream
// socket, batches in shared memory (trainer/batch_ring.h).
//
// A frame is a u32 length, a u8 kind and `length` bytes of payload, little-endian;
// a payload is at most kFramePayloadMax. What can be larger travels as a blob: its
// size in the payload of a message, then kChunk frames, straight from and into the
// caller's memory. The parent asks and the child answers each request once, in
// order; kSubmit is answered by kSlotDone once the batch is computed.
//
//   parent          payload                                            child answers
//   kHello          Hello                                              kHelloReply
//   kConfigure      TrainerOptions, slots; blob model JSON; ring's fd  kOk
//   kSetWeights     blob                                               kOk
//   kGetWeights     -                                                  kWeights + blob
//   kSetOptimizer   blob                                               kOk
//   kGetOptimizer   -                                                  kOptimizer + blob
//   kSubmit         slot, kind, samples, seed                          kSlotDone
//   kDrain          -                                                  kTotals
//   kTakeOutputs    -                                                  kOutputs + blob
//
// Any answer may be kError instead. Both sides treat the other's bytes as foreign.

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"
#include "trainer/device_choice.h"
#include "trainer/trainer.h"

namespace dnc::trainer {

inline constexpr std::uint32_t kProtocolMagic = 0x54434e44;  // "DNCT"
inline constexpr std::uint32_t kProtocolVersion = 3;
inline constexpr std::uint32_t kFramePayloadMax = 1u << 20;
inline constexpr std::uint64_t kModelJsonBytesMax = 64u << 20;
// The descriptor at which the child finds its end of the socket.
inline constexpr int kTrainerSocketFd = 3;

// Above any honest optimizer state: three slots a weight (Adam with amsgrad) and a
// header.
constexpr std::uint64_t OptimizerStateBytesMax(std::uint64_t weight_count) {
  return weight_count * 16 + 4096;
}

enum class MessageKind : std::uint8_t {
  kHello = 1,
  kConfigure,
  kSetWeights,
  kGetWeights,
  kSetOptimizer,
  kGetOptimizer,
  kSubmit,
  kDrain,
  kTakeOutputs,
  kChunk = 32,
  kHelloReply = 64,
  kOk,
  kError,
  kSlotDone,
  kWeights,
  kOptimizer,
  kTotals,
  kOutputs,
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  std::uint32_t threads = 1;
  std::uint64_t memory_bytes_max = 0;
  bool boxed = false;
  DeviceChoice device = DeviceChoice::kAuto;
  bool gpu_unboxed = false;  // As ProcessTrainerOptions has it.
};

struct HelloReply {
  std::uint32_t version = kProtocolVersion;
  std::string program_version;
};

struct ConfigureMessage {
  TrainerOptions options;  // Without class names.
  std::uint32_t slots = 0;
  std::uint64_t model_json_bytes = 0;
};

struct SubmitMessage {
  std::uint32_t slot = 0;
  BatchKind kind = BatchKind::kTrain;
  std::uint32_t samples = 0;
  std::uint64_t seed = 0;
};

struct SlotDone {
  std::uint32_t slot = 0;
  std::optional<Error> failure;  // Of this batch or one before it.
};

Bytes Encode(const Hello& message);
Bytes Encode(const HelloReply& message);
Bytes Encode(const ConfigureMessage& message);
Bytes Encode(const SubmitMessage& message);
Bytes Encode(const SlotDone& message);
Bytes Encode(const Totals& message);
Bytes Encode(const Error& message);
Bytes EncodeU32(std::uint32_t value);
Bytes EncodeU64(std::uint64_t value);

// Errors of all: kCorrupt, a payload of another layout or a value out of range;
// DecodeHello also kUnsupported, another version, with both.
Result<Hello> DecodeHello(ByteSpan payload);
Result<HelloReply> DecodeHelloReply(ByteSpan payload);
Result<ConfigureMessage> DecodeConfigure(ByteSpan payload);
Result<SubmitMessage> DecodeSubmit(ByteSpan payload);
Result<SlotDone> DecodeSlotDone(ByteSpan payload);
Result<Totals> DecodeTotals(ByteSpan payload);
Result<std::uint32_t> DecodeU32(ByteSpan payload);
Result<std::uint64_t> DecodeU64(ByteSpan payload);

// The error that the payload holds, or the kCorrupt one if it is malformed.
Error DecodeError(ByteSpan payload);

// A file descriptor that is closed with its owner.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = other.Release();
    }
    return *this;
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int Release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void Reset();

 private:
  int fd_ = -1;
};

struct Frame {
  MessageKind kind = MessageKind::kOk;
  ByteSpan payload;  // Valid until the next Receive().
  UniqueFd fd;       // The descriptor that came along, if descriptors are taken.
};

// One end of the socket. Not thread-safe. After an error it must not be used again.
class Channel {
 public:
  // `take_descriptors`: whether a frame may bring one; others are dropped.
  Channel(UniqueFd socket, bool take_descriptors);

  // Blocks until all is written. `fd`, if not negative, travels with the frame.
  // Requires: payload.size() <= kFramePayloadMax.
  // Errors: kUnavailable, the other end is closed; kIo.
  Status Send(MessageKind kind, ByteSpan payload, int fd = -1);
  // The bytes of a blob as kChunk frames.
  Status SendChunks(ByteSpan blob);

  // Blocks for one frame.
  // Errors: kUnavailable, the other end is closed; kCorrupt, a payload above the
  // limit; kIo.
  Result<Frame> Receive();
  // Fills `blob` from kChunk frames. Errors: as Receive(); kCorrupt, another kind, or
  // chunks that do not end where the blob ends.
  Status ReceiveChunks(std::span<std::byte> blob);
  // Waits for bytes to read. Errors: kUnavailable, none within `timeout_ms`; kIo.
  Status WaitReadable(int timeout_ms);

  // Ends this channel. Nothing that was received is lost: it reads no further ahead
  // than the frame that it returns.
  UniqueFd TakeSocket() { return std::move(socket_); }

 private:
  Status ReceiveHeader(MessageKind* kind, std::uint32_t* size, UniqueFd* fd);
  Status ReceiveAll(std::span<std::byte> bytes);

  UniqueFd socket_;
  bool take_descriptors_;
  Bytes payload_;
};

}  // namespace dnc::trainer
