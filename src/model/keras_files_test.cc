// Files that real versions of Keras wrote: those of supported layers load, all
// others are refused by name. Skipped where the files are not there.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "model/h5.h"
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
  EXPECT_GE(loaded_count, 149);
}

TEST(KerasFilesTest, WhatIsLoadedAndSavedAgainIsTheSameModel) {
  const std::string path = KerasFolder() + "models/optimizer_sgd.h5";
  if (!PathExists(path)) GTEST_SKIP() << "no " << path;
  const ::dnc::test::TemporaryFolder folder;
  const Result<TrainedModel> loaded = LoadH5(path);
  ASSERT_THAT(loaded, ::dnc::test::Succeeds());
  EXPECT_EQ(loaded->model.compile.loss, LossKind::kCategoricalCrossentropy);
  EXPECT_NEAR(loaded->model.compile.optimizer.learning_rate, 0.01, 1e-8);
  ASSERT_THAT(SaveH5(*loaded, folder / "m.h5"), ::dnc::test::Succeeds());
  const Result<TrainedModel> again = LoadH5(folder / "m.h5");
  ASSERT_THAT(again, ::dnc::test::Succeeds());
  EXPECT_EQ(again->weights, loaded->weights);
  EXPECT_EQ(FormatModel(again->model), FormatModel(loaded->model));
}

}  // namespace
}  // namespace dnc::model
