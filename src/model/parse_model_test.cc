// What each layer's options mean, which shapes and weights follow, and how a model
// that does not fit is refused.

#include "base/file.h"
#include "model/json_text.h"
#include "model/model.h"
#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using test::InputJson;
using test::LayerJson;
using test::MustParse;
using test::OneLayerJson;
using test::SequentialJson;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Result<Model> Parse(const std::string& json) { return ParseModel(json, "model.json"); }

// The output shape of one layer behind an input.
array::Shape OutputOf(const std::string& input, const std::string& class_name,
                      const std::string& options) {
  return MustParse(OneLayerJson(input, class_name, options)).output_shape();
}

TEST(ParseModelTest, ReadsTheExampleOfFashionMnist) {
  const std::string path = std::string(DNC_SOURCE_DIR) + "/examples/fashion_mnist/model.json";
  const Result<std::string> text = ReadFile(path, 1 << 20);
  ASSERT_THAT(text, Succeeds());
  const Model model = MustParse(*text);
  EXPECT_THAT(model.input_shape(), ElementsAre(28, 28, 1));
  EXPECT_THAT(model.output_shape(), ElementsAre(10));
  EXPECT_TRUE(model.has_compile);
  EXPECT_EQ(model.compile.outputs[0].loss->kind, LossKind::kSparseCategoricalCrossentropy);
  EXPECT_EQ(model.layers[1].kind, LayerKind::kRescaling);
  EXPECT_DOUBLE_EQ(model.layers[1].rescale * 255, 1);
}

TEST(ParseModelTest, FillsInTheDefaultsOfKeras) {
  const Model model = MustParse(
      SequentialJson(InputJson("[null, 9, 9, 2]") + "," +
                     LayerJson("Conv2D", R"("filters": 4, "kernel_size": [3, 3])") + "," +
                     LayerJson("BatchNormalization", "") + "," + LayerJson("MaxPooling2D", "")));
  const Layer& conv = model.layers[1];
  EXPECT_EQ(conv.name, "conv2d");
  EXPECT_EQ(conv.padding, Padding::kValid);
  EXPECT_EQ(conv.activation, Activation::kLinear);
  EXPECT_TRUE(conv.use_bias);
  EXPECT_TRUE(conv.channels_last);
  EXPECT_THAT(conv.output_shape, ElementsAre(7, 7, 4));
  const Initializer& kernel = model.weights[0].initializer;
  EXPECT_EQ(kernel.kind, InitializerKind::kVarianceScaling);
  EXPECT_EQ(kernel.mode, 'a');
  EXPECT_EQ(kernel.distribution, 'u');
  EXPECT_EQ(model.weights[1].initializer.kind, InitializerKind::kZeros);
  EXPECT_DOUBLE_EQ(model.layers[2].momentum, 0.99);
  EXPECT_DOUBLE_EQ(model.layers[2].epsilon, 1e-3);
  EXPECT_THAT(model.layers[3].kernel_size, ElementsAre(2, 2));
  EXPECT_THAT(model.layers[3].strides, ElementsAre(2, 2));
  EXPECT_FALSE(model.has_compile);
}

TEST(ParseModelTest, LaysTheWeightsOneBehindTheOtherInTheOrderOfKeras) {
  const Model model = MustParse(test::SmallNetworkJson());
  std::vector<std::string> names;
  std::uint64_t offset = 0;
  for (const WeightSpec& weight : model.weights) {
    names.push_back(weight.name);
    EXPECT_EQ(weight.offset, offset);
    EXPECT_EQ(weight.count, array::ElementCount(weight.shape));
    offset += weight.count;
  }
  EXPECT_THAT(names, ElementsAre("conv/kernel:0", "conv/bias:0", "norm/gamma:0", "norm/beta:0",
                                 "norm/moving_mean:0", "norm/moving_variance:0", "classes/kernel:0",
                                 "classes/bias:0"));
  EXPECT_EQ(model.weight_count, offset);
  EXPECT_THAT(model.weights[0].shape, ElementsAre(3, 3, 1, 2));
  EXPECT_THAT(model.weights[6].shape, ElementsAre(72, 3));
  EXPECT_TRUE(model.weights[3].trainable);
  EXPECT_FALSE(model.weights[4].trainable);
  EXPECT_EQ(model.layers[2].first_weight, 2);
  EXPECT_EQ(model.layers[2].weight_count, 4);
}

