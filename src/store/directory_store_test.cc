#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "store/object_store.h"
#include "testing/testing.h"

// What only a store in a folder can meet: other files, killed processes, a full disk.

namespace dnc::store {
namespace {

using ::dnc::test::FailsWith;
using ::dnc::test::Succeeds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::unique_ptr<ObjectStore> Open(const std::string& folder) {
  auto store = OpenDirectoryStore(folder);
  EXPECT_THAT(store, Succeeds());
  return store.ok() ? std::move(*store) : nullptr;
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

// The id of a process that has ended.
pid_t DeadProcess() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  return child;
}

// Runs `body` in a child process and returns its exit status, or -1 for a crash.
template <typename Body>
int RunInChild(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(DirectoryStoreTest, CreatesTheFolderAndItsParents) {
  const test::TemporaryFolder folder;
  ASSERT_NE(Open(folder / "a/b/c"), nullptr);
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a/b/c"));
}

TEST(DirectoryStoreTest, RefusesAPathThatIsNoFolder) {
  const test::TemporaryFolder folder;
  WriteFile(folder / "file", "x");
  EXPECT_THAT(OpenDirectoryStore(folder / "file"),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("file is not a folder")));
}

TEST(DirectoryStoreTest, SaysWhereItIs) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(Open(folder.path())->Describe(), "folder " + folder.path());
}

TEST(DirectoryStoreTest, KeepsObjectsForTheNextProcess) {
  const test::TemporaryFolder folder;
  ASSERT_THAT(PutObject(Open(folder.path()).get(), "k", AsBytes("text")), Succeeds());
  EXPECT_EQ(AsText(*GetObject(*Open(folder.path()), "k", 10)), "text");
}

TEST(DirectoryStoreTest, LeavesAloneWhatIsNotAnObject) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "sub");
  WriteFile(folder / ".hidden", "x");
  WriteFile(folder / "two words", "x");
  WriteFile(folder / ".tmp-", "x");
  WriteFile(folder / ".tmp-0-1", "x");
  WriteFile(folder / ".tmp-12x-1", "x");
  WriteFile(folder / (".tmp-" + std::to_string(DeadProcess())), "x");
  WriteFile(folder / (".tmp-" + std::to_string(DeadProcess()) + "-1.bak"), "x");
  const auto store = Open(folder.path());
  EXPECT_THAT(*store->List(), IsEmpty());
  EXPECT_THAT(store->Size("sub"), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(store->Read("sub", 0, {}), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(store->Delete("sub"), FailsWith(ErrorCode::kNotFound));
  EXPECT_EQ(NamesIn(folder.path()).size(), 8u);
}

TEST(DirectoryStoreTest, RemovesTemporaryFilesOfDeadProcessesOnly) {
  const test::TemporaryFolder folder;
  const std::string dead = ".tmp-" + std::to_string(DeadProcess()) + "-0";
  const std::string parent = ".tmp-" + std::to_string(::getppid()) + "-3";
  WriteFile(folder / dead, "half");
  WriteFile(folder / parent, "half");
  const auto store = Open(folder.path());
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre(parent));
}

TEST(DirectoryStoreTest, KeepsAWriterThatAnotherStoreOpensBeside) {
  const test::TemporaryFolder folder;
  const auto store = Open(folder.path());
  auto writer = store->Create();
  ASSERT_THAT(writer, Succeeds());
  ASSERT_THAT((*writer)->Write(AsBytes("text")), Succeeds());
  const auto other = Open(folder.path());
  ASSERT_THAT((*writer)->Commit("k"), Succeeds());
  EXPECT_EQ(AsText(*GetObject(*other, "k", 10)), "text");
}

TEST(DirectoryStoreTest, LeavesOnlyATemporaryFileWhenKilledAndRemovesItAtTheNextOpening) {
  const test::TemporaryFolder folder;
  const int result = RunInChild([&folder] {
    auto store = OpenDirectoryStore(folder.path());
    auto writer = (*store)->Create();
    static_cast<void>((*writer)->Write(AsBytes("half")));
    ::kill(::getpid(), SIGKILL);
    return 0;
  });
  EXPECT_EQ(result, -1);
  EXPECT_EQ(NamesIn(folder.path()).size(), 1u);
  EXPECT_THAT(*Open(folder.path())->List(), IsEmpty());
  EXPECT_THAT(NamesIn(folder.path()), IsEmpty());
}

TEST(DirectoryStoreTest, SaysWhenTheFolderIsGone) {
  const test::TemporaryFolder folder;
  const auto store = Open(folder / "objects");
  std::filesystem::remove(folder / "objects");
  EXPECT_THAT(store->Create(), FailsWith(ErrorCode::kNotFound, HasSubstr("objects")));
  EXPECT_THAT(store->List(), FailsWith(ErrorCode::kNotFound, HasSubstr("objects")));
  EXPECT_THAT(store->Size("k"), FailsWith(ErrorCode::kNotFound));
}

TEST(DirectoryStoreTest, FailsToReplaceAFolderAndLeavesNothing) {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "k");
  EXPECT_THAT(PutObject(Open(folder.path()).get(), "k", AsBytes("x")),
              FailsWith(ErrorCode::kIo, HasSubstr("/k")));
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre("k"));
}

// Writes an object of 1 MiB where at most 256 KiB fit. The numbers say what went wrong.
int WriteTooMuch(const std::string& folder) {
  auto store = OpenDirectoryStore(folder);
  if (!store.ok()) return 2;
  if (!PutObject(store->get(), "small", AsBytes("fits")).ok()) return 3;
  const Status status = PutObject(store->get(), "large", Bytes(1 << 20));
  if (status.ok()) return 4;
  if (status.error().code != ErrorCode::kResourceExhausted) return 5;
  if (status.error().message.find(folder) == std::string::npos) return 6;
  const auto keys = (*store)->List();
  if (!keys.ok() || *keys != std::vector<std::string>{"small"}) return 7;
  if (NamesIn(folder) != std::vector<std::string>{"small"}) return 8;
  return 0;
}

// A limit on the size of files stands in for a full disk: it needs no privilege.
TEST(DirectoryStoreTest, LeavesNothingHalfWrittenWhenAFileCannotGrow) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(RunInChild([&folder] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit = {256 << 10, 256 << 10};
              if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
              return WriteTooMuch(folder.path());
            }),
            0);
}

TEST(DirectoryStoreTest, LeavesNothingHalfWrittenWhenTheDiskIsFull) {
  const test::TemporaryFolder folder;
  if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "may not mount a small tmpfs";
  }
  const int result = WriteTooMuch(folder.path());
  ::umount(folder.path().c_str());
  EXPECT_EQ(result, 0);
}

}  // namespace
}  // namespace dnc::store
