// Functional models: references between layers, and the graphs that are refused.

#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using ::dnc::test::FailsWith;
using test::FunctionalJson;
using test::MustParse;
using test::NodeJson;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<Model> Parse(const std::string& json) { return ParseModel(json, "model.json"); }

std::string Input() {
  return NodeJson("InputLayer", "in", R"("batch_input_shape": [null, 4])", "");
}
std::string Dense(const std::string& name, const std::string& input) {
  return NodeJson("Dense", name, R"("units": 3)", input);
}
// A Dense with its "inbound_nodes" as given.
std::string DenseWith(const std::string& name, const std::string& inbound_nodes) {
  return R"({"class_name": "Dense", "name": ")" + name +
         R"(", "config": {"units": 3}, "inbound_nodes": )" + inbound_nodes + "}";
}

TEST(GraphTest, OrdersTheLayersFromInputToOutput) {
  const Model model = MustParse(FunctionalJson(
      Dense("c", "b") + "," + Dense("b", "a") + "," + Input() + "," + Dense("a", "in"), "in", "c"));
  std::vector<std::string> names;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    names.push_back(model.layers[i].name);
    const std::vector<int> inputs =
        i == 0 ? std::vector<int>{} : std::vector{static_cast<int>(i) - 1};
    EXPECT_EQ(model.layers[i].inputs, inputs);
  }
  EXPECT_THAT(names, ElementsAre("in", "a", "b", "c"));
  EXPECT_EQ(model.output_layer, 3);
  EXPECT_EQ(FormatModel(MustParse(FormatModel(model))), FormatModel(model));
}

TEST(GraphTest, ReadsTheReferencesOfEveryVersionOfKeras) {
  for (const char* nodes : {
           R"([[["in", 0, 0, {}]]])",
           R"([[["in", 0, 0]]])",
           R"([["in", 0, 0, {}]])",
           R"([[["in", 0, 0, {"mask": null}]]])",
           R"([{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 4],
               "dtype": "float32", "keras_history": ["in", 0, 0]}}], "kwargs": {"mask": null}}])",
       }) {
    const Result<Model> model =
        Parse(FunctionalJson(Input() + "," + DenseWith("a", nodes), "in", "a"));
    EXPECT_THAT(model, ::dnc::test::Succeeds()) << nodes;
  }
  const std::string flat = R"({"class_name": "Model", "config": {"name": "m", "layers": [)" +
                           Input() + "," + Dense("a", "in") +
                           R"(], "input_layers": ["in", 0, 0], "output_layers": ["a", 0, 0]}})";
  EXPECT_THAT(Parse(flat), ::dnc::test::Succeeds());
}

TEST(GraphTest, FindsCyclesAndDanglingReferences) {
  EXPECT_THAT(
      Parse(FunctionalJson(Input() + "," + Dense("a", "b") + "," + Dense("b", "a"), "in", "b")),
      FailsWith(ErrorCode::kInvalidArgument,
                HasSubstr("cycle: a depends on its own output, by way of b")));
  EXPECT_THAT(Parse(FunctionalJson(Input() + "," + Dense("a", "a"), "in", "a")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("cycle")));
  EXPECT_THAT(Parse(FunctionalJson(Input() + "," + Dense("dense", "im"), "in", "dense")),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("\"im\""), HasSubstr("did you mean \"in\""))));
  EXPECT_THAT(Parse(FunctionalJson(Input() + "," + Dense("a", "in"), "in", "z")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"output_layers\"")));
  EXPECT_THAT(Parse(FunctionalJson(Input() + "," + Dense("a", "in"), "z", "a")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"input_layers\"")));
  EXPECT_THAT(
      Parse(FunctionalJson(Input() + "," + Dense("a", "in") + "," + Dense("b", "in"), "in", "a")),
      FailsWith(ErrorCode::kInvalidArgument, HasSubstr("b: is not on the way")));
  EXPECT_THAT(Parse(FunctionalJson(
                  Input() + "," + Dense("a", "in") + "," + Dense("b", "c") + "," + Dense("c", "b"),
                  "in", "a")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("cycle: b")));
  EXPECT_THAT(Parse(FunctionalJson(Input() + "," + Dense("a", ""), "in", "a")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("a: has no input")));
}

