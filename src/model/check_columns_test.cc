// Whether samples and labels fit a model, before anything is trained.

#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using array::ColumnSpec;
using array::DType;
using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using test::CompiledJson;
using test::LayerJson;
using test::MustParse;
using ::testing::AllOf;
using ::testing::HasSubstr;

// 28x28 images in, `units` numbers out.
Model Classifier(int units, const std::string& loss) {
  return MustParse(CompiledJson(
      test::SequentialJson(test::InputJson("[null, 28, 28, 1]") + "," + LayerJson("Flatten", "") +
                           "," + LayerJson("Dense", "\"units\": " + std::to_string(units))),
      R"({"optimizer": "sgd", "loss": ")" + loss + "\"}"));
}

const ColumnSpec kImages{"x", DType::kUint8, {28, 28}, {}};
const ColumnSpec kClasses{"y", DType::kUint8, {}, {}};

Status Check(const Model& model, const ColumnSpec& x, const ColumnSpec& y,
             std::uint64_t class_count) {
  return CheckColumns(model, {&x, 1}, {&y, 1}, {&class_count, 1});
}

TEST(CheckColumnsTest, TakesImagesWithoutAnAxisForTheirOneChannel) {
  const Model model = Classifier(10, "sparse_categorical_crossentropy");
  EXPECT_THAT(Check(model, kImages, kClasses, 10), Succeeds());
  EXPECT_THAT(Check(model, {"x", DType::kFloat32, {28, 28, 1}, {}}, kClasses, 0), Succeeds());
  EXPECT_THAT(Check(model, kImages, {"y", DType::kInt64, {1}, {}}, 10), Succeeds());
}

TEST(CheckColumnsTest, NamesBothShapesOfSamplesThatDoNotFit) {
  const Model model = Classifier(10, "sparse_categorical_crossentropy");
  EXPECT_THAT(Check(model, {"x", DType::kUint8, {32, 32, 3}, {}}, kClasses, 10),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("(32, 32, 3)"), HasSubstr("(28, 28, 1)"))));
}

TEST(CheckColumnsTest, RefusesMoreClassesThanTheOutputHas) {
  const Model model = Classifier(8, "sparse_categorical_crossentropy");
  EXPECT_THAT(Check(model, kImages, kClasses, 10),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("10 classes"), HasSubstr("(8,)"), HasSubstr("dense"))));
  EXPECT_THAT(Check(model, kImages, kClasses, 8), Succeeds());
}

TEST(CheckColumnsTest, AHingeOfSeveralOutputsTakesClassNumbers) {
  EXPECT_THAT(Check(Classifier(10, "hinge"), kImages, kClasses, 10), Succeeds());
  EXPECT_THAT(Check(Classifier(8, "squared_hinge"), kImages, kClasses, 10),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("10 units")));
}

TEST(CheckColumnsTest, SaysWhichCrossentropyFitsTheLabels) {
  const ColumnSpec one_hot{"y", DType::kFloat32, {10}, {}};
  EXPECT_THAT(Check(Classifier(10, "categorical_crossentropy"), kImages, one_hot, 0), Succeeds());
  EXPECT_THAT(Check(Classifier(10, "sparse_categorical_crossentropy"), kImages, one_hot, 0),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("use categorical_crossentropy")));
  EXPECT_THAT(
      Check(Classifier(10, "categorical_crossentropy"), kImages, kClasses, 10),
      FailsWith(ErrorCode::kInvalidArgument, HasSubstr("use sparse_categorical_crossentropy")));
  EXPECT_THAT(Check(Classifier(10, "sparse_categorical_crossentropy"), kImages,
                    {"y", DType::kFloat32, {}, {}}, 0),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("float32")));
}

TEST(CheckColumnsTest, ChecksTheLabelsOfTheOtherLosses) {
  EXPECT_THAT(Check(Classifier(1, "binary_crossentropy"), kImages, kClasses, 2), Succeeds());
  EXPECT_THAT(Check(Classifier(1, "hinge"), kImages, kClasses, 3),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("3 classes")));
  EXPECT_THAT(Check(Classifier(1, "mse"), kImages, {"y", DType::kFloat32, {}, {}}, 0), Succeeds());
  EXPECT_THAT(Check(Classifier(2, "mse"), kImages, {"y", DType::kFloat32, {3}, {}}, 0),
              FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("(3,)"), HasSubstr("(2,)"))));
}

