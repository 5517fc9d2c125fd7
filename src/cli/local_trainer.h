// The trainer of a command that computes on this machine, for its own user.

#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "trainer/process_trainer.h"

namespace CLI {
class App;
}

namespace dnc::cli {

// Adds --device: auto, cpu or cuda.
void AddDeviceOption(CLI::App* command, std::string* device);

// On the CPU the trainer is boxed; a GPU is used outside of the box, which has no way to one.
// Errors: those of ProcessTrainer::Start().
Result<std::unique_ptr<trainer::ProcessTrainer>> StartLocalTrainer(int threads,
                                                                   const std::string& device);

}  // namespace dnc::cli
