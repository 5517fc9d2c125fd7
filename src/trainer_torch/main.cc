// dnc-trainer: the tensor math of Divide-n-conquer as a child process. `dnc` and the
// Python package start it with --serve and speak trainer/protocol.h with it. A library,
// which the program (launcher.cc) opens.

#include "trainer_torch/main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "box/box.h"
#include "trainer/serve.h"
#include "trainer_torch/benchmark.h"
#include "trainer_torch/device.h"
#include "trainer_torch/doctor.h"
#include "trainer_torch/machine.h"
#include "trainer_torch/torch_engine.h"

namespace dnc::trainer_torch {
namespace {

constexpr const char* kHelp =
    R"(dnc-trainer: trains models for dnc, which starts it as a child process.

usage:
  dnc-trainer --version
  dnc-trainer --help
  dnc-trainer --benchmark cnn|demo|mlp|linear [--threads N] [--batch N] [--seconds S]
              [--loop plain|engine] [--device cpu|cuda|auto]
      Training speed of this machine on data in memory, as JSON lines: by a plain
      libtorch loop, and by dnc-trainer's own engine; or by one of them. On a GPU the
      engine sends each batch there, and the plain loop has it there.
  dnc-trainer --doctor [--threads N]
      The libraries in use and the speed of their matrix products, as JSON.
  dnc-trainer --self-test-box [--threads N]
      Enters the box in which strangers' models are trained, tries to get out of it,
      trains within it, and says what was denied. Exit code 0: all was.
  dnc-trainer --serve
      Started by dnc only: speaks the trainer protocol on descriptor 3.

examples:
  dnc-trainer --benchmark cnn --threads 2 --batch 32
  dnc-trainer --self-test-box
)";

struct Arguments {
  std::string command;
  BenchmarkOptions benchmark;
};

// A whole number or a decimal within limits.
Result<double> ParseNumber(const std::string& flag, const char* text, double min, double max) {
  char* end = nullptr;
  const double value = ::strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= min && value <= max)) {
    return Error{ErrorCode::kInvalidArgument, flag + " " + text + ": expected a number from " +
                                                  std::to_string(static_cast<int>(min)) + " to " +
                                                  std::to_string(static_cast<int>(max))};
  }
  return value;
}

Result<Arguments> ParseArguments(const std::vector<std::string>& words) {
  Arguments arguments;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool takes_value = word == "--benchmark" || word == "--threads" || word == "--batch" ||
                             word == "--seconds" || word == "--loop" || word == "--device";
    if (takes_value && i + 1 == words.size()) {
      return Error{ErrorCode::kInvalidArgument, word + " needs a value; see dnc-trainer --help"};
    }
    if (word == "--threads") {
      DNC_ASSIGN(const double threads, ParseNumber(word, words[++i].c_str(), 1, 256));
      arguments.benchmark.threads = static_cast<int>(threads);
    } else if (word == "--batch") {
      DNC_ASSIGN(const double batch, ParseNumber(word, words[++i].c_str(), 1, 65536));
      arguments.benchmark.batch_size = static_cast<std::uint32_t>(batch);
    } else if (word == "--seconds") {
      DNC_ASSIGN(arguments.benchmark.seconds, ParseNumber(word, words[++i].c_str(), 0, 3600));
    } else if (word == "--device") {
      DNC_ASSIGN(arguments.benchmark.device, trainer::ParseDeviceChoice(words[++i]));
    } else if (word == "--loop") {
      arguments.benchmark.loop = words[++i];
    } else if (word == "--version" || word == "--help" || word == "--serve" ||
               word == "--self-test-box" || word == "--doctor" || word == "--benchmark") {
      arguments.command = word;
      if (word == "--benchmark") arguments.benchmark.name = words[++i];
    } else {
      return Error{ErrorCode::kInvalidArgument,
                   "unknown argument '" + word + "'; see dnc-trainer --help"};
    }
  }
  return arguments;
}

// Everything that opens, loads or starts something happens here, before the box.
Result<at::Device> Prepare(const trainer::Hello& hello) {
  SetThreads(static_cast<int>(hello.threads));
  DNC_ASSIGN(const at::Device device,
             ChooseDevice(hello.device, /*gpu_allowed=*/!hello.boxed || hello.gpu_unboxed));
  PrepareDevice(device);
  WarmUp();
  if (hello.memory_bytes_max > 0) DNC_TRY(box::LimitMemory(hello.memory_bytes_max));
  if (hello.boxed && device.is_cpu()) DNC_TRY(box::EnterBox());
  return device;
}

Status Serve() {
  trainer::BecomeTrainerChild();
  const std::unique_ptr<DeviceEngine> engine = MakeTorchEngine();
  const auto prepare = [&](const trainer::Hello& hello) -> Status {
    DNC_ASSIGN(const at::Device device, Prepare(hello));
    engine->UseDevice(device);
    return {};
  };
  return trainer::ServeEngine(trainer::UniqueFd(trainer::kTrainerSocketFd), engine.get(),
                              {.prepare = prepare});
}

bool PrintAttempts(const char* where) {
  bool all_denied = true;
  for (const box::BoxAttempt& attempt : box::TryToEscape()) {
    ::printf("%s: %s: %s\n", where, attempt.what.c_str(), attempt.denied ? "denied" : "ALLOWED");
    all_denied = all_denied && attempt.denied;
  }
  return all_denied;
}

// The other thread is there before the box, as those of OpenMP are.
Status SelfTestBox(int threads) {
  bool other_denied = false;
  std::atomic<bool> boxed{false};
  std::thread other([&] {
    boxed.wait(false);
    other_denied = PrintAttempts("another thread");
  });
  const Status prepared =
      Prepare({.threads = static_cast<std::uint32_t>(threads), .boxed = true}).status();
  boxed = true;
  boxed.notify_all();
  other.join();
  DNC_TRY(prepared);
  const bool denied = PrintAttempts("the main thread");
  DNC_TRY(RunBenchmark({.name = "demo", .threads = threads, .batch_size = 32, .seconds = 0}));
  if (denied && other_denied) return {};
  return Error{ErrorCode::kInternal, "the box let something through"};
}

Status Run(const Arguments& arguments) {
  if (arguments.command == "--serve") return Serve();
  if (arguments.command == "--self-test-box") return SelfTestBox(arguments.benchmark.threads);
  if (arguments.command == "--doctor") return PrintDoctor(arguments.benchmark.threads);
  if (arguments.command == "--benchmark") return RunBenchmark(arguments.benchmark);
  if (arguments.command == "--version") {
    ::printf("dnc-trainer %s\n", DNC_VERSION);
    return {};
  }
  ::printf("%s", kHelp);
  if (arguments.command == "--help") return {};
  return Error{ErrorCode::kInvalidArgument, "nothing to do"};
}

int Main(int argc, char** argv) {
  KeepMemory();
  const Result<Arguments> arguments = ParseArguments({argv + 1, argv + argc});
  const Status status = arguments.ok() ? Run(*arguments) : Status(arguments.error());
  ::fflush(stdout);
  int code = 0;
  if (!status.ok()) {
    ::fprintf(stderr, "dnc-trainer: %s\n", status.error().message.c_str());
    code = ExitCode(status.error().code);
  }
  // Without the destructors of 280 libraries, which take longer than the rest.
  ::_exit(code);
}

}  // namespace
}  // namespace dnc::trainer_torch

int DncTrainerMain(int argc, char** argv) { return dnc::trainer_torch::Main(argc, argv); }
