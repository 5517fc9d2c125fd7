// Accounts, tokens, objects and submissions, over real sockets.

#include "loopback/loopback.h"
#include "testing/testing.h"
#include "update/update.h"

namespace dnc::loopback {
namespace {

using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::HasSubstr;

class LoopbackTest : public ::testing::Test {
 protected:
  test::TemporaryFolder folder_;
};

using AccountsTest = LoopbackTest;
using ObjectsTest = LoopbackTest;
using SubmissionTest = LoopbackTest;

TEST_F(AccountsTest, SignUpLogInLogOut) {
  TestServer server(folder_ / "state");
  const auto user = MakeUser(server.url(), "ada");
  const Result<proto::AccountInfo> info = user->GetAccount();
  ASSERT_THAT(info, Succeeds());
  EXPECT_EQ(info->name, "ada");
  EXPECT_EQ(info->projects, 0u);
  EXPECT_THAT(user->DeleteSession(), Succeeds());
  EXPECT_THAT(user->GetAccount(), FailsWith(ErrorCode::kUnauthenticated, HasSubstr("not known")));
}

TEST_F(AccountsTest, RefusesATakenNameABadNameAndAShortPassword) {
  TestServer server(folder_ / "state");
  MakeUser(server.url(), "ada");
  const auto client = MakeClient(server.url());
  EXPECT_THAT(client->CreateAccount({"ada", "another password"}),
              FailsWith(ErrorCode::kAlreadyExists, HasSubstr("\"ada\"")));
  EXPECT_THAT(client->CreateAccount({"ada lovelace", "correct horse"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("letters, digits")));
  EXPECT_THAT(client->CreateAccount({"", "correct horse"}), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(client->CreateAccount({"bob", "short"}),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("at least 8")));
  EXPECT_THAT(client->CreateAccount({"bob", std::string(2000, 'x')}),
              FailsWith(ErrorCode::kTooLarge, HasSubstr("password")));
}

TEST_F(AccountsTest, RefusesWrongPasswordsAndThenMakesTheirSenderWait) {
  TestServer server(folder_ / "state");
  MakeUser(server.url(), "ada");
  const auto client = MakeClient(server.url());
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(client->CreateSession({"ada", "wrong horse"}),
                FailsWith(ErrorCode::kUnauthenticated, HasSubstr("wrong name or password")));
  }
  // Now even the right one has to wait; other names do not.
  EXPECT_THAT(client->CreateSession({"ada", "correct horse"}),
              FailsWith(ErrorCode::kPermissionDenied, HasSubstr("try again in")));
  EXPECT_THAT(client->CreateSession({"nobody", "correct horse"}),
              FailsWith(ErrorCode::kUnauthenticated));
}

TEST_F(AccountsTest, RefusesACallWithoutATokenWithAnUnknownOneOrAnExpiredOne) {
  TestServer server(folder_ / "state");
  const auto user = MakeUser(server.url(), "ada");
  EXPECT_THAT(user->GetAccount(), Succeeds());
  EXPECT_THAT(MakeClient(server.url())->GetAccount(),
              FailsWith(ErrorCode::kUnauthenticated, HasSubstr("log in first")));
  EXPECT_THAT(MakeClient(server.url(), std::string(64, 'a'))->GetAccount(),
              FailsWith(ErrorCode::kUnauthenticated));
  EXPECT_THAT(MakeClient(server.url(), "'; DROP TABLE tokens; --")->GetAccount(),
              FailsWith(ErrorCode::kUnauthenticated));

  server::ServerOptions options;
  options.token_lifetime = {};
  TestServer short_lived(folder_ / "another", options);
  const auto late = MakeUser(short_lived.url(), "ada");
  EXPECT_THAT(late->GetAccount(), FailsWith(ErrorCode::kUnauthenticated, HasSubstr("expired")));
}

TEST_F(AccountsTest, ATokenOfTheOtherKindIsRefused) {
  TestServer server(folder_ / "state");
  const auto user = MakeUser(server.url(), "ada");
  const auto provider = MakeProvider(user.get(), "kitchen");
  EXPECT_THAT(provider->GetAccount(), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(provider->ListProjects(), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(provider->CreateProvider({"p", 1, 0}), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(provider->DeleteSession(), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(user->RequestLease({}), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(user->RenewLease({1}, 0), FailsWith(ErrorCode::kPermissionDenied));
  EXPECT_THAT(user->GetWork({1}), FailsWith(ErrorCode::kPermissionDenied));
}

TEST_F(AccountsTest, AccountsAndTokensOutliveTheServer) {
  TestServer server(folder_ / "state");
  const auto user = MakeUser(server.url(), "ada");
  server.Kill();
  server.Restart();
  EXPECT_THAT(user->GetAccount(), Succeeds());
  EXPECT_THAT(user->CreateSession({"ada", "correct horse"}), Succeeds());
}

TEST_F(AccountsTest, NeitherPasswordsNorTokensAreInTheDatabase) {
  TestServer server(folder_ / "state");
  const auto client = MakeClient(server.url());
  ASSERT_THAT(client->CreateAccount({"ada", "correct horse"}), Succeeds());
  const Result<proto::SessionCreated> session = client->CreateSession({"ada", "correct horse"});
  ASSERT_THAT(session, Succeeds());
  server.server().Stop();
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder_ / "state")) {
    if (!file.is_regular_file()) continue;
    const Result<std::string> bytes = ReadFile(file.path().string(), 64u << 20);
    ASSERT_THAT(bytes, Succeeds());
    EXPECT_EQ(bytes->find("correct horse"), std::string::npos) << file.path();
    EXPECT_EQ(bytes->find(session->token), std::string::npos) << file.path();
  }
}

// ---- Objects

TEST_F(ObjectsTest, GoInAndComeOutWholeAndInParts) {
  TestServer server(folder_ / "state");
  const auto user = MakeUser(server.url(), "ada");
  for (const auto& [cid, bytes] : MakeTinyProject().shards) {
    EXPECT_THAT(user->ObjectSize(cid), FailsWith(ErrorCode::kNotFound));
    ASSERT_THAT(Upload(user.get(), cid, bytes), Succeeds());
    ASSERT_THAT(Upload(user.get(), cid, bytes), Succeeds());  // Again: no harm.
    const Result<std::uint64_t> size = user->ObjectSize(cid);
    ASSERT_THAT(size, Succeeds());
    EXPECT_EQ(*size, bytes.size());
    std::string whole;
    ASSERT_THAT(user->GetObject(cid,
                                [&](ByteSpan part) -> Status {
                                  whole += AsText(part);
                                  return {};
                                }),
                Succeeds());
    EXPECT_EQ(whole, bytes);
    for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, bytes.size() - 100}) {
      Bytes part(100);
      ASSERT_THAT(user->GetObjectRange(cid, offset, part), Succeeds());
      EXPECT_EQ(AsText(part), bytes.substr(offset, 100));
    }
    Bytes beyond(100);
    EXPECT_THAT(user->GetObjectRange(cid, bytes.size() - 99, beyond),
                FailsWith(ErrorCode::kCorrupt));
    EXPECT_THAT(user->GetObjectRange(cid, bytes.size(), beyond),
                FailsWith(ErrorCode::kCorrupt, HasSubstr("past its end")));
  }
}

TEST_F(ObjectsTest, BytesOfAnotherContentIdAreRefusedAndNotKept) {
  TestServer server(folder_ / "state");
  const auto user = MakeUser(server.url(), "ada");
  const TinyProject project = MakeTinyProject();
  const auto& [cid, bytes] = *project.shards.begin();
  std::string wrong = bytes;
  wrong[10] = static_cast<char>(wrong[10] ^ 1);
  EXPECT_THAT(Upload(user.get(), cid, wrong),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr(cid), HasSubstr("not of"))));
  EXPECT_THAT(user->ObjectSize(cid), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(Upload(user.get(), "not-a-cid", bytes), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "state/objects"));
}

TEST_F(ObjectsTest, OneAboveTheLimitIsRefused) {
  server::ServerOptions options;
  options.object_bytes_max = 1 << 20;
  TestServer server(folder_ / "state", options);
  const auto user = MakeUser(server.url(), "ada");
  for (const auto& [cid, bytes] : MakeTinyProject().shards) {
    if (bytes.size() <= options.object_bytes_max) {
      EXPECT_THAT(Upload(user.get(), cid, bytes), Succeeds());
    } else {
      EXPECT_THAT(Upload(user.get(), cid, bytes),
                  FailsWith(ErrorCode::kTooLarge, HasSubstr("1,048,576")));
    }
  }
}

TEST_F(ObjectsTest, AreTheirUploadersAlone) {
  TestServer server(folder_ / "state");
  const auto ada = MakeUser(server.url(), "ada");
  const auto bob = MakeUser(server.url(), "bob");
  const auto provider = MakeProvider(ada.get(), "kitchen");
  const TinyProject project = MakeTinyProject();
  const auto& [cid, bytes] = *project.shards.begin();
  ASSERT_THAT(Upload(ada.get(), cid, bytes), Succeeds());
  EXPECT_THAT(bob->ObjectSize(cid), FailsWith(ErrorCode::kNotFound));
  // A provider reads what its leases' projects need, and nothing before it has one.
  EXPECT_THAT(provider->ObjectSize(cid), FailsWith(ErrorCode::kNotFound));
  // Who has the bytes may have them here too; who only knows their name may not.
  EXPECT_THAT(Upload(bob.get(), cid, std::string(bytes.size(), 'x')),
              FailsWith(ErrorCode::kCorrupt));
  EXPECT_THAT(bob->ObjectSize(cid), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(Upload(bob.get(), cid, bytes), Succeeds());
  EXPECT_THAT(bob->ObjectSize(cid), Succeeds());
}

// ---- Submission

class BadSubmissionTest : public LoopbackTest {
 protected:
  // What the server says to a project that was changed by `change`.
  template <typename Change>
  Status SubmitChanged(Change change) {
    TinyProject project = MakeTinyProject();
    change(project);
    return Submit(user_.get(), project).status();
  }
  void ExpectNothingCreated() {
    const Result<proto::ProjectList> list = user_->ListProjects();
    ASSERT_THAT(list, Succeeds());
    EXPECT_TRUE(list->projects.empty());
  }

  TestServer server_{folder_ / "state"};
  std::unique_ptr<client::Client> user_ = MakeUser(server_.url(), "ada");
};

TEST_F(BadSubmissionTest, ModelsThatWillNotDoAreRefused) {
  EXPECT_THAT(SubmitChanged([](TinyProject& p) { p.spec.model_json = "{}"; }),
              FailsWith(::testing::_, HasSubstr("model")));
  EXPECT_THAT(SubmitChanged([](TinyProject& p) {
                auto& json = p.spec.model_json;
                json.replace(json.find("\"Dense\""), 7, "\"Dance\"");
              }),
              FailsWith(ErrorCode::kUnsupported, HasSubstr("Dance")));
  EXPECT_THAT(SubmitChanged([](TinyProject& p) {
                auto& json = p.spec.model_json;
                json = json.substr(0, json.find(",\n  \"compile\"")) + "}";
              }),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("compile")));
  // Five features in the model, four in the data.
  EXPECT_THAT(SubmitChanged([](TinyProject& p) {
                auto& json = p.spec.model_json;
                json.replace(json.find("[null, 4]"), 9, "[null, 5]");
              }),
              FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("(4,)"), HasSubstr("(5,)"))));
  // Two outputs, three classes.
  EXPECT_THAT(SubmitChanged([](TinyProject& p) {
                auto& json = p.spec.model_json;
                json.replace(json.find("\"units\": 3"), 10, "\"units\": 2");
              }),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("3 classes")));
  ExpectNothingCreated();
}

