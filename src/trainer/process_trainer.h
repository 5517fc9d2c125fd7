// A Trainer in another process: the program dnc-trainer, started as a child and
// driven over an inherited socket (trainer/protocol.h), with the batches in memory
// that both share. The program that starts it needs no libtorch.
//
// What the child sends is not trusted: sizes are checked before anything is
// allocated. The child dies with this process, however it ends, and leaves no
// zombie. What it wrote to stderr last is part of the error when it dies.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trainer/device_choice.h"
#include "trainer/trainer.h"

namespace dnc::trainer {

struct ProcessTrainerOptions {
  int threads = 1;                     // Most that a Configure() may ask for.
  std::uint64_t memory_bytes_max = 0;  // Of the child's own data; 0: no limit.
  // Without network, files and other processes from the first message that comes
  // from a stranger on; see box/box.h.
  bool boxed = true;
  // A boxed trainer computes on the CPU: its box has no way to a GPU.
  DeviceChoice device = DeviceChoice::kAuto;
  // Where a GPU can be used, do without the box; on the CPU it is as `boxed` says. For models
  // of this machine's own user.
  bool gpu_unboxed = false;
  // Empty: $DNC_TRAINER, then dnc-trainer beside this program, then in $PATH.
  std::string program_path;
  std::vector<std::string> program_arguments;  // Before the protocol's own; for tests.
};

// Where the program is by the rules of ProcessTrainerOptions::program_path.
// Errors: kNotFound, with the places searched.
Result<std::string> FindTrainerProgram(const std::string& program_path);

class ProcessTrainer final : public Trainer {
 public:
  // Starts the child and waits until it is ready (half a second to a second).
  // Errors: kNotFound, no program; kUnavailable, it died or did not answer within
  // 60 s; kUnsupported, it speaks another version of the protocol, or has no such device.
  static Result<std::unique_ptr<ProcessTrainer>> Start(const ProcessTrainerOptions& options);
  ~ProcessTrainer() override;  // Kills the child and waits for its end.

  // All as Trainer says; each also fails with kUnavailable when the child died.
  Status Configure(const model::Model& model, const TrainerOptions& options) override;
  Status SetWeights(std::span<const float> weights) override;
  Result<std::vector<float>> GetWeights() override;
  Status SetOptimizerState(std::span<const std::byte> state) override;
  Result<Bytes> GetOptimizerState() override;
  Result<BatchSlot> AcquireSlot() override;
  Status Submit(const BatchSlot& slot, BatchKind kind, std::uint32_t samples,
                std::uint64_t seed) override;
  Result<Totals> Drain() override;
  Result<std::vector<float>> TakeOutputs() override;
  void Stop() override;

  // The child's process id, to read its use of memory and time.
  int pid() const;

 private:
  struct Impl;
  explicit ProcessTrainer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dnc::trainer
