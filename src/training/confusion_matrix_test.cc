#include "training/confusion_matrix.h"

#include "testing/testing.h"

namespace dnc::training {
namespace {

TEST(ConfusionMatrixTest, FiguresAreThoseOfTheField) {
  ConfusionMatrix matrix;
  EXPECT_EQ(matrix.class_count(), 0u);
  // Of class 0: three right, one taken for 2. Of class 2: one right, one taken for 0.
  for (int i = 0; i < 3; ++i) matrix.Add(0, 0);
  matrix.Add(0, 2);
  matrix.Add(2, 2);
  matrix.Add(2, 0);
  ASSERT_EQ(matrix.class_count(), 3u);
  EXPECT_EQ(matrix.count(0, 0), 3u);
  EXPECT_EQ(matrix.count(0, 2), 1u);
  EXPECT_EQ(matrix.count(2, 0), 1u);
  const auto first = matrix.Figures(0);
  EXPECT_EQ(first.samples, 4u);
  EXPECT_DOUBLE_EQ(first.precision, 0.75);
  EXPECT_DOUBLE_EQ(first.recall, 0.75);
  EXPECT_DOUBLE_EQ(first.f1, 0.75);
  EXPECT_DOUBLE_EQ(matrix.Figures(2).precision, 0.5);
  const auto none = matrix.Figures(1);
  EXPECT_EQ(none.samples, 0u);
  EXPECT_EQ(none.precision, 0);
  EXPECT_EQ(none.f1, 0);
}

model::Model ModelWith(const std::string& units, const std::string& loss) {
  const Result<model::Model> model = model::ParseModel(
      R"({"model_config": {"class_name": "Sequential", "config": {"layers": [
          {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 4]}},
          {"class_name": "Dense", "config": {"units": )" +
          units + R"(}}]}}, "compile": {"optimizer": "sgd", "loss": )" + loss + "}}",
      "model");
  EXPECT_THAT(model, test::Succeeds());
  return *model;
}

// The matrix of two samples, or nullopt if the model does not tell classes apart.
template <typename Number>
std::optional<ConfusionMatrix> Read(const model::Model& model, array::DType dtype,
                                    array::Shape shape, const std::vector<Number>& labels,
                                    const std::vector<float>& outputs) {
  auto reader = ClassReader::For(model, {.name = "y", .dtype = dtype, .shape = std::move(shape)});
  if (!reader) return std::nullopt;
  ConfusionMatrix matrix;
  reader->AddLabels(std::as_bytes(std::span(labels)));
  reader->AddOutputs(outputs, &matrix);
  return matrix;
}

TEST(ClassReaderTest, ReadsNumbersOfClasses) {
  const auto matrix =
      Read<std::uint8_t>(ModelWith("3", R"("sparse_categorical_crossentropy")"),
                         array::DType::kUint8, {}, {0, 2}, {0.9f, 0, 0.1f, 0.2f, 0.5f, 0.3f});
  ASSERT_TRUE(matrix);
  EXPECT_EQ(matrix->count(0, 0), 1u);
  EXPECT_EQ(matrix->count(2, 1), 1u);
}

TEST(ClassReaderTest, ReadsOneHotLabels) {
  const auto matrix =
      Read<float>(ModelWith("2", R"("categorical_crossentropy")"), array::DType::kFloat32, {2},
                  {0, 1, 1, 0}, {0.2f, 0.8f, 0.4f, 0.6f});
  ASSERT_TRUE(matrix);
  EXPECT_EQ(matrix->count(1, 1), 1u);
  EXPECT_EQ(matrix->count(0, 1), 1u);
}

TEST(ClassReaderTest, ASingleOutputIsComparedWithTheLosssThreshold) {
  const auto probability = Read<float>(ModelWith("1", R"("binary_crossentropy")"),
                                       array::DType::kFloat32, {}, {0, 1}, {0.4f, 0.6f});
  ASSERT_TRUE(probability);
  EXPECT_EQ(probability->count(0, 0), 1u);
  EXPECT_EQ(probability->count(1, 1), 1u);
  const auto margin = Read<std::int8_t>(ModelWith("1", R"("hinge")"), array::DType::kInt8, {},
                                        {-1, 1}, {0.4f, 0.6f});
  ASSERT_TRUE(margin);
  EXPECT_EQ(margin->count(0, 1), 1u);
  EXPECT_EQ(margin->count(1, 1), 1u);
}

TEST(ClassReaderTest, ARegressionHasNoClasses) {
  EXPECT_FALSE(Read<float>(ModelWith("2", R"("mse")"), array::DType::kFloat32, {2}, {}, {}));
}

TEST(ClassReaderTest, LabelsThatAreNoClassAreLeftOut) {
  const auto matrix =
      Read<std::int32_t>(ModelWith("2", R"("sparse_categorical_crossentropy")"),
                         array::DType::kInt32, {}, {-7, 2'000'000'000}, {0.9f, 0.1f, 0.5f, 0.5f});
  ASSERT_TRUE(matrix);
  EXPECT_EQ(matrix->class_count(), 0u);
}

}  // namespace
}  // namespace dnc::training
