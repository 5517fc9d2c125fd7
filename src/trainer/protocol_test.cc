#include "trainer/protocol.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <thread>

#include "testing/testing.h"

namespace dnc::trainer {
namespace {

using ::testing::HasSubstr;

struct Pair {
  Channel a;
  Channel b;
};

Pair MakePair() {
  std::array<int, 2> ends{};
  DNC_ASSERT(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  return {Channel(UniqueFd(ends[0]), false), Channel(UniqueFd(ends[1]), true)};
}

TrainerOptions SomeOptions() {
  TrainerOptions options;
  options.threads = 3;
  options.batch_size_max = 64;
  options.x = {{"x", array::DType::kUint8, {28, 28}, {}}};
  options.y = {{"y", array::DType::kInt64, {}, {}}};
  return options;
}

// Every decoder refuses its own message cut at any byte, or with one more.
TEST(ProtocolTest, RefusesEveryMessageThatIsCutOffOrTooLong) {
  struct Case {
    const char* name;
    Bytes bytes;
    std::function<bool(ByteSpan)> decodes;
  };
  const Case cases[] = {
      {"hello", Encode(Hello{.threads = 2}), [](ByteSpan b) { return DecodeHello(b).ok(); }},
      {"reply", Encode(HelloReply{.program_version = "1"}),
       [](ByteSpan b) { return DecodeHelloReply(b).ok(); }},
      {"configure", Encode(ConfigureMessage{SomeOptions(), 2, 100}),
       [](ByteSpan b) { return DecodeConfigure(b).ok(); }},
      {"submit", Encode(SubmitMessage{1, BatchKind::kPredict, 5, 6}),
       [](ByteSpan b) { return DecodeSubmit(b).ok(); }},
      {"totals", Encode(Totals{10, 1.5, 3, {2.5, 7}}),
       [](ByteSpan b) { return DecodeTotals(b).ok(); }},
      {"u32", EncodeU32(7), [](ByteSpan b) { return DecodeU32(b).ok(); }},
      {"u64", EncodeU64(7), [](ByteSpan b) { return DecodeU64(b).ok(); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_TRUE(c.decodes(c.bytes));
    for (std::size_t size = 0; size < c.bytes.size(); ++size) {
      EXPECT_FALSE(c.decodes(ByteSpan(c.bytes).first(size))) << size;
    }
    Bytes longer = c.bytes;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(c.decodes(longer));
  }
}

TEST(ProtocolTest, ConfigureKeepsItsColumns) {
  const Result<ConfigureMessage> back =
      DecodeConfigure(Encode(ConfigureMessage{SomeOptions(), 2, 100}));
  ASSERT_THAT(back, test::Succeeds());
  EXPECT_EQ(back->options.x, SomeOptions().x);
  EXPECT_EQ(back->options.y, SomeOptions().y);
  EXPECT_EQ(back->options.threads, 3);
  EXPECT_EQ(back->options.batch_size_max, 64u);
  EXPECT_EQ(back->slots, 2u);
  EXPECT_EQ(back->model_json_bytes, 100u);
}

TEST(ProtocolTest, RefusesValuesOutOfRange) {
  ConfigureMessage configure{SomeOptions(), 2, kModelJsonBytesMax + 1};
  EXPECT_THAT(DecodeConfigure(Encode(configure)), test::FailsWith(ErrorCode::kCorrupt));
  configure = {SomeOptions(), 0, 1};
  EXPECT_THAT(DecodeConfigure(Encode(configure)), test::FailsWith(ErrorCode::kCorrupt));
  configure = {SomeOptions(), 2, 1};
  configure.options.x[0].shape = {-1};
  EXPECT_THAT(DecodeConfigure(Encode(configure)), test::FailsWith(ErrorCode::kCorrupt));
  configure.options.x[0].shape = array::Shape(1000, 1);
  EXPECT_THAT(DecodeConfigure(Encode(configure)), test::FailsWith(ErrorCode::kCorrupt));
  Bytes submit = Encode(SubmitMessage{});
  submit[4] = std::byte{4};
  EXPECT_THAT(DecodeSubmit(submit), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(DecodeTotals(Encode(Totals{1, 0, 2})), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(DecodeHello(Encode(Hello{.threads = 0})), test::FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(DecodeHello(Encode(Hello{.device = static_cast<DeviceChoice>(3)})),
              test::FailsWith(ErrorCode::kCorrupt));
}

TEST(ProtocolTest, AHelloSaysWhereToCompute) {
  for (const char* name : {"auto", "cpu", "cuda"}) {
    const DeviceChoice choice = ParseDeviceChoice(name).value();
    EXPECT_STREQ(DeviceChoiceName(choice), name);
    const Result<Hello> hello = DecodeHello(Encode(Hello{.device = choice, .gpu_unboxed = true}));
    ASSERT_THAT(hello, test::Succeeds());
    EXPECT_EQ(hello->device, choice);
    EXPECT_TRUE(hello->gpu_unboxed);
    EXPECT_FALSE(hello->boxed);
  }
  EXPECT_THAT(ParseDeviceChoice("tpu"), test::FailsWith(ErrorCode::kInvalidArgument));
}

TEST(ProtocolTest, AHelloOfAnotherVersionNamesBoth) {
  Bytes hello = Encode(Hello{.version = 99});
  hello.push_back(std::byte{1});  // Whatever else that version has.
  EXPECT_THAT(DecodeHello(hello), test::FailsWith(ErrorCode::kUnsupported, HasSubstr("99")));
}

TEST(ProtocolTest, ErrorsKeepTheirCodeAndText) {
  const Error back = DecodeError(Encode(Error{ErrorCode::kTooLarge, "x: too large"}));
  EXPECT_EQ(back.code, ErrorCode::kTooLarge);
  EXPECT_EQ(back.message, "x: too large");
  EXPECT_EQ(DecodeError(AsBytes("nonsense")).code, ErrorCode::kCorrupt);
  const Result<SlotDone> done = DecodeSlotDone(
      Encode(SlotDone{.slot = 3, .failure = Error{ErrorCode::kInvalidArgument, "label 7"}}));
  ASSERT_THAT(done, test::Succeeds());
  EXPECT_EQ(done->slot, 3u);
  ASSERT_TRUE(done->failure.has_value());
  EXPECT_EQ(done->failure->message, "label 7");
  EXPECT_FALSE(DecodeSlotDone(Encode(SlotDone{.slot = 3})).value().failure.has_value());
}

TEST(ChannelTest, CarriesFramesAndLargeBlobs) {
  Pair pair = MakePair();
  Bytes blob(3 * kFramePayloadMax + 17);
  for (std::size_t i = 0; i < blob.size(); ++i) blob[i] = static_cast<std::byte>(i * 31);
  std::thread sender([&] {
    EXPECT_THAT(pair.a.Send(MessageKind::kDrain, {}), test::Succeeds());
    EXPECT_THAT(pair.a.Send(MessageKind::kWeights, EncodeU64(blob.size())), test::Succeeds());
    EXPECT_THAT(pair.a.SendChunks(blob), test::Succeeds());
  });
  Result<Frame> frame = pair.b.Receive();
  ASSERT_THAT(frame, test::Succeeds());
  EXPECT_EQ(frame->kind, MessageKind::kDrain);
  EXPECT_TRUE(frame->payload.empty());
  frame = pair.b.Receive();
  ASSERT_THAT(frame, test::Succeeds());
  EXPECT_EQ(DecodeU64(frame->payload).value(), blob.size());
  Bytes back(blob.size());
  EXPECT_THAT(pair.b.ReceiveChunks(back), test::Succeeds());
  EXPECT_TRUE(back == blob);
  sender.join();
}

TEST(ChannelTest, RefusesAFrameAboveTheLimitBeforeItAllocates) {
  Pair pair = MakePair();
  const std::uint8_t header[] = {0xff, 0xff, 0xff, 0xff, 1};
  ASSERT_EQ(::write(pair.a.TakeSocket().get(), header, sizeof(header)), 5);
  EXPECT_THAT(pair.b.Receive(), test::FailsWith(ErrorCode::kCorrupt, HasSubstr("4294967295")));
}

TEST(ChannelTest, RefusesChunksThatDoNotEndWithTheBlob) {
  Bytes blob(10);
  {
    Pair pair = MakePair();
    ASSERT_THAT(pair.a.Send(MessageKind::kChunk, Bytes(11)), test::Succeeds());
    EXPECT_THAT(pair.b.ReceiveChunks(blob), test::FailsWith(ErrorCode::kCorrupt));
  }
  {
    Pair pair = MakePair();
    ASSERT_THAT(pair.a.Send(MessageKind::kChunk, {}), test::Succeeds());
    EXPECT_THAT(pair.b.ReceiveChunks(blob), test::FailsWith(ErrorCode::kCorrupt));
  }
  {
    Pair pair = MakePair();
    ASSERT_THAT(pair.a.Send(MessageKind::kOk, Bytes(10)), test::Succeeds());
    EXPECT_THAT(pair.b.ReceiveChunks(blob), test::FailsWith(ErrorCode::kCorrupt));
  }
}

TEST(ChannelTest, SaysThatTheOtherEndIsClosed) {
  Pair pair = MakePair();
  ASSERT_THAT(pair.a.Send(MessageKind::kOk, Bytes(3)), test::Succeeds());
  pair.a.TakeSocket();
  EXPECT_THAT(pair.b.Receive(), test::Succeeds());
  EXPECT_THAT(pair.b.Receive(), test::FailsWith(ErrorCode::kUnavailable));
  EXPECT_THAT(pair.b.Send(MessageKind::kOk, {}), test::FailsWith(ErrorCode::kUnavailable));
}

TEST(ChannelTest, SaysSoInTheMiddleOfAFrameToo) {
  for (std::size_t size = 1; size < 8; ++size) {
    SCOPED_TRACE(size);
    Pair pair = MakePair();
    const std::uint8_t bytes[] = {3, 0, 0, 0, 1, 0, 0};
    ASSERT_EQ(::write(pair.a.TakeSocket().get(), bytes, size), static_cast<ssize_t>(size));
    EXPECT_THAT(pair.b.Receive(), test::FailsWith(ErrorCode::kUnavailable));
  }
}

TEST(ChannelTest, TakesADescriptorOnlyIfAskedTo) {
  Pair pair = MakePair();
  ASSERT_THAT(pair.a.Send(MessageKind::kConfigure, Bytes(3), STDERR_FILENO), test::Succeeds());
  Result<Frame> frame = pair.b.Receive();
  ASSERT_THAT(frame, test::Succeeds());
  EXPECT_TRUE(static_cast<bool>(frame->fd));
  ASSERT_THAT(pair.b.Send(MessageKind::kOk, {}, STDERR_FILENO), test::Succeeds());
  frame = pair.a.Receive();
  ASSERT_THAT(frame, test::Succeeds());
  EXPECT_FALSE(static_cast<bool>(frame->fd));
}

TEST(ChannelTest, StopsWaitingInTime) {
  Pair pair = MakePair();
  EXPECT_THAT(pair.a.WaitReadable(1), test::FailsWith(ErrorCode::kUnavailable));
  ASSERT_THAT(pair.b.Send(MessageKind::kOk, {}), test::Succeeds());
  EXPECT_THAT(pair.a.WaitReadable(1), test::Succeeds());
}

}  // namespace
}  // namespace dnc::trainer
