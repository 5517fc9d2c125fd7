// .h5 files: what is saved is loaded, laid out as Keras lays it out; files that
// lie, or that point outside themselves, are refused. HDF5's own interface is used
// to look at files and to spoil them.

#include "model/h5.h"

#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>

#include <functional>
#include <thread>

#include "base/prng.h"
#include "model/optimizer_state.h"
#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::dnc::test::TemporaryFolder;
using test::LayerJson;
using test::MustParse;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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

class H5Test : public ::testing::Test {
 protected:
  void SetUp() override { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

  void Save(const TrainedModel& trained) { ASSERT_THAT(SaveH5(trained, path_), Succeeds()); }

  // Opens the file for writing, and lets `change` spoil it.
  void Spoil(const std::function<void(hid_t file)>& change) {
    const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    change(file);
    ASSERT_GE(H5Fclose(file), 0);
  }

  // Replaces the bias of the Dense "classes" by a dataset of the given kind.
  void ReplaceBias(std::vector<hsize_t> shape, hid_t type, hid_t creation = H5P_DEFAULT) {
    Spoil([&](hid_t file) {
      ASSERT_GE(H5Ldelete(file, kBias, H5P_DEFAULT), 0);
      const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
      const hid_t dataset =
          H5Dcreate2(file, kBias, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
      ASSERT_GE(dataset, 0);
      if (H5Tget_class(type) == H5T_FLOAT && creation == H5P_DEFAULT) {
        const std::vector<float> elements(64, 0.5f);
        ASSERT_GE(
            H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, elements.data()), 0);
      }
      H5Dclose(dataset);
      H5Sclose(space);
    });
  }

  static constexpr const char* kBias = "model_weights/classes/classes/bias:0";
  TemporaryFolder folder_;
  std::string path_ = folder_ / "m.h5";
};

// The fixed-length texts of an attribute.
std::vector<std::string> TextsAt(hid_t file, const char* object, const char* name) {
  const hid_t attribute = H5Aopen_by_name(file, object, name, H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_GE(attribute, 0) << object << " " << name;
  const hid_t type = H5Aget_type(attribute);
  const hid_t space = H5Aget_space(attribute);
  const auto count = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space));
  std::vector<std::string> texts;
  if (count > 0) {
    EXPECT_EQ(H5Tis_variable_str(type), 0);
    const std::size_t size = H5Tget_size(type);
    std::string bytes(count * size, '\0');
    EXPECT_GE(H5Aread(attribute, type, bytes.data()), 0);
    for (std::size_t i = 0; i < count; ++i) {
      texts.emplace_back(bytes.substr(i * size, size).c_str());
    }
  }
  H5Sclose(space);
  H5Tclose(type);
  H5Aclose(attribute);
  return texts;
}

TEST_F(H5Test, LoadsWhatWasSaved) {
  for (const std::string& json :
       {test::SmallNetworkJson(),
        test::FunctionalJson(
            test::NodeJson("InputLayer", "in", R"("batch_input_shape": [null, 4])", "") + "," +
                test::NodeJson("Dense", "a/b", R"("units": 3)", "in"),
            "in", "a/b"),
        test::OneLayerJson("[null, 4]", "Flatten", "")}) {
    const TrainedModel trained = Trained(json);
    Save(trained);
    const Result<TrainedModel> loaded = LoadH5(path_);
    ASSERT_THAT(loaded, Succeeds());
    EXPECT_EQ(loaded->weights, trained.weights);
    EXPECT_EQ(FormatModel(loaded->model), FormatModel(trained.model));
    EXPECT_EQ(loaded->compile_refusal, "");
  }
}

TEST_F(H5Test, TheSameModelGivesTheSameBytes) {
  const TrainedModel trained = Trained(test::SmallNetworkJson());
  Save(trained);
  const std::string first = MustRead(path_);
  Save(trained);
  EXPECT_EQ(MustRead(path_), first);
}

TEST_F(H5Test, LaysOutGroupsAndAttributesAsKerasDoes) {
  Save(Trained(test::SmallNetworkJson()));
  const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  for (const char* name : {"keras_version", "backend", "model_config", "training_config"}) {
    EXPECT_GT(H5Aexists(file, name), 0) << name;
  }
  // A Sequential's InputLayer is not among its layers.
  EXPECT_THAT(TextsAt(file, "model_weights", "layer_names"),
              ElementsAre("conv", "norm", "flatten", "classes"));
  EXPECT_THAT(
      TextsAt(file, "model_weights/norm", "weight_names"),
      ElementsAre("norm/gamma:0", "norm/beta:0", "norm/moving_mean:0", "norm/moving_variance:0"));
  EXPECT_THAT(TextsAt(file, "model_weights/flatten", "weight_names"), IsEmpty());
  EXPECT_THAT(TextsAt(file, "model_weights/top_level_model_weights", "weight_names"), IsEmpty());
  EXPECT_GT(H5Lexists(file, kBias, H5P_DEFAULT), 0);
  H5Fclose(file);
}