TEST(GraphTest, RefusesReferencesThatLeadNowhereByName) {
  const auto parse_with = [](const std::string& nodes) {
    return Parse(
        FunctionalJson(Input() + "," + Dense("a", "in") + "," + DenseWith("b", nodes), "in", "b"));
  };
  EXPECT_THAT(parse_with(R"([[["in", 0, 0, {}], ["a", 0, 0, {}]]])"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("b: takes 2 inputs; a layer of class")));
  EXPECT_THAT(
      parse_with(R"([[["a", 1, 0, {}]]])"),
      FailsWith(ErrorCode::kInvalidArgument, HasSubstr("b refers to call 1 of the layer \"a\"")));
  EXPECT_THAT(parse_with(R"([[["a", 0, 1, {}]]])"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("output number 1 of the layer \"a\"")));
  EXPECT_THAT(parse_with(R"([[["a", 0, 0, {"training": false}]]])"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("\"training\" = false")));
  EXPECT_THAT(parse_with(R"([[["a", -1, 0, {}]]])"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("b: a reference is")));
  for (const char* nodes :
       {R"([3])", R"({"a": 1})", R"([[["a"]]])", R"([[[1, 0, 0]]])", R"([{"args": [3]}])",
        R"([{}])", R"([[["a", 0, 0, 5]]])", R"([[["", 0, 0]]])", R"([[]])", R"([{"args": []}])",
        R"([{"args": [[{}, {}]], "kwargs": {}}])"}) {
    EXPECT_THAT(parse_with(nodes), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("b: ")))
        << nodes;
  }
}

std::string ModelJson(const std::string& layers, const std::string& inputs,
                      const std::string& outputs) {
  return R"({"class_name": "Functional", "config": {"name": "m", "layers": [)" + layers +
         R"(], "input_layers": )" + inputs + R"(, "output_layers": )" + outputs + "}}";
}

std::string Merge(const std::string& class_name, const std::string& name, const std::string& nodes,
                  const std::string& options = "") {
  return R"({"class_name": ")" + class_name + R"(", "name": ")" + name + R"(", "config": {)" +
         options + R"(}, "inbound_nodes": )" + nodes + "}";
}

TEST(GraphTest, ACallOfASharedLayerHasTheSameWeights) {
  const std::string json =
      ModelJson(Input() + "," + DenseWith("a", R"([[["in", 0, 0, {}]]])") + "," +
                    R"({"class_name": "Dense", "name": "b", "config": {"units": 3}, "inbound_nodes":
              [[["a", 0, 0, {}]], [["b", 0, 0, {}]]]})" +
                    "," + Merge("Add", "sum", R"([[["b", 0, 0, {}], ["b", 1, 0, {}]]])"),
                R"([["in", 0, 0]])", R"([["sum", 0, 0]])");
  const Model model = MustParse(json);
  ASSERT_EQ(model.layers.size(), 5u);
  EXPECT_EQ(model.layers[3].name, "b");
  EXPECT_EQ(model.layers[3].first_call, 2);
  EXPECT_EQ(model.layers[3].first_weight, model.layers[2].first_weight);
  EXPECT_THAT(model.layers[4].inputs, ElementsAre(2, 3));
  EXPECT_EQ(model.weight_count, 4u * 3 + 3 + 3 * 3 + 3);
  EXPECT_EQ(FormatModel(MustParse(FormatModel(model))), FormatModel(model));
  // The weights of "a", whose input has four elements, do not fit one of three.
  EXPECT_THAT(Parse(ModelJson(Input() + "," + DenseWith("a", R"([[["in", 0, 0]], [["a", 0, 0]]])"),
                              R"([["in", 0, 0]])", R"([["a", 1, 0]])")),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("a/kernel:0"), HasSubstr("(3, 3)"), HasSubstr("(4, 3)"))));
}

TEST(GraphTest, ModelsWithinTheModelAreTakenApart) {
  const std::string inner =
      R"({"class_name": "Functional", "name": "inner", "config": {"name": "inner", "layers": [)" +
      Input() + "," + Dense("a", "in") + "," + Dense("b", "a") +
      R"(], "input_layers": [["in", 0, 0]], "output_layers": [["b", 0, 0], ["a", 0, 0]]},
         "inbound_nodes": [[["in", 0, 0, {}]]]})";
  const Model model = MustParse(
      ModelJson(Input() + "," + inner + "," +
                    Merge("Concatenate", "join", R"([[["inner", 0, 0, {}], ["inner", 0, 1, {}]]])"),
                R"([["in", 0, 0]])", R"([["join", 0, 0], ["inner", 0, 1]])"));
  std::vector<std::string> names;
  for (const Layer& layer : model.layers) names.push_back(layer.name);
  EXPECT_THAT(names, ElementsAre("in", "inner/a", "inner/b", "join"));
  EXPECT_THAT(model.output_layers, ElementsAre(3, 1));
  EXPECT_EQ(model.output_elements(), 6u + 3u);
  ASSERT_EQ(model.weight_groups.size(), 3u);
  EXPECT_EQ(model.weight_groups[1].name, "inner");
  EXPECT_THAT(model.weight_groups[1].saved_names,
              ElementsAre("a/kernel:0", "a/bias:0", "b/kernel:0", "b/bias:0"));
}

