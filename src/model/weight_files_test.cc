// Files of weights alone: what is saved is read, NumPy's and others' ways of writing
// the same are read, and files that lie are refused, whatever they lie about.

#include "model/weight_files.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "array/npy_header.h"
#include "model/float_widths.h"
#include "model/test_models.h"
#include "testing/testing.h"
#include "zip/zip.h"

namespace dnc::model {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::dnc::test::TemporaryFolder;
using test::MustParse;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Weights "dense/kernel:0" (2, 2) and "dense/bias:0" (2).
Model SmallModel() { return MustParse(test::OneLayerJson("[null, 2]", "Dense", R"("units": 2)")); }

TrainedModel Trained(const std::string& json) {
  TrainedModel trained;
  trained.model = MustParse(json);
  trained.weights = InitialWeights(trained.model, 11);
  return trained;
}

std::string MustRead(const std::string& path) {
  Result<std::string> bytes = ReadFile(path, 1 << 26);
  DNC_ASSERT(bytes.ok());
  return *std::move(bytes);
}

template <typename T>
std::string Raw(const std::vector<T>& elements) {
  return std::string(AsText(std::as_bytes(std::span(elements))));
}

std::string SafetensorsFile(const std::string& header, const std::string& data) {
  ByteWriter length;
  length.Put(static_cast<std::uint64_t>(header.size()));
  return std::string(AsText(length.bytes())) + header + data;
}

Result<std::vector<float>> ParseSafetensors(const std::string& bytes) {
  return ReadSafetensors(MemorySource(AsBytes(bytes), "w.safetensors"), SmallModel());
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  std::size_t begin, std::size_t end) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
         R"(,"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

const std::vector<float> kKernel = {1, 2, 3, 4};
const std::vector<float> kBias = {5, 6};

TEST(FloatWidthsTest, MakesEveryHalfTheFloatThatItIs) {
  for (std::uint32_t bits = 0; bits < 1u << 16; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    float given = 0;
    ToFloat32(FloatWidth::kF16, std::as_bytes(std::span(&half, 1)), std::span(&given, 1));
    // From the definition: sign, 5 bits of exponent, 10 of fraction.
    const int exponent = (half >> 10) & 31;
    const double fraction = (half & 1023) / 1024.0;
    const double magnitude = exponent == 0    ? std::ldexp(fraction, -14)
                             : exponent == 31 ? std::numeric_limits<double>::infinity()
                                              : std::ldexp(1 + fraction, exponent - 15);
    if (exponent == 31 && fraction > 0) {
      ASSERT_TRUE(std::isnan(given)) << bits;
    } else {
      ASSERT_EQ(given, half >> 15 ? -magnitude : magnitude) << bits;
      ASSERT_EQ(std::signbit(given), half >> 15 != 0) << bits;
    }
  }
}

TEST(SafetensorsTest, ReadsWhatWasSaved) {
  const TemporaryFolder folder;
  const std::string path = folder / "w.safetensors";
  const TrainedModel trained = Trained(test::SmallNetworkJson());
  ASSERT_THAT(SaveSafetensors(trained, path), Succeeds());
  const std::string bytes = MustRead(path);
  const auto weights = ReadSafetensors(MemorySource(AsBytes(bytes)), trained.model);
  ASSERT_THAT(weights, Succeeds());
  EXPECT_EQ(*weights, trained.weights);
  ASSERT_THAT(SaveSafetensors(trained, path), Succeeds());
  EXPECT_EQ(MustRead(path), bytes);
  // The data are aligned, for those that map the file into memory.
  EXPECT_EQ((bytes.size() - 4 * trained.weights.size()) % 8, 0u);
}

TEST(SafetensorsTest, TakesOtherWidthsOrdersAndMetadata) {
  const std::vector<std::uint16_t> half = {0x3c00, 0x4000, 0x4200, 0x4400};  // 1, 2, 3, 4.
  const std::vector<std::uint16_t> brain = {0x40a0, 0x40c0};                 // 5, 6.
  const auto mixed = ParseSafetensors(SafetensorsFile(
      R"({"__metadata__":{"format":"pt"},)" + Entry("dense/kernel", "F16", "[2,2]", 4, 12) + "," +
          Entry("dense/bias:0", "BF16", "[2]", 0, 4) + "}   ",
      Raw(brain) + Raw(half)));
  ASSERT_THAT(mixed, Succeeds());
  EXPECT_THAT(*mixed, ElementsAre(1, 2, 3, 4, 5, 6));
  const auto doubles =
      ParseSafetensors(SafetensorsFile("{" + Entry("dense/kernel:0", "F64", "[2,2]", 0, 32) + "," +
                                           Entry("dense/bias:0", "F32", "[2]", 32, 40) + "}",
                                       Raw(std::vector<double>{1, 2, 3, 4}) + Raw(kBias)));
  ASSERT_THAT(doubles, Succeeds());
  EXPECT_THAT(*doubles, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(SafetensorsTest, RefusesTensorsThatAreNotTheModels) {
  const std::string kernel = Entry("dense/kernel:0", "F32", "[2,2]", 0, 16);
  const std::string data = Raw(kKernel) + Raw(kBias);
  EXPECT_THAT(ParseSafetensors(SafetensorsFile(
                  "{" + kernel + "," + Entry("dense/bias:0", "F32", "[1,2]", 16, 24) + "}", data)),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("(1, 2)"), HasSubstr("(2,)"), HasSubstr("w.safetensors"))));
  EXPECT_THAT(ParseSafetensors(SafetensorsFile(
                  "{" + kernel + "," + Entry("dense/bios:0", "F32", "[2]", 16, 24) + "}", data)),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("dense/bios:0"), HasSubstr("dense/bias:0"))));
  EXPECT_THAT(ParseSafetensors(SafetensorsFile("{" + kernel + "}", Raw(kKernel))),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("dense/bias:0"), HasSubstr("missing"))));
  EXPECT_THAT(ParseSafetensors(SafetensorsFile(
                  "{" + kernel + "," + Entry("dense/kernel", "F32", "[2,2]", 16, 32) + "}",
                  Raw(kKernel) + Raw(kKernel))),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("twice")));
  EXPECT_THAT(ParseSafetensors(SafetensorsFile(
                  "{" + kernel + "," + Entry("dense/bias:0", "I32", "[2]", 16, 24) + "}", data)),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("I32")));
}

