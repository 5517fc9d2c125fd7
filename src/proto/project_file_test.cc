// A project file is written by hand, so these tests make the mistakes that people
// make and read what they are told.

#include "proto/project_file.h"

#include "testing/testing.h"

namespace dnc::proto {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Result<ProjectFile> Parse(const std::string& json) {
  return ParseProjectFile(json, "/home/ada/fashion/project.json");
}

// The smallest project, with more fields put behind it: R"(, "fit": {})".
std::string Minimal(const std::string& more = "") {
  return R"({"name": "f", "model": "cnn.json", "data": "shards/manifest.json")" + more + "}";
}

TEST(ProjectFileTest, FillsInDefaults) {
  const Result<ProjectFile> file = Parse(Minimal());
  ASSERT_THAT(file, test::Succeeds());
  EXPECT_EQ(file->name, "f");
  EXPECT_EQ(file->fit, FitSettings{});
  EXPECT_EQ(file->grid, GridSettings{});
  EXPECT_EQ(file->fit.validation_split, "validation");
  EXPECT_FALSE(file->fit.validation_split_stated);
}

TEST(ProjectFileTest, ReadsEveryField) {
  const Result<ProjectFile> file = Parse(R"({
    "name": "fashion", "description": "ten kinds of clothes",
    "model": "cnn.json", "data": "/data/fm/manifest.json",
    "fit": {"epochs": 3, "batch_size": 64, "seed": 9007199254740991,
            "train_split": "a", "validation_split": "b"},
    "grid": {"total_tasks": 20, "task_size": 5, "max_contributors": 7}})");
  ASSERT_THAT(file, test::Succeeds());
  EXPECT_EQ(file->description, "ten kinds of clothes");
  EXPECT_EQ(file->fit, (FitSettings{3, 64, kSeedMax, "a", "b", true}));
  EXPECT_EQ(file->grid, (GridSettings{20, 5, 7}));
}

TEST(ProjectFileTest, ReadsHowSamplesCountAndWhenToStop) {
  const Result<ProjectFile> file = Parse(Minimal(R"(, "fit": {
    "class_weight": {"shirt": 2, "3": 0.5}, "sample_weight": "w",
    "early_stopping": {"patience": 3, "min_delta": 0.01, "monitor": "val_accuracy",
                       "restore_best": true}})"));
  ASSERT_THAT(file, test::Succeeds());
  EXPECT_THAT(file->fit.class_weight,
              ::testing::ElementsAre(::testing::Pair("shirt", 2.0), ::testing::Pair("3", 0.5)));
  EXPECT_FALSE(file->fit.class_weight_balanced);
  EXPECT_EQ(file->fit.sample_weight, "w");
  EXPECT_EQ(file->fit.early_stopping, (EarlyStopping{3, 0.01, Monitor::kValidationAccuracy, true}));
  EXPECT_EQ(*FitFromJson(FitToJson(file->fit)), file->fit);

  const Result<ProjectFile> short_one =
      Parse(Minimal(R"(, "fit": {"class_weight": "balanced", "early_stopping": {"patience": 0}})"));
  ASSERT_THAT(short_one, test::Succeeds());
  EXPECT_TRUE(short_one->fit.class_weight_balanced);
  EXPECT_EQ(short_one->fit.early_stopping, EarlyStopping{});
  EXPECT_EQ(*FitFromJson(FitToJson(short_one->fit)), short_one->fit);
  EXPECT_EQ(WatchedMonitor(*short_one->fit.early_stopping, true), Monitor::kValidationLoss);
  EXPECT_EQ(WatchedMonitor(*short_one->fit.early_stopping, false), Monitor::kLoss);
  EXPECT_EQ(WatchedMonitor(*file->fit.early_stopping, false), Monitor::kValidationAccuracy);
}

