// The child's side, driven by hand: whatever a parent sends, the child answers with
// an error or ends, and never takes it for granted.

#include "trainer/serve.h"

#include <sys/socket.h>

#include <array>
#include <thread>

#include "testing/testing.h"
#include "trainer/batch_ring.h"
#include "trainer/conformance.h"
#include "trainer/fake_trainer.h"

namespace dnc::trainer {
namespace {

using ::testing::HasSubstr;

// A child in a thread, and the parent's end of its socket.
class ServeEngineTest : public ::testing::Test {
 protected:
  ServeEngineTest() : channel_(UniqueFd(), false) {
    std::array<int, 2> ends{};
    DNC_ASSERT(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    channel_ = Channel(UniqueFd(ends[0]), false);
    child_ = std::thread([this, fd = ends[1]] {
      const std::unique_ptr<Engine> engine = MakeLeastSquaresEngine();
      outcome_ = ServeEngine(UniqueFd(fd), engine.get(), options_);
    });
  }
  ~ServeEngineTest() override { static_cast<void>(End().ok()); }

  // Closes the parent's end and returns how the child ended.
  Status End() {
    channel_.TakeSocket();
    if (child_.joinable()) child_.join();
    return outcome_;
  }

  void Greet() {
    ASSERT_THAT(channel_.Send(MessageKind::kHello, Encode(Hello{.threads = 1})), test::Succeeds());
    const Result<Frame> reply = channel_.Receive();
    ASSERT_THAT(reply, test::Succeeds());
    ASSERT_EQ(reply->kind, MessageKind::kHelloReply);
  }

  // Sends kConfigure as a parent would, with this JSON and descriptor.
  void SendConfigure(const std::string& json, const BatchRingLayout& layout, int fd) {
    ConfigureMessage message{conformance::RegressionOptions(), layout.slots, json.size()};
    ASSERT_THAT(channel_.Send(MessageKind::kConfigure, Encode(message), fd), test::Succeeds());
    ASSERT_THAT(channel_.SendChunks(AsBytes(json)), test::Succeeds());
  }

  void Configure() {
    const BatchRingLayout layout = LayoutFor(conformance::RegressionOptions());
    Result<BatchRing> ring = BatchRing::Create(layout);
    ASSERT_THAT(ring, test::Succeeds());
    SendConfigure(model::FormatModel(conformance::RegressionModel()), layout, ring->fd());
    const Result<Frame> reply = channel_.Receive();
    ASSERT_THAT(reply, test::Succeeds());
    ASSERT_EQ(reply->kind, MessageKind::kOk);
  }

  // The error of the next answer.
  Error Refusal() {
    const Result<Frame> reply = channel_.Receive();
    if (!reply.ok()) return reply.error();
    EXPECT_EQ(reply->kind, MessageKind::kError);
    return DecodeError(reply->payload);
  }

  Channel channel_;
  ServeOptions options_;
  Status outcome_;
  std::thread child_;
};

TEST_F(ServeEngineTest, EndsWellWhenTheParentLeaves) {
  Greet();
  Configure();
  EXPECT_THAT(End(), test::Succeeds());
}

TEST_F(ServeEngineTest, RefusesAParentOfAnotherVersion) {
  ASSERT_THAT(channel_.Send(MessageKind::kHello, Encode(Hello{.version = kProtocolVersion + 1})),
              test::Succeeds());
  EXPECT_EQ(Refusal().code, ErrorCode::kUnsupported);
  EXPECT_THAT(End(), test::FailsWith(ErrorCode::kUnsupported));
}

TEST_F(ServeEngineTest, RefusesToBeginWithoutAHello) {
  ASSERT_THAT(channel_.Send(MessageKind::kDrain, {}), test::Succeeds());
  EXPECT_THAT(Refusal().message, HasSubstr("hello"));
  EXPECT_THAT(End(), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(ServeEngineTest, EndsAtAMessageOfAnUnknownKind) {
  Greet();
  ASSERT_THAT(channel_.Send(static_cast<MessageKind>(200), {}), test::Succeeds());
  EXPECT_THAT(Refusal().message, HasSubstr("200"));
  EXPECT_THAT(End(), test::FailsWith(ErrorCode::kCorrupt));
}

TEST_F(ServeEngineTest, AnswersABadModelAndGoesOn) {
  Greet();
  const BatchRingLayout layout = LayoutFor(conformance::RegressionOptions());
  Result<BatchRing> ring = BatchRing::Create(layout);
  ASSERT_THAT(ring, test::Succeeds());
  SendConfigure("{\"class_name\": 3}", layout, ring->fd());
  EXPECT_EQ(Refusal().code, ErrorCode::kInvalidArgument);
  Configure();
  EXPECT_THAT(End(), test::Succeeds());
}

TEST_F(ServeEngineTest, RefusesMemoryForBatchesThatIsTooSmallOrMissing) {
  Greet();
  const BatchRingLayout layout = LayoutFor(conformance::RegressionOptions());
  Result<BatchRing> ring = BatchRing::Create({.slots = 1, .x_bytes = {1}, .y_bytes = {1}});
  ASSERT_THAT(ring, test::Succeeds());
  const std::string json = model::FormatModel(conformance::RegressionModel());
  SendConfigure(json, layout, ring->fd());
  EXPECT_EQ(Refusal().code, ErrorCode::kCorrupt);
  SendConfigure(json, layout, -1);
  EXPECT_EQ(Refusal().code, ErrorCode::kCorrupt);
  // No batch can be computed in memory that is not there.
  ASSERT_THAT(channel_.Send(MessageKind::kSubmit, Encode(SubmitMessage{.slot = 0, .samples = 1})),
              test::Succeeds());
  EXPECT_EQ(Refusal().code, ErrorCode::kCorrupt);
}

TEST_F(ServeEngineTest, EndsAtABatchInASlotThatIsNotThere) {
  Greet();
  Configure();
  ASSERT_THAT(channel_.Send(MessageKind::kSubmit, Encode(SubmitMessage{.slot = 60, .samples = 1})),
              test::Succeeds());
  EXPECT_THAT(Refusal().message, HasSubstr("slot 60"));
}

TEST_F(ServeEngineTest, EndsAtABatchLargerThanItsSlot) {
  Greet();
  Configure();
  ASSERT_THAT(channel_.Send(MessageKind::kSubmit, Encode(SubmitMessage{.slot = 0, .samples = 5})),
              test::Succeeds());
  EXPECT_THAT(Refusal().message, HasSubstr("5 samples"));
}

TEST_F(ServeEngineTest, EndsAtWeightsOfAnotherSizeBeforeItAllocates) {
  Greet();
  Configure();
  ASSERT_THAT(channel_.Send(MessageKind::kSetWeights, EncodeU64(std::uint64_t{1} << 60)),
              test::Succeeds());
  EXPECT_EQ(Refusal().code, ErrorCode::kCorrupt);
}

TEST_F(ServeEngineTest, EndsAtAStateTooLargeForTheModel) {
  Greet();
  Configure();
  ASSERT_THAT(channel_.Send(MessageKind::kSetOptimizer, EncodeU64(std::uint64_t{1} << 60)),
              test::Succeeds());
  EXPECT_EQ(Refusal().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace dnc::trainer