TEST(ParseModelTest, AFrozenLayerHasNoTrainableWeights) {
  const Model model =
      MustParse(OneLayerJson("[null, 4]", "Dense", R"("units": 2, "trainable": false)"));
  EXPECT_FALSE(model.layers[1].trainable);
  EXPECT_FALSE(model.weights[0].trainable);
}

TEST(ParseModelTest, ComputesTheShapesOfConvolutionsAsKerasDoes) {
  const auto conv = [](const std::string& options) {
    return OutputOf("[null, 10, 11, 4]", "Conv2D", R"("filters": 8, )" + options);
  };
  EXPECT_THAT(conv(R"("kernel_size": 3)"), ElementsAre(8, 9, 8));
  EXPECT_THAT(conv(R"("kernel_size": [3, 5], "padding": "SAME")"), ElementsAre(10, 11, 8));
  EXPECT_THAT(conv(R"("kernel_size": 3, "strides": 2)"), ElementsAre(4, 5, 8));
  EXPECT_THAT(conv(R"("kernel_size": 3, "strides": [2, 3], "padding": "same")"),
              ElementsAre(5, 4, 8));
  EXPECT_THAT(conv(R"("kernel_size": 3, "dilation_rate": 2)"), ElementsAre(6, 7, 8));
  EXPECT_THAT(OutputOf("[null, 4, 10, 11]", "Conv2D",
                       R"("filters": 8, "kernel_size": 3, "data_format": "channels_first")"),
              ElementsAre(8, 8, 9));
  const Model grouped = MustParse(OneLayerJson("[null, 10, 11, 4]", "Conv2D",
                                               R"("filters": 8, "kernel_size": 3, "groups": 2)"));
  EXPECT_THAT(grouped.weights[0].shape, ElementsAre(3, 3, 2, 8));
}

TEST(ParseModelTest, ComputesTheShapesOfPooling) {
  EXPECT_THAT(OutputOf("[null, 7, 7, 3]", "MaxPooling2D", R"("pool_size": 3)"),
              ElementsAre(2, 2, 3));
  EXPECT_THAT(OutputOf("[null, 7, 7, 3]", "AveragePooling2D", R"("padding": "same")"),
              ElementsAre(4, 4, 3));
  EXPECT_THAT(OutputOf("[null, 7, 7, 3]", "MaxPooling2D", R"("pool_size": 3, "strides": 1)"),
              ElementsAre(5, 5, 3));
  EXPECT_THAT(OutputOf("[null, 7, 7, 3]", "GlobalAveragePooling2D", ""), ElementsAre(3));
  EXPECT_THAT(OutputOf("[null, 7, 7, 3]", "GlobalAveragePooling2D", R"("keepdims": true)"),
              ElementsAre(1, 1, 3));
  EXPECT_THAT(OutputOf("[null, 7, 5, 3]", "GlobalAveragePooling2D",
                       R"("data_format": "channels_first", "keepdims": true)"),
              ElementsAre(7, 1, 1));
}

TEST(ParseModelTest, ReshapesAndFlattens) {
  EXPECT_THAT(OutputOf("[null, 4, 6]", "Flatten", ""), ElementsAre(24));
  EXPECT_THAT(OutputOf("[null, 4, 6]", "Reshape", R"("target_shape": [2, -1, 3])"),
              ElementsAre(2, 4, 3));
  EXPECT_THAT(OutputOf("[null, 4, 6]", "Reshape", R"("target_shape": [24, 1])"),
              ElementsAre(24, 1));
  EXPECT_THAT(Parse(OneLayerJson("[null, 4, 6]", "Reshape", R"("target_shape": [5, -1])")),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("reshape"), HasSubstr("(4, 6)"), HasSubstr("(5, -1)"))));
  EXPECT_THAT(
      Parse(OneLayerJson("[null, 4]", "Reshape",
                         R"("target_shape": [2147483647, 2147483647, 2147483647, 2147483647])")),
      FailsWith(ErrorCode::kInvalidArgument, HasSubstr("do not fit")));
  for (const char* shape :
       {"[-1, -1]", "[0]", "[-2]", "3", "[2.5]", "[1e30]", "[18446744073709551615]"}) {
    EXPECT_THAT(
        Parse(OneLayerJson("[null, 4]", "Reshape", std::string("\"target_shape\": ") + shape)),
        FailsWith(ErrorCode::kInvalidArgument, HasSubstr("target_shape")))
        << shape;
  }
}

