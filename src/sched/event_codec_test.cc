#include "sched/scheduler.h"
#include "testing/testing.h"

namespace dnc::sched {
namespace {

using dnc::test::FailsWith;
using dnc::test::Succeeds;

// One of each kind, with a different value in every field.
std::vector<Event> AllKinds() {
  const Digest digest = Sha256(AsBytes("update"));
  return {
      ProjectSubmitted{{1}, {2, 3, 4, 5, 6, 7, StoppingRule{Monitor::kAccuracy, 8, 9, true}}},
      ProjectPaused{{8}},
      ProjectResumed{{9}},
      ProjectCancelled{{10}},
      LeaseRequested{{11}},
      LeaseRenewed{{12}, {13}, 14},
      ResultSubmitted{{15}, {16}, digest, {17, -18, 19, 20}},
      LeaseReleased{{21}, {22}, true, "no memory"},
      StepFolded{{23}, 24, digest},
      TimePassed{},
  };
}

TEST(EventCodecTest, GivesBackEveryKindOfEvent) {
  const std::vector<Event> events = AllKinds();
  ASSERT_EQ(events.size(), std::variant_size_v<Event>);
  for (std::size_t i = 0; i < events.size(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_EQ(events[i].index(), i);
    const auto decoded = DecodeEvent(EncodeEvent(events[i]));
    ASSERT_THAT(decoded, Succeeds());
    EXPECT_EQ(decoded->index(), i);
    EXPECT_EQ(EncodeEvent(*decoded), EncodeEvent(events[i]));
  }
  const auto submitted = DecodeEvent(EncodeEvent(events[0]));
  EXPECT_EQ(std::get<ProjectSubmitted>(*submitted).config.stopping,
            (StoppingRule{Monitor::kAccuracy, 8, 9, true}));
  const auto decoded = DecodeEvent(EncodeEvent(events[6]));
  const auto& result = std::get<ResultSubmitted>(*decoded);
  EXPECT_EQ(result.provider.value, 15u);
  EXPECT_EQ(result.lease.value, 16u);
  EXPECT_EQ(result.update, Sha256(AsBytes("update")));
  EXPECT_EQ(result.metrics, (Metrics{17, -18, 19, 20}));
  const auto released = DecodeEvent(EncodeEvent(events[7]));
  EXPECT_EQ(std::get<LeaseReleased>(*released).reason, "no memory");
  EXPECT_TRUE(std::get<LeaseReleased>(*released).failed);
}

TEST(EventCodecTest, KeepsTheBytesOfAnEventForEver) {
  // Logs written by earlier versions must stay readable.
  EXPECT_EQ(HexEncode(EncodeEvent(LeaseRenewed{{1}, {2}, 3})),
            "0105010000000000000002000000000000000300000000000000");
  EXPECT_EQ(HexEncode(EncodeEvent(LeaseReleased{{1}, {2}, true, "x"})),
            "01070100000000000000020000000000000001"
            "0100000078");
  const std::string submitted =
      "000100000000000000020000000000000003000000000000000400000005000000"
      "0600000007000000";
  EXPECT_EQ(HexEncode(EncodeEvent(ProjectSubmitted{{1}, {2, 3, 4, 5, 6, 7}})), "01" + submitted);
  EXPECT_EQ(HexEncode(EncodeEvent(ProjectSubmitted{
                {1}, {2, 3, 4, 5, 6, 7, StoppingRule{Monitor::kValidationLoss, 8, 9, true}}})),
            "02" + submitted + "0208000000090000000000000001");
}

TEST(EventCodecTest, RefusesEveryTruncationAndAnyBytesAfterTheEnd) {
  for (const Event& event : AllKinds()) {
    const Bytes whole = EncodeEvent(event);
    SCOPED_TRACE(event.index());
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_THAT(DecodeEvent(ByteSpan(whole).first(size)), FailsWith(ErrorCode::kCorrupt));
    }
    Bytes longer = whole;
    longer.push_back(std::byte{0});
    EXPECT_THAT(DecodeEvent(longer), FailsWith(ErrorCode::kCorrupt));
  }
}

TEST(EventCodecTest, SaysWhenAnEventIsOfALaterVersionOrKind) {
  Bytes bytes = EncodeEvent(TimePassed{});
  bytes[0] = std::byte{3};
  EXPECT_THAT(DecodeEvent(bytes), FailsWith(ErrorCode::kUnsupported));
  // Version 2 is for what version 1 does not hold.
  bytes[0] = std::byte{2};
  EXPECT_THAT(DecodeEvent(bytes), FailsWith(ErrorCode::kCorrupt));
  bytes[0] = std::byte{0};
  EXPECT_THAT(DecodeEvent(bytes), FailsWith(ErrorCode::kCorrupt));
  bytes[0] = std::byte{1};
  bytes[1] = std::byte{std::variant_size_v<Event>};
  EXPECT_THAT(DecodeEvent(bytes), FailsWith(ErrorCode::kUnsupported));
}

TEST(EventCodecTest, RefusesATextLongerThanItsLimitOrTheBytes) {
  Bytes bytes = EncodeEvent(LeaseReleased{{1}, {2}, false, "reason"});
  const std::size_t length_at = bytes.size() - 6 - 4;
  for (const std::uint32_t length : {7u, 65'537u, 0xFFFFFFFFu}) {
    std::memcpy(bytes.data() + length_at, &length, sizeof(length));
    EXPECT_THAT(DecodeEvent(bytes), FailsWith(ErrorCode::kCorrupt));
  }
  // Even when the bytes are all there.
  ByteWriter out;
  out.PutBytes(ByteSpan(bytes).first(length_at));
  out.PutString(std::string(65'537, 'x'));
  EXPECT_THAT(DecodeEvent(out.bytes()), FailsWith(ErrorCode::kCorrupt));
}

TEST(EventCodecTest, CutsALongReasonSoThatItCanBeReadBack) {
  const auto decoded =
      DecodeEvent(EncodeEvent(LeaseReleased{{1}, {2}, true, std::string(100'000, 'x')}));
  ASSERT_THAT(decoded, Succeeds());
  EXPECT_EQ(std::get<LeaseReleased>(*decoded).reason.size(), 65'536u);
}

TEST(EventCodecTest, RefusesAStoppingRuleThatWatchesNothingKnown) {
  Bytes bytes = EncodeEvent(ProjectSubmitted{{1}, {2, 3, 4, 5, 6, 7, StoppingRule{}}});
  const std::size_t monitor_at = bytes.size() - 14;
  bytes[monitor_at] = std::byte{4};
  EXPECT_THAT(DecodeEvent(bytes), FailsWith(ErrorCode::kCorrupt));
}

TEST(EventCodecTest, RefusesATruthValueThatIsNeither) {
  Bytes bytes = EncodeEvent(LeaseReleased{{1}, {2}, true, ""});
  bytes[18] = std::byte{2};
  EXPECT_THAT(DecodeEvent(bytes), FailsWith(ErrorCode::kCorrupt));
}

}  // namespace
}  // namespace dnc::sched
