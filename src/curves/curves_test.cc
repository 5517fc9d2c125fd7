#include <filesystem>

#include "curves/event_file.h"
#include "curves/figures.h"
#include "curves/plot.h"
#include "testing/testing.h"

namespace dnc::curves {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::HasSubstr;

std::vector<Figures> Rows() {
  return {{.epoch = 1, .steps = 10, .seconds = 0.5, .values = {{"loss", 2}, {"accuracy", 0.5}}},
          {.epoch = 2, .steps = 20, .seconds = 0.25, .values = {{"loss", 1}, {"accuracy", 0.75}}}};
}

std::string Hex(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    text += "0123456789abcdef"[c & 15];
  }
  return text;
}

TEST(FiguresTest, ATableHasTheColumnsThatAreKnown) {
  std::vector<Figures> rows = Rows();
  EXPECT_EQ(FormatCsv(rows),
            "epoch,steps,seconds,loss,accuracy\n1,10,0.5,2,0.5\n2,20,0.25,1,0.75\n");
  rows[1].values.emplace_back("val_loss", 0.1);
  EXPECT_EQ(FormatCsv(rows),
            "epoch,steps,seconds,loss,accuracy,val_loss\n1,10,0.5,2,0.5,\n2,20,0.25,1,0.75,0.1\n");
  EXPECT_EQ(FormatCsv({}), "epoch,steps,seconds\n");
}

TEST(EventFileTest, ChecksumsAreThoseOfTheStandard) {
  // RFC 3720, B.4: 32 bytes of zeros, of ones, and 0 to 31.
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string ascending;
  for (char i = 0; i < 32; ++i) ascending += i;
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
}

TEST(EventFileTest, EventsAreTheBytesThatTensorBoardReads) {
  // Written by tensorboard.summary.writer.record_writer (TensorBoard 2.15).
  const std::string header = FormatEventFileHeader(1.5);
  EXPECT_EQ(Hex(header),
            "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c");
  const std::string event =
      FormatEvent({.wall_time = 2.25, .step = 3, .values = {{"epoch_loss", 0.5}}});
  EXPECT_EQ(
      Hex(event),
      "200000000000000029eda95009000000000000024010032a130a110a0a65706f63685f6c6f7373150000003f"
      "edf340a7");
}

TEST(EventFileTest, AFileGrowsByRecords) {
  const ::dnc::test::TemporaryFolder folder;
  const std::string path = folder / "run/train";
  Result<EventFile> file = EventFile::Create(path);
  ASSERT_THAT(file, Succeeds());
  ASSERT_THAT(file->Append({{"epoch_loss", 0.5}}, 0), Succeeds());
  ASSERT_THAT(file->Append({{"epoch_loss", 0.25}}, 1), Succeeds());
  const auto entry = *std::filesystem::directory_iterator(path);
  EXPECT_THAT(entry.path().filename().string(), testing::StartsWith("events.out.tfevents."));
  const std::size_t event = FormatEvent({.step = 1, .values = {{"epoch_loss", 0.5}}}).size();
  // The step 0 takes as much as 1: protobuf's int64 is one byte for both.
  EXPECT_EQ(entry.file_size(), FormatEventFileHeader(0).size() + 2 * event);
  EXPECT_THAT(EventFile::Create("/proc/none"),
              FailsWith(ErrorCode::kNotFound, HasSubstr("/proc/none")));
}

TEST(PlotTest, ATerminalShowsBothCurves) {
  std::vector<Figures> rows = Rows();
  for (Figures& row : rows) row.values.emplace_back("val_loss", 1.5);
  const std::vector<Panel> panels = PanelsOf(rows);
  ASSERT_EQ(panels.size(), 2u);
  EXPECT_EQ(PlotText(panels[0], 5, 3),
            "loss, t training, v validation\n"
            "    2.0000 |t\n"
            "           |vvvvv\n"
            "    1.0000 |   tt\n"
            "           +-----\n"
            "            epoch 1  2\n");
  EXPECT_EQ(PlotText(PanelsOf({rows[0]})[0]), "");
}

TEST(PlotTest, ACurveThatIsFlatIsDrawn) {
  std::vector<Figures> rows = Rows();
  rows[1].values[0].second = 2;
  EXPECT_THAT(PlotText(PanelsOf(rows)[0], 4, 3), HasSubstr("|tttt"));
  EXPECT_THAT(PlotSvg("flat", PanelsOf(rows)), HasSubstr("<polyline"));
}

TEST(PlotTest, APageHasBothPanelsAndEscapedNames) {
  const std::string svg = PlotSvg("a<b", PanelsOf(Rows()));
  EXPECT_THAT(svg, HasSubstr("<title>a&lt;b</title>"));
  EXPECT_THAT(svg, HasSubstr(">accuracy</text>"));
  EXPECT_THAT(svg, HasSubstr("points=\"62.0,34.0 402.0,228.0 \""));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
}

}  // namespace
}  // namespace dnc::curves