TEST(ParseModelTest, CountsAxesWithTheBatchAsKerasDoes) {
  EXPECT_EQ(
      MustParse(OneLayerJson("[null, 4, 6]", "Softmax", R"("axis": 1)")).layers[1].softmax_axis,
      -2);
  EXPECT_TRUE(MustParse(OneLayerJson("[null, 4, 4, 3]", "BatchNormalization", R"("axis": [3])"))
                  .layers[1]
                  .channels_last);
  const Model first =
      MustParse(OneLayerJson("[null, 3, 4, 5]", "BatchNormalization", R"("axis": 1)"));
  EXPECT_FALSE(first.layers[1].channels_last);
  EXPECT_THAT(first.weights[0].shape, ElementsAre(3));
  EXPECT_THAT(Parse(OneLayerJson("[null, 3, 4, 5]", "BatchNormalization", R"("axis": 2)")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("axis 2")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 3, 4, 5]", "BatchNormalization", R"("axis": 4)")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("(3, 4, 5)")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 3]", "Softmax", R"("axis": 0)")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("axis 0")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 3]", "Softmax", R"("axis": 18446744073709551615)")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("axis")));
}

TEST(ParseModelTest, ReadsTheOptionsOfTheLayersWithoutWeights) {
  const Model model = MustParse(SequentialJson(
      InputJson("[null, 4]") + "," + LayerJson("Dropout", R"("rate": 0.25, "seed": 7)") + "," +
      LayerJson("Activation", R"("activation": "silu")") + "," +
      LayerJson("ReLU", R"("max_value": 6.0, "negative_slope": 0.1, "threshold": 0.5)") + "," +
      LayerJson("Rescaling", R"("scale": 0.5, "offset": -1)")));
  EXPECT_DOUBLE_EQ(model.layers[1].rate, 0.25);
  EXPECT_EQ(model.layers[2].activation, Activation::kSwish);
  EXPECT_EQ(model.layers[3].activation, Activation::kRelu);
  EXPECT_DOUBLE_EQ(model.layers[3].relu_max_value, 6);
  EXPECT_DOUBLE_EQ(model.layers[3].relu_negative_slope, 0.1);
  EXPECT_DOUBLE_EQ(model.layers[3].relu_threshold, 0.5);
  EXPECT_DOUBLE_EQ(model.layers[4].offset, -1);
  EXPECT_EQ(model.weight_count, 0u);
}

TEST(ParseModelTest, NamesTheLayerAndBothShapesWhenAKernelDoesNotFit) {
  EXPECT_THAT(Parse(OneLayerJson("[null, 3, 3, 8]", "Conv2D",
                                 R"("name": "conv2d_1", "filters": 4, "kernel_size": 5)")),
              FailsWith(ErrorCode::kInvalidArgument,
                        "model.json: conv2d_1: kernel 5x5 does not fit its input (3, 3, 8)"));
  EXPECT_THAT(Parse(OneLayerJson("[null, 2, 2, 8]", "MaxPooling2D", R"("pool_size": 3)")),
              FailsWith(ErrorCode::kInvalidArgument,
                        HasSubstr("max_pooling2d: pool 3x3 does not fit its input (2, 2, 8)")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 28, 28]", "Conv2D", R"("filters": 4, "kernel_size": 3)")),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("(28, 28)"), HasSubstr("(height, width, channels)"))));
  EXPECT_THAT(Parse(OneLayerJson("[null]", "Dense", R"("units": 4)")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("dense: its input has shape ()")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 9, 9, 3]", "Conv2D",
                                 R"("filters": 4, "kernel_size": 3, "groups": 2)")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("2 groups do not divide")));
}

