// Images that come as pixels are formed as encoded ones are once they are decoded.

#include "source/array_images.h"

#include "image/features.h"
#include "source/test_files.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using array::DType;
using array::Shape;
using image::ImageSize;
using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr ImageSize kGiven = {8, 6};

SharedSource Images(const Shape& shape) {
  return InMemory(NpyFile(DType::kUint8, shape, Ramp(*array::ElementCount(shape))), "x.npy");
}

TEST(ArrayImagesTest, ResizesCropsAndTurnsGreyInThisOrder) {
  constexpr ImageSize kResized = {4, 3};
  constexpr ImageSize kCropped = {2, 3};
  auto source = OpenFileSource(Images({5, 6, 8, 3}),
                               {.resize = kResized, .crop = kCropped, .grayscale = true});
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->columns()[0].shape, (Shape{3, 2}));
  EXPECT_EQ((*source)->Describe(),
            "npy uint8 (5, 6, 8, 3), resized to 4x3, cropped to 2x3, grayscale");
  EXPECT_EQ((*source)->sample_count(), 5u);
  const auto all = ReadToEnd(source->get(), 2);
  ASSERT_THAT(all, Succeeds());
  const std::string given = Ramp(5 * 6 * 8 * 3);
  Bytes expected;
  for (std::size_t i = 0; i < 5; ++i) {
    Bytes resized(4 * 3 * 3);
    image::Resize(AsBytes(given).subspan(i * 6 * 8 * 3, 6 * 8 * 3), kGiven, 3, resized, kResized);
    Bytes cropped(2 * 3 * 3);
    image::CentreCrop(resized, kResized, 3, cropped, kCropped);
    Bytes grey(2 * 3);
    image::Grayscale(cropped, grey);
    expected.insert(expected.end(), grey.begin(), grey.end());
  }
  EXPECT_EQ(all->columns[0], expected);
}

TEST(ArrayImagesTest, KeepsTheChannelsThatThereAre) {
  for (const auto& [given, formed] :
       {std::pair(Shape{2, 6, 8}, Shape{3, 4}), std::pair(Shape{2, 6, 8, 1}, Shape{3, 4, 1}),
        std::pair(Shape{2, 6, 8, 3}, Shape{3, 4, 3})}) {
    auto source = OpenFileSource(Images(given), {.resize = ImageSize{4, 3}});
    ASSERT_THAT(source, Succeeds());
    EXPECT_EQ((*source)->columns()[0].shape, formed);
    EXPECT_THAT(ReadToEnd(source->get(), 9), Succeeds());
  }
  // Grey already; only its form changes.
  auto grey = OpenFileSource(Images({2, 6, 8, 1}), {.grayscale = true});
  ASSERT_THAT(grey, Succeeds());
  EXPECT_EQ((*grey)->columns()[0].shape, (Shape{6, 8}));
  const auto all = ReadToEnd(grey->get(), 9);
  ASSERT_THAT(all, Succeeds());
  EXPECT_EQ(AsText(all->columns[0]), Ramp(96));
}

TEST(ArrayImagesTest, RefusesWhatAreNoImagesAndCropsThatDoNotFit) {
  const SourceOptions resize{.resize = ImageSize{4, 4}};
  for (const Shape& shape : {Shape{2, 6}, Shape{2, 6, 8, 2}, Shape{2, 6, 8, 3, 1}}) {
    EXPECT_THAT(OpenFileSource(Images(shape), resize),
                FailsWith(ErrorCode::kInvalidArgument,
                          AllOf(HasSubstr("x.npy: x is uint8"), HasSubstr("(height, width)"))));
  }
  EXPECT_THAT(OpenFileSource(InMemory(NpyFile(DType::kInt16, {2, 6, 8}, Ramp(192)), "x.npy"),
                             {.grayscale = true}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("int16")));
  EXPECT_THAT(OpenFileSource(Images({2, 6, 8}), {.crop = ImageSize{9, 2}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("8x6 cannot be cropped to 9x2")));
  EXPECT_THAT(OpenFileSource(Images({2, 6, 8}), {.resize = ImageSize{0, 2}}),
              FailsWith(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace dnc::source
