#include "proto/messages.h"

#include <limits>
#include <set>

#include "testing/testing.h"

namespace dnc::proto {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Writes, reads and writes again: what is equal as text is equal in every field.
template <typename Message>
void ExpectRoundTrip(const Message& message) {
  const std::string json = ToJson(message);
  SCOPED_TRACE(json);
  const Result<Message> read = FromJson<Message>(json);
  ASSERT_THAT(read, test::Succeeds());
  EXPECT_EQ(ToJson(*read), json);
}

// Every field is required: removing any one is an error that names it.
template <typename Message>
void ExpectEveryFieldRequired(const Message& message, const std::vector<std::string>& keys) {
  const std::string json = ToJson(message);
  for (const std::string& key : keys) {
    SCOPED_TRACE(key);
    std::string damaged = json;
    const auto at = damaged.find("\"" + key + "\":");
    ASSERT_NE(at, std::string::npos) << json;
    damaged.replace(at + 1, 1, "#");  // A key of another name.
    const Result<Message> read = FromJson<Message>(damaged);
    EXPECT_THAT(read, test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr(key.substr(1))));
  }
}

LeaseGrant SomeGrant() {
  return {.lease_id = {9},
          .project_id = {4},
          .task = {TaskKind::kEvaluate, 12, 3, 0, 100, 250},
          .backup = true,
          .renew_every_ms = 5000,
          .deadline_ms = 15000};
}

ProjectStatus SomeStatus() {
  ProjectStatus status;
  status.summary = {{3}, "fashion \"x\"\n", Phase::kPaused, 2, 9, 7, 30, 1000, 0};
  status.description = "\xc3\xa9t\xc3\xa9";
  status.fit = {2, 16, 5, "train", "", true};
  status.grid = {15, 5, 2};
  status.weight_count = 123;
  status.train_samples = 1000;
  status.validation_samples = 50;
  status.tasks_leased = 2;
  status.contributors = 1;
  status.has_last_step = true;
  status.last_step = {1, 200, 0.1, 1.0 / 3.0, 1e6};
  status.evaluations = {{3, 1, 50, 0.25, 0.5}, {6, 2, 50, 1e-9, 1}};
  status.providers.resize(2);
  status.providers[0].provider_id = {1};
  status.providers[0].name = "kitchen";
  status.providers[0].has_task = true;
  status.providers[0].task = {TaskKind::kTrain, 2, 0, 4, 10, 20};
  status.providers[1].provider_id = {2};
  status.providers[1].bytes_out = UINT64_MAX;
  status.fit.class_weight = {{"shirt", 0.1}, {"3", 2}};
  status.fit.sample_weight = "w";
  status.fit.early_stopping = {3, 0.01, Monitor::kAccuracy, true};
  status.stopping = {true, 6, 3, 9};
  status.failure = "none";
  status.now_us = 1'700'000'000'000'000;
  return status;
}

TEST(MessagesTest, ANegativeZeroIsWrittenAsZero) {
  ProjectSpec spec;
  spec.name = "hats";
  spec.model_json = "{}";
  spec.manifest_json = "{}";
  spec.fit.class_weight = {{"hat", -0.0}};
  EXPECT_THAT(ToJson(spec), HasSubstr(R"("class_weight":{"hat":0})"));
  ExpectRoundTrip(spec);
}

