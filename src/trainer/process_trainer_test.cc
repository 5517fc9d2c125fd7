// The child of these tests is this test program, started again with
// --fake-child=MODE: it serves least squares without libtorch, or misbehaves as the
// mode says.

#include "trainer/process_trainer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <thread>

#include "testing/testing.h"
#include "trainer/conformance.h"
#include "trainer/fake_trainer.h"
#include "trainer/serve.h"

namespace dnc::trainer {
namespace {

using ::testing::HasSubstr;

// An engine that never comes back from a batch.
class HangingEngine final : public Engine {
 public:
  Status Configure(const model::Model& model, const TrainerOptions& options) override {
    return inner_->Configure(model, options);
  }
  Status SetWeights(std::span<const float> weights) override { return inner_->SetWeights(weights); }
  Status GetWeights(std::span<float> weights) override { return inner_->GetWeights(weights); }
  Status SetOptimizerState(ByteSpan state) override { return inner_->SetOptimizerState(state); }
  Result<Bytes> GetOptimizerState() override { return inner_->GetOptimizerState(); }
  Result<BatchResult> Run(const Batch&, std::vector<float>*) override {
    for (;;) ::pause();
  }

 private:
  std::unique_ptr<Engine> inner_ = MakeLeastSquaresEngine();
};

std::string OpenDescriptors() {
  std::string text;
  for (int fd = 0; fd < 256; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) text += std::to_string(fd) + " ";
  }
  return text;
}

int OpenDescriptorCount() {
  const std::string text = OpenDescriptors();
  return static_cast<int>(std::count(text.begin(), text.end(), ' '));
}

// Answers the hello, then every message by the frame that the mode names.
int ServeWrongly(const std::string& mode) {
  Channel channel(UniqueFd(kTrainerSocketFd), true);
  if (!channel.Receive().ok()) return 1;
  const std::uint32_t version = mode == "version" ? 99 : kProtocolVersion;
  Status sent = channel.Send(MessageKind::kHelloReply,
                             Encode(HelloReply{.version = version, .program_version = "9.9"}));
  while (sent.ok()) {
    const Result<Frame> frame = channel.Receive();
    if (!frame.ok()) break;
    if (frame->kind == MessageKind::kChunk) continue;
    if (frame->kind == MessageKind::kConfigure && mode != "unknown-kind") {
      sent = channel.Send(MessageKind::kOk, {});
    } else if (mode == "huge-weights") {
      sent = channel.Send(MessageKind::kWeights, EncodeU64(std::uint64_t{1} << 60));
    } else if (mode == "short-weights") {
      sent = channel.Send(MessageKind::kWeights, EncodeU64(4));
    } else if (mode == "foreign-slot") {
      sent = channel.Send(MessageKind::kSlotDone, Encode(SlotDone{.slot = 1}));
    } else if (mode == "bad-totals") {
      sent = channel.Send(MessageKind::kTotals, EncodeU32(1));
    } else if (mode == "huge-frame") {
      const std::uint8_t header[] = {0xff, 0xff, 0xff, 0x7f, 1};
      if (::write(kTrainerSocketFd, header, sizeof(header)) != 5) break;
    } else {
      sent = channel.Send(static_cast<MessageKind>(250), {});
    }
  }
  return 0;
}

int ServeWell(Engine* engine, std::function<Status(const Hello&)> prepare = nullptr) {
  BecomeTrainerChild();
  const Status served =
      ServeEngine(UniqueFd(kTrainerSocketFd), engine, {.prepare = std::move(prepare)});
  if (served.ok()) return 0;
  std::cerr << served.error().message << "\n";
  return 1;
}

int RunChild(const std::string& mode) {
  const std::unique_ptr<Engine> engine = MakeLeastSquaresEngine();
  if (mode == "serve") return ServeWell(engine.get());
  if (mode == "hang") {
    HangingEngine hanging;
    return ServeWell(&hanging);
  }
  if (mode == "refuse") {
    return ServeWell(engine.get(), [](const Hello&) {
      return Error{ErrorCode::kResourceExhausted, "no room for a trainer"};
    });
  }
  if (mode == "die") {
    std::cerr << "cannot load libfoo.so\n";
    return 5;
  }
  if (mode == "report") {
    const char* const secret = ::getenv("DNC_TEST_SECRET");
    std::cerr << "descriptors " << OpenDescriptors() << "secret "
              << (secret == nullptr ? "hidden" : secret) << "\n";
    return 6;
  }
  return ServeWrongly(mode);
}

// Before main(): this program's arguments say whether it is a child.
const bool child_ran = [] {
  std::string line;
  {
    std::ifstream file("/proc/self/cmdline", std::ios::binary);
    line.assign(std::istreambuf_iterator<char>(file), {});
  }
  const std::string flag = "--fake-child=";
  if (const std::size_t at = line.find(flag); at != std::string::npos) {
    ::_exit(RunChild(line.c_str() + at + flag.size()));
  }
  return false;
}();

Result<std::unique_ptr<ProcessTrainer>> StartChild(const std::string& mode) {
  ProcessTrainerOptions options;
  options.program_path = "/proc/self/exe";
  options.program_arguments = {"--fake-child=" + mode};
  return ProcessTrainer::Start(options);
}

std::unique_ptr<ProcessTrainer> MustStart(const std::string& mode) {
  Result<std::unique_ptr<ProcessTrainer>> trainer = StartChild(mode);
  EXPECT_THAT(trainer, test::Succeeds());
  DNC_ASSERT(trainer.ok());
  return std::move(trainer).value();
}

Status ConfigureRegression(Trainer* trainer) {
  return trainer->Configure(conformance::RegressionModel(), conformance::RegressionOptions());
}

bool HasNoChildren() { return ::waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD; }

class ProcessTrainerConformanceTest : public ::testing::TestWithParam<conformance::Check> {};

TEST_P(ProcessTrainerConformanceTest, Holds) {
  ASSERT_FALSE(child_ran);
  const std::unique_ptr<ProcessTrainer> trainer = MustStart("serve");
  GetParam().run(trainer.get());
}

INSTANTIATE_TEST_SUITE_P(All, ProcessTrainerConformanceTest,
                         ::testing::ValuesIn(conformance::kChecks),
                         [](const auto& check) { return check.param.name; });

TEST(ProcessTrainerTest, GivesTheSameBitsAsInProcess) {
  FakeTrainer fake;
  ASSERT_THAT(ConfigureRegression(&fake), test::Succeeds());
  const std::unique_ptr<ProcessTrainer> trainer = MustStart("serve");
  ASSERT_THAT(ConfigureRegression(trainer.get()), test::Succeeds());
  EXPECT_EQ(conformance::WeightsAfter(trainer.get(), 0, 30),
            conformance::WeightsAfter(&fake, 0, 30));
}

TEST(ProcessTrainerTest, NamesTheProgramThatIsNotThere) {
  ProcessTrainerOptions options;
  options.program_path = "/nowhere/dnc-trainer";
  EXPECT_THAT(ProcessTrainer::Start(options),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("/nowhere/dnc-trainer")));
  ::setenv("DNC_TRAINER", "/elsewhere/dnc-trainer", 1);
  EXPECT_THAT(FindTrainerProgram(""),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("DNC_TRAINER")));
  ::setenv("DNC_TRAINER", "/bin/true", 1);
  EXPECT_EQ(FindTrainerProgram("").value(), "/bin/true");
  ::unsetenv("DNC_TRAINER");
}

