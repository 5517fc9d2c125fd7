#include "trainer/process_trainer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/file.h"
#include "base/human.h"
#include "trainer/batch_ring.h"
#include "trainer/child_process.h"
#include "trainer/protocol.h"
#include "trainer/session.h"

namespace dnc::trainer {

namespace {

constexpr const char* kProgramName = "dnc-trainer";
constexpr int kStartTimeoutMs = 60'000;
// How long a child that closed its socket may take to end before it is killed.
constexpr int kEndTimeoutMs = 2'000;

// Where libraries and messages come from, and what sanitizers read.
const std::vector<std::string>& ChildEnvironment() {
  static const std::vector<std::string> names{
      "PATH",          "LD_LIBRARY_PATH", "LANG",
      "LC_ALL",        "ASAN_OPTIONS",    "LSAN_OPTIONS",
      "UBSAN_OPTIONS", "TSAN_OPTIONS",    "CUDA_VISIBLE_DEVICES"};
  return names;
}

bool IsProgram(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
}

std::string BesideThisProgram() {
  std::error_code failed;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? std::string() : (self.parent_path() / kProgramName).string();
}

std::string InPath() {
  const char* const path = ::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::size_t end = rest.find(':');
    const std::string candidate = std::string(rest.substr(0, end)) + "/" + kProgramName;
    if (IsProgram(candidate)) return candidate;
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return "";
}

Error StoppedError() { return {ErrorCode::kCancelled, "the trainer was stopped"}; }

}  // namespace

Result<std::string> FindTrainerProgram(const std::string& program_path) {
  const auto named = [](const std::string& path, const std::string& by) -> Result<std::string> {
    if (IsProgram(path)) return path;
    return Error{ErrorCode::kNotFound, path + ": no program there (named by " + by + ")"};
  };
  if (!program_path.empty()) return named(program_path, "the caller");
  if (const char* const path = ::getenv("DNC_TRAINER"); path != nullptr && *path != '\0') {
    return named(path, "DNC_TRAINER");
  }
  const std::string beside = BesideThisProgram();
  if (!beside.empty() && IsProgram(beside)) return beside;
  if (std::string found = InPath(); !found.empty()) return found;
  return Error{ErrorCode::kNotFound,
               "the program dnc-trainer was not found at " + beside +
                   " or in PATH; install it there, or name it in DNC_TRAINER"};
}

struct ProcessTrainer::Impl {
  explicit Impl(Channel open_channel) : channel(std::move(open_channel)) {}

  // What every call begins with.
  Status Alive() const;
  Status Configured() const;
  // The error for a broken connection: the child died, broke the protocol, or was
  // stopped. Nothing more is said to it.
  Error Broken(const Error& cause);
  Status Send(MessageKind kind, ByteSpan payload, int fd = -1);
  Status SendBlob(MessageKind kind, ByteSpan blob);
  // Reads until the answer of a request; takes back slots on the way.
  Result<Frame> Await(MessageKind kind);
  Result<Frame> Receive();
  Status TakeBack(const Frame& frame);
  // The blob of an answer, once its size is found to be right.
  template <typename T>
  Result<std::vector<T>> ReceiveBlob(const Frame& frame, std::uint64_t bytes_min,
                                     std::uint64_t bytes_max);
  Status Greet(const ProcessTrainerOptions& options);

  std::unique_ptr<ChildProcess> child;
  Channel channel;
  int threads_max = 1;
  std::atomic<bool> stopped{false};
  std::optional<Error> broken;