TEST(MessagesTest, EveryMessageSurvivesARoundTrip) {
  ExpectRoundTrip(Credentials{"ada", "correct horse \x01 battery"});
  ExpectRoundTrip(SessionCreated{std::string(64, 'a'), 5});
  ExpectRoundTrip(AccountInfo{"ada", 17, 3});
  ExpectRoundTrip(ProviderRequest{"pc", 8, std::uint64_t{16} << 30});
  ExpectRoundTrip(ProviderCreated{{7}, "t", 3});
  ExpectRoundTrip(ProjectCreated{{UINT64_MAX}});
  ExpectRoundTrip(ProjectList{{SomeStatus().summary, SomeStatus().summary}});
  ExpectRoundTrip(SomeStatus());
  ExpectRoundTrip(LeaseRequest{30'000});
  ExpectRoundTrip(SomeGrant());
  ExpectRoundTrip(LeaseRenewal{5});
  ExpectRoundTrip(LeaseRelease{true, "out of memory"});
  ExpectRoundTrip(LeaseAnswer{false, "the step is closed"});
  ExpectRoundTrip(ServerStatus{"0.1.0", 1, 2, 3, 4, 5, 6});
}

TEST(MessagesTest, AProjectKeepsItsModelAndManifestAsTheyWere) {
  ProjectSpec spec{.name = "f",
                   .description = "d",
                   .fit = {},
                   .grid = {},
                   .model_json = R"({"z":1,"a":[0.1,1e-7,{"k":null}],"m":"\u00e9"})",
                   .manifest_json = R"({"version":1,"mean":72.94035223214286})",
                   .weights_cid = "bafy"};
  const Result<ProjectSpec> read = FromJson<ProjectSpec>(ToJson(spec));
  ASSERT_THAT(read, test::Succeeds());
  EXPECT_EQ(read->model_json, "{\"z\":1,\"a\":[0.1,1e-07,{\"k\":null}],\"m\":\"\xc3\xa9\"}");
  EXPECT_EQ(read->manifest_json, spec.manifest_json);
  EXPECT_EQ(read->weights_cid, "bafy");
  EXPECT_FALSE(read->fit.validation_split_stated);

  ProjectWork work{.project_id = {3},
                   .name = "f",
                   .fit = spec.fit,
                   .grid = spec.grid,
                   .weight_count = 9,
                   .model_json = spec.model_json,
                   .manifest_json = spec.manifest_json};
  work.fit.validation_split = "";
  work.fit.validation_split_stated = true;
  work.fit.class_weight_balanced = true;
  work.fit.early_stopping = {.patience = 1};
  const Result<ProjectWork> read_work = FromJson<ProjectWork>(ToJson(work));
  ASSERT_THAT(read_work, test::Succeeds());
  EXPECT_EQ(read_work->fit, work.fit);
  EXPECT_EQ(read_work->manifest_json, spec.manifest_json);
}

TEST(MessagesTest, NamesAMissingField) {
  ExpectEveryFieldRequired(Credentials{"a", "b"}, {"name", "password"});
  ExpectEveryFieldRequired(SessionCreated{"a", 1}, {"token", "expires_us"});
  ExpectEveryFieldRequired(ProviderCreated{{1}, "a", 1}, {"provider_id", "token", "expires_us"});
  ExpectEveryFieldRequired(
      SomeGrant(), {"lease_id", "project_id", "task", "kind", "version", "epoch", "task_index",
                    "begin", "end", "backup", "renew_every_ms", "deadline_ms"});
  ExpectEveryFieldRequired(SomeStatus(),
                           {"phase", "steps_total", "tasks_done", "submitted_us", "train_samples",
                            "contributors", "evaluations", "providers", "now_us", "samples_done",
                            "patience", "stopped_early", "best_epoch", "model_version"});
  ExpectEveryFieldRequired(LeaseAnswer{true, ""}, {"accepted", "reason"});
}

TEST(MessagesTest, RefusesUnknownFieldsOfRequestsButNotOfAnswers) {
  EXPECT_THAT(FromJson<LeaseRequest>(R"({"wait_ms": 1, "wiat_ms": 2})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("did you mean \"wait_ms\"")));
  EXPECT_THAT(FromJson<LeaseRelease>(R"({"reson": "x"})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"reason\"")));
  EXPECT_THAT(FromJson<LeaseAnswer>(R"({"accepted": true, "reason": "", "later": 1})"),
              test::Succeeds());
}