TEST(ProjectFileTest, ResolvesPathsAgainstItsOwnFolder) {
  const Result<ProjectFile> file =
      Parse(R"({"name": "f", "model": "../models/cnn.json", "data": "/data/manifest.json"})");
  ASSERT_THAT(file, test::Succeeds());
  EXPECT_EQ(file->model_path, "/home/ada/models/cnn.json");
  EXPECT_EQ(file->data_path, "/data/manifest.json");
  EXPECT_EQ(ParseProjectFile(Minimal(), "project.json")->model_path, "cnn.json");
}

TEST(ProjectFileTest, RefusesAnUnknownKeyAndNamesTheNearest) {
  EXPECT_THAT(Parse(Minimal(R"(, "fit": {"epoch": 3})")),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("project.json"), HasSubstr("\"fit.epoch\""),
                                    HasSubstr("did you mean \"epochs\""))));
  EXPECT_THAT(
      Parse(Minimal(R"(, "fit": {"class_weights": {}})")),
      test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("did you mean \"class_weight\"")));
  EXPECT_THAT(Parse(Minimal(R"(, "fit": {"early_stopping": {"patience": 1, "min_delt": 1}})")),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("\"fit.early_stopping.min_delt\""),
                                    HasSubstr("did you mean \"min_delta\""))));
  EXPECT_THAT(Parse(Minimal(R"(, "gird": {})")),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("did you mean \"grid\"")));
  EXPECT_THAT(Parse(Minimal(R"(, "optimizer": {})")),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              HasSubstr("known are name, description, model, data, fit, grid")));
}

TEST(ProjectFileTest, TakesAMisspeltRequiredKeyForWhatItIs) {
  EXPECT_THAT(Parse(R"({"name": "f", "modle": "cnn.json", "data": "m.json"})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("did you mean \"model\"")));
}

TEST(ProjectFileTest, NamesAMissingKey) {
  EXPECT_THAT(Parse(R"({"name": "f", "data": "m.json"})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"model\" is missing")));
  EXPECT_THAT(Parse("{}"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"name\" is missing")));
}

TEST(ProjectFileTest, RefusesATaskSizeAboveTotalTasksWithBothNumbers) {
  EXPECT_THAT(Parse(Minimal(R"(, "grid": {"total_tasks": 3, "task_size": 7})")),
              test::FailsWith(ErrorCode::kInvalidArgument,
                              AllOf(HasSubstr("grid.task_size"), HasSubstr("7"),
                                    HasSubstr("total_tasks"), HasSubstr("3"))));
  // The default is no reason to refuse a small project.
  const Result<ProjectFile> small = Parse(Minimal(R"(, "grid": {"total_tasks": 2})"));
  ASSERT_THAT(small, test::Succeeds());
  EXPECT_EQ(small->grid.task_size, 2u);
}