TEST(ParseModelTest, RefusesUnknownLayersByNameWithTheNearestAndTheKnown) {
  EXPECT_THAT(Parse(OneLayerJson("[null, 9, 2]", "Conv4D", "")),
              FailsWith(ErrorCode::kUnsupported,
                        AllOf(HasSubstr("unknown layer \"Conv4D\""), HasSubstr("mean \"Conv1D\""),
                              HasSubstr("GlobalAveragePooling2D"))));
  EXPECT_THAT(Parse(OneLayerJson("[null, 4]", "Lambda", "")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("\"Lambda\" holds code")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 4]", "Custom>Thing", "")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("custom object")));
  EXPECT_THAT(Parse(SequentialJson(InputJson("[null, 4]") +
                                   R"(, {"class_name": "Dense", "registered_name": "my>Dense",
                                        "config": {"units": 1}})")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("custom object")));
  EXPECT_THAT(Parse(SequentialJson(InputJson("[null, 4]") + "," + SequentialJson(""))),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("expected a list of layers")));
}

TEST(ParseModelTest, ReadsRegularizersAndConstraints) {
  const auto kernel = [](const std::string& option) {
    auto model = Parse(OneLayerJson("[null, 4]", "Dense", R"("units": 2, )" + option));
    EXPECT_THAT(model, Succeeds());
    return model->weights[0];
  };
  EXPECT_EQ(kernel(R"("kernel_regularizer": "l2")").regularizer, (Regularizer{0, 0.01}));
  EXPECT_EQ(kernel(R"("kernel_regularizer": {"class_name": "L1L2",
                                             "config": {"l1": 0.5, "l2": 0.25}})")
                .regularizer,
            (Regularizer{0.5, 0.25}));
  EXPECT_EQ(kernel(R"("kernel_constraint": {"class_name": "MaxNorm",
                                            "config": {"max_value": 3, "axis": [0]}})")
                .constraint,
            (Constraint{.kind = ConstraintKind::kMaxNorm, .max = 3}));
  EXPECT_EQ(kernel(R"("kernel_constraint": {"name": "NonNeg"})").constraint,
            (Constraint{.kind = ConstraintKind::kNonNegative}));
  const auto model = Parse(OneLayerJson("[null, 4]", "Dense",
                                        R"("units": 2, "activity_regularizer": {"class_name": "L1",
                                           "config": {"l1": 0.125}})"));
  ASSERT_THAT(model, Succeeds());
  EXPECT_EQ(model->layers[1].activity, (Regularizer{0.125, 0}));
}

TEST(ParseModelTest, RefusesUnsupportedOptionsByName) {
  struct Case {
    const char* options;
    const char* named;
  };
  for (const Case& wrong : {
           Case{R"("units": 2, "kernel_regularizer": {"class_name": "L3", "config": {}})",
                "unknown regularizer"},
           Case{R"("units": 2, "kernel_regularizer": {"class_name": "L2", "config": {"l3": 1}})",
                "l3"},
           Case{R"("units": 2, "bias_constraint": {"class_name": "NonPos"})", "constraint"},
           Case{R"("units": 2, "dtype": "float16")", "float16"},
           Case{R"("units": 2, "dtype": {"class_name": "Policy", "config": {"name": "mixed"}})",
                "mixed"},
           Case{R"("units": 2, "activation": "rulu")", "did you mean \"relu\""},
           Case{R"("units": 2, "activation": {"class_name": "LeakyReLU"})", "LeakyReLU"},
           Case{R"("units": 2, "kernel_initializer": "identity")", "identity"},
           Case{R"("unit": 2)", "did you mean \"units\""},
           Case{R"("units": 2, "lora_rank": 4)", "lora_rank"},
       }) {
    EXPECT_THAT(Parse(OneLayerJson("[null, 4]", "Dense", wrong.options)),
                FailsWith(ErrorCode::kUnsupported, HasSubstr(wrong.named)))
        << wrong.options;
  }
  EXPECT_THAT(Parse(OneLayerJson("[null, 4]", "BatchNormalization", R"("renorm": true)")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("renorm")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 4]", "Dropout", R"("rate": 0.1, "noise_shape": [1])")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("noise_shape")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 4]", "Rescaling", R"("scale": [1, 2])")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("scale")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 4]", "ReLU", R"("max_value": 0)")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("max_value")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 9, 9, 1]", "Conv2D",
                                 R"("filters": 1, "kernel_size": 3, "strides": 2,
                                    "dilation_rate": 2)")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("dilation_rate")));
  EXPECT_THAT(Parse(SequentialJson(
                  LayerJson("InputLayer", R"("batch_input_shape": [null, 4], "ragged": true)"))),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("ragged")));
}