TEST_F(BadSubmissionTest, ManifestsAndSplitsThatWillNotDoAreRefused) {
  EXPECT_THAT(SubmitChanged([](TinyProject& p) { p.spec.manifest_json = "{}"; }),
              FailsWith(::testing::_, HasSubstr("manifest")));
  EXPECT_THAT(SubmitChanged([](TinyProject& p) { p.spec.fit.train_split = "training"; }),
              FailsWith(ErrorCode::kInvalidArgument,
                        AllOf(HasSubstr("train_split"), HasSubstr("train, validation"))));
  EXPECT_THAT(SubmitChanged([](TinyProject& p) {
                p.spec.fit.validation_split = "test";
                p.spec.fit.validation_split_stated = true;
              }),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("validation_split")));
  EXPECT_THAT(SubmitChanged([](TinyProject& p) {
                p.manifest.columns[1].name = "label";
                p.spec.manifest_json = shard::FormatManifest(p.manifest);
              }),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"y\"")));
  ExpectNothingCreated();
}

TEST_F(BadSubmissionTest, MoreTasksThanSamplesAndKAboveTasksAreRefused) {
  EXPECT_THAT(SubmitChanged([](TinyProject& p) { p.spec.grid.total_tasks = 61; }),
              FailsWith(ErrorCode::kInvalidArgument, AllOf(HasSubstr("61"), HasSubstr("60"))));
  EXPECT_THAT(SubmitChanged([](TinyProject& p) { p.spec.grid.task_size = 4; }),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("task_size")));
  ExpectNothingCreated();
}