TEST(SafetensorsTest, RefusesGapsOverlapsAndSizesThatLie) {
  const auto with_bias = [](const std::string& bias, const std::string& data) {
    return ParseSafetensors(SafetensorsFile(
        "{" + Entry("dense/kernel:0", "F32", "[2,2]", 0, 16) + "," + bias + "}", data));
  };
  const std::string data = Raw(kKernel) + Raw(kBias);
  const auto corrupt = FailsWith(ErrorCode::kCorrupt);
  ASSERT_THAT(with_bias(Entry("dense/bias:0", "F32", "[2]", 16, 24), data), Succeeds());
  EXPECT_THAT(with_bias(Entry("dense/bias:0", "F32", "[2]", 12, 20), data), corrupt);
  EXPECT_THAT(with_bias(Entry("dense/bias:0", "F32", "[2]", 20, 28), data + "1234"), corrupt);
  EXPECT_THAT(with_bias(Entry("dense/bias:0", "F32", "[2]", 16, 24), data + "1"), corrupt);
  EXPECT_THAT(with_bias(Entry("dense/bias:0", "F32", "[2]", 16, 24), Raw(kKernel)), corrupt);
  EXPECT_THAT(with_bias(Entry("dense/bias:0", "F32", "[2]", 24, 16), data), corrupt);
  EXPECT_THAT(with_bias(Entry("dense/bias:0", "F32", "[3]", 16, 24), data), corrupt);
  EXPECT_THAT(with_bias(Entry("dense/bias:0", "F32", "[-2]", 16, 24), data), corrupt);
  EXPECT_THAT(with_bias(Entry("dense/bias:0", "F32", "[4294967296,4294967296,2]", 16, 24), data),
              corrupt);
  EXPECT_THAT(with_bias(R"("dense/bias:0":[1])", data), corrupt);
  EXPECT_THAT(ParseSafetensors("1234567"), corrupt);
  EXPECT_THAT(ParseSafetensors(SafetensorsFile("[]", "")), corrupt);
  std::string lying = SafetensorsFile("{}", "");
  lying[7] = '\x7f';
  EXPECT_THAT(ParseSafetensors(lying), corrupt);
  EXPECT_THAT(ParseSafetensors(SafetensorsFile("{", "")),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("header")));
  EXPECT_THAT(ParseSafetensors(SafetensorsFile(std::string((16u << 20) + 1, ' '), "")),
              FailsWith(ErrorCode::kTooLarge));
}