TEST(ProcessTrainerTest, FindsTheProgramInThePath) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "dnc-trainer";
  const std::string before = ::getenv("PATH");
  ::setenv("PATH", folder.path().c_str(), 1);
  EXPECT_THAT(FindTrainerProgram(""),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("DNC_TRAINER")));
  std::ofstream(path) << "#!/bin/sh\n";
  EXPECT_FALSE(FindTrainerProgram("").ok()) << "it is not executable yet";
  ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
  EXPECT_EQ(FindTrainerProgram("").value(), path);
  ::setenv("PATH", before.c_str(), 1);
}

TEST(ProcessTrainerTest, TellsTheLastWordsOfAChildThatDiesAtTheStart) {
  EXPECT_THAT(StartChild("die"),
              test::FailsWith(
                  ErrorCode::kUnavailable,
                  ::testing::AllOf(HasSubstr("exit code 5"), HasSubstr("cannot load libfoo.so"))));
  EXPECT_TRUE(HasNoChildren());
}

TEST(ProcessTrainerTest, PassesOnWhyAChildRefusesToStart) {
  EXPECT_THAT(StartChild("refuse"),
              test::FailsWith(ErrorCode::kResourceExhausted, HasSubstr("no room for a trainer")));
}

TEST(ProcessTrainerTest, RefusesAChildOfAnotherVersion) {
  EXPECT_THAT(StartChild("version"), test::FailsWith(ErrorCode::kUnsupported, HasSubstr("99")));
}

TEST(ProcessTrainerTest, TheChildHasOnlyItsSocketAndNoSecrets) {
  ::setenv("DNC_TEST_SECRET", "token", 1);
  const UniqueFd leak(::open("/dev/null", O_RDONLY));  // Not close-on-exec.
  EXPECT_THAT(
      StartChild("report"),
      test::FailsWith(ErrorCode::kUnavailable, HasSubstr("descriptors 0 1 2 3 secret hidden")));
  ::unsetenv("DNC_TEST_SECRET");
}

TEST(ProcessTrainerTest, SaysThatTheChildWasKilledAndGoesOnSayingSo) {
  const std::unique_ptr<ProcessTrainer> trainer = MustStart("serve");
  ASSERT_THAT(ConfigureRegression(trainer.get()), test::Succeeds());
  ASSERT_EQ(::kill(trainer->pid(), SIGKILL), 0);
  EXPECT_THAT(trainer->Drain(),
              test::FailsWith(ErrorCode::kUnavailable, HasSubstr("killed by signal 9")));
  EXPECT_THAT(trainer->GetWeights(),
              test::FailsWith(ErrorCode::kUnavailable, HasSubstr("killed by signal 9")));
  EXPECT_THAT(ConfigureRegression(trainer.get()), test::FailsWith(ErrorCode::kUnavailable));
  EXPECT_TRUE(HasNoChildren());
}