TEST_F(BadSubmissionTest, MissingShardsAreCountedAndNamed) {
  TinyProject project = MakeTinyProject();
  const std::string first = project.shards.begin()->first;
  const std::string bytes = project.shards.begin()->second;
  ASSERT_THAT(Upload(user_.get(), first, bytes), Succeeds());
  const auto submitted = user_->SubmitProject(project.spec);
  EXPECT_THAT(submitted, FailsWith(ErrorCode::kNotFound, HasSubstr("2 of 3 shards")));
  // Another account's shards do not count.
  const auto bob = MakeUser(server_.url(), "bob");
  for (const auto& [cid, more] : project.shards)
    ASSERT_THAT(Upload(bob.get(), cid, more), Succeeds());
  EXPECT_THAT(user_->SubmitProject(project.spec),
              FailsWith(ErrorCode::kNotFound, HasSubstr("2 of 3 shards")));
  ExpectNothingCreated();
}

TEST_F(SubmissionTest, AProjectAboveTheLimitsIsRefused) {
  server::ServerOptions options;
  options.project_bytes_max = 4000;
  options.weight_count_max = 10;
  TestServer server(folder_ / "state", options);
  const auto user = MakeUser(server.url(), "ada");
  TinyProject project = MakeTinyProject();
  EXPECT_THAT(Submit(user.get(), project), FailsWith(ErrorCode::kTooLarge, HasSubstr("weights")));
  project.spec.description = std::string(5000, 'x');
  EXPECT_THAT(Submit(user.get(), project), FailsWith(ErrorCode::kTooLarge, HasSubstr("4,000")));
}