TEST_F(H5Test, AFunctionalModelsInputIsAmongItsLayers) {
  Save(Trained(test::FunctionalJson(
      test::NodeJson("InputLayer", "in", R"("batch_input_shape": [null, 4])", "") + "," +
          test::NodeJson("Dense", "out", R"("units": 3)", "in"),
      "in", "out")));
  const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  EXPECT_THAT(TextsAt(file, "model_weights", "layer_names"), ElementsAre("in", "out"));
  H5Fclose(file);
}

TEST_F(H5Test, SplitsAListOfNamesThatNoAttributeHolds) {
  std::string layers = test::InputJson("[null, 4]");
  for (int i = 0; i < 700; ++i) {
    const std::string name = std::to_string(i) + "_" + std::string(200, 'n');
    layers += "," + LayerJson("Flatten", "\"name\": \"" + name + "\"");
  }
  const TrainedModel trained = Trained(test::SequentialJson(layers));
  Save(trained);
  const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  EXPECT_EQ(H5Aexists_by_name(file, "model_weights", "layer_names", H5P_DEFAULT), 0);
  std::size_t count = 0;
  for (const char* part : {"layer_names0", "layer_names1", "layer_names2"}) {
    count += TextsAt(file, "model_weights", part).size();
  }
  EXPECT_EQ(count, 700u);
  H5Fclose(file);
  EXPECT_THAT(LoadH5(path_), Succeeds());
}

TEST_F(H5Test, AFailedSaveLeavesTheOldFileAndNothingElse) {
  const TrainedModel small = Trained(test::SmallNetworkJson());
  Save(small);
  const std::string before = MustRead(path_);
  const TrainedModel large =
      Trained(test::OneLayerJson("[null, 1000]", "Dense", R"("units": 500)"));
  // A file-size limit stands for a full disk.
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{100'000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const Status status = SaveH5(large, path_);
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(status, FailsWith(ErrorCode::kResourceExhausted, HasSubstr(path_)));
  EXPECT_EQ(MustRead(path_), before);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
  EXPECT_THAT(SaveH5(large, path_), Succeeds());
}

TEST_F(H5Test, SavesInSeveralThreadsAtOnce) {
  const TrainedModel trained = Trained(test::SmallNetworkJson());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        EXPECT_THAT(SaveH5(trained, path_ + std::to_string(i)), Succeeds());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(MustRead(path_ + std::to_string(i)), MustRead(path_ + "0"));
  }
}

TEST_F(H5Test, SaysWhereItCannotWrite) {
  EXPECT_THAT(SaveH5(Trained(test::SmallNetworkJson()), folder_ / "no/folder/m.h5"),
              FailsWith(ErrorCode::kNotFound, HasSubstr("no/folder/m.h5")));
}

TEST_F(H5Test, RefusesFilesThatAreNotModels) {
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kNotFound, HasSubstr("m.h5")));
  EXPECT_THAT(LoadH5(folder_.path()), FailsWith(ErrorCode::kInvalidArgument));
  ASSERT_THAT(WriteFileAtomically(path_, AsBytes("")), Succeeds());
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kCorrupt, HasSubstr("not an HDF5 file")));
  ASSERT_THAT(WriteFileAtomically(path_, AsBytes("PK\x03\x04 and so on")), Succeeds());
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kUnsupported, HasSubstr(".keras")));
  Save(Trained(test::SmallNetworkJson()));
  Spoil([](hid_t file) { H5Adelete(file, "model_config"); });
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kCorrupt, HasSubstr("model_config")));
}

TEST_F(H5Test, SaysThatAFileHoldsWeightsOnly) {
  Save(Trained(test::SmallNetworkJson()));
  Spoil([](hid_t file) {
    H5Adelete(file, "model_config");
    const hid_t space = H5Screate(H5S_NULL);
    H5Aclose(H5Acreate2(file, "layer_names", H5T_C_S1, space, H5P_DEFAULT, H5P_DEFAULT));
    H5Sclose(space);
  });
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("weights only")));
}

TEST_F(H5Test, NamesBothShapesOfAWeightThatDoesNotFit) {
  Save(Trained(test::SmallNetworkJson()));
  ReplaceBias({4}, H5T_IEEE_F32LE);
  EXPECT_THAT(LoadH5(path_),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("classes/bias:0"), HasSubstr("(4,)"), HasSubstr("(3,)"))));
}