  bool configured = false;
  TrainerOptions options;
  std::uint64_t weight_count = 0;
  std::uint64_t output_count = 0;
  std::uint64_t predicted_samples = 0;  // Whose outputs are in the child.
  BatchRing ring;
  std::vector<bool> busy;  // Slots that the child works on.
  int acquired = -1;
  std::optional<Error> failure;  // Of a batch; as in TrainerSession.
};

Status ProcessTrainer::Impl::Alive() const {
  if (stopped) return StoppedError();
  if (broken.has_value()) return *broken;
  return {};
}

Status ProcessTrainer::Impl::Configured() const {
  DNC_TRY(Alive());
  if (configured) return {};
  return Error{ErrorCode::kInvalidArgument, "the trainer has no model yet; call Configure first"};
}

Error ProcessTrainer::Impl::Broken(const Error& cause) {
  if (!broken.has_value()) {
    const bool closed = cause.code == ErrorCode::kUnavailable;
    const bool ended = closed && child->WaitForEnd(kEndTimeoutMs);
    child->Kill();
    broken =
        Error{ErrorCode::kUnavailable,
              ended ? child->EndText()
                    : "dnc-trainer was ended, since its answer made no sense: " + cause.message};
  }
  return stopped ? StoppedError() : *broken;
}

Status ProcessTrainer::Impl::Send(MessageKind kind, ByteSpan payload, int fd) {
  const Status sent = channel.Send(kind, payload, fd);
  if (sent.ok()) return {};
  return Broken(sent.error());
}

Status ProcessTrainer::Impl::SendBlob(MessageKind kind, ByteSpan blob) {
  DNC_TRY(Send(kind, EncodeU64(blob.size())));
  const Status sent = channel.SendChunks(blob);
  if (sent.ok()) return {};
  return Broken(sent.error());
}

Result<Frame> ProcessTrainer::Impl::Receive() {
  Result<Frame> frame = channel.Receive();
  if (!frame.ok()) return Broken(frame.error());
  return frame;
}

Status ProcessTrainer::Impl::TakeBack(const Frame& frame) {
  const Result<SlotDone> done = DecodeSlotDone(frame.payload);
  if (!done.ok()) return Broken(done.error());
  if (done->slot >= busy.size() || !busy[done->slot]) {
    return Broken({ErrorCode::kCorrupt, "a slot that it did not have is done"});
  }
  busy[done->slot] = false;
  if (done->failure.has_value() && !failure.has_value()) failure = done->failure;
  return {};
}

Result<Frame> ProcessTrainer::Impl::Await(MessageKind kind) {
  for (;;) {
    DNC_ASSIGN(Frame frame, Receive());
    if (frame.kind == kind) return frame;
    if (frame.kind == MessageKind::kError) return DecodeError(frame.payload);
    if (frame.kind != MessageKind::kSlotDone) {
      return Broken({ErrorCode::kCorrupt,
                     "a message of kind " + std::to_string(static_cast<int>(frame.kind))});
    }
    DNC_TRY(TakeBack(frame));
  }
}

template <typename T>
Result<std::vector<T>> ProcessTrainer::Impl::ReceiveBlob(const Frame& frame,
                                                         std::uint64_t bytes_min,
                                                         std::uint64_t bytes_max) {
  const Result<std::uint64_t> size = DecodeU64(frame.payload);
  if (!size.ok()) return Broken(size.error());
  if (*size < bytes_min || *size > bytes_max || *size % sizeof(T) != 0) {
    return Broken({ErrorCode::kCorrupt,
                   FormatByteCount(*size) + " where " + FormatByteCount(bytes_max) + " were due"});
  }
  std::vector<T> blob(*size / sizeof(T));
  const Status received = channel.ReceiveChunks(std::as_writable_bytes(std::span(blob)));
  if (!received.ok()) return Broken(received.error());
  return blob;
}

Status ProcessTrainer::Impl::Greet(const ProcessTrainerOptions& start) {
  DNC_TRY(
      Send(MessageKind::kHello, Encode(Hello{.threads = static_cast<std::uint32_t>(start.threads),
                                             .memory_bytes_max = start.memory_bytes_max,
                                             .boxed = start.boxed,
                                             .device = start.device,
                                             .gpu_unboxed = start.gpu_unboxed})));
  if (const Status ready = channel.WaitReadable(kStartTimeoutMs); !ready.ok()) {
    return Error{ErrorCode::kUnavailable, "dnc-trainer was not ready within " +
                                              std::to_string(kStartTimeoutMs / 1000) + " s"};
  }
  DNC_ASSIGN(const Frame frame, Await(MessageKind::kHelloReply));
  const Result<HelloReply> reply = DecodeHelloReply(frame.payload);
  if (!reply.ok()) return Broken(reply.error());
  if (reply->version != kProtocolVersion) {
    return Error{ErrorCode::kUnsupported,
                 "dnc-trainer " + reply->program_version + " speaks version " +
                     std::to_string(reply->version) + " of the trainer protocol, this program " +
                     std::to_string(kProtocolVersion) + "; install both from one release"};
  }
  return {};
}

ProcessTrainer::ProcessTrainer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProcessTrainer::~ProcessTrainer() = default;

Result<std::unique_ptr<ProcessTrainer>> ProcessTrainer::Start(
    const ProcessTrainerOptions& options) {
  if (options.threads < 1 || options.threads > 1024) {
    return Error{ErrorCode::kInvalidArgument,
                 std::to_string(options.threads) + " threads: it must be 1 to 1024"};
  }
  DNC_ASSIGN(const std::string program, FindTrainerProgram(options.program_path));
  std::array<int, 2> ends{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return ErrnoError("cannot create", "a socket pair", errno);
  }
  UniqueFd child_end(ends[1]);
  auto impl = std::make_unique<Impl>(Channel(UniqueFd(ends[0]), false));
  ChildProcessOptions child_options{.program_path = program,
                                    .arguments = options.program_arguments,
                                    .environment_names = ChildEnvironment()};
  child_options.arguments.push_back("--serve");
  DNC_ASSIGN(impl->child, ChildProcess::Start(child_options, std::move(child_end)));
  impl->threads_max = options.threads;
  if (const Status greeted = impl->Greet(options); !greeted.ok()) {
    return greeted.error().WithContext("cannot start " + program);
  }
  return std::unique_ptr<ProcessTrainer>(new ProcessTrainer(std::move(impl)));
}

Status ProcessTrainer::Configure(const model::Model& model, const TrainerOptions& options) {
  Impl& impl = *impl_;
  DNC_TRY(impl.Alive());
  impl.configured = false;
  DNC_TRY(CheckTrainerOptions(model, options, impl.threads_max));
  DNC_ASSIGN(const model::Model bound, model::BindInputShapes(model, options.x));
  const std::string json = model::FormatModel(model);
  if (json.size() > kModelJsonBytesMax) {
    return Error{ErrorCode::kTooLarge, "the model's description has " +
                                           FormatByteCount(json.size()) + "; at most " +
                                           FormatByteCount(kModelJsonBytesMax) + " are allowed"};
  }
  DNC_ASSIGN(BatchRing ring, BatchRing::Create(LayoutFor(options)));
  DNC_TRY(impl.Send(
      MessageKind::kConfigure,
      Encode(ConfigureMessage{
          .options = options, .slots = ring.layout().slots, .model_json_bytes = json.size()}),
      ring.fd()));
  if (const Status sent = impl.channel.SendChunks(AsBytes(json)); !sent.ok()) {
    return impl.Broken(sent.error());
  }
  DNC_TRY(impl.Await(MessageKind::kOk));
  impl.ring = std::move(ring);
  impl.busy.assign(impl.ring.layout().slots, false);
  impl.acquired = -1;
  impl.failure.reset();
  impl.options = options;
  impl.weight_count = model.weight_count;
  impl.output_count = bound.output_elements();
  impl.predicted_samples = 0;
  impl.configured = true;
  return {};
}

Status ProcessTrainer::SetWeights(std::span<const float> weights) {
  DNC_TRY(impl_->Configured());
  DNC_TRY(CheckWeightCount(weights.size(), impl_->weight_count));
  DNC_TRY(impl_->SendBlob(MessageKind::kSetWeights, std::as_bytes(weights)));
  DNC_TRY(impl_->Await(MessageKind::kOk));
  impl_->failure.reset();
  impl_->predicted_samples = 0;
  return {};
}

Result<std::vector<float>> ProcessTrainer::GetWeights() {
  DNC_TRY(impl_->Configured());
  DNC_TRY(impl_->Send(MessageKind::kGetWeights, {}));
  DNC_ASSIGN(const Frame frame, impl_->Await(MessageKind::kWeights));
  const std::uint64_t bytes = impl_->weight_count * sizeof(float);
  return impl_->ReceiveBlob<float>(frame, bytes, bytes);
}

Status ProcessTrainer::SetOptimizerState(std::span<const std::byte> state) {
  DNC_TRY(impl_->Configured());
  if (state.size() > OptimizerStateBytesMax(impl_->weight_count)) {
    return Error{ErrorCode::kCorrupt, "an optimizer state of " + FormatByteCount(state.size()) +
                                          " is too large for this model"};
  }
  DNC_TRY(impl_->SendBlob(MessageKind::kSetOptimizer, state));
  return impl_->Await(MessageKind::kOk).status();
}

Result<Bytes> ProcessTrainer::GetOptimizerState() {
  DNC_TRY(impl_->Configured());
  DNC_TRY(impl_->Send(MessageKind::kGetOptimizer, {}));
  DNC_ASSIGN(const Frame frame, impl_->Await(MessageKind::kOptimizer));
  return impl_->ReceiveBlob<std::byte>(frame, 0, OptimizerStateBytesMax(impl_->weight_count));
}

Result<BatchSlot> ProcessTrainer::AcquireSlot() {
  DNC_TRY(impl_->Configured());
  while (impl_->acquired < 0) {
    if (impl_->failure.has_value()) return *impl_->failure;
    for (std::size_t i = 0; i < impl_->busy.size() && impl_->acquired < 0; ++i) {
      if (!impl_->busy[i]) impl_->acquired = static_cast<int>(i);
    }
    if (impl_->acquired >= 0) break;
    DNC_ASSIGN(const Frame frame, impl_->Receive());
    if (frame.kind != MessageKind::kSlotDone) {
      return frame.kind == MessageKind::kError
                 ? DecodeError(frame.payload)
                 : impl_->Broken({ErrorCode::kCorrupt, "an answer that nobody asked for"});
    }
    DNC_TRY(impl_->TakeBack(frame));
  }
  const auto slot = static_cast<std::uint32_t>(impl_->acquired);
  return BatchSlot{impl_->acquired, impl_->ring.x(slot), impl_->ring.y(slot),
                   impl_->ring.weights(slot)};
}

Status ProcessTrainer::Submit(const BatchSlot& slot, BatchKind kind, std::uint32_t samples,
                              std::uint64_t seed) {
  DNC_TRY(impl_->Configured());
  DNC_ASSERT(slot.index >= 0 && slot.index == impl_->acquired);
  DNC_TRY(CheckBatchSamples(samples, impl_->options.batch_size_max));
  DNC_TRY(impl_->Send(MessageKind::kSubmit,
                      Encode(SubmitMessage{.slot = static_cast<std::uint32_t>(slot.index),
                                           .kind = kind,
                                           .samples = samples,
                                           .seed = seed})));
  impl_->acquired = -1;
  impl_->busy[static_cast<std::size_t>(slot.index)] = true;
  if (KeepsOutputs(kind)) impl_->predicted_samples += samples;
  return {};
}

Result<Totals> ProcessTrainer::Drain() {
  DNC_TRY(impl_->Configured());
  DNC_TRY(impl_->Send(MessageKind::kDrain, {}));
  DNC_ASSIGN(const Frame frame, impl_->Await(MessageKind::kTotals));
  const Result<Totals> totals = DecodeTotals(frame.payload);
  if (!totals.ok()) return impl_->Broken(totals.error());
  return totals;
}

Result<std::vector<float>> ProcessTrainer::TakeOutputs() {
  DNC_TRY(impl_->Configured());
  DNC_TRY(impl_->Send(MessageKind::kTakeOutputs, {}));
  DNC_ASSIGN(const Frame frame, impl_->Await(MessageKind::kOutputs));
  const std::uint64_t bytes = impl_->predicted_samples * impl_->output_count * sizeof(float);
  impl_->predicted_samples = 0;
  return impl_->ReceiveBlob<float>(frame, bytes, bytes);
}

void ProcessTrainer::Stop() {
  impl_->stopped = true;
  impl_->child->Kill();
}

int ProcessTrainer::pid() const { return impl_->child->pid(); }

}  // namespace dnc::trainer
