// .keras archives: what is saved is loaded, laid out as Keras 3 lays it out; archives
// that lack something or lie are refused. tests/e2e/test_convert.py has them read by
// real Keras, and reads what real Keras wrote.

#include "model/keras_file.h"

#include <map>

#include "hdf/open_source.h"
#include "model/h5_objects.h"
#include "model/keras_paths.h"
#include "model/model_files.h"
#include "model/onnx_export.h"
#include "model/test_models.h"
#include "testing/testing.h"
#include "zip/zip.h"

namespace dnc::model {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::dnc::test::TemporaryFolder;
using test::CompiledJson;
using test::LayerJson;
using test::MustParse;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TrainedModel Trained(const std::string& json) {
  TrainedModel trained;
  trained.model = MustParse(json);
  trained.weights = InitialWeights(trained.model, 11);
  return trained;
}

std::string MustRead(const std::string& path) {
  Result<std::string> bytes = ReadFile(path, 1 << 26);
  DNC_ASSERT(bytes.ok());
  return *std::move(bytes);
}

class KerasFileTest : public ::testing::Test {
 protected:
  // The members of the saved archive, by name.
  std::map<std::string, std::string> Members() {
    const std::string bytes = MustRead(path_);
    const MemorySource source(AsBytes(bytes));
    std::map<std::string, std::string> members;
    const auto directory = zip::ReadDirectory(source);
    DNC_ASSERT(directory.ok());
    for (const zip::Member& member : *directory) {
      const auto content = zip::ReadMember(source, member, 1 << 26);
      DNC_ASSERT(content.ok());
      members[member.name] = AsText(*content);
    }
    return members;
  }

  void Write(const std::map<std::string, std::string>& members) {
    std::vector<zip::Content> contents;
    for (const auto& [name, bytes] : members) contents.push_back({name, {AsBytes(bytes)}});
    ASSERT_THAT(zip::WriteArchive(path_, contents), Succeeds());
  }

  TemporaryFolder folder_;
  std::string path_ = folder_ / "m.keras";
};

TEST_F(KerasFileTest, LoadsWhatWasSaved) {
  const TrainedModel trained = Trained(test::SmallNetworkJson());
  ASSERT_THAT(SaveKeras(trained, path_), Succeeds());
  const Result<TrainedModel> loaded = LoadKeras(path_);
  ASSERT_THAT(loaded, Succeeds());
  EXPECT_EQ(loaded->weights, trained.weights);
  EXPECT_EQ(loaded->compile_refusal, "");
  EXPECT_EQ(FormatModel(loaded->model), FormatModel(trained.model));
  const std::string bytes = MustRead(path_);
  ASSERT_THAT(SaveKeras(trained, path_), Succeeds());
  EXPECT_EQ(MustRead(path_), bytes);
}

TEST_F(KerasFileTest, CallsGroupsByClassAndNumber) {
  const TrainedModel trained = Trained(test::SequentialJson(
      test::InputJson("[null, 8, 8, 1]") + "," +
      LayerJson("SeparableConv2D", R"("name": "z", "filters": 2, "kernel_size": 3)") + "," +
      LayerJson("Flatten", "") + "," + LayerJson("Dense", R"("name": "b", "units": 3)") + "," +
      LayerJson("Dense", R"("name": "a", "units": 3, "use_bias": false)")));
  const auto paths = KerasPaths(trained.model);
  ASSERT_THAT(paths, Succeeds());
  EXPECT_THAT(*paths,
              ElementsAre("layers/separable_conv2d/vars/0", "layers/separable_conv2d/vars/1",
                          "layers/separable_conv2d/vars/2", "layers/dense/vars/0",
                          "layers/dense/vars/1", "layers/dense_1/vars/0"));
}

TEST_F(KerasFileTest, NumbersLayersOfAGraphAsKerasWalksIt) {
  // Listed against the order of the calls: the first Dense is the one nearest the input.
  const TrainedModel trained = Trained(test::FunctionalJson(
      test::NodeJson("Dense", "last", R"("units": 3)", "first") + "," +
          test::NodeJson("Dense", "first", R"("units": 3)", "in") + "," +
          test::NodeJson("InputLayer", "in", R"("batch_input_shape": [null, 3])", ""),
      "in", "last"));
  const auto paths = KerasPaths(trained.model);
  ASSERT_THAT(paths, Succeeds());
  std::map<std::string, std::string> by_name;
  for (std::size_t i = 0; i < paths->size(); ++i) {
    by_name[trained.model.weights[i].name] = (*paths)[i];
  }
  EXPECT_EQ(by_name["first/kernel:0"], "layers/dense/vars/0");
  EXPECT_EQ(by_name["last/kernel:0"], "layers/dense_1/vars/0");
}

TEST_F(KerasFileTest, SpellsClassesAsKerasDoes) {
  EXPECT_EQ(SnakeCase("Dense"), "dense");
  EXPECT_EQ(SnakeCase("Conv2DTranspose"), "conv2d_transpose");
  EXPECT_EQ(SnakeCase("PReLU"), "p_re_lu");
  EXPECT_EQ(SnakeCase("ConvLSTM2D"), "conv_lstm2d");
  EXPECT_EQ(SnakeCase("GlobalAveragePooling2D"), "global_average_pooling2d");
  EXPECT_EQ(SnakeCase("LSTM"), "lstm");
}

TEST_F(KerasFileTest, RefusesAnArchiveThatLacksAMember) {
  const TrainedModel trained = Trained(test::SmallNetworkJson());
  for (const char* name : {"config.json", "metadata.json", "model.weights.h5"}) {
    ASSERT_THAT(SaveKeras(trained, path_), Succeeds());
    std::map<std::string, std::string> members = Members();
    ASSERT_EQ(members.erase(name), 1u);
    Write(members);
    EXPECT_THAT(LoadKeras(path_),
                FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr(name), HasSubstr("m.keras"))));
  }
  EXPECT_THAT(LoadKeras(folder_ / "no.keras"), FailsWith(ErrorCode::kNotFound));
  ASSERT_THAT(WriteFileAtomically(path_, AsBytes("no archive")), Succeeds());
  EXPECT_THAT(LoadKeras(path_), FailsWith(ErrorCode::kCorrupt));
}