TEST_F(H5Test, ReadsOtherWidthsOfFloats) {
  Save(Trained(test::SmallNetworkJson()));
  ReplaceBias({3}, H5T_IEEE_F64BE);
  const Result<TrainedModel> loaded = LoadH5(path_);
  ASSERT_THAT(loaded, Succeeds());
  EXPECT_THAT(std::vector<float>(loaded->weights.end() - 3, loaded->weights.end()), Each(0.5f));
}

TEST_F(H5Test, RefusesWeightsThatAreNotFloatsOrMissing) {
  Save(Trained(test::SmallNetworkJson()));
  ReplaceBias({3}, H5T_STD_I32LE);
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kUnsupported, HasSubstr("bias:0")));
  Spoil([](hid_t file) { H5Ldelete(file, kBias, H5P_DEFAULT); });
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kCorrupt, HasSubstr("missing")));
  Spoil([](hid_t file) { H5Ldelete(file, "model_weights/classes", H5P_DEFAULT); });
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kCorrupt, HasSubstr("layer classes")));
  Spoil([](hid_t file) { H5Ldelete(file, "model_weights", H5P_DEFAULT); });
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kCorrupt, HasSubstr("model_weights")));
}

TEST_F(H5Test, RefusesLinksThatLeadElsewhere) {
  Save(Trained(test::SmallNetworkJson()));
  Spoil([](hid_t file) {
    H5Ldelete(file, kBias, H5P_DEFAULT);
    H5Lcreate_external("/etc/passwd", "/x", file, kBias, H5P_DEFAULT, H5P_DEFAULT);
  });
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kUnsupported, HasSubstr("link")));
  Spoil([](hid_t file) {
    H5Ldelete(file, kBias, H5P_DEFAULT);
    H5Lcreate_soft("/model_weights/classes/classes/kernel:0", file, kBias, H5P_DEFAULT,
                   H5P_DEFAULT);
  });
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kUnsupported, HasSubstr("link")));
}

TEST_F(H5Test, RefusesStorageOutsideTheFile) {
  Save(Trained(test::SmallNetworkJson()));
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  ASSERT_GE(H5Pset_external(creation, "/etc/passwd", 0, 12), 0);
  ReplaceBias({3}, H5T_IEEE_F32LE, creation);
  H5Pclose(creation);
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kUnsupported, HasSubstr("outside the file")));
}

TEST_F(H5Test, RefusesCompressedWeightsAndHugeChunks) {
  Save(Trained(test::SmallNetworkJson()));
  const hid_t compressed = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk = 3;
  H5Pset_chunk(compressed, 1, &chunk);
  H5Pset_deflate(compressed, 9);
  ReplaceBias({3}, H5T_IEEE_F32LE, compressed);
  H5Pclose(compressed);
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kUnsupported, HasSubstr("deflate")));
}

TEST_F(H5Test, RefusesAnArchitectureWithMoreWeightsThanTheFileHasBytes) {
  Save(Trained(test::SmallNetworkJson()));
  const TrainedModel small = Trained(test::OneLayerJson("[null, 1]", "Dense", R"("units": 1)"));
  TrainedModel lying = small;
  lying.model.model_config_json =
      MustParse(test::OneLayerJson("[null, 30000]", "Dense", R"("units": 30000)"))
          .model_config_json;
  Save(lying);
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kCorrupt, HasSubstr("900,030,000 weights")));
}

TEST_F(H5Test, RefusesWeightsOfAnotherArchitecture) {
  TrainedModel lying = Trained(test::OneLayerJson("[null, 2]", "Dense", R"("units": 2)"));
  lying.model.model_config_json =
      MustParse(test::OneLayerJson("[null, 2]", "Dense", R"("units": 2, "use_bias": false)"))
          .model_config_json;
  Save(lying);
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kInvalidArgument,
                                       AllOf(HasSubstr("2 weights"), HasSubstr("architecture 1"))));
  lying = Trained(test::OneLayerJson("[null, 2]", "Dense", R"("units": 2)"));
  std::vector<std::string>& names = lying.model.weight_groups[0].saved_names;
  ASSERT_EQ(names.size(), 2u);
  std::swap(names[0], names[1]);
  Save(lying);
  EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("dense/bias:0")));
}

TEST_F(H5Test, LoadsAModelWhoseCompileSectionIsUnknownWithoutIt) {
  TrainedModel trained = Trained(test::SmallNetworkJson());
  trained.model.training_config_json =
      R"({"optimizer_config": {"class_name": "Lars", "config": {}}, "loss": "mse"})";
  Save(trained);
  const Result<TrainedModel> loaded = LoadH5(path_);
  ASSERT_THAT(loaded, Succeeds());
  EXPECT_FALSE(loaded->model.has_compile);
  EXPECT_EQ(loaded->weights, trained.weights);
  EXPECT_THAT(loaded->compile_refusal, HasSubstr("Lars"));
}

