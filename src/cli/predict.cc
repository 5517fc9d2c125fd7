#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "array/npy_header.h"
#include "base/file.h"
#include "base/human.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/values.h"
#include "model/model_files.h"
#include "source/sample_source.h"
#include "trainer/process_trainer.h"

namespace dnc::cli {
namespace {

struct PredictOptions {
  std::string model;
  std::string architecture;
  std::string input;
  std::string output;
  std::uint32_t batch_size = 64;
  int threads = 0;
};

// A label column that fits the model's loss, though no labels are read: the trainer
// is configured as for evaluation.
array::ColumnSpec LabelsFor(const model::Model& model) {
  array::ColumnSpec y{.name = "y", .dtype = array::DType::kFloat32, .shape = {}, .class_names = {}};
  if (model.has_compile && model.compile.loss == model::LossKind::kSparseCategoricalCrossentropy) {
    y.dtype = array::DType::kInt64;
  } else {
    y.shape = model.output_shape();
  }
  return y;
}

// Outputs are taken from the trainer after this many batches, which bounds memory.
constexpr int kBatchesPerTake = 16;

Status PredictAll(source::SampleSource* source, trainer::Trainer* trainer,
                  const PredictOptions& options, std::uint64_t total, AtomicFile* out) {
  Progress progress;
  array::SampleBlock block;
  std::uint64_t done = 0;
  for (bool more = true; more;) {
    for (int i = 0; i < kBatchesPerTake && more; ++i) {
      DNC_TRY(source->Read(options.batch_size, &block));
      more = block.sample_count > 0;
      if (!more) break;
      DNC_ASSIGN(const trainer::BatchSlot slot, trainer->AcquireSlot());
      std::memcpy(slot.x.data(), block.columns[0].data(), block.columns[0].size());
      DNC_TRY(trainer->Submit(slot, trainer::BatchKind::kPredict,
                              static_cast<std::uint32_t>(block.sample_count), 0));
      done += block.sample_count;
    }
    DNC_ASSIGN(const std::vector<float> outputs, trainer->TakeOutputs());
    DNC_TRY(out->Write(std::as_bytes(std::span(outputs))));
    if (progress.Due()) progress.Show(RateText(done, total, "samples", progress.elapsed()));
    if (Interrupted()) return Error{ErrorCode::kCancelled, "stopped"};
  }
  return {};
}

Status Predict(const PredictOptions& options) {
  DNC_ASSIGN(model::TrainedModel trained,
             model::LoadModel(options.model, {.architecture = options.architecture}));
  DNC_ASSIGN(const auto source, source::OpenSource(options.input, {}));
  const array::ColumnSpec& x = source->columns().front();
  const std::optional<std::uint64_t> count = source->sample_count();
  if (source->columns().size() != 1 || !count) {
    return Error{ErrorCode::kInvalidArgument,
                 options.input + " is " + source->Describe() +
                     "; expected features alone, as an npy, idx or npz file"};
  }
  if (!trained.model.has_compile) {
    // Outputs do not depend on the loss; the trainer wants one all the same.
    trained.model.has_compile = true;
    trained.model.training_config_json =
        R"({"loss": "mse", "optimizer_config": {"class_name": "SGD", "config": {}}})";
    DNC_ASSIGN(trained.model, model::ParseModel(model::FormatModel(trained.model), options.model));
  }
  DNC_ASSIGN(trained.model, model::BindInputShape(trained.model, x.shape));
  const array::ColumnSpec y = LabelsFor(trained.model);
  DNC_TRY(model::CheckColumns(trained.model, x, y, 0));
  trainer::TrainerOptions trainer_options;
  trainer_options.threads = options.threads > 0 ? options.threads : AvailableCores();
  trainer_options.batch_size_max = options.batch_size;
  trainer_options.x = x;
  trainer_options.y = y;
  DNC_ASSIGN(const auto trainer,
             trainer::ProcessTrainer::Start({.threads = trainer_options.threads}));
  DNC_TRY(trainer->Configure(trained.model, trainer_options));
  DNC_TRY(trainer->SetWeights(trained.weights));

  array::Shape shape = trained.model.output_shape();
  shape.insert(shape.begin(), static_cast<std::int64_t>(*count));
  DNC_ASSIGN(AtomicFile out, AtomicFile::Create(options.output));
  DNC_TRY(out.Write(array::FormatNpyHeader(array::DType::kFloat32, shape)));
  DNC_TRY(PredictAll(source.get(), trainer.get(), options, *count, &out));
  DNC_TRY(out.Commit());
  std::printf("%s: float32 %s\n", options.output.c_str(), array::ShapeText(shape).c_str());
  return {};
}

}  // namespace

void AddPredict(Registry* registry) {
  const auto options = std::make_shared<PredictOptions>();
  CLI::App* command = AddCommand(registry,
                                 {.name = "predict",
                                  .description = "A trained model's outputs for new samples",
                                  .examples = "  dnc predict model.h5 --input x.npy --out y.npy"},
                                 [options] { return Predict(*options); });
  command->add_option("MODEL", options->model, "A trained model: .h5 or .keras")->required();
  command->add_option("--architecture", options->architecture,
                      "For weights alone (.safetensors, .npz, .h5): the .json, .h5 or .keras");
  command->add_option("--input", options->input, "Samples: npy, idx, idx.gz or npz")->required();
  command->add_option("--out,--output", options->output, "The outputs, float32 npy")->required();
  command->add_option("--batch-size", options->batch_size, "Samples a batch")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  command->add_option("--threads", options->threads, "All cores by default")
      ->check(CLI::Range(1, 256));
}

}  // namespace dnc::cli