TEST(ParseModelTest, AnInputMayBeOfIntegers) {
  const auto document = [](const std::string& dtype) {
    return R"({"class_name": "Sequential", "config": {"layers": [
      {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 4], "dtype": ")" +
           dtype + R"(", "name": "pixels"}},
      {"class_name": "Rescaling", "config": {"scale": 0.5}},
      {"class_name": "Dense", "config": {"units": 2}}]}})";
  };
  for (const char* dtype : {"float32", "uint8", "uint16", "int64"}) {
    EXPECT_THAT(ParseModel(document(dtype), "model"), Succeeds()) << dtype;
  }
  EXPECT_THAT(ParseModel(document("complex64"), "model"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("complex64")));
}

TEST(ParseModelTest, RefusesWrongValuesWithWhatWasExpected) {
  struct Case {
    const char* class_name;
    const char* options;
    const char* message;
  };
  for (const Case& wrong : {
           Case{"Dense", R"("units": "many")", "\"units\" is \"many\"; expected a whole number"},
           Case{"Dense", R"("units": 0)", "\"units\" is 0"},
           Case{"Dense", R"("units": 2.5)", "\"units\" is 2.5"},
           Case{"Dense", R"("units": 99999999999)", "\"units\" is 99999999999"},
           Case{"Dense", "", "\"units\" is missing"},
           Case{"Dense", R"("units": 2, "use_bias": 1)", "expected true or false"},
           Case{"Dense", R"("units": 2, "activation": 3)", "name of an activation"},
           Case{"Dense", R"("units": 2, "kernel_initializer": 3)", "name of an initializer"},
           Case{"Dense", R"("units": 2, "bias_initializer": "Orthogonal")", "at least two axes"},
           Case{"Dropout", R"("rate": 1.5)", "from 0 to 1"},
           Case{"Dropout", R"("rate": 1)", "drop everything"},
           Case{"Dropout", "", "\"rate\" is missing"},
           Case{"Activation", "", "\"activation\" is missing"},
           Case{"Rescaling", "", "\"scale\" is missing"},
           Case{"ReLU", R"("negative_slope": -1)", "must not be below 0"},
           Case{"ReLU", R"("threshold": "x")", "expected a number or null"},
       }) {
    EXPECT_THAT(Parse(OneLayerJson("[null, 4]", wrong.class_name, wrong.options)),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr(wrong.message)))
        << wrong.class_name << " " << wrong.options;
  }
  for (const char* size : {"[3]", "[3, 3, 3]", "0", "[3, -1]", "\"3\"", "{}"}) {
    EXPECT_THAT(Parse(OneLayerJson("[null, 9, 9, 1]", "Conv2D",
                                   std::string("\"filters\": 2, \"kernel_size\": ") + size)),
                FailsWith(ErrorCode::kInvalidArgument, HasSubstr("kernel_size")))
        << size;
  }
}

