#include "trainer/serve.h"

#include <signal.h>
#include <sys/prctl.h>

#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/human.h"
#include "trainer/batch_ring.h"
#include "trainer/session.h"

namespace dnc::trainer {

namespace {

class Server {
 public:
  Server(Channel* channel, Engine* engine, int threads_max)
      : channel_(channel), session_(engine, threads_max) {}

  // Reads and answers one message. Errors end the service.
  Status ServeOne();

 private:
  Status Dispatch(Frame frame);
  // Receives the blob whose size is in `payload`. Errors: kTooLarge, above
  // `bytes_max`: nothing more can be read from this parent then.
  Result<Bytes> ReceiveBlob(ByteSpan payload, std::uint64_t bytes_max);
  Status Answer(const Status& status);
  Status AnswerBlob(MessageKind kind, const Status& status, ByteSpan blob);

  Status Configure(Frame frame);
  Status SetWeights(const Frame& frame);
  Status GetWeights();
  Status SetOptimizer(const Frame& frame);
  Status GetOptimizer();
  Status Submit(const Frame& frame);
  std::span<const float> WeightsOf(const SubmitMessage& message,
                                   const TrainerOptions& options) const;
  Status Drain();
  Status TakeOutputs();

  Channel* channel_;
  TrainerSession session_;
  BatchRing ring_;
};

Result<Bytes> Server::ReceiveBlob(ByteSpan payload, std::uint64_t bytes_max) {
  DNC_ASSIGN(const std::uint64_t size, DecodeU64(payload));
  if (size > bytes_max) {
    return Error{ErrorCode::kTooLarge, "trainer protocol: " + FormatByteCount(size) +
                                           " were announced; at most " +
                                           FormatByteCount(bytes_max) + " fit here"};
  }
  Bytes blob(size);
  DNC_TRY(channel_->ReceiveChunks(blob));
  return blob;
}

Status Server::Answer(const Status& status) {
  if (status.ok()) return channel_->Send(MessageKind::kOk, {});
  return channel_->Send(MessageKind::kError, Encode(status.error()));
}

Status Server::AnswerBlob(MessageKind kind, const Status& status, ByteSpan blob) {
  if (!status.ok()) return Answer(status);
  DNC_TRY(channel_->Send(kind, EncodeU64(blob.size())));
  return channel_->SendChunks(blob);
}

Status Server::Configure(Frame frame) {
  DNC_ASSIGN(const ConfigureMessage message, DecodeConfigure(frame.payload));
  std::string json(message.model_json_bytes, '\0');
  DNC_TRY(channel_->ReceiveChunks(std::as_writable_bytes(std::span(json))));
  const auto configure = [&]() -> Status {
    ring_ = BatchRing();
    DNC_ASSIGN(const model::Model parsed, model::ParseModel(json, "the model"));
    DNC_TRY(session_.Configure(parsed, message.options));
    BatchRingLayout layout = LayoutFor(message.options);
    layout.slots = message.slots;
    DNC_ASSIGN(ring_, BatchRing::Open(std::move(frame.fd), layout));
    return {};
  };
  return Answer(configure());
}

Status Server::SetWeights(const Frame& frame) {
  const std::uint64_t expected = session_.configured() ? session_.weight_count() : 0;
  DNC_ASSIGN(const std::uint64_t size, DecodeU64(frame.payload));
  if (size != expected * sizeof(float)) {
    return Error{ErrorCode::kCorrupt, "trainer protocol: " + FormatByteCount(size) +
                                          " of weights for a model of " + FormatCount(expected)};
  }
  std::vector<float> weights(expected);
  DNC_TRY(channel_->ReceiveChunks(std::as_writable_bytes(std::span(weights))));
  return Answer(session_.SetWeights(weights));
}

Status Server::GetWeights() {
  const Result<std::vector<float>> weights = session_.GetWeights();
  return AnswerBlob(MessageKind::kWeights, weights.status(),
                    weights.ok() ? std::as_bytes(std::span(*weights)) : ByteSpan{});
}

Status Server::SetOptimizer(const Frame& frame) {
  const std::uint64_t bytes_max =
      OptimizerStateBytesMax(session_.configured() ? session_.weight_count() : 0);
  DNC_ASSIGN(const Bytes state, ReceiveBlob(frame.payload, bytes_max));
  return Answer(session_.SetOptimizerState(state));
}

Status Server::GetOptimizer() {
  const Result<Bytes> state = session_.GetOptimizerState();
  return AnswerBlob(MessageKind::kOptimizer, state.status(), state.ok() ? *state : ByteSpan{});
}

std::span<const float> Server::WeightsOf(const SubmitMessage& message,
                                         const TrainerOptions& options) const {
  if (!options.weighted || message.kind != BatchKind::kTrain) return {};
  return ring_.weights(message.slot).first(message.samples);
}

Status Server::Submit(const Frame& frame) {
  DNC_ASSIGN(const SubmitMessage message, DecodeSubmit(frame.payload));
  if (!session_.configured() || message.slot >= ring_.layout().slots) {
    return Error{ErrorCode::kCorrupt, "trainer protocol: a batch in slot " +
                                          std::to_string(message.slot) + ", which is not there"};
  }
  const TrainerOptions& options = session_.options();
  DNC_TRY(CheckBatchSamples(message.samples, options.batch_size_max));
  if (!session_.failure().has_value()) {
    session_.Run({.kind = message.kind,
                  .x = FirstSamples(ring_.x(message.slot), options.x, message.samples),
                  .y = FirstSamples(ring_.y(message.slot), options.y, message.samples),
                  .samples = message.samples,
                  .seed = message.seed,
                  .weights = WeightsOf(message, options)});
  }
  return channel_->Send(MessageKind::kSlotDone, Encode(SlotDone{message.slot, session_.failure()}));
}

Status Server::Drain() {
  const Result<Totals> totals = session_.Drain();
  if (!totals.ok()) return Answer(totals.status());
  return channel_->Send(MessageKind::kTotals, Encode(*totals));
}

Status Server::TakeOutputs() {
  const Result<std::vector<float>> outputs = session_.TakeOutputs();
  return AnswerBlob(MessageKind::kOutputs, outputs.status(),
                    outputs.ok() ? std::as_bytes(std::span(*outputs)) : ByteSpan{});
}

Status Server::ServeOne() {
  try {
    DNC_ASSIGN(Frame frame, channel_->Receive());
    return Dispatch(std::move(frame));
  } catch (const std::bad_alloc&) {
    // The message may be half read, so this is the end.
    return Error{ErrorCode::kResourceExhausted,
                 "the trainer has not enough memory; allow it more, or use a smaller batch or "
                 "model"};
  }
}

Status Server::Dispatch(Frame frame) {
  switch (frame.kind) {
    case MessageKind::kConfigure:
      return Configure(std::move(frame));
    case MessageKind::kSetWeights:
      return SetWeights(frame);
    case MessageKind::kGetWeights:
      return GetWeights();
    case MessageKind::kSetOptimizer:
      return SetOptimizer(frame);
    case MessageKind::kGetOptimizer:
      return GetOptimizer();
    case MessageKind::kSubmit:
      return Submit(frame);
    case MessageKind::kDrain:
      return Drain();
    case MessageKind::kTakeOutputs:
      return TakeOutputs();
    default:
      break;
  }
  return Error{ErrorCode::kCorrupt, "trainer protocol: a message of the unknown kind " +
                                        std::to_string(static_cast<int>(frame.kind))};
}

// The parent's hello, answered once everything is ready.
Result<Hello> Greet(Channel* channel, const ServeOptions& options) {
  DNC_ASSIGN(const Frame frame, channel->Receive());
  if (frame.kind != MessageKind::kHello) {
    return Error{ErrorCode::kCorrupt, "trainer protocol: the first message is not a hello"};
  }
  DNC_ASSIGN(const Hello hello, DecodeHello(frame.payload));
  if (options.prepare) DNC_TRY(options.prepare(hello));
  return hello;
}

// Tells the parent why the service ends, if it is still there.
Status Farewell(Channel* channel, const Error& error) {
  const Status told = channel->Send(MessageKind::kError, Encode(error));
  static_cast<void>(told.ok());  // Either way it ends with `error`.
  return error;
}

}  // namespace

void BecomeTrainerChild() {
  ::signal(SIGINT, SIG_IGN);
  // If the parent is gone already, the socket is closed, and that ends the child too.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
}

Status ServeEngine(UniqueFd socket, Engine* engine, const ServeOptions& options) {
  Channel channel(std::move(socket), true);
  const Result<Hello> hello = Greet(&channel, options);
  if (!hello.ok()) return Farewell(&channel, hello.error());
  DNC_TRY(
      channel.Send(MessageKind::kHelloReply, Encode(HelloReply{.program_version = DNC_VERSION})));
  Server server(&channel, engine, static_cast<int>(hello->threads));
  for (;;) {
    const Status served = server.ServeOne();
    if (served.ok()) continue;
    // The parent closed the socket: the regular end.
    if (served.error().code == ErrorCode::kUnavailable) return {};
    return Farewell(&channel, served.error());
  }
}

}  // namespace dnc::trainer
