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

TEST(CheckColumnsTest, TakesImagesWithoutAnAxisForTheirOneChannel) {
  const Model model = Classifier(10, "sparse_categorical_crossentropy");
  EXPECT_THAT(CheckColumns(model, kImages, kClasses, 10), Succeeds());
  EXPECT_THAT(CheckColumns(model, {"x", DType::kFloat32, {28, 28, 1}, {}}, kClasses, 0),
              Succeeds());
  EXPECT_THAT(CheckColumns(model, kImages, {"y", DType::kInt64, {1}, {}}, 10), Succeeds());
}

TEST(CheckColumnsTest, NamesBothShapesOfSamplesThatDoNotFit) {
  const Model model = Classifier(10, "sparse_categorical_crossentropy");
  EXPECT_THAT(CheckColumns(model, {"x", DType::kUint8, {32, 32, 3}, {}}, kClasses, 10),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("(32, 32, 3)"), HasSubstr("(28, 28, 1)"))));
}

TEST(CheckColumnsTest, RefusesMoreClassesThanTheOutputHas) {
  const Model model = Classifier(8, "sparse_categorical_crossentropy");
  EXPECT_THAT(CheckColumns(model, kImages, kClasses, 10),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("10 classes"), HasSubstr("(8,)"), HasSubstr("dense"))));
  EXPECT_THAT(CheckColumns(model, kImages, kClasses, 8), Succeeds());
}

TEST(CheckColumnsTest, AHingeOfSeveralOutputsTakesClassNumbers) {
  EXPECT_THAT(CheckColumns(Classifier(10, "hinge"), kImages, kClasses, 10), Succeeds());
  EXPECT_THAT(CheckColumns(Classifier(8, "squared_hinge"), kImages, kClasses, 10),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("10 units")));
}

TEST(CheckColumnsTest, SaysWhichCrossentropyFitsTheLabels) {
  const ColumnSpec one_hot{"y", DType::kFloat32, {10}, {}};
  EXPECT_THAT(CheckColumns(Classifier(10, "categorical_crossentropy"), kImages, one_hot, 0),
              Succeeds());
  EXPECT_THAT(CheckColumns(Classifier(10, "sparse_categorical_crossentropy"), kImages, one_hot, 0),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("use categorical_crossentropy")));
  EXPECT_THAT(
      CheckColumns(Classifier(10, "categorical_crossentropy"), kImages, kClasses, 10),
      FailsWith(ErrorCode::kInvalidArgument, HasSubstr("use sparse_categorical_crossentropy")));
  EXPECT_THAT(CheckColumns(Classifier(10, "sparse_categorical_crossentropy"), kImages,
                           {"y", DType::kFloat32, {}, {}}, 0),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("float32")));
}

TEST(CheckColumnsTest, ChecksTheLabelsOfTheOtherLosses) {
  EXPECT_THAT(CheckColumns(Classifier(1, "binary_crossentropy"), kImages, kClasses, 2), Succeeds());
  EXPECT_THAT(CheckColumns(Classifier(1, "hinge"), kImages, kClasses, 3),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("3 classes")));
  EXPECT_THAT(CheckColumns(Classifier(1, "mse"), kImages, {"y", DType::kFloat32, {}, {}}, 0),
              Succeeds());
  EXPECT_THAT(CheckColumns(Classifier(2, "mse"), kImages, {"y", DType::kFloat32, {3}, {}}, 0),
              FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("(3,)"), HasSubstr("(2,)"))));
}

TEST(CheckColumnsTest, NeedsACompileSection) {
  const Model model = MustParse(test::OneLayerJson("[null, 28, 28]", "Flatten", ""));
  EXPECT_THAT(CheckColumns(model, kImages, kClasses, 10),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no compile section")));
}

}  // namespace
}  // namespace dnc::model
