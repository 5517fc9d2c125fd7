// Models that Keras saved, computed here: with inputs and outputs that Keras recorded, the
// same outputs; every other file at least gives finite outputs of the right shape. Prints
// the counts (`make conformance`).

#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/prng.h"
#include "hdf/handle.h"
#include "model/h5.h"
#include "testing/testing.h"
#include "trainer_torch/engine_harness.h"

namespace dnc::trainer_torch {
namespace {

constexpr char kReference[] = "_inputs_and_outputs.h5";

std::string KerasFolder() {
  const char* data = std::getenv("DNC_SHARED_DATA");
  return std::string(data != nullptr ? data : DNC_SOURCE_DIR "/../shared/data") + "/keras/";
}

std::vector<std::string> FilesOf(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(KerasFolder() + folder, error)) {
    paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

struct Recorded {
  array::Shape shape;
  std::vector<float> values;
};

// The one dataset of a group of the file.
Recorded ReadOnly(const std::string& path, const std::string& group_name) {
  Recorded recorded;
  const hdf::H5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  const hdf::H5Handle group(H5Gopen2(file.id(), group_name.c_str(), H5P_DEFAULT), H5Gclose);
  char name[256] = "";
  EXPECT_GE(H5Lget_name_by_idx(group.id(), ".", H5_INDEX_NAME, H5_ITER_INC, 0, name, sizeof name,
                               H5P_DEFAULT),
            0);
  const hdf::H5Handle data(H5Dopen2(group.id(), name, H5P_DEFAULT), H5Dclose);
  const hdf::H5Handle space(H5Dget_space(data.id()), H5Sclose);
  std::vector<hsize_t> lengths(16);
  lengths.resize(static_cast<std::size_t>(
      std::max(H5Sget_simple_extent_dims(space.id(), lengths.data(), nullptr), 0)));
  recorded.shape.assign(lengths.begin(), lengths.end());
  recorded.values.resize(array::ElementCount(recorded.shape).value_or(0));
  EXPECT_GE(
      H5Dread(data.id(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, recorded.values.data()),
      0);
  return recorded;
}

// What the model makes of `samples` samples, or why it cannot.
Result<std::vector<float>> Predict(const model::TrainedModel& trained, const array::Shape& shape,
                                   const std::vector<float>& x, std::uint32_t samples) {
  const auto engine = MakeEngineForTest();
  trainer::TrainerOptions options;
  options.batch_size_max = samples;
  options.x = {{"x", array::DType::kFloat32, shape, {}}};
  DNC_TRY(engine->Configure(trained.model, options));
  DNC_TRY(engine->SetWeights(trained.weights));
  trainer::Batch batch;
  batch.kind = trainer::BatchKind::kPredict;
  batch.x = {std::as_bytes(std::span(x))};
  batch.samples = samples;
  std::vector<float> outputs;
  DNC_TRY(engine->Run(batch, &outputs).status());
  return outputs;
}

// The greatest difference, in parts of the greatest value.
double RelativeDifference(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference = std::max(difference, std::abs(double{found[i]} - expected[i]));
    size = std::max(size, std::abs(double{expected[i]}));
  }
  return difference / std::max(size, 1e-30);
}

TEST(KerasFilesTest, GivesTheOutputsThatKerasRecorded) {
  const std::vector<std::string> paths = FilesOf("reference");
  if (paths.empty()) GTEST_SKIP() << "no files in " << KerasFolder() << "reference";
  int equal = 0;
  int pairs = 0;
  double largest = 0;
  for (const std::string& path : paths) {
    if (!path.ends_with(kReference)) continue;
    ++pairs;
    SCOPED_TRACE(path);
    const std::string stem = path.substr(0, path.size() - sizeof kReference + 1);
    const auto trained = model::LoadH5(stem + "_model.h5");
    if (!trained.ok()) {
      std::cout << "conformance: refused: " << trained.error().message << "\n";
      continue;
    }
    const Recorded x = ReadOnly(path, "inputs");
    const Recorded y = ReadOnly(path, "predictions");
    const array::Shape shape(x.shape.begin() + 1, x.shape.end());
    const auto found =
        Predict(*trained, shape, x.values, static_cast<std::uint32_t>(x.shape.front()));
    EXPECT_THAT(found, test::Succeeds());
    if (!found.ok()) continue;
    EXPECT_EQ(found->size(), y.values.size());
    if (found->size() != y.values.size()) continue;
    const double difference = RelativeDifference(*found, y.values);
    EXPECT_LE(difference, 1e-5);
    largest = std::max(largest, difference);
    equal += difference <= 1e-5 ? 1 : 0;
  }
  EXPECT_EQ(equal, 30);
  std::cout << "conformance: " << equal << " of " << pairs
            << " models give the outputs that Keras recorded, within " << largest << "\n";
}

// Numbers as the first layer wants them: indices for an Embedding.
std::vector<float> InputFor(const model::Model& model, std::size_t count) {
  Prng prng(5);
  std::vector<float> x(count);
  const bool embeds = model.model_config_json.find("\"Embedding\"") != std::string::npos;
  for (float& value : x) {
    value = embeds ? static_cast<float>(prng.Below(2)) : static_cast<float>(2 * prng.Unit() - 1);
  }
  return x;
}

TEST(KerasFilesTest, ComputesWhateverLoads) {
  const std::vector<std::string> paths = FilesOf("models");
  if (paths.empty()) GTEST_SKIP() << "no files in " << KerasFolder() << "models";
  int loaded = 0;
  std::map<std::string, int> refusals;
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const auto trained = model::LoadH5(path);
    if (!trained.ok()) {
      const std::string& message = trained.error().message;
      ++refusals[message.substr(std::min(message.size(), path.size() + 2))];
      continue;
    }
    ++loaded;
    const array::Shape& shape = trained->model.input_shape();
    const auto found =
        Predict(*trained, shape, InputFor(trained->model, 2 * *array::ElementCount(shape)), 2);
    EXPECT_THAT(found, test::Succeeds());
    if (!found.ok()) continue;
    EXPECT_EQ(found->size(), 2 * *array::ElementCount(trained->model.output_shape()));
    EXPECT_TRUE(
        std::all_of(found->begin(), found->end(), [](float v) { return std::isfinite(v); }));
  }
  EXPECT_GE(loaded, 230);
  std::cout << "conformance: " << loaded << " of " << paths.size()
            << " models load and give finite outputs\n";
  for (const auto& [why, count] : refusals) {
    std::cout << "conformance: refused " << count << ": " << why << "\n";
  }
}

}  // namespace
}  // namespace dnc::trainer_torch