TEST_F(SubmissionTest, AProjectIsItsOwnersAlone) {
  TestServer server(folder_ / "state");
  const auto ada = MakeUser(server.url(), "ada");
  const auto bob = MakeUser(server.url(), "bob");
  const Result<ProjectId> project = Submit(ada.get(), MakeTinyProject());
  ASSERT_THAT(project, Succeeds());
  EXPECT_EQ(ada->ListProjects()->projects.size(), 1u);
  EXPECT_EQ(bob->ListProjects()->projects.size(), 0u);
  const auto missing = FailsWith(ErrorCode::kNotFound, HasSubstr("no project"));
  EXPECT_THAT(bob->GetProject(*project), missing);
  EXPECT_THAT(bob->PauseProject(*project), missing);
  EXPECT_THAT(bob->CancelProject(*project), missing);
  EXPECT_THAT(bob->DownloadModel(*project, [](ByteSpan) { return Status(); }), missing);
  EXPECT_THAT(ada->GetProject({project->value + 1}), missing);
  EXPECT_THAT(ada->GetProject(*project), Succeeds());
}

TEST_F(SubmissionTest, ShowsWhatWasSubmitted) {
  TestServer server(folder_ / "state");
  const auto user = MakeUser(server.url(), "ada");
  TinyProject project = MakeTinyProject();
  const Result<ProjectId> id = Submit(user.get(), project);
  ASSERT_THAT(id, Succeeds());
  const Result<proto::ProjectStatus> status = user->GetProject(*id);
  ASSERT_THAT(status, Succeeds());
  EXPECT_EQ(status->summary.name, "tiny");
  EXPECT_EQ(status->summary.phase, proto::Phase::kRunning);
  EXPECT_EQ(status->summary.version, 0u);
  EXPECT_EQ(status->summary.steps_total, 4u);
  EXPECT_EQ(status->summary.tasks_total, 6u);
  EXPECT_EQ(status->summary.ended_us, 0);
  EXPECT_EQ(status->grid, project.spec.grid);
  EXPECT_EQ(status->fit.validation_split, "validation");
  EXPECT_EQ(status->weight_count, 15u);
  EXPECT_EQ(status->train_samples, 60u);
  EXPECT_EQ(status->validation_samples, 12u);
  EXPECT_FALSE(status->has_last_step);
  EXPECT_EQ(user->GetAccount()->projects, 1u);
  const Result<proto::ServerStatus> server_status = MakeClient(server.url())->GetServerStatus();
  ASSERT_THAT(server_status, Succeeds());
  EXPECT_EQ(server_status->projects_running, 1u);
  EXPECT_EQ(server_status->accounts, 1u);
}

TEST_F(SubmissionTest, ValidationIsLeftOutWhereNobodyAskedForItAndThereIsNone) {
  TestServer server(folder_ / "state");
  const auto user = MakeUser(server.url(), "ada");
  TinyProject project = MakeTinyProject();
  project.manifest.splits.pop_back();
  project.manifest.shards.pop_back();
  project.spec.manifest_json = shard::FormatManifest(project.manifest);
  const Result<ProjectId> id = Submit(user.get(), project);
  ASSERT_THAT(id, Succeeds());
  EXPECT_EQ(user->GetProject(*id)->fit.validation_split, "");
  EXPECT_EQ(user->GetProject(*id)->validation_samples, 0u);
}

}  // namespace
}  // namespace dnc::loopback
