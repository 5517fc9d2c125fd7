#include "cli/local_trainer.h"

#include <CLI/CLI.hpp>

namespace dnc::cli {

void AddDeviceOption(CLI::App* command, std::string* device) {
  command
      ->add_option("--device", *device,
                   "Where it is computed: cpu; cuda, a GPU; auto, a GPU if dnc-trainer finds one")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
}

Result<std::unique_ptr<trainer::ProcessTrainer>> StartLocalTrainer(int threads,
                                                                   const std::string& device) {
  trainer::ProcessTrainerOptions options;
  options.threads = threads;
  options.gpu_unboxed = true;
  DNC_ASSIGN(options.device, trainer::ParseDeviceChoice(device));
  return trainer::ProcessTrainer::Start(options);
}

}  // namespace dnc::cli
