#include "source/webdataset_source.h"

#include <fstream>

#include "source/tar_reader.h"
#include "source/test_files.h"
#include "testing/testing.h"

namespace dnc::source {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::size_t kBlock = 512;

std::string Octal(std::uint64_t value, std::size_t digits) {
  std::string text(digits, '0');
  for (std::size_t i = digits; i-- > 0; value >>= 3) text[i] = static_cast<char>('0' + (value & 7));
  return text;
}

std::string Padded(std::string content) {
  content.resize((content.size() + kBlock - 1) / kBlock * kBlock, '\0');
  return content;
}

// A header and content; `size` is the stated one.
std::string Entry(const std::string& name, const std::string& content, char type = '0',
                  std::optional<std::uint64_t> size = {}) {
  std::string header(kBlock, '\0');
  header.replace(0, name.size(), name);
  header.replace(124, 11, Octal(size.value_or(content.size()), 11));
  header.replace(148, 8, "        ");
  header[156] = type;
  header.replace(257, 5, "ustar");
  std::uint64_t sum = 0;
  for (const char c : header) sum += static_cast<std::uint8_t>(c);
  header.replace(148, 7, Octal(sum, 6) + std::string(1, '\0'));
  return header + Padded(content);
}

std::string End() { return std::string(2 * kBlock, '\0'); }

std::string PaxRecord(const std::string& key, const std::string& value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) ++length;
  return std::to_string(length) + " " + key + "=" + value + "\n";
}

Result<std::unique_ptr<SampleSource>> Open(const std::string& tar,
                                           const SourceOptions& options = {}) {
  return OpenFileSource(InMemory(tar, "t.tar"), options);
}

// The texts of a column, one a sample.
std::vector<std::string> Texts(SampleSource* source, std::size_t column) {
  std::vector<std::string> texts;
  array::SampleBlock block;
  for (;;) {
    EXPECT_THAT(source->Read(2, &block), Succeeds());
    if (block.sample_count == 0) return texts;
    for (std::uint64_t i = 0; i < block.sample_count; ++i) {
      texts.emplace_back(AsText(block.element(column, i)));
    }
  }
}

TEST(WebDatasetTest, GroupsFilesOfOneNameToSamples) {
  const std::string tar = Entry("a/000.txt", "one") + Entry("a/000.cls", "3\n") +
                          Entry("__meta__.json", "{}") + Entry("a/noextension", "") +
                          Entry("a/001.TXT", "two") + Entry("a/001.cls", "-1") + End();
  auto source = Open(tar);
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->Describe(), "WebDataset tar");
  array::ColumnSpec text{.name = "x"};
  text.kind = array::ColumnKind::kText;
  EXPECT_THAT((*source)->columns(),
              ElementsAre(text, array::ColumnSpec{"y", array::DType::kInt64, {}, {}}));
  array::SampleBlock block;
  ASSERT_THAT((*source)->Read(10, &block), Succeeds());
  EXPECT_EQ(block.sample_count, 2u);
  EXPECT_EQ(AsText(block.columns[0]), "onetwo");
  EXPECT_THAT(ValuesOf<std::int64_t>(block.columns[1]), ElementsAre(3, -1));
}

TEST(WebDatasetTest, ReadsArraysAndKeepsNamesBeforeTheLastDot) {
  const std::string npy = NpyFile(array::DType::kInt16, {2}, BytesOf<std::int16_t>({5, -6}));
  auto source = Open(Entry("k.a.npy", npy) + Entry("k.b.npy", npy) + Entry("k.bin", "xyz"));
  ASSERT_THAT(source, Succeeds());
  std::vector<std::string> names;
  for (const auto& column : (*source)->columns()) names.push_back(column.name);
  EXPECT_THAT(names, ElementsAre("a", "b", "bin"));
  array::SampleBlock block;
  ASSERT_THAT((*source)->Read(1, &block), Succeeds());
  EXPECT_THAT(ValuesOf<std::int16_t>(block.columns[1]), ElementsAre(5, -6));
}

TEST(WebDatasetTest, TakesTheLongNamesOfPaxAndGnu) {
  const std::string pax = "p/" + std::string(200, 'p');
  const std::string gnu = "g/" + std::string(300, 'g');
  const std::string tar =
      Entry("PaxHeader", PaxRecord("path", pax + ".txt"), 'x') + Entry("cut", "1") +
      Entry("././@LongLink", gnu + ".txt", 'L') + Entry("cut", "2") + Entry("g", "comment", 'g') +
      Entry("PaxHeader", PaxRecord("path", "s.txt") + PaxRecord("size", "4"), 'x') +
      Entry("s.txt", "four", '0', 0) + End();
  auto source = Open(tar);
  ASSERT_THAT(source, Succeeds());
  EXPECT_THAT(Texts(source->get(), 0), ElementsAre("1", "2", "four"));
}