TEST_F(KerasFileTest, RefusesWeightsThatAreNotTheArchitectures) {
  ASSERT_THAT(SaveKeras(Trained(test::OneLayerJson("[null, 4]", "Dense", R"("units": 3)")), path_),
              Succeeds());
  std::map<std::string, std::string> members = Members();
  const std::string small = members["model.weights.h5"];
  ASSERT_THAT(SaveKeras(Trained(test::OneLayerJson("[null, 4]", "Dense", R"("units": 2)")), path_),
              Succeeds());
  members = Members();
  members["model.weights.h5"] = small;
  Write(members);
  EXPECT_THAT(LoadKeras(path_), FailsWith(ErrorCode::kInvalidArgument,
                                          AllOf(HasSubstr("(4, 3)"), HasSubstr("(4, 2)"))));
  ASSERT_THAT(
      SaveKeras(Trained(test::OneLayerJson("[null, 2000]", "Dense", R"("units": 900)")), path_),
      Succeeds());
  members["config.json"] = Members()["config.json"];
  Write(members);
  EXPECT_THAT(LoadKeras(path_), FailsWith(ErrorCode::kCorrupt, HasSubstr("1,800,900 weights")));
  members["model.weights.h5"] = std::string(8'000'000, 'x');
  Write(members);
  EXPECT_THAT(LoadKeras(path_), FailsWith(ErrorCode::kCorrupt));
}

TEST_F(KerasFileTest, LoadsAModelWhoseCompileSectionIsUnknownWithoutIt) {
  const TrainedModel trained = Trained(test::SmallNetworkJson());
  ASSERT_THAT(SaveKeras(trained, path_), Succeeds());
  std::map<std::string, std::string> members = Members();
  std::string& config = members["config.json"];
  const std::size_t place = config.find("\"class_name\":\"Adam\"");
  ASSERT_NE(place, std::string::npos);
  config.replace(place, 19, R"("class_name":"Nova")");
  Write(members);
  const Result<TrainedModel> loaded = LoadKeras(path_);
  ASSERT_THAT(loaded, Succeeds());
  EXPECT_FALSE(loaded->model.has_compile);
  EXPECT_EQ(loaded->weights, trained.weights);
  EXPECT_THAT(loaded->compile_refusal, HasSubstr("Nova"));
}