TEST(ParseModelTest, TakesTheInputShapeFromWhereKerasPutsIt) {
  for (const char* layers : {
           R"({"class_name": "Dense", "config": {"units": 2, "batch_input_shape": [null, 4]}})",
           R"({"class_name": "Dense", "config": {"units": 2, "input_shape": [4]}})",
           R"({"class_name": "InputLayer", "config": {"batch_shape": [null, 4]}},
              {"class_name": "Dense", "config": {"units": 2}})",
           R"({"class_name": "InputLayer", "config": {"shape": [4]}},
              {"class_name": "Dense", "config": {"units": 2, "batch_input_shape": [null, 4]}})",
       }) {
    const Result<Model> model = Parse(SequentialJson(layers));
    ASSERT_THAT(model, Succeeds()) << layers;
    EXPECT_THAT(model->input_shape(), ElementsAre(4));
    EXPECT_EQ(model->layers.size(), 2u);
    EXPECT_EQ(model->layers[0].kind, LayerKind::kInput);
  }
  const std::string list = R"({"class_name": "Sequential", "config": [{"class_name": "Dense",
      "config": {"units": 2, "batch_input_shape": [null, 4]}}]})";
  EXPECT_THAT(Parse(list), Succeeds());
  const std::string built = R"({"class_name": "Sequential", "config": {"build_input_shape":
      [null, 4], "layers": [{"class_name": "Dense", "config": {"units": 2}}]}})";
  EXPECT_THAT(Parse(built), Succeeds());
}

TEST(ParseModelTest, RefusesAnInputWithoutOneDefiniteShape) {
  EXPECT_THAT(Parse(SequentialJson(LayerJson("Dense", R"("units": 2)"))),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("input shape is missing")));
  EXPECT_THAT(Parse(SequentialJson(LayerJson("InputLayer", ""))),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("shape is missing")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 0]", "Flatten", "")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("shape")));
  EXPECT_THAT(Parse(OneLayerJson("[null, 4]", "Dense", R"("units": 2, "input_shape": [5])")),
              FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("(5,)"), HasSubstr("(4,)"))));
  EXPECT_THAT(Parse(SequentialJson(InputJson("[null, 4]") + "," + InputJson("[null, 4]"))),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("only one, as the first")));
}

TEST(ParseModelTest, RefusesWhatIsNotAModelOfKeras) {
  EXPECT_THAT(Parse("{\n  \"class_name\": oops\n}"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("line 2, column 17")));
  EXPECT_THAT(Parse(""), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("not JSON")));
  EXPECT_THAT(Parse("{\"a\": 1e999}"), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(Parse("[1, 2]"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("[1, 2]")));
  EXPECT_THAT(Parse("{}"), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("class_name")));
  EXPECT_THAT(Parse(R"({"class_name": "Sequential", "config": {"layers": []}})"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("layers")));
  EXPECT_THAT(Parse(R"({"class_name": "Transformer", "config": {}})"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("Sequential, Functional")));
  EXPECT_THAT(Parse(R"({"class_name": "Sequential", "config": {"layers": [3]}})"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("a layer is 3")));
  EXPECT_THAT(Parse(R"({"model_config": "{}"})"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("model_config")));
  EXPECT_THAT(Parse(R"({"class_name": "Sequential", "config": {"layers": []}, "compiel": {}})"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("did you mean \"compile\"")));
}

TEST(ParseModelTest, RefusesNamesThatCannotBePathsOfAnH5) {
  const auto with_names = [](const std::string& a, const std::string& b) {
    return SequentialJson(InputJson("[null, 4]") + "," +
                          LayerJson("Flatten", "\"name\": \"" + a + "\"") + "," +
                          LayerJson("Flatten", "\"name\": \"" + b + "\""));
  };
  EXPECT_THAT(Parse(with_names("block/a", "block/b")), Succeeds());
  for (const char* name : {"../up", "/a", "a/", "a//b", ".", "a\\nb", "top_level_model_weights"}) {
    EXPECT_THAT(Parse(with_names(name, "b")), FailsWith(ErrorCode::kInvalidArgument)) << name;
  }
  EXPECT_THAT(Parse(with_names("a", "a")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("two layers are called \"a\"")));
  EXPECT_THAT(Parse(with_names("a", "a/b")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("overlap")));
}

