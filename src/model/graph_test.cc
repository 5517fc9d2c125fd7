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
      FailsWith(ErrorCode::kInvalidArgument, HasSubstr("cycle: b depends on its own output")));
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
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("not on the way")));
  EXPECT_THAT(Parse(FunctionalJson(Input() + "," + Dense("a", ""), "in", "a")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("a: has no input")));
}

TEST(GraphTest, RefusesWhatIsMoreThanAChainByName) {
  const auto parse_with = [](const std::string& nodes) {
    return Parse(
        FunctionalJson(Input() + "," + Dense("a", "in") + "," + DenseWith("b", nodes), "in", "b"));
  };
  EXPECT_THAT(parse_with(R"([[["in", 0, 0, {}], ["a", 0, 0, {}]]])"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("b: takes 2 inputs")));
  EXPECT_THAT(parse_with(R"([[["in", 0, 0, {}]], [["a", 0, 0, {}]]])"),
              FailsWith(ErrorCode::kUnsupported,
                        AllOf(HasSubstr("b: is called 2 times"), HasSubstr("shared"))));
  EXPECT_THAT(parse_with(R"([[["a", 1, 0, {}]]])"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("later call of the layer \"a\"")));
  EXPECT_THAT(parse_with(R"([[["a", 0, 1, {}]]])"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("several outputs")));
  EXPECT_THAT(parse_with(R"([[["a", 0, 0, {"training": false}]]])"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("\"training\" = false")));
  EXPECT_THAT(parse_with(R"([{"args": [[{}, {}]], "kwargs": {}}])"),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("takes 2 inputs")));
  for (const char* nodes :
       {R"([3])", R"({"a": 1})", R"([[["a"]]])", R"([[[1, 0, 0]]])", R"([{"args": [3]}])",
        R"([{}])", R"([[["a", 0, 0, 5]]])", R"([[["", 0, 0]]])", R"([[]])"}) {
    EXPECT_THAT(parse_with(nodes), FailsWith(ErrorCode::kInvalidArgument, HasSubstr("b: ")))
        << nodes;
  }
  const std::string two_outputs = R"({"class_name": "Model", "config": {"layers": [)" + Input() +
                                  "," + Dense("a", "in") +
                                  R"(], "input_layers": [["in", 0, 0]],
                                     "output_layers": [["a", 0, 0], ["in", 0, 0]]}})";
  EXPECT_THAT(Parse(two_outputs),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("2 \"output_layers\"")));
}

}  // namespace
}  // namespace dnc::model