TEST(CheckColumnsTest, NeedsACompileSection) {
  const Model model = MustParse(test::OneLayerJson("[null, 28, 28]", "Flatten", ""));
  EXPECT_THAT(Check(model, kImages, kClasses, 10),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no compile section")));
}

// Inputs "picture" (4, 4) and "price" (1), outputs "kind" (3 classes) and "age" (1).
Model Mixed() {
  const auto input = [](const char* name, const char* shape) {
    return std::string(R"({"class_name": "InputLayer", "name": ")") + name +
           R"(", "config": {"name": ")" + name + R"(", "batch_input_shape": )" + shape +
           R"(}, "inbound_nodes": []})";
  };
  const std::string layers = input("picture", "[null, 4, 4]") + "," + input("price", "[null, 1]") +
                             "," + test::NodeJson("Flatten", "flat", "", "picture") + "," +
                             test::NodeJson("Dense", "kind", R"("units": 3)", "flat") + "," +
                             test::NodeJson("Dense", "age", R"("units": 1)", "price");
  return test::MustParse(R"({"class_name": "Functional", "config": {"layers": [)" + layers +
                         R"(], "input_layers": [["picture", 0, 0], ["price", 0, 0]],
          "output_layers": [["kind", 0, 0], ["age", 0, 0]]}, "compile": {"optimizer": "sgd",
          "loss": ["sparse_categorical_crossentropy", "mse"]}})");
}

TEST(CheckColumnsTest, FindsInputsAndLabelsByName) {
  const Model model = Mixed();
  const std::vector<ColumnSpec> columns = {{"age", DType::kFloat32, {}, {}},
                                           {"price", DType::kFloat64, {}, {}},
                                           {"kind", DType::kUint8, {}, {}},
                                           {"picture", DType::kUint8, {4, 4}, {}}};
  const Result<std::vector<int>> x = FindInputs(model, columns);
  const Result<std::vector<int>> y = FindLabels(model, columns);
  ASSERT_THAT(x, Succeeds());
  ASSERT_THAT(y, Succeeds());
  EXPECT_THAT(*x, ::testing::ElementsAre(3, 1));
  EXPECT_THAT(*y, ::testing::ElementsAre(2, 0));
  const std::vector<ColumnSpec> inputs = {columns[3], columns[1]};
  const std::vector<ColumnSpec> labels = {columns[2], columns[0]};
  EXPECT_THAT(CheckColumns(model, inputs, labels, std::vector<std::uint64_t>{3, 0}), Succeeds());
  EXPECT_THAT(CheckColumns(model, inputs, labels, std::vector<std::uint64_t>{4, 0}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("has 4 classes")));
  EXPECT_THAT(CheckColumns(model, labels, labels, {}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("(layer picture)")));
  EXPECT_THAT(CheckColumns(model, inputs, {&columns[2], 1}, {}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("1 columns of labels")));
  EXPECT_THAT(CheckColumns(model, inputs, {}, {}), Succeeds());
  const std::vector<ColumnSpec> others = {{"a", DType::kFloat32, {}, {}}};
  EXPECT_THAT(FindInputs(model, others),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("picture, price")));
  EXPECT_THAT(FindLabels(model, others),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("kind, age")));
}

TEST(CheckColumnsTest, TakesXAndYBeforeOtherNames) {
  const Model model = Classifier(10, "sparse_categorical_crossentropy");
  const std::vector<ColumnSpec> columns = {kClasses, {"extra", DType::kUint8, {}, {}}, kImages};
  const Result<std::vector<int>> x = FindInputs(model, columns);
  const Result<std::vector<int>> y = FindLabels(model, columns);
  ASSERT_THAT(x, Succeeds());
  ASSERT_THAT(y, Succeeds());
  EXPECT_THAT(*x, ::testing::ElementsAre(2));
  EXPECT_THAT(*y, ::testing::ElementsAre(0));
}

}  // namespace
}  // namespace dnc::model