TEST(ProcessTrainerTest, StopEndsABatchThatWouldNeverEnd) {
  const std::unique_ptr<ProcessTrainer> trainer = MustStart("hang");
  ASSERT_THAT(ConfigureRegression(trainer.get()), test::Succeeds());
  ASSERT_THAT(conformance::TrainRegression(trainer.get(), 0, 2), test::Succeeds());
  std::thread stopper([&] { trainer->Stop(); });
  EXPECT_THAT(trainer->Drain(), test::FailsWith(ErrorCode::kCancelled));
  stopper.join();
  EXPECT_THAT(trainer->AcquireSlot(), test::FailsWith(ErrorCode::kCancelled));
}

TEST(ProcessTrainerTest, LeavesNoProcessAndNoDescriptor) {
  const int before = OpenDescriptorCount();
  for (const char* mode : {"serve", "hang"}) {
    const std::unique_ptr<ProcessTrainer> trainer = MustStart(mode);
    ASSERT_THAT(ConfigureRegression(trainer.get()), test::Succeeds());
    ASSERT_THAT(ConfigureRegression(trainer.get()), test::Succeeds());
    ASSERT_THAT(conformance::TrainRegression(trainer.get(), 0, 1), test::Succeeds());
  }
  EXPECT_FALSE(StartChild("die").ok());
  EXPECT_EQ(OpenDescriptorCount(), before) << OpenDescriptors();
  EXPECT_TRUE(HasNoChildren());
}

TEST(ProcessTrainerTest, AnInterruptReachesTheParentOnly) {
  const std::unique_ptr<ProcessTrainer> trainer = MustStart("serve");
  ASSERT_THAT(ConfigureRegression(trainer.get()), test::Succeeds());
  EXPECT_NE(::getpgid(trainer->pid()), ::getpgrp());
  ASSERT_EQ(::kill(trainer->pid(), SIGINT), 0);
  ASSERT_THAT(conformance::TrainRegression(trainer.get(), 0, 5), test::Succeeds());
  EXPECT_THAT(trainer->Drain(), test::Succeeds());
}

TEST(ProcessTrainerTest, TheChildDiesWithAParentThatIsKilled) {
  std::array<int, 2> pipe_fds{};
  ASSERT_EQ(::pipe2(pipe_fds.data(), O_CLOEXEC), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    Result<std::unique_ptr<ProcessTrainer>> trainer = StartChild("hang");
    if (!trainer.ok() || !ConfigureRegression(trainer->get()).ok() ||
        !conformance::TrainRegression(trainer->get(), 0, 1).ok()) {
      ::_exit(1);
    }
    const int pid = (*trainer)->pid();
    if (::write(pipe_fds[1], &pid, sizeof(pid)) != sizeof(pid)) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(pipe_fds[1]);
  int child = 0;
  ASSERT_EQ(::read(pipe_fds[0], &child, sizeof(child)), static_cast<ssize_t>(sizeof(child)));
  ::close(pipe_fds[0]);
  ASSERT_EQ(::kill(child, 0), 0);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  // It is another process's child now and is gone, or a zombie of that one, soon.
  const auto gone = [&] {
    std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
    std::string pid, name, state;
    return !(stat >> pid >> name >> state) || state == "Z" || state == "X";
  };
  for (int i = 0; i < 5000 && !gone(); ++i) ::usleep(1000);
  EXPECT_TRUE(gone());
}

TEST(ProcessTrainerTest, EndsAChildWhoseAnswersMakeNoSense) {
  for (const char* mode :
       {"huge-weights", "short-weights", "huge-frame", "foreign-slot", "unknown-kind-later"}) {
    SCOPED_TRACE(mode);
    const std::unique_ptr<ProcessTrainer> trainer = MustStart(mode);
    ASSERT_THAT(ConfigureRegression(trainer.get()), test::Succeeds());
    EXPECT_THAT(trainer->GetWeights(),
                test::FailsWith(ErrorCode::kUnavailable, HasSubstr("made no sense")));
    EXPECT_THAT(trainer->Drain(), test::FailsWith(ErrorCode::kUnavailable));
  }
  const std::unique_ptr<ProcessTrainer> totals = MustStart("bad-totals");
  ASSERT_THAT(ConfigureRegression(totals.get()), test::Succeeds());
  EXPECT_THAT(totals->Drain(),
              test::FailsWith(ErrorCode::kUnavailable, HasSubstr("made no sense")));
  const std::unique_ptr<ProcessTrainer> kind = MustStart("unknown-kind");
  EXPECT_THAT(ConfigureRegression(kind.get()),
              test::FailsWith(ErrorCode::kUnavailable, HasSubstr("made no sense")));
}

TEST(ProcessTrainerTest, RefusesAThreadCountOutOfRange) {
  ProcessTrainerOptions options;
  options.threads = 0;
  EXPECT_THAT(ProcessTrainer::Start(options),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("0 threads")));
}

}  // namespace
}  // namespace dnc::trainer
