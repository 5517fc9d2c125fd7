// Files that real versions of Keras wrote: those of supported layers load, all
// others are refused by name. Skipped where the files are not there.

#include <hdf5.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "model/h5.h"
#include "model/model_text.h"
#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

std::string KerasFolder() {
  const char* data = std::getenv("DNC_SHARED_DATA");
  return std::string(data != nullptr ? data : DNC_SOURCE_DIR "/../shared/data") + "/keras/";
}

std::vector<std::string> ModelFiles() {
  std::vector<std::string> paths;
  for (const char* folder : {"models", "reference"}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(KerasFolder() + folder, error)) {
      const std::string path = entry.path().string();
      if (!path.ends_with("_inputs_and_outputs.h5")) paths.push_back(path);
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

TEST(KerasFilesTest, LoadsOrRefusesByNameEveryFileThatKerasWrote) {
  const std::vector<std::string> paths = ModelFiles();
  if (paths.empty()) GTEST_SKIP() << "no files in " << KerasFolder();
  int loaded_count = 0;
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const Result<TrainedModel> loaded = LoadH5(path);
    if (loaded.ok()) {
      ++loaded_count;
      EXPECT_EQ(loaded->weights.size(), loaded->model.weight_count);
      continue;
    }
    EXPECT_THAT(loaded.error().code, AnyOf(ErrorCode::kUnsupported, ErrorCode::kInvalidArgument));
    EXPECT_THAT(loaded.error().message,
                AnyOf(HasSubstr("unknown layer \""), HasSubstr("option \""),
                      HasSubstr("axis of variable length"), HasSubstr("nothing would be left")));
  }
  std::cout << "conformance: " << loaded_count << " of " << paths.size() << " files load\n";
  // All that have only layers known when this was written.
  EXPECT_GE(loaded_count, 260);
}

// The compile section alone, also of files whose layers are not known.
std::string TrainingConfigOf(const std::string& path) {
  std::string text;
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file >= 0 && H5Aexists(file, "training_config") > 0) {
    const hid_t attribute = H5Aopen(file, "training_config", H5P_DEFAULT);
    const hid_t type = H5Aget_type(attribute);
    if (H5Tis_variable_str(type) > 0) {
      char* pointer = nullptr;
      if (H5Aread(attribute, type, &pointer) >= 0) text = pointer;
      H5free_memory(pointer);
    } else {
      text.resize(H5Tget_size(type));
      EXPECT_GE(H5Aread(attribute, type, text.data()), 0);
    }
    H5Tclose(type);
    H5Aclose(attribute);
  }
  H5Fclose(file);
  return text;
}

TEST(KerasFilesTest, ReadsEveryTrainingConfigThatKerasWrote) {
  const std::vector<std::string> paths = ModelFiles();
  if (paths.empty()) GTEST_SKIP() << "no files in " << KerasFolder();
  const Model model = test::MustParse(test::OneLayerJson("[null, 4]", "Flatten", ""));
  int count = 0;
  for (const std::string& path : paths) {
    const std::string text = TrainingConfigOf(path);
    if (text.empty()) continue;
    SCOPED_TRACE(path);
    ++count;
    Model compiled = model;
    EXPECT_THAT(ReadTrainingConfig(text, {}, &compiled), ::dnc::test::Succeeds());
    Model again = model;
    EXPECT_THAT(ReadTrainingConfig(compiled.training_config_json, {}, &again),
                ::dnc::test::Succeeds());
    EXPECT_EQ(again.training_config_json, compiled.training_config_json);
  }
  std::cout << count << " training_configs read\n";
  EXPECT_GE(count, 110);
}

TEST(KerasFilesTest, WhatIsLoadedAndSavedAgainIsTheSameModel) {
  const std::string path = KerasFolder() + "models/optimizer_sgd.h5";
  if (!PathExists(path)) GTEST_SKIP() << "no " << path;
  const ::dnc::test::TemporaryFolder folder;
  const Result<TrainedModel> loaded = LoadH5(path);
  ASSERT_THAT(loaded, ::dnc::test::Succeeds());
  EXPECT_EQ(loaded->model.compile.outputs[0].loss->kind, LossKind::kCategoricalCrossentropy);
  EXPECT_NEAR(loaded->model.compile.optimizer.learning_rate, 0.01, 1e-8);
  ASSERT_THAT(SaveH5(*loaded, folder / "m.h5"), ::dnc::test::Succeeds());
  const Result<TrainedModel> again = LoadH5(folder / "m.h5");
  ASSERT_THAT(again, ::dnc::test::Succeeds());
  EXPECT_EQ(again->weights, loaded->weights);
  EXPECT_EQ(FormatModel(again->model), FormatModel(loaded->model));
}

}  // namespace
}  // namespace dnc::model