TEST(WebDatasetTest, NamesTheSampleThatDiffersFromTheFirst) {
  const std::string first = Entry("0.txt", "a") + Entry("0.cls", "1");
  const auto failure = [&](const std::string& rest) {
    auto source = Open(first + rest);
    EXPECT_THAT(source, Succeeds());
    array::SampleBlock block;
    return (*source)->Read(10, &block);
  };
  EXPECT_THAT(
      failure(Entry("1.txt", "b")),
      FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("t.tar: sample 1"), HasSubstr("no .cls"))));
  EXPECT_THAT(failure(Entry("1.txt", "b") + Entry("1.cls", "1") + Entry("1.jpg", "")),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("has .jpg")));
  EXPECT_THAT(failure(Entry("1.txt", "b") + Entry("1.cls", "x")),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr("cls"), HasSubstr("\"x\""))));
  EXPECT_THAT(failure(Entry("1.txt", "\xff") + Entry("1.cls", "1")),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("UTF-8")));
  auto source = Open(first + Entry("1.txt", "b") + Entry("2.txt", "c") + Entry("2.cls", "2"),
                     {.skip_bad = true});
  ASSERT_THAT(source, Succeeds());
  EXPECT_THAT(Texts(source->get(), 0), ElementsAre("a", "c"));
  EXPECT_EQ((*source)->skipped().size(), 1u);
}

TEST(WebDatasetTest, NeverReadsPickles) {
  for (const char* extension : {"pyd", "pickle", "x.pth", "pt"}) {
    EXPECT_THAT(Open(Entry(std::string("0.") + extension, "cos\nsystem\n")),
                FailsWith(ErrorCode::kUnsupported, HasSubstr("pickles")));
  }
}

TEST(WebDatasetTest, RefusesDamagedTars) {
  const std::string good = Entry("0.txt", "a") + Entry("1.txt", std::string(600, 'b'));
  for (std::size_t size = kBlock + 1; size < good.size(); size += 37) {
    if (size % kBlock == 0) continue;
    auto source = Open(good.substr(0, size));
    if (!source.ok()) continue;  // Within the first samples.
    array::SampleBlock block;
    Status status;
    do {
      status = (*source)->Read(10, &block);
    } while (status.ok() && block.sample_count > 0);
    if (size > kBlock * 2) {
      EXPECT_THAT(status, FailsWith(ErrorCode::kCorrupt)) << size;
    }
  }
  std::string changed = good;
  changed[kBlock * 2 + 3] ^= 1;
  EXPECT_THAT(Open(changed), FailsWith(ErrorCode::kCorrupt, HasSubstr("checksum")));
  EXPECT_THAT(Open(Entry("0.txt", "a", '0', 1ull << 31)),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("sample 0")));
  EXPECT_THAT(Open(Entry("x", "12 path", 'x') + good),
              FailsWith(ErrorCode::kCorrupt, HasSubstr("extended header")));
  EXPECT_THAT(Open(Entry("x", "", 'L', 1 << 20)), FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(Open(Entry("x", "", 'S')), FailsWith(ErrorCode::kUnsupported, HasSubstr("sparse")));
  EXPECT_THAT(Open(Entry("folder/", "", '5')),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("no samples")));
}

TEST(WebDatasetTest, NeedsArraysThatAreAlike) {
  const auto npy = [](const array::Shape& shape) {
    return NpyFile(array::DType::kUint8, shape, Ramp(*array::ElementCount(shape)));
  };
  auto source = Open(Entry("0.npy", npy({2, 3})) + Entry("1.npy", npy({3, 2})));
  ASSERT_THAT(source, Succeeds());
  array::SampleBlock block;
  EXPECT_THAT((*source)->Read(2, &block),
              FailsWith(ErrorCode::kUnsupported, AllOf(HasSubstr("(3, 2)"), HasSubstr("(2, 3)"))));
  EXPECT_THAT(Open(Entry("0.npy", npy({9}).substr(0, 130))), FailsWith(ErrorCode::kCorrupt));
}

TEST(WebDatasetTest, ReadsSeveralTarsByPatternOrFolder) {
  const test::TemporaryFolder folder;
  for (int i = 8; i < 11; ++i) {
    std::ofstream(folder / ("t-" + std::string(i < 10 ? "0" : "") + std::to_string(i) + ".tar"))
        << Entry("0.txt", std::to_string(i)) << Entry("1.txt", "x") << End();
  }
  for (const std::string& location : {folder / "t-{08..10}.tar", folder / ""}) {
    auto source = OpenSource(location, {});
    ASSERT_THAT(source, Succeeds());
    // The last key of a tar and the first of the next are two samples, though both are 0.
    EXPECT_THAT(Texts(source->get(), 0), ElementsAre("8", "x", "9", "x", "10", "x"));
  }
  EXPECT_THAT(OpenSource(folder / "t-{08..11}.tar", {}),
              FailsWith(ErrorCode::kNotFound, HasSubstr("t-11.tar")));
}

TEST(ExpandBracesTest, StandsForEveryName) {
  EXPECT_THAT(*ExpandBraces("a{8..11}b{x,y}"),
              ElementsAre("a8bx", "a8by", "a9bx", "a9by", "a10bx", "a10by", "a11bx", "a11by"));
  EXPECT_THAT(*ExpandBraces("{098..100}"), ElementsAre("098", "099", "100"));
  EXPECT_THAT(*ExpandBraces("plain"), ElementsAre("plain"));
  for (const char* wrong :
       {"{1..", "{3..1}", "{a..b}", "{0..9999999999}", "{0..99999}{0..99999}"}) {
    EXPECT_THAT(ExpandBraces(wrong), FailsWith(ErrorCode::kInvalidArgument)) << wrong;
  }
}

}  // namespace
}  // namespace dnc::source