TEST(MessagesTest, RefusesFieldsOfAnotherTypeOrOutOfRange) {
  EXPECT_THAT(FromJson<LeaseRequest>(R"({"wait_ms": 30001})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"wait_ms\" is 30001")));
  EXPECT_THAT(FromJson<LeaseRequest>(R"({"wait_ms": true})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"wait_ms\" is true")));
  EXPECT_THAT(FromJson<LeaseRenewal>(R"({"samples_done": -1})"),
              test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(FromJson<LeaseAnswer>(R"({"accepted": 1, "reason": ""})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("true or false")));
  EXPECT_THAT(FromJson<ProjectCreated>(R"({"project_id": 0})"),
              test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(FromJson<SessionCreated>(R"({"token": 5, "expires_us": 18446744073709551615})"),
              test::FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(FromJson<ProviderRequest>(R"({"name": "p", "cores": 0, "memory_bytes": 1})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"cores\" is 0")));
  EXPECT_THAT(
      FromJson<Credentials>(R"({"name": ")" + std::string(65, 'a') + R"(", "password": "x"})"),
      test::FailsWith(ErrorCode::kTooLarge, HasSubstr("\"name\" has 65 bytes")));
  EXPECT_THAT(FromJson<ProjectList>(R"({"projects": [3]})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"projects[0]\" is 3")));
  std::string grant = ToJson(SomeGrant());
  grant.replace(grant.find("evaluate"), 8, "destroy!");
  EXPECT_THAT(FromJson<LeaseGrant>(grant),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("task.kind"), HasSubstr("one of train, evaluate"))));
  LeaseGrant inverted = SomeGrant();
  inverted.task.begin = inverted.task.end + 1;
  EXPECT_THAT(FromJson<LeaseGrant>(ToJson(inverted)),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("task.end")));
}

TEST(MessagesTest, WritesTextThatIsNotUtf8AsReplacementCharacters) {
  for (const char* bad : {"a\xff", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                          "\xe2\x82", "\x80"}) {
    const Result<LeaseAnswer> read = FromJson<LeaseAnswer>(ToJson(LeaseAnswer{true, bad}));
    ASSERT_THAT(read, test::Succeeds());
    EXPECT_THAT(read->reason, HasSubstr("\xef\xbf\xbd"));
  }
}

TEST(MessagesTest, ErrorsCrossTheWireWithCodeAndMessage) {
  const Error error{ErrorCode::kStale, "lease 7 \"expired\""};
  const Error read = ErrorFromJson(410, ErrorToJson(error));
  EXPECT_EQ(read.code, error.code);
  EXPECT_EQ(read.message, error.message);
}

TEST(MessagesTest, AForeignErrorBodyGivesAnErrorByItsStatus) {
  for (const char* body : {"", "<html>Bad gateway</html>", "{}", R"({"error": 5})",
                           R"({"error": {"code": "nonsense", "message": "m"}})"}) {
    EXPECT_EQ(ErrorFromJson(502, body).code, ErrorCode::kUnavailable);
    EXPECT_THAT(ErrorFromJson(404, body).message, HasSubstr("404"));
    EXPECT_EQ(ErrorFromJson(404, body).code, ErrorCode::kNotFound);
  }
}

TEST(MessagesTest, EveryCodeHasAStatusAndAllButIoComeBackFromIt) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    SCOPED_TRACE(ErrorCodeName(code));
    EXPECT_GE(HttpStatusOf(code), 400);
    if (code != ErrorCode::kIo) {
      EXPECT_EQ(ErrorCodeOfHttpStatus(HttpStatusOf(code)), code);
    }
  }
}

TEST(MessagesTest, ResultMetricsSurviveTheQuery) {
  const ResultMetrics metrics{100, -5, 99, std::numeric_limits<std::uint64_t>::max()};
  const Result<ResultMetrics> read = ParseResultMetrics(ToQuery(metrics));
  ASSERT_THAT(read, test::Succeeds());
  EXPECT_EQ(*read, metrics);
}

TEST(MessagesTest, RefusesAQueryWithAMissingUnknownOrBrokenField) {
  const struct {
    const char* query;
    const char* expected;
  } kCases[] = {
      {"", "\"samples\" is missing"},
      {"samples=1&loss_sum_micro=2&correct=3", "\"compute_us\" is missing"},
      {"sample=1&loss_sum_micro=2&correct=3&compute_us=4", "did you mean \"samples\""},
      {"samples=x&loss_sum_micro=2&correct=3&compute_us=4", "\"samples\" is not an integer"},
      {"samples=-1&loss_sum_micro=2&correct=3&compute_us=4", "\"samples\" is not an integer"},
      {"samples=1&samples=1&loss_sum_micro=2&correct=3&compute_us=4", "there twice"},
      {"samples&loss_sum_micro=2&correct=3&compute_us=4", "not an integer"},
      {"samples=1&loss_sum_micro=99999999999999999999&correct=3&compute_us=4", "not an integer"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.query);
    EXPECT_THAT(ParseResultMetrics(c.query),
                test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr(c.expected)));
  }
}

}  // namespace
}  // namespace dnc::proto
