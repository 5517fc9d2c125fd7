// Options, shapes and weights of the layers of sequences.

#include "model/recurrent_layers.h"

#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using test::LayerJson;
using test::MustParse;
using test::OneLayerJson;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<std::string> WeightTexts(const Model& model) {
  std::vector<std::string> texts;
  for (const WeightSpec& weight : model.weights) {
    texts.push_back(weight.name + " " + array::ShapeText(weight.shape));
  }
  return texts;
}

Error MustRefuse(const std::string& json) {
  const Result<Model> model = ParseModel(json, "m");
  EXPECT_FALSE(model.ok()) << json;
  return model.ok() ? Error{} : model.error();
}

TEST(RecurrentLayersTest, WeightsHaveKerassNamesShapesAndOrder) {
  const auto weights_of = [](const std::string& class_name, const std::string& options) {
    return WeightTexts(MustParse(
        OneLayerJson("[null, 5, 2]", class_name, R"("name": "r", "units": 3)" + options)));
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(weights_of("SimpleRNN", ""),
            (Texts{"r/kernel:0 (2, 3)", "r/recurrent_kernel:0 (3, 3)", "r/bias:0 (3,)"}));
  EXPECT_EQ(weights_of("LSTM", ""),
            (Texts{"r/kernel:0 (2, 12)", "r/recurrent_kernel:0 (3, 12)", "r/bias:0 (12,)"}));
  EXPECT_EQ(weights_of("LSTM", R"(, "use_bias": false)"),
            (Texts{"r/kernel:0 (2, 12)", "r/recurrent_kernel:0 (3, 12)"}));
  EXPECT_EQ(weights_of("GRU", ""),
            (Texts{"r/kernel:0 (2, 9)", "r/recurrent_kernel:0 (3, 9)", "r/bias:0 (2, 9)"}));
  EXPECT_EQ(weights_of("GRU", R"(, "reset_after": false)"),
            (Texts{"r/kernel:0 (2, 9)", "r/recurrent_kernel:0 (3, 9)", "r/bias:0 (9,)"}));
  // As Keras 2.1 wrote a GRU, in full but without "reset_after".
  EXPECT_EQ(weights_of("GRU", R"(, "implementation": 1, "recurrent_dropout": 0.0)").back(),
            "r/bias:0 (9,)");
}

TEST(RecurrentLayersTest, ShapesFollowTheOptions) {
  const auto shape_of = [](const std::string& input, const std::string& class_name,
                           const std::string& options) {
    return MustParse(OneLayerJson(input, class_name, options)).output_shape();
  };
  using array::Shape;
  EXPECT_EQ(shape_of("[null, 5, 2]", "LSTM", R"("units": 3)"), (Shape{3}));
  EXPECT_EQ(shape_of("[null, 5, 2]", "LSTM", R"("units": 3, "return_sequences": true)"),
            (Shape{5, 3}));
  EXPECT_EQ(shape_of("[null, 2]", "RepeatVector", R"("n": 4)"), (Shape{4, 2}));
  EXPECT_EQ(shape_of("[null, 6]", "Embedding", R"("input_dim": 9, "output_dim": 4)"),
            (Shape{6, 4}));
  const std::string gru = LayerJson("GRU", R"("name": "g", "units": 3, "return_sequences": true)");
  EXPECT_EQ(shape_of("[null, 5, 2]", "Bidirectional", R"("layer": )" + gru), (Shape{5, 6}));
  EXPECT_EQ(shape_of("[null, 5, 2]", "Bidirectional", R"("merge_mode": "ave", "layer": )" + gru),
            (Shape{5, 3}));
  EXPECT_EQ(shape_of("[null, 5, 4, 2]", "TimeDistributed", R"("layer": )" + gru), (Shape{5, 4, 3}));
  const std::string conv = R"("filters": 3, "kernel_size": [3, 2], "return_sequences": true)";
  EXPECT_EQ(shape_of("[null, 5, 8, 9, 1]", "ConvLSTM2D", conv), (Shape{5, 6, 8, 3}));
  EXPECT_EQ(shape_of("[null, 5, 1, 8, 9]", "ConvLSTM2D",
                     conv + R"(, "data_format": "channels_first", "padding": "same")"),
            (Shape{5, 3, 8, 9}));
}

TEST(RecurrentLayersTest, BidirectionalNamesItsTwoLayersAsKerasDoes) {
  const Model model = MustParse(OneLayerJson(
      "[null, 5, 2]", "Bidirectional",
      R"("name": "b", "layer": )" + LayerJson("LSTM", R"("name": "lstm_1", "units": 3)")));
  ASSERT_EQ(model.weights.size(), 6u);
  EXPECT_EQ(model.weights[0].name, "b/forward_lstm_1/kernel:0");
  EXPECT_EQ(model.weights[5].name, "b/backward_lstm_1/bias:0");
  const Layer& layer = model.layers[1];
  ASSERT_EQ(layer.wrapped.size(), 2u);
  EXPECT_FALSE(layer.wrapped[0].sequence.go_backwards);
  EXPECT_TRUE(layer.wrapped[1].sequence.go_backwards);
  EXPECT_EQ(layer.wrapped[1].first_weight, 3);
  EXPECT_THAT(model.model_config_json, HasSubstr(R"("name":"lstm_1")"));
}

TEST(RecurrentLayersTest, TheForgetGatesBiasBeginsAtOne) {
  const auto bias_of = [](const std::string& options) {
    const Model model = MustParse(OneLayerJson("[null, 5, 2]", "LSTM", R"("units": 2)" + options));
    const std::vector<float> weights = InitialWeights(model, 1);
    return std::vector<float>(weights.end() - 8, weights.end());
  };
  EXPECT_EQ(bias_of(""), (std::vector<float>{0, 0, 1, 1, 0, 0, 0, 0}));
  EXPECT_EQ(bias_of(R"(, "unit_forget_bias": false)"), std::vector<float>(8, 0.0f));
}

TEST(RecurrentLayersTest, AWrappersTrainableFlagHoldsForWhatItWraps) {
  const Model model = MustParse(
      OneLayerJson("[null, 5, 2]", "TimeDistributed",
                   R"("trainable": false, "layer": )" + LayerJson("Dense", R"("units": 3)")));
  EXPECT_FALSE(model.weights[0].trainable);
  EXPECT_FALSE(model.layers[1].wrapped[0].trainable);
}

TEST(RecurrentLayersTest, RefusesWhatIsNotSupportedByName) {
  const auto refusal = [](const std::string& class_name, const std::string& options) {
    return MustRefuse(OneLayerJson("[null, 5, 2]", class_name, R"("name": "r", )" + options))
        .message;
  };
  EXPECT_THAT(refusal("LSTM", R"("units": 2, "stateful": true)"),
              AllOf(HasSubstr("r: "), HasSubstr("\"stateful\" is true")));
  EXPECT_THAT(refusal("GRU", R"("units": 2, "return_state": true)"), HasSubstr("return_state"));
  EXPECT_THAT(refusal("GRU", R"("units": 2, "dropout": 1.0)"), HasSubstr("drop everything"));
  EXPECT_THAT(refusal("LSTM", R"("unitz": 2)"), HasSubstr("did you mean \"units\"?"));
  EXPECT_THAT(refusal("Bidirectional", R"("merge_mode": null, "layer": {})"),
              HasSubstr("several outputs"));
  EXPECT_THAT(refusal("Bidirectional",
                      ""
                      R"("layer": 3)"),
              HasSubstr("\"layer\" is 3; expected a layer"));
  EXPECT_THAT(refusal("Bidirectional", R"("layer": )" + LayerJson("Dense", R"("units": 2)")),
              HasSubstr("not recurrent"));
  EXPECT_THAT(refusal("TimeDistributed", R"("layer": )" + LayerJson("Lambda", "")),
              HasSubstr("unknown layer \"Lambda\""));
  EXPECT_THAT(refusal("TimeDistributed", R"("layer": )" + LayerJson("Dense", R"("unit": 2)")),
              AllOf(HasSubstr("r: dense: "), HasSubstr("\"units\"")));
  EXPECT_THAT(refusal("Embedding", R"("input_dim": 20000000, "output_dim": 1)"),
              HasSubstr("at most 16777216"));
  EXPECT_THAT(refusal("RepeatVector", R"("n": 3)"), HasSubstr("(5, 2)"));
}

TEST(RecurrentLayersTest, RefusesWrappersThatNeverEnd) {
  std::string layer = LayerJson("Dense", R"("units": 1)");
  for (int depth = 0; depth < 12; ++depth) {
    layer = LayerJson("TimeDistributed", R"("layer": )" + layer);
  }
  EXPECT_THAT(MustRefuse(test::SequentialJson(test::InputJson("[null, 2]") + "," + layer)).message,
              HasSubstr("within each other"));
}

TEST(RecurrentLayersTest, RefusesInputsThatAreNoSequences) {
  const auto refusal = [](const std::string& shape, const std::string& class_name,
                          const std::string& options) {
    return MustRefuse(OneLayerJson(shape, class_name, options)).message;
  };
  EXPECT_THAT(refusal("[null, 5]", "LSTM", R"("units": 2)"), HasSubstr("(steps, features)"));
  EXPECT_THAT(
      refusal("[null, 5]", "TimeDistributed", R"("layer": )" + LayerJson("Dense", R"("units": 2)")),
      HasSubstr("at least two axes"));
  EXPECT_THAT(refusal("[null, 5, 2]", "ConvLSTM2D", R"("filters": 1, "kernel_size": 3)"),
              HasSubstr("four axes"));
  EXPECT_THAT(refusal("[null, 5, 2, 9, 1]", "ConvLSTM2D", R"("filters": 1, "kernel_size": 3)"),
              HasSubstr("does not fit"));
}

}  // namespace
}  // namespace dnc::model