TEST(ProjectFileTest, RefusesValuesOutOfRangeOrOfAnotherType) {
  const struct {
    const char* more;
    const char* expected;
  } kCases[] = {
      {R"(, "fit": {"epochs": 0})", "\"fit.epochs\" is 0; expected an integer from 1 to 100000"},
      {R"(, "fit": {"epochs": -1})", "\"fit.epochs\" is -1"},
      {R"(, "fit": {"epochs": 1.5})", "\"fit.epochs\" is 1.5"},
      {R"(, "fit": {"epochs": "3"})", "\"fit.epochs\" is \"3\"; expected an integer"},
      {R"(, "fit": {"epochs": null})", "\"fit.epochs\" is null"},
      {R"(, "fit": {"batch_size": 65537})", "\"fit.batch_size\" is 65537"},
      {R"(, "fit": {"seed": 9007199254740992})", "\"fit.seed\""},
      {R"(, "fit": {"seed": 99999999999999999999999})", "\"fit.seed\""},
      {R"(, "fit": {"train_split": ""})", "\"fit.train_split\" is empty"},
      {R"(, "fit": [])", "\"fit\" is an array; expected an object"},
      {R"(, "fit": {"class_weight": "even"})",
       "\"fit.class_weight\" is \"even\"; expected \"balanced\", or an object"},
      {R"(, "fit": {"class_weight": [1, 2]})", "\"fit.class_weight\" is an array"},
      {R"(, "fit": {"class_weight": {}})", "\"fit.class_weight\" is empty"},
      {R"(, "fit": {"class_weight": {"hat": "2"}})",
       "\"fit.class_weight.hat\" is \"2\"; expected a number"},
      {R"(, "fit": {"sample_weight": 5})", "\"fit.sample_weight\" is 5; expected a string"},
      {R"(, "fit": {"early_stopping": 3})", "\"fit.early_stopping\" is 3; expected an object"},
      {R"(, "fit": {"early_stopping": {}})", "\"fit.early_stopping.patience\" is missing"},
      {R"(, "fit": {"early_stopping": {"patience": -1}})", "\"fit.early_stopping.patience\" is -1"},
      {R"(, "fit": {"early_stopping": {"patience": 1, "min_delta": -0.1}})",
       "\"fit.early_stopping.min_delta\" is -0.1; expected a number from 0 to 1e+06"},
      {R"(, "fit": {"early_stopping": {"patience": 1, "monitor": "val_los"}})",
       "\"fit.early_stopping.monitor\" is \"val_los\"; expected one of loss, accuracy, val_loss"},
      {R"(, "fit": {"early_stopping": {"patience": 1, "restore_best": 1}})",
       "\"fit.early_stopping.restore_best\" is 1; expected true or false"},
      {R"(, "grid": {"total_tasks": 1000001})", "\"grid.total_tasks\""},
      {R"(, "grid": {"task_size": 0})", "\"grid.task_size\" is 0"},
      {R"(, "description": 5)", "\"description\" is 5; expected a string"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.more);
    EXPECT_THAT(Parse(Minimal(c.more)),
                test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr(c.expected)));
  }
  EXPECT_THAT(Parse(R"({"name": "", "model": "m", "data": "d"})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"name\" is empty")));
  EXPECT_THAT(Parse(R"({"name": "f", "model": "", "data": "d"})"),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("\"model\" is empty")));
}

TEST(ProjectFileTest, RefusesWhatIsNotAJsonObject) {
  for (const char* text : {"", "{", "[1]", "nonsense", "{\"name\": \"\xff\"}", "{} {}"}) {
    SCOPED_TRACE(text);
    EXPECT_THAT(Parse(text), test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("JSON")));
  }
}

TEST(ProjectFileTest, RefusesDeepNestingAndLargeTexts) {
  EXPECT_THAT(Parse(std::string(500'000, '[')),
              test::FailsWith(ErrorCode::kInvalidArgument, HasSubstr("nested deeper")));
  EXPECT_THAT(Parse(std::string(kProjectFileBytesMax + 1, ' ')),
              test::FailsWith(ErrorCode::kTooLarge));
  EXPECT_THAT(Parse(R"({"name": ")" + std::string(kNameBytesMax + 1, 'n') + "\"}"),
              test::FailsWith(ErrorCode::kTooLarge, HasSubstr("limit is 200")));
}

TEST(ProjectFileTest, RefusesEveryTruncationOfAGoodFile) {
  const std::string whole = Minimal(R"(, "fit": {"epochs": 3}, "grid": {"total_tasks": 20})");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    EXPECT_THAT(Parse(whole.substr(0, size)), test::FailsWith(ErrorCode::kInvalidArgument));
  }
}

TEST(ProjectFileTest, LoadsFromAFileAndNamesAMissingOne) {
  const test::TemporaryFolder folder;
  ASSERT_THAT(WriteFileAtomically(folder / "p.json", AsBytes(Minimal())), test::Succeeds());
  const Result<ProjectFile> file = LoadProjectFile(folder / "p.json");
  ASSERT_THAT(file, test::Succeeds());
  EXPECT_EQ(file->model_path, folder / "cnn.json");
  EXPECT_THAT(LoadProjectFile(folder / "q.json"),
              test::FailsWith(ErrorCode::kNotFound, HasSubstr("q.json")));
}

}  // namespace
}  // namespace dnc::proto
