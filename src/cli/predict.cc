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
#include "cli/local_trainer.h"
#include "cli/progress.h"
#include "cli/values.h"
#include "model/model_files.h"
#include "source/sample_source.h"

namespace dnc::cli {
namespace {

struct PredictOptions {
  std::string model;
  std::string architecture;
  std::string input;
  std::string output;
  std::uint32_t batch_size = 64;
  int threads = 0;
  std::string device = "auto";
};

// Outputs are taken from the trainer after this many batches, which bounds memory.
constexpr int kBatchesPerTake = 16;

// `columns` of the source are the model's inputs.
Status PredictAll(source::SampleSource* source, const std::vector<int>& columns,
                  trainer::Trainer* trainer, const PredictOptions& options, std::uint64_t total,
                  AtomicFile* out) {
  Progress progress;
  array::SampleBlock block;
  std::uint64_t done = 0;
  for (bool more = true; more;) {
    for (int i = 0; i < kBatchesPerTake && more; ++i) {
      DNC_TRY(source->Read(options.batch_size, &block));
      more = block.sample_count > 0;
      if (!more) break;
      DNC_ASSIGN(const trainer::BatchSlot slot, trainer->AcquireSlot());
      for (std::size_t k = 0; k < columns.size(); ++k) {
        const Bytes& samples = block.columns[static_cast<std::size_t>(columns[k])];
        std::memcpy(slot.x[k].data(), samples.data(), samples.size());
      }
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

// With the arrays that are called as the model's inputs, where it has several and the file
// has them.
Result<std::unique_ptr<source::SampleSource>> OpenInputs(const std::string& path,
                                                         const model::Model& model) {
  source::SourceOptions named;
  for (int i = 0; i < model.input_count && model.input_count > 1; ++i) {
    named.table.columns.push_back(model.layers[static_cast<std::size_t>(i)].name);
  }
  auto by_name = source::OpenSource(path, named);
  if (by_name.ok() || model.input_count == 1) return by_name;
  auto together = source::OpenSource(path, {});
  return together.ok() ? std::move(together) : std::move(by_name);
}

// A single column is the features, whatever it is called.
Result<std::vector<int>> InputColumns(const model::Model& model,
                                      const std::vector<array::ColumnSpec>& columns) {
  if (columns.size() == 1) return std::vector<int>{0};
  return model::FindInputs(model, columns);
}

// Where each of several outputs lies in a sample's row: ": age 0-3, kind 4-6".
std::string OutputsText(const model::Model& model) {
  std::string text;
  if (model.output_layers.size() == 1) return text;
  std::uint64_t begin = 0;
  for (std::size_t i = 0; i < model.output_layers.size(); ++i) {
    const array::Shape& shape = model.output(static_cast<int>(i)).output_shape;
    const std::uint64_t end = begin + array::ElementCount(shape).value_or(0);
    text += (i == 0 ? ": " : ", ") + model.output_names[i] + " " + std::to_string(begin);
    if (end > begin + 1) text += "-" + std::to_string(end - 1);
    begin = end;
  }
  return text;
}

Status Predict(const PredictOptions& options) {
  DNC_ASSIGN(model::TrainedModel trained,
             model::LoadModel(options.model, {.architecture = options.architecture}));
  DNC_ASSIGN(const auto source, OpenInputs(options.input, trained.model));
  const std::optional<std::uint64_t> count = source->sample_count();
  if (!array::AllArrays(source->columns()) || !count) {
    return Error{ErrorCode::kInvalidArgument,
                 options.input + " is " + source->Describe() +
                     "; expected arrays of features, as an npy, idx or npz file"};
  }
  DNC_ASSIGN(const std::vector<int> columns, InputColumns(trained.model, source->columns()));
  trainer::TrainerOptions trainer_options;
  trainer_options.threads = options.threads > 0 ? options.threads : AvailableCores();
  trainer_options.batch_size_max = options.batch_size;
  trainer_options.x = array::SelectColumns(source->columns(), columns);
  DNC_ASSIGN(trained.model, model::BindInputShapes(trained.model, trainer_options.x));
  DNC_ASSIGN(const auto trainer, StartLocalTrainer(trainer_options.threads, options.device));
  DNC_TRY(trainer->Configure(trained.model, trainer_options));
  DNC_TRY(trainer->SetWeights(trained.weights));

  array::Shape shape = trained.model.output_shape();
  if (trained.model.output_layers.size() > 1) {
    shape = {static_cast<std::int64_t>(trained.model.output_elements())};
  }
  shape.insert(shape.begin(), static_cast<std::int64_t>(*count));
  DNC_ASSIGN(AtomicFile out, AtomicFile::Create(options.output));
  DNC_TRY(out.Write(array::FormatNpyHeader(array::DType::kFloat32, shape)));
  DNC_TRY(PredictAll(source.get(), columns, trainer.get(), options, *count, &out));
  DNC_TRY(out.Commit());
  std::printf("%s: float32 %s%s\n", options.output.c_str(), array::ShapeText(shape).c_str(),
              OutputsText(trained.model).c_str());
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
  command
      ->add_option("--input", options->input,
                   "Samples: npy, idx, idx.gz, or npz with an array for each of the model's inputs")
      ->required();
  command->add_option("--out,--output", options->output, "The outputs, float32 npy")->required();
  command->add_option("--batch-size", options->batch_size, "Samples a batch")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  command->add_option("--threads", options->threads, "All cores by default")
      ->check(CLI::Range(1, 256));
  AddDeviceOption(command, &options->device);
}

}  // namespace dnc::cli