TEST_F(KerasFileTest, RefusesATruncatedFileOfAnyLength) {
  ASSERT_THAT(SaveKeras(Trained(test::SmallNetworkJson()), path_), Succeeds());
  const std::string intact = MustRead(path_);
  for (std::size_t length = 0; length < intact.size(); length += 101) {
    SCOPED_TRACE(length);
    ASSERT_THAT(WriteFileAtomically(path_, AsBytes(intact.substr(0, length))), Succeeds());
    EXPECT_FALSE(LoadKeras(path_).ok());
  }
}

TEST(OnnxTest, RefusesALayerByNameAndWritesNothing) {
  const TemporaryFolder folder;
  const TrainedModel trained =
      Trained(test::OneLayerJson("[null, 4, 4, 2]", "LocallyConnected2D",
                                 R"("name": "local", "filters": 2, "kernel_size": 2)"));
  EXPECT_THAT(SaveOnnx(trained, folder / "m.onnx"),
              FailsWith(ErrorCode::kUnsupported,
                        AllOf(HasSubstr("local"), HasSubstr("LocallyConnected2D"))));
  EXPECT_FALSE(PathExists(folder / "m.onnx"));
}

TEST(OnnxTest, WritesTheSameBytesEachTime) {
  const TemporaryFolder folder;
  const TrainedModel trained = Trained(test::SmallNetworkJson());
  ASSERT_THAT(SaveOnnx(trained, folder / "a.onnx"), Succeeds());
  ASSERT_THAT(SaveOnnx(trained, folder / "b.onnx"), Succeeds());
  EXPECT_EQ(MustRead(folder / "a.onnx"), MustRead(folder / "b.onnx"));
}

TEST(KerasJsonTest, SaysWhereKeras3FindsEachLossAndMetric) {
  const Model model = MustParse(CompiledJson(
      test::OneLayerJson("[null, 4]", "Dense", R"("units": 3)"),
      R"({"optimizer": "sgd", "loss": [{"class_name": "Huber", "config": {"delta": 2.0}}],
          "metrics": [["mae", {"class_name": "MeanMetricWrapper", "config": {"name": "accuracy",
              "dtype": "float32", "fn": "categorical_accuracy"}}, null,
              {"class_name": "AUC", "config": {"num_thresholds": 9}}]]})"));
  EXPECT_THAT(
      KerasJson(model, CompileStyle::kKeras3),
      AllOf(HasSubstr(R"("loss":{"module":"keras.losses","class_name":"Huber")"),
            HasSubstr(R"("metrics":[["mae","categorical_accuracy",{"module":"keras.metrics",)"
                      R"("class_name":"AUC","config":{"num_thresholds":9},)"
                      R"("registered_name":null}]])")));
}

TEST(FlopsTest, CountsTheProductsOfEachKind) {
  const auto flops = [](const std::string& shape, const char* kind, const std::string& options) {
    return ForwardFlops(MustParse(test::OneLayerJson(shape, kind, options)));
  };
  EXPECT_EQ(flops("[null, 5]", "Dense", R"("units": 3)"), 2u * 5 * 3);
  EXPECT_EQ(flops("[null, 7, 5]", "Dense", R"("units": 3)"), 2u * 7 * 5 * 3);
  EXPECT_EQ(flops("[null, 8, 8, 2]", "Conv2D", R"("filters": 4, "kernel_size": 3)"),
            2u * 36 * 9 * 2 * 4);
  EXPECT_EQ(flops("[null, 8, 8, 2]", "Conv2D", R"("filters": 4, "kernel_size": 3, "groups": 2)"),
            2u * 36 * 9 * 4);
  EXPECT_EQ(
      flops("[null, 8, 8, 2]", "DepthwiseConv2D", R"("kernel_size": 3, "depth_multiplier": 2)"),
      2u * 36 * 9 * 4);
  EXPECT_EQ(flops("[null, 8, 8, 2]", "SeparableConv2D", R"("filters": 5, "kernel_size": 3)"),
            2u * 36 * (9 * 2 + 2 * 5));
  EXPECT_EQ(flops("[null, 4, 4, 2]", "Conv2DTranspose",
                  R"("filters": 3, "kernel_size": 3, "strides": 2)"),
            2u * 16 * 9 * 2 * 3);
  EXPECT_EQ(flops("[null, 5]", "Dropout", R"("rate": 0.5)"), 0u);
}

}  // namespace
}  // namespace dnc::model
