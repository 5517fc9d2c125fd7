// The program dnc-trainer itself, driven as dnc drives it. Each start takes most of a
// second, so each test does several things with one.

#include <ATen/Context.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <array>
#include <fstream>

#include "testing/testing.h"
#include "trainer/conformance.h"
#include "trainer/process_trainer.h"
#include "trainer_torch/engine_harness.h"

namespace dnc::trainer_torch {
namespace {

using ::testing::HasSubstr;
using trainer::BatchKind;
using trainer::ProcessTrainer;
using trainer::ProcessTrainerOptions;

ProcessTrainerOptions Program(int threads, bool boxed) {
  ProcessTrainerOptions options;
  options.threads = threads;
  options.boxed = boxed;
  options.device = trainer::DeviceChoice::kCpu;
  options.program_path = DNC_TRAINER_PROGRAM;
  return options;
}

std::unique_ptr<ProcessTrainer> MustStart(const ProcessTrainerOptions& options) {
  Result<std::unique_ptr<ProcessTrainer>> trainer = ProcessTrainer::Start(options);
  EXPECT_THAT(trainer, test::Succeeds());
  DNC_ASSERT(trainer.ok());
  return std::move(trainer).value();
}

struct Outcome {
  int code = 0;
  std::string text;
};

Outcome RunProgram(const std::string& arguments) {
  const std::string command = std::string(DNC_TRAINER_PROGRAM) + " " + arguments + " 2>&1";
  FILE* const pipe = ::popen(command.c_str(), "r");
  DNC_ASSERT(pipe != nullptr);
  Outcome outcome;
  std::array<char, 4096> buffer;
  while (const std::size_t got = ::fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.text.append(buffer.data(), got);
  }
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

// A network with everything whose result could depend on threads, order or chance.
model::Model ConvModel() {
  const std::string json =
      Sequential("14,14,1",
                 {Layer("Rescaling", R"("scale":0.00392156862)"),
                  Layer("Conv2D", R"("filters":16,"kernel_size":[3,3],"activation":"relu")"),
                  Layer("BatchNormalization", ""), Layer("MaxPooling2D", R"("pool_size":[2,2])"),
                  Layer("Conv2D", R"("filters":16,"kernel_size":[3,3],"padding":"same")"),
                  Layer("Flatten", ""), Layer("Dropout", R"("rate":0.3)"),
                  Layer("Dense", R"("units":64,"activation":"relu")"),
                  Layer("Dense", R"("units":10,"activation":"softmax")")},
                 R"("sparse_categorical_crossentropy")",
                 R"({"class_name":"Adam","config":{"learning_rate":0.001}})");
  Result<model::Model> model = model::ParseModel(json, "test");
  EXPECT_THAT(model, test::Succeeds());
  return std::move(model).value();
}

trainer::TrainerOptions ConvOptions(int threads) {
  trainer::TrainerOptions options;
  options.threads = threads;
  options.batch_size_max = 32;
  options.x = {{"x", array::DType::kUint8, {14, 14}, {}}};
  options.y = {{"y", array::DType::kUint8, {}, {}}};
  return options;
}

void TrainConv(trainer::Trainer* trainer, int first_batch, int batches) {
  for (int batch = first_batch; batch < first_batch + batches; ++batch) {
    Result<trainer::BatchSlot> slot = trainer->AcquireSlot();
    ASSERT_THAT(slot, test::Succeeds());
    Prng prng(static_cast<std::uint64_t>(batch));
    for (std::byte& value : slot->x[0]) value = static_cast<std::byte>(prng.Next());
    for (std::byte& value : slot->y[0]) value = static_cast<std::byte>(prng.Below(10));
    ASSERT_THAT(trainer->Submit(*slot, BatchKind::kTrain, 32, static_cast<std::uint64_t>(batch)),
                test::Succeeds());
  }
  ASSERT_THAT(trainer->Drain(), test::Succeeds());
}

void TrainTwice(const ProcessTrainerOptions& options) {
  const std::unique_ptr<ProcessTrainer> trainer = MustStart(options);
  ASSERT_THAT(trainer->Configure(ConvModel(), ConvOptions(1)), test::Succeeds());
  TrainConv(trainer.get(), 0, 2);
}

TEST(DncTrainerTest, KeepsEveryPromiseOfATrainerInItsBox) {
  const std::unique_ptr<ProcessTrainer> trainer = MustStart(Program(2, true));
  for (const trainer::conformance::Check& check : trainer::conformance::kChecks) {
    SCOPED_TRACE(check.name);
    check.run(trainer.get());
  }
}

TEST(DncTrainerTest, GivesTheSameBitsInEveryProcessAndAfterResuming) {
  const model::Model model = ConvModel();
  const std::vector<float> initial = model::InitialWeights(model, 7);
  Floats uninterrupted, middle;
  Bytes state;
  {
    const std::unique_ptr<ProcessTrainer> trainer = MustStart(Program(2, true));
    ASSERT_THAT(trainer->Configure(model, ConvOptions(2)), test::Succeeds());
    ASSERT_THAT(trainer->SetWeights(initial), test::Succeeds());
    TrainConv(trainer.get(), 0, 10);
    middle = trainer->GetWeights().value();
    state = trainer->GetOptimizerState().value();
    TrainConv(trainer.get(), 10, 10);
    uninterrupted = trainer->GetWeights().value();
    EXPECT_NE(uninterrupted, middle);
  }
  const std::unique_ptr<ProcessTrainer> trainer = MustStart(Program(2, false));
  ASSERT_THAT(trainer->Configure(model, ConvOptions(2)), test::Succeeds());
  ASSERT_THAT(trainer->SetWeights(initial), test::Succeeds());
  TrainConv(trainer.get(), 0, 20);
  EXPECT_TRUE(trainer->GetWeights().value() == uninterrupted) << "another process, other bits";

  ASSERT_THAT(trainer->Configure(model, ConvOptions(2)), test::Succeeds());
  ASSERT_THAT(trainer->SetWeights(middle), test::Succeeds());
  ASSERT_THAT(trainer->SetOptimizerState(state), test::Succeeds());
  TrainConv(trainer.get(), 10, 10);
  EXPECT_TRUE(trainer->GetWeights().value() == uninterrupted) << "resumed, other bits";

  // More threads than it was started with are refused; fewer are fine.
  EXPECT_THAT(trainer->Configure(model, ConvOptions(3)),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("3 threads")));
  ASSERT_THAT(trainer->Configure(model, ConvOptions(1)), test::Succeeds());
  TrainConv(trainer.get(), 0, 1);
}

TEST(DncTrainerTest, StaysWithinItsMemory) {
  ProcessTrainerOptions options = Program(1, true);
  options.memory_bytes_max = 1 << 20;
  EXPECT_THAT(ProcessTrainer::Start(options),
              test::FailsWith(ErrorCode::kResourceExhausted, HasSubstr("memory limit")));
  options.memory_bytes_max = 512u << 20;
  const std::unique_ptr<ProcessTrainer> trainer = MustStart(options);
  // 256 outputs of 400 x 400 for each of 32 samples are 5 GiB.
  const std::string json =
      Sequential("400,400,1",
                 {Layer("Conv2D", R"("filters":256,"kernel_size":[3,3],"padding":"same")"),
                  Layer("GlobalAveragePooling2D", ""), Layer("Dense", R"("units":10)")},
                 R"("sparse_categorical_crossentropy")");
  const Result<model::Model> model = model::ParseModel(json, "test");
  ASSERT_THAT(model, test::Succeeds());
  trainer::TrainerOptions large = ConvOptions(1);
  large.x[0].shape = {400, 400};
  ASSERT_THAT(trainer->Configure(*model, large), test::Succeeds());
  const Result<trainer::BatchSlot> slot = trainer->AcquireSlot();
  ASSERT_THAT(slot, test::Succeeds());
  ASSERT_THAT(trainer->Submit(*slot, BatchKind::kTrain, 32, 0), test::Succeeds());
  EXPECT_THAT(trainer->Drain(),
              test::FailsWith(ErrorCode::kResourceExhausted, HasSubstr("smaller batch")));
  // It lives, and does what fits.
  ASSERT_THAT(trainer->Configure(ConvModel(), ConvOptions(1)), test::Succeeds());
  TrainConv(trainer.get(), 0, 2);
}

TEST(DncTrainerTest, ComputesWhereItIsAskedTo) {
  ProcessTrainerOptions options = Program(1, true);
  options.device = trainer::DeviceChoice::kCuda;
  EXPECT_THAT(ProcessTrainer::Start(options),
              test::FailsWith(ErrorCode::kUnsupported, HasSubstr("box")));
  options.gpu_unboxed = true;
  if (at::hasCUDA()) {
    TrainTwice(options);
  } else {
    EXPECT_THAT(ProcessTrainer::Start(options),
                test::FailsWith(ErrorCode::kUnsupported, HasSubstr("--device cuda")));
  }
  options.device = trainer::DeviceChoice::kAuto;
  TrainTwice(options);
}

TEST(DncTrainerTest, NothingGetsOutOfTheBox) {
  const Outcome outcome = RunProgram("--self-test-box --threads 2");
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("another thread: open a file: denied"));
  EXPECT_THAT(outcome.text, HasSubstr("the main thread: create a TCP socket: denied"));
  EXPECT_THAT(outcome.text, ::testing::Not(HasSubstr("ALLOWED")));
  // And it can still compute.
  EXPECT_THAT(outcome.text, HasSubstr("\"loop\":\"engine\""));
}

TEST(DncTrainerTest, ExplainsItself) {
  Outcome outcome = RunProgram("--version");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.text, "dnc-trainer " DNC_VERSION "\n");
  outcome = RunProgram("--benchmark nonsense");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.text, HasSubstr("known are cnn, demo, mlp and linear"));
  outcome = RunProgram("--doctor");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.text, HasSubstr(at::hasCUDA() ? "\"device\": \"cuda:0\"" : "\"cpu\""));
  EXPECT_THAT(outcome.text, HasSubstr("\"cuda\": \""));
  outcome = RunProgram("--threads many");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.text, HasSubstr("--threads many"));
  outcome = RunProgram("--frobnicate");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.text, HasSubstr("--frobnicate"));
}

}  // namespace
}  // namespace dnc::trainer_torch
