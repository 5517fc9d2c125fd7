// What Keras 1 wrote is read as what Keras 2 would have written.

#include "model/keras1.h"

#include "model/test_models.h"
#include "testing/testing.h"

namespace dnc::model {
namespace {

using test::LayerJson;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string OfVersion(const std::string& version, const std::string& layers) {
  return R"({"keras_version": ")" + version + R"(", "class_name": "Sequential", "config": [)" +
         layers + "]}";
}

const char* const kConvolution =
    R"("name": "conv", "nb_filter": 4, "nb_row": 3, "nb_col": 2, "border_mode": "same",
       "subsample": [2, 1], "dim_ordering": "th", "init": "he_normal", "bias": true,
       "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.25},
       "b_regularizer": null, "W_constraint": null, "b_constraint": null,
       "activity_regularizer": null, "activation": "relu", "trainable": true,
       "input_dtype": "float32", "batch_input_shape": [null, 3, 8, 8])";
const char* const kDense =
    R"("name": "dense", "output_dim": 5, "init": "one", "bias": false, "input_dim": null)";

TEST(Keras1Test, ReadsItsNamesOfLayersAndOptions) {
  const std::string layers = LayerJson("Convolution2D", kConvolution) + "," +
                             LayerJson("Flatten", R"("name": "flatten")") + "," +
                             LayerJson("Dropout", R"("name": "dropout", "p": 0.25)") + "," +
                             LayerJson("Dense", kDense);
  const Model model = test::MustParse(OfVersion("1.2.2", layers));
  ASSERT_EQ(model.layers.size(), 5u);
  const Layer& conv = model.layers[1];
  EXPECT_THAT(conv.output_shape, ElementsAre(4, 4, 8));
  EXPECT_FALSE(conv.channels_last);
  EXPECT_EQ(model.weights[0].regularizer.l2, 0.25);
  EXPECT_EQ(model.layers[3].rate, 0.25);
  EXPECT_FALSE(model.layers[4].use_bias);
  EXPECT_EQ(model.weights.back().initializer.kind, InitializerKind::kOnes);
  // From here on it is a model of Keras 2.
  EXPECT_THAT(model.model_config_json, HasSubstr(R"("kernel_size":[3,2])"));
  EXPECT_EQ(FormatModel(test::MustParse(FormatModel(model))), FormatModel(model));
  // Of Keras 2 these names are none.
  EXPECT_THAT(ParseModel(OfVersion("2.0.0", layers), "m"),
              ::dnc::test::FailsWith(ErrorCode::kUnsupported, HasSubstr("\"Convolution2D\"")));
}

TEST(Keras1Test, JoinsTheGatesThatItSavedApart) {
  EXPECT_THAT(Keras1Parts(2, 2), ElementsAre(ElementsAre(0), ElementsAre(1)));
  // W, U and b of the gates i, c, f, o become columns in the order i, f, c, o.
  EXPECT_THAT(Keras1Parts(12, 3), ElementsAre(ElementsAre(0, 6, 3, 9), ElementsAre(1, 7, 4, 10),
                                              ElementsAre(2, 8, 5, 11)));
  EXPECT_THAT(Keras1Parts(9, 3),
              ElementsAre(ElementsAre(0, 3, 6), ElementsAre(1, 4, 7), ElementsAre(2, 5, 8)));
  EXPECT_EQ(Keras1Parts(24, 6).size(), 6u);
  EXPECT_THAT(Keras1Parts(24, 6)[3], ElementsAre(12, 18, 15, 21));
  EXPECT_THAT(Keras1Parts(5, 3), IsEmpty());
  EXPECT_THAT(Keras1Parts(0, 3), IsEmpty());
}

}  // namespace
}  // namespace dnc::model