std::string NetworkWith(const std::string& optimizer) {
  return test::CompiledJson(
      test::SequentialJson(
          test::InputJson("[null, 4]") + ", " +
          LayerJson("Dense", R"("name": "first", "units": 3)") + ", " +
          LayerJson("BatchNormalization", R"("name": "norm")") + ", " +
          LayerJson("Dense", R"("name": "fixed", "units": 2, "trainable": false)") + ", " +
          LayerJson("Dense", R"("name": "classes", "units": 3)")),
      R"({"loss": "mse", "optimizer": )" + optimizer + "}");
}

TEST_F(H5Test, KeepsTheOptimizersStateToTheBit) {
  for (const char* optimizer :
       {R"("sgd")", R"({"name": "SGD", "momentum": 0.9})", R"("adam")", R"("rmsprop")",
        R"({"name": "RMSprop", "decay": 0.0, "centered": true})",
        R"({"name": "Nadam", "schedule_decay": 0.004})", R"("nadam")", R"("ftrl")"}) {
    SCOPED_TRACE(optimizer);
    TrainedModel trained = Trained(NetworkWith(optimizer));
    const Optimizer& how = trained.model.compile.optimizer;
    OptimizerSlots state = InitialSlots(how, trained.model.weight_count);
    state.step_count = 7;
    state.momentum_product = MomentumProduct(how, 7);
    float next = 0;
    for (std::vector<float>& slot : state.slots) {
      for (const WeightSpec& weight : trained.model.weights) {
        if (!weight.trainable || weight.name.starts_with("fixed/")) continue;
        for (std::uint64_t i = 0; i < weight.count; ++i) slot[weight.offset + i] = next += 0.25f;
      }
    }
    trained.optimizer_state = EncodeOptimizerState(how, trained.model.weight_count, state);
    Save(trained);
    const Result<TrainedModel> loaded = LoadH5(path_);
    ASSERT_THAT(loaded, Succeeds());
    EXPECT_EQ(loaded->optimizer_refusal, "");
    EXPECT_EQ(loaded->optimizer_state, trained.optimizer_state);
  }
}

TEST_F(H5Test, LeavesOutAStateThatDoesNotFitAndSaysSo) {
  TrainedModel trained = Trained(test::SmallNetworkJson());
  const Optimizer& adam = trained.model.compile.optimizer;
  trained.optimizer_state = EncodeOptimizerState(adam, trained.model.weight_count,
                                                 InitialSlots(adam, trained.model.weight_count));
  Save(trained);
  Spoil([](hid_t file) {
    EXPECT_GE(H5Ldelete(file, "optimizer_weights/Adam/classes/bias/v:0", H5P_DEFAULT), 0);
  });
  const Result<TrainedModel> loaded = LoadH5(path_);
  ASSERT_THAT(loaded, Succeeds());
  EXPECT_TRUE(loaded->optimizer_state.empty());
  EXPECT_THAT(loaded->optimizer_refusal, HasSubstr("Adam/classes/bias/v:0"));
  EXPECT_EQ(loaded->weights, trained.weights);
  trained.optimizer_state.pop_back();
  EXPECT_THAT(SaveH5(trained, path_), FailsWith(ErrorCode::kCorrupt));
}

TEST_F(H5Test, RefusesATruncatedFileOfAnyLength) {
  Save(Trained(test::SmallNetworkJson()));
  const std::string intact = MustRead(path_);
  for (std::size_t length = 0; length < intact.size(); length += 101) {
    SCOPED_TRACE(length);
    ASSERT_THAT(WriteFileAtomically(path_, AsBytes(intact.substr(0, length))), Succeeds());
    EXPECT_THAT(LoadH5(path_), FailsWith(ErrorCode::kCorrupt));
  }
}

TEST_F(H5Test, ASpoiltFileIsAnErrorWhateverHdf5MakesOfIt) {
  Save(Trained(test::SmallNetworkJson()));
  const std::string intact = MustRead(path_);
  Prng prng(11);
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    std::string spoilt = intact;
    for (int k = 0; k < 4; ++k) {
      spoilt[prng.Below(spoilt.size())] = static_cast<char>(prng.Below(256));
    }
    ASSERT_THAT(WriteFileAtomically(path_, AsBytes(spoilt)), Succeeds());
    const Result<TrainedModel> loaded = LoadH5(path_);
    if (loaded.ok()) {
      EXPECT_EQ(loaded->weights.size(), loaded->model.weight_count);
    } else {
      ++refused;
      EXPECT_THAT(loaded.error().message, HasSubstr("m.h5"));
    }
  }
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace dnc::model