TEST(GraphTest, AShortFormWithoutNamesIsWrittenOutAsItsLayers) {
  const std::string dense = test::LayerJson("Dense", R"("units": 2)");
  const Model model = MustParse(test::SequentialJson(
      test::LayerJson("Sequential", R"("layers": [)" +
                                        test::OneLayerJson("[null, 4]", "Dense", R"("units": 3)") +
                                        "," + dense + "]") +
      "," + dense));
  EXPECT_EQ(model.weight_count, 4u * 3 + 3 + 3 * 2 + 2 + 2 * 2 + 2);
  const Model again = MustParse(FormatModel(model));
  EXPECT_EQ(FormatModel(again), FormatModel(model));
  ASSERT_EQ(again.weights.size(), model.weights.size());
  for (std::size_t i = 0; i < model.weights.size(); ++i) {
    EXPECT_EQ(again.weights[i].name, model.weights[i].name);
  }
}

TEST(GraphTest, ATextThatNamesAllLayersIsKept) {
  const std::string text = FunctionalJson(Input() + " , " + Dense("a", "in"), "in", "a");
  EXPECT_EQ(MustParse(R"({ "model_config" : )" + text + "}").model_config_json, text);
  EXPECT_EQ(MustParse(FormatModel(MustParse(text))).model_config_json,
            MustParse(text).model_config_json);
}

TEST(GraphTest, RefusesShapesThatDoNotJoinNamingBoth) {
  const auto parse = [](const std::string& class_name, const std::string& options) {
    return Parse(
        ModelJson(Input() + "," + Dense("a", "in") + "," +
                      Merge(class_name, "m", R"([[["in", 0, 0, {}], ["a", 0, 0, {}]]])", options),
                  R"([["in", 0, 0]])", R"([["m", 0, 0]])"));
  };
  for (const char* name : {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"}) {
    EXPECT_THAT(parse(name, ""), FailsWith(ErrorCode::kInvalidArgument,
                                           AllOf(HasSubstr("m: "), HasSubstr("(4,) and (3,)"))));
  }
  EXPECT_THAT(parse("Dot", R"("axes": 1)"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("(4,) and (3,)")));
  EXPECT_THAT(parse("Dot", R"("axes": 2)"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("axis 2 is not an axis")));
  EXPECT_THAT(parse("Dot", R"("axes": 0)"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"axes\"")));
  EXPECT_THAT(parse("Dot", ""), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("missing")));
  EXPECT_THAT(parse("Concatenate", R"("axis": 0)"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"axis\"")));
  EXPECT_THAT(parse("Concatenate", ""), ::dnc::test::Succeeds());
}

TEST(GraphTest, ManyCallsOfModelsThatCallModelsAreRefused) {
  // Each level calls the one within it twice: 2^14 calls of the layer at the bottom.
  std::string layer = R"({"class_name": "Dense", "name": "x", "config": {"units": 4},
                          "inbound_nodes": [[["in", 0, 0]], [["x", 0, 0]]]})";
  for (int level = 0; level < 14; ++level) {
    layer = R"({"class_name": "Functional", "name": "x", "config": {"name": "x", "layers": [)" +
            Input() + "," + layer + R"(], "input_layers": [["in", 0, 0]],
            "output_layers": [["x", 1, 0]]}, "inbound_nodes": [[["in", 0, 0]], [["x", 0, 0]]]})";
  }
  EXPECT_THAT(Parse(ModelJson(Input() + "," + layer, R"([["in", 0, 0]])", R"([["x", 1, 0]])")),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("")));
}

Result<Model> BindShape(const Model& model, array::Shape shape) {
  const array::ColumnSpec x{"x", array::DType::kFloat32, std::move(shape), {}};
  return BindInputShapes(model, {&x, 1});
}

TEST(GraphTest, AnAxisWithoutALengthTakesThatOfTheData) {
  const Model model = MustParse(
      test::OneLayerJson("[7, null, null, 3]", "Conv2D", R"("filters": 2, "kernel_size": 3)"));
  EXPECT_TRUE(model.has_variable_axes());
  EXPECT_THAT(model.layers[0].variable_axes, ElementsAre(true, true, false));
  const Result<Model> bound = BindShape(model, {9, 11, 3});
  ASSERT_THAT(bound, ::dnc::test::Succeeds());
  EXPECT_THAT(bound->input_shape(), ElementsAre(9, 11, 3));
  EXPECT_THAT(bound->output_shape(), ElementsAre(7, 9, 2));
  EXPECT_EQ(bound->weight_count, model.weight_count);
  EXPECT_EQ(FormatModel(*bound), FormatModel(model));
  EXPECT_THAT(BindShape(model, {9, 11, 4}),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("(-1, -1, 3)"), HasSubstr("(9, 11, 4)"))));
  EXPECT_THAT(BindShape(model, {2, 11, 3}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("does not fit")));
  EXPECT_THAT(
      Parse(test::SequentialJson(test::InputJson("[null, null, 3]") + "," +
                                 test::LayerJson("Flatten", "") + "," +
                                 test::LayerJson("Dense", R"("units": 2)"))),
      FailsWith(ErrorCode::kInvalidArgument, HasSubstr("dense/kernel:0: its shape depends")));
}

}  // namespace
}  // namespace dnc::model