TEST(ParseModelTest, RefusesWhatIsBeyondItsLimits) {
  const std::string dense = OneLayerJson("[null, 10]", "Dense", R"("units": 10)");
  EXPECT_THAT(ParseModel(dense, "m", {.weight_count_max = 110}), Succeeds());
  EXPECT_THAT(ParseModel(dense, "m", {.weight_count_max = 109}),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("dense/bias:0")));
  EXPECT_THAT(ParseModel(dense, "m", {.activation_count_max = 9}),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("(10,)")));
  EXPECT_THAT(ParseModel(dense, "m", {.layer_count_max = 1}), FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(ParseModel(dense, "m", {.json_bytes_max = 10}), FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(Parse(std::string(1000, '[')), FailsWith(ErrorCode::kTooLarge, HasSubstr("deep")));
  EXPECT_THAT(Parse("[" + std::string(kJsonValueCountMax, ',')), FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(Parse(OneLayerJson("[null, 2147483647]", "Dense", R"("units": 2147483647)")),
              FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(Parse(OneLayerJson("[null, 40000]", "Dense",
                                 R"("units": 40000, "kernel_initializer": "orthogonal")")),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("Orthogonal")));
}

TEST(ParseModelTest, WhatItFormatsItReadsBackUnchanged) {
  for (const std::string& json :
       {test::SmallNetworkJson(),
        OneLayerJson("[null, 4]", "Dense",
                     R"("units": 3, "kernel_initializer": {"class_name": "VarianceScaling",
                        "config": {"scale": 2.0, "mode": "fan_out", "distribution": "uniform"}},
                        "bias_initializer": {"class_name": "Constant", "config": {"value": 0.1}})"),
        OneLayerJson("[null, 4, 4, 1]", "Reshape", R"("target_shape": [2, -1])")}) {
    const Model model = MustParse(json);
    const Model again = MustParse(FormatModel(model));
    EXPECT_EQ(FormatModel(again), FormatModel(model));
    EXPECT_EQ(again.weight_count, model.weight_count);
    EXPECT_EQ(InitialWeights(again, 3), InitialWeights(model, 3));
  }
}

TEST(ParseModelTest, ReadsTheJsonOfKeras3) {
  const Model model = MustParse(SequentialJson(R"(
    {"module": "keras.layers", "class_name": "InputLayer", "registered_name": null,
     "config": {"batch_shape": [null, 4], "dtype": "float32", "sparse": false, "ragged": false,
                "name": "input_layer"}},
    {"module": "keras.layers", "class_name": "Dense", "registered_name": null,
     "build_config": {"input_shape": [null, 4]},
     "config": {"name": "dense", "trainable": true, "units": 3, "activation": "relu",
                "dtype": {"module": "keras", "class_name": "DTypePolicy",
                          "config": {"name": "float32"}, "registered_name": null},
                "kernel_initializer": {"module": "keras.initializers",
                    "class_name": "HeNormal", "config": {"seed": null}, "registered_name": null},
                "quantization_config": null}})"));
  EXPECT_EQ(model.weights[0].initializer.distribution, 't');
  EXPECT_DOUBLE_EQ(model.weights[0].initializer.scale, 2);
  EXPECT_THAT(model.model_config_json,
              AllOf(HasSubstr("batch_input_shape"), Not(HasSubstr("module"))));
}

TEST(ForwardFlopsTest, CountsTwoForEveryMultiplyAdd) {
  EXPECT_EQ(ForwardFlops(MustParse(OneLayerJson("[null, 5, 10]", "Dense", R"("units": 3)"))),
            2u * 5 * 10 * 3);
  EXPECT_EQ(ForwardFlops(MustParse(OneLayerJson(
                "[null, 8, 8, 4]", "Conv2D",
                R"("filters": 6, "kernel_size": [3, 5], "groups": 2, "padding": "same")"))),
            2u * 8 * 8 * 6 * 3 * 5 * 2);
  EXPECT_EQ(ForwardFlops(MustParse(OneLayerJson("[null, 8, 8, 4]", "MaxPooling2D", ""))), 0u);
}

}  // namespace
}  // namespace dnc::model
