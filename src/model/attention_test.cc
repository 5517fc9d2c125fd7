// MultiHeadAttention: the ways of Keras 2 and 3 to write it and its calls, and what is
// refused. What it computes is compared with Keras's figures in trainer_torch.

#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using test::FunctionalJson;
using test::MustParse;
using test::NodeJson;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<Model> Parse(const std::string& json) { return ParseModel(json, "model.json"); }

// "q" of 5 steps, "v" and "k" of 4, all three inputs of the model, and attention with these
// options and "inbound_nodes".
std::string AttentionJson(const std::string& options, const std::string& calls) {
  const auto input = [](const char* name, const char* shape) {
    return NodeJson("InputLayer", name,
                    R"("batch_input_shape": [null, )" + std::string(shape) + "]", "") +
           ",";
  };
  return R"({"class_name": "Functional", "config": {"name": "m", "layers": [)" +
         input("q", "5, 6") + input("v", "4, 8") + input("k", "4, 7") +
         R"({"class_name": "MultiHeadAttention", "name": "a", "config": {)" + options +
         R"(}, "inbound_nodes": )" + calls +
         R"(}], "input_layers": [["q", 0, 0], ["v", 0, 0], ["k", 0, 0]],
            "output_layers": [["a", 0, 0], ["v", 0, 0], ["k", 0, 0]]}})";
}

const std::string kOptions = R"("num_heads": 2, "key_dim": 3)";

std::string Keras3Tensor(const std::string& name) {
  return R"({"class_name": "__keras_tensor__", "config": {"shape": [null, 5, 6],
            "dtype": "float32", "keras_history": [")" +
         name + R"(", 0, 0]}})";
}

TEST(AttentionTest, ReadsTheCallsOfKeras2AndKeras3) {
  const std::string q = Keras3Tensor("q"), v = Keras3Tensor("v"), k = Keras3Tensor("k");
  for (const std::string& calls : std::vector<std::string>{
           R"([[["q", 0, 0, {"value": ["v", 0, 0], "key": ["k", 0, 0]}]]])",
           R"([[["q", 0, 0, {"key": ["k", 0, 0], "value": ["v", 0, 0], "use_causal_mask": false,
                "return_attention_scores": false, "attention_mask": null}]]])",
           R"([{"args": [)" + q + "," + v + "," + k + R"(], "kwargs": {}}])",
           R"([{"args": [)" + q + "," + v + R"(], "kwargs": {"key": )" + k + "}}]",
           R"([{"args": [], "kwargs": {"key": )" + k + R"(, "query": )" + q + R"(, "value": )" + v +
               "}}]",
       }) {
    const Result<Model> model = Parse(AttentionJson(kOptions, calls));
    ASSERT_THAT(model, Succeeds()) << calls;
    const Layer& layer = model->layers.back();
    EXPECT_THAT(layer.inputs, ElementsAre(0, 1, 2));
    EXPECT_FALSE(layer.attention.causal);
    EXPECT_EQ(layer.output_shape, (array::Shape{5, 6}));
    EXPECT_EQ(FormatModel(MustParse(FormatModel(*model))), FormatModel(*model));
  }
}

TEST(AttentionTest, NamesItsWeightsAsKerasDoes) {
  const Model model = MustParse(AttentionJson(
      kOptions + R"(, "value_dim": 5, "output_shape": [9])",
      R"([[["q", 0, 0, {"value": ["v", 0, 0], "key": ["k", 0, 0], "use_causal_mask": true}]]])"));
  std::vector<std::string> names;
  std::vector<array::Shape> shapes;
  for (const WeightSpec& weight : model.weights) {
    names.push_back(weight.name);
    shapes.push_back(weight.shape);
  }
  EXPECT_THAT(names, ElementsAre("a/query/kernel:0", "a/query/bias:0", "a/key/kernel:0",
                                 "a/key/bias:0", "a/value/kernel:0", "a/value/bias:0",
                                 "a/attention_output/kernel:0", "a/attention_output/bias:0"));
  using array::Shape;
  EXPECT_THAT(shapes, ElementsAre(Shape{6, 2, 3}, Shape{2, 3}, Shape{7, 2, 3}, Shape{2, 3},
                                  Shape{8, 2, 5}, Shape{2, 5}, Shape{2, 5, 9}, Shape{9}));
  EXPECT_TRUE(model.layers.back().attention.causal);
  EXPECT_EQ(model.layers.back().output_shape, (Shape{5, 9}));
  // Query and output at 5 steps, key and value at 4.
  EXPECT_EQ(ForwardFlops(model), 2u * (5 * (6 * 6 + 10 * 9) + 4 * (7 * 6 + 8 * 10)));
  // Written in full it says the same.
  const Model again = MustParse(model.full_config_json);
  EXPECT_TRUE(again.layers.back().attention.causal);
  EXPECT_EQ(again.full_config_json, model.full_config_json);
  EXPECT_THAT(model.full_config_json, HasSubstr(R"("key_shape":[null,null,7])"));
}