TEST(SafetensorsTest, RefusesATruncatedFileOfAnyLength) {
  const std::string intact =
      SafetensorsFile("{" + Entry("dense/kernel:0", "F32", "[2,2]", 0, 16) + "," +
                          Entry("dense/bias:0", "F32", "[2]", 16, 24) + "}",
                      Raw(kKernel) + Raw(kBias));
  ASSERT_THAT(ParseSafetensors(intact), Succeeds());
  for (std::size_t length = 0; length < intact.size(); ++length) {
    SCOPED_TRACE(length);
    EXPECT_THAT(ParseSafetensors(intact.substr(0, length)), FailsWith(ErrorCode::kCorrupt));
  }
}

class NpzTest : public ::testing::Test {
 protected:
  // An npz of a kernel and a bias, with these headers and elements.
  Result<std::vector<float>> Parse(const std::vector<std::pair<std::string, std::string>>& files) {
    std::vector<zip::Content> contents;
    for (const auto& [name, bytes] : files) contents.push_back({name, {AsBytes(bytes)}});
    DNC_TRY(zip::WriteArchive(path_, contents));
    DNC_ASSIGN(const auto source, FileSource::Open(path_));
    return ReadNpz(*source, SmallModel());
  }

  static std::string Npy(const std::string& dtype, const std::string& shape,
                         const std::string& data, bool fortran = false) {
    std::string header = "{'descr': '" + dtype +
                         "', 'fortran_order': " + (fortran ? "True" : "False") +
                         ", 'shape': " + shape + ", }";
    header.append(118 - header.size() - 1, ' ');
    header += '\n';
    return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + data;
  }

  const std::string kernel_ = Npy("<f4", "(2, 2)", Raw(kKernel));
  const std::string bias_ = Npy("<f4", "(2,)", Raw(kBias));
  TemporaryFolder folder_;
  std::string path_ = folder_ / "w.npz";
};

TEST_F(NpzTest, ReadsWhatWasSaved) {
  const TrainedModel trained = Trained(test::SmallNetworkJson());
  ASSERT_THAT(SaveNpz(trained, path_), Succeeds());
  const std::string bytes = MustRead(path_);
  const auto weights = ReadNpz(MemorySource(AsBytes(bytes)), trained.model);
  ASSERT_THAT(weights, Succeeds());
  EXPECT_EQ(*weights, trained.weights);
  ASSERT_THAT(SaveNpz(trained, path_), Succeeds());
  EXPECT_EQ(MustRead(path_), bytes);
}

TEST_F(NpzTest, TakesOtherWidthsAndOrders) {
  const auto weights = Parse(
      {{"dense/bias.npy", Npy("<f2", "(2,)", Raw(std::vector<std::uint16_t>{0x3c00, 0}))},
       {"dense/kernel:0.npy", Npy("<f8", "(2, 2)", Raw(std::vector<double>{1, 3, 2, 4}), true)}});
  ASSERT_THAT(weights, Succeeds());
  EXPECT_THAT(*weights, ElementsAre(1, 2, 3, 4, 1, 0));
}

TEST_F(NpzTest, RefusesWhatIsNotTheModels) {
  EXPECT_THAT(Parse({{"dense/kernel.npy", kernel_}}),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("dense/bias:0"), HasSubstr("missing"))));
  EXPECT_THAT(
      Parse({{"dense/kernel.npy", Npy("<f4", "(4,)", Raw(kKernel))}}),
      FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("(4,)"), HasSubstr("(2, 2)"))));
  EXPECT_THAT(Parse({{"dense/kernel.npy", kernel_}, {"other.npy", bias_}}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("other")));
  EXPECT_THAT(Parse({{"dense/kernel.npy", Npy("<i4", "(2, 2)", Raw(kKernel))}}),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("int32")));
  EXPECT_THAT(Parse({{"dense/kernel.npy", Npy(">f4", "(2, 2)", Raw(kKernel))}}),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("big-endian")));
  EXPECT_THAT(Parse({{"readme.txt", "text"}}),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("readme.txt")));
}

TEST_F(NpzTest, RefusesMembersLargerThanTheModelAndTruncatedOnes) {
  EXPECT_THAT(Parse({{"dense/kernel.npy", kernel_ + std::string(100'000, '\0')}}),
              FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(Parse({{"dense/kernel.npy", kernel_.substr(0, kernel_.size() - 1)}}),
              FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(Parse({{"dense/kernel.npy", "no npy"}}), FailsWith(ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace dnc::model
