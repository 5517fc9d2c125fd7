#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/human.h"
#include "cli/command.h"
#include "model/model_files.h"

namespace dnc::cli {
namespace {

struct ConvertOptions {
  std::string input;
  std::string output;
  model::LoadOptions load;
  std::uint64_t seed = 0;
};

Status Convert(ConvertOptions options, bool has_seed) {
  if (has_seed) options.load.seed = options.seed;
  // A wrong name is said before anything is read.
  DNC_TRY(model::FileKindOf(options.output));
  DNC_ASSIGN(const model::TrainedModel trained, model::LoadModel(options.input, options.load));
  if (!trained.compile_refusal.empty()) {
    std::fprintf(stderr, "dnc: warning: %s: its compile section is left out: %s\n",
                 options.input.c_str(), trained.compile_refusal.c_str());
  }
  DNC_TRY(model::SaveModel(trained, options.output));
  std::printf("%s: %zu layers, %s weights\n", options.output.c_str(), trained.model.layers.size(),
              FormatCount(trained.model.weight_count).c_str());
  return {};
}

}  // namespace

void AddConvert(Registry* registry) {
  const auto options = std::make_shared<ConvertOptions>();
  const auto seed_option = std::make_shared<CLI::Option*>(nullptr);
  CLI::App* command = AddCommand(
      registry,
      {.name = "convert",
       .description = "A model in another file format; which, say the endings of the names",
       .examples = "  dnc convert model.h5 model.keras\n"
                   "  dnc convert model.keras model.onnx\n"
                   "  dnc convert model.h5 weights.safetensors\n"
                   "  dnc convert weights.npz model.h5 --architecture model.json\n"
                   "  dnc convert model.json model.h5 --seed 1        # fresh weights"},
      [options, seed_option] { return Convert(*options, (*seed_option)->count() > 0); });
  command
      ->add_option("IN", options->input,
                   "Read: .h5, .keras, .json (architecture), .safetensors or .npz (weights)")
      ->required();
  command
      ->add_option("OUT", options->output,
                   "Written: .h5, .keras, .json, .safetensors, .npz or .onnx")
      ->required();
  command->add_option("--architecture", options->load.architecture,
                      "For weights alone: the .json, .h5 or .keras whose weights they are");
  command->add_option("--weights", options->load.weights,
                      "For a .json: its weights, as .h5, .keras, .safetensors or .npz");
  *seed_option =
      command->add_option("--seed", options->seed, "For a .json: draws fresh weights (0)");
}

}  // namespace dnc::cli