TEST(AttentionTest, RefusesWhatItDoesNotSupportByName) {
  const std::string calls = R"([[["q", 0, 0, {"value": ["v", 0, 0]}]]])";
  struct Case {
    std::string options;
    std::string says;
  };
  for (const Case& one : {
           Case{R"("attention_axes": [1, 2])", "attention_axes"},
           Case{R"("output_shape": [2, 3])", "output_shape"},
           Case{R"("activity_regularizer": "l2")", "activity_regularizer"},
           Case{R"("use_gate": true)", "use_gate"},
           Case{R"("sliding_window": 3)", "sliding_window"},
           Case{R"("num_head": 3)", "num_head"},
       }) {
    EXPECT_THAT(Parse(AttentionJson(kOptions + ", " + one.options, calls)),
                FailsWith(ErrorCode::kUnsupported, HasSubstr(one.says)))
        << one.options;
  }
  for (const char* argument : {R"("attention_mask": ["k", 0, 0])", R"("training": true)",
                               R"("return_attention_scores": true)"}) {
    const std::string call =
        R"([[["q", 0, 0, {"value": ["v", 0, 0], )" + std::string(argument) + "}]]]";
    EXPECT_THAT(Parse(AttentionJson(kOptions, call)),
                FailsWith(ErrorCode::kUnsupported, HasSubstr("argument of a call")))
        << argument;
  }
}

TEST(AttentionTest, RefusesInputsThatDoNotFit) {
  for (const char* calls : {
           R"([[["q", 0, 0, {}]]])",
           R"([[["v", 0, 0, {"value": ["k", 0, 0], "key": ["q", 0, 0]}]]])",
           R"([{"args": [], "kwargs": {"value": ["v", 0, 0]}}])",
           R"([[["q", 0, 0, {}], ["v", 0, 0, {}], ["k", 0, 0, {}], ["k", 0, 0, {}]]])",
       }) {
    EXPECT_THAT(Parse(AttentionJson(kOptions, calls)), FailsWith(ErrorCode::kInvalidArgument))
        << calls;
  }
  const std::string calls = R"([[["q", 0, 0, {"value": ["v", 0, 0]}]]])";
  for (const char* options : {R"("num_heads": 2000000000, "key_dim": 2000000000)",
                              R"("num_heads": 1, "key_dim": 1, "value_dim": 2000000000)",
                              R"("num_heads": 1000000, "key_dim": 1000)"}) {
    EXPECT_THAT(Parse(AttentionJson(options, calls)), FailsWith(ErrorCode::kTooLarge)) << options;
  }
  const std::string wide =
      R"({"class_name": "Functional", "config": {"name": "m", "layers": [)" +
      NodeJson("InputLayer", "q", R"("batch_input_shape": [null, 1000000, 1])", "") +
      R"(, {"class_name": "MultiHeadAttention", "name": "a", "config": {)" + kOptions +
      R"(}, "inbound_nodes": [[["q", 0, 0, {"value": ["q", 0, 0]}]]]}],
         "input_layers": [["q", 0, 0]], "output_layers": [["a", 0, 0]]}})";
  EXPECT_THAT(Parse(wide), FailsWith(ErrorCode::kTooLarge, HasSubstr("pairs")));
}

TEST(AttentionTest, OnlyAttentionTakesItsArguments) {
  const std::string input =
      NodeJson("InputLayer", "in", R"("batch_input_shape": [null, 4, 3])", "");
  const std::string dense =
      R"(, {"class_name": "Dense", "name": "d", "config": {"units": 2},
          "inbound_nodes": [[["in", 0, 0, {"use_causal_mask": true}]]]})";
  EXPECT_THAT(Parse(FunctionalJson(input + dense, "in", "d")),
              FailsWith(ErrorCode::kUnsupported,
                        AllOf(HasSubstr("use_causal_mask"), HasSubstr("MultiHeadAttention"))));
  const std::string wrapped =
      R"(, {"class_name": "TimeDistributed", "name": "d", "config": {"layer":
          {"class_name": "MultiHeadAttention", "config": {"num_heads": 1, "key_dim": 2}}},
          "inbound_nodes": [[["in", 0, 0, {}]]]})";
  EXPECT_THAT(Parse(FunctionalJson(input + wrapped, "in", "d")),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("takes several inputs")));
}

}  // namespace
}  // namespace dnc::model
