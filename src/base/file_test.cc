// What a crash or a full disk may leave behind is decided here, so the error paths
// are walked one by one.

#include "base/file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/random_access_source.h"
#include "testing/testing.h"

namespace dnc {
namespace {

namespace fs = std::filesystem;
using test::FailsWith;
using test::Succeeds;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::size_t EntryCount(const std::string& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

std::string Contents(const std::string& path) {
  const auto text = ReadFile(path, 1 << 20);
  return text.ok() ? *text : "(" + text.error().message + ")";
}

TEST(FileTest, ReadsWhatItWroteAndReplacesIt) {
  test::TemporaryFolder folder;
  const std::string path = folder / "a";
  ASSERT_THAT(WriteFileAtomically(path, AsBytes("one")), Succeeds());
  EXPECT_EQ(Contents(path), "one");
  ASSERT_THAT(WriteFileAtomically(path, AsBytes("")), Succeeds());
  EXPECT_EQ(Contents(path), "");
  EXPECT_EQ(EntryCount(folder.path()), 1u);
}

TEST(FileTest, AFileAppearsOnlyWhenItIsCommitted) {
  test::TemporaryFolder folder;
  const std::string path = folder / "a";
  {
    auto file = AtomicFile::Create(path);
    ASSERT_THAT(file, Succeeds());
    ASSERT_THAT(file->Write(AsBytes("0123")), Succeeds());
    ASSERT_THAT(file->Write(AsBytes("45")), Succeeds());
    ASSERT_THAT(file->WriteAt(1, AsBytes("xy")), Succeeds());
    EXPECT_FALSE(PathExists(path));
    EXPECT_TRUE(PathExists(file->temporary_path()));
    EXPECT_EQ(fs::path(file->temporary_path()).parent_path(), folder.path());
    ASSERT_THAT(file->Commit(), Succeeds());
    EXPECT_FALSE(PathExists(file->temporary_path()));
  }
  EXPECT_EQ(Contents(path), "0xy345");
}

TEST(FileTest, AnAbandonedFileLeavesTheOldOneAndNothingElse) {
  test::TemporaryFolder folder;
  const std::string path = folder / "a";
  ASSERT_THAT(WriteFileAtomically(path, AsBytes("old")), Succeeds());
  {
    auto file = AtomicFile::Create(path);
    ASSERT_THAT(file, Succeeds());
    ASSERT_THAT(file->Write(AsBytes("new")), Succeeds());
    AtomicFile moved = std::move(*file);
    auto other = AtomicFile::Create(path);
    ASSERT_THAT(other, Succeeds());
    EXPECT_NE(other->temporary_path(), moved.temporary_path());
    moved = std::move(*other);  // Abandons the first.
    EXPECT_EQ(EntryCount(folder.path()), 2u);
  }
  EXPECT_EQ(Contents(path), "old");
  EXPECT_EQ(EntryCount(folder.path()), 1u);
}

TEST(FileTest, FailsInAFolderThatIsNotThere) {
  test::TemporaryFolder folder;
  EXPECT_THAT(WriteFileAtomically(folder / "no/a", AsBytes("x")),
              FailsWith(ErrorCode::kNotFound, HasSubstr("no/a")));
  EXPECT_THAT(SyncDirectory(folder / "no"), FailsWith(ErrorCode::kNotFound));
}

TEST(FileTest, ARefusedRenameLeavesNothingBehind) {
  test::TemporaryFolder folder;
  const std::string path = folder / "a";
  ASSERT_THAT(MakeDirectories(path + "/b"), Succeeds());
  EXPECT_THAT(WriteFileAtomically(path, AsBytes("x")), FailsWith(ErrorCode::kIo, HasSubstr(path)));
  EXPECT_EQ(EntryCount(folder.path()), 1u);
}

TEST(FileTest, AFullDiskIsReportedAsSuchAndTheOldFileStays) {
  // A limit on the size of files stands in for a disk that fills up; in a child,
  // since limits stay. Exit codes tell which step went wrong.
  test::TemporaryFolder folder;
  const std::string path = folder / "a";
  ASSERT_THAT(WriteFileAtomically(path, AsBytes("old")), Succeeds());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(1);
    const Status status = WriteFileAtomically(path, Bytes(8192));
    if (status.ok()) ::_exit(2);
    if (status.error().code != ErrorCode::kResourceExhausted) ::_exit(3);
    ::_exit(status.error().message.find(path) != std::string::npos ? 0 : 4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(Contents(path), "old");
  EXPECT_EQ(EntryCount(folder.path()), 1u);
}

TEST(FileTest, ReadFileRefusesMoreThanItsLimit) {
  test::TemporaryFolder folder;
  const std::string path = folder / "a";
  ASSERT_THAT(WriteFileAtomically(path, AsBytes("12345")), Succeeds());
  EXPECT_THAT(ReadFile(path, 5), Succeeds());
  EXPECT_THAT(ReadFile(path, 4),
              FailsWith(ErrorCode::kTooLarge, AllOf(HasSubstr("5 bytes"), HasSubstr("at most 4"))));
}

TEST(FileTest, SaysWhyAFileCannotBeRead) {
  test::TemporaryFolder folder;
  EXPECT_THAT(ReadFile(folder / "no", 10), FailsWith(ErrorCode::kNotFound, HasSubstr("No such")));
  EXPECT_THAT(ReadFile(folder.path(), 10),
              FailsWith(ErrorCode::kInvalidArgument, HasSubstr("not a regular file")));
}

TEST(FileTest, MakesFoldersWithTheirParents) {
  test::TemporaryFolder folder;
  ASSERT_THAT(MakeDirectories(folder / "a/b/c"), Succeeds());
  ASSERT_THAT(MakeDirectories(folder / "a/b/c"), Succeeds());
  EXPECT_TRUE(PathExists(folder / "a/b/c"));
  std::ofstream(folder / "file") << "x";
  EXPECT_FALSE(MakeDirectories(folder / "file/d").ok());
}

TEST(FileSourceTest, ReadsAnyRange) {
  test::TemporaryFolder folder;
  const std::string path = folder / "a";
  ASSERT_THAT(WriteFileAtomically(path, AsBytes("0123456789")), Succeeds());
  const auto source = FileSource::Open(path);
  ASSERT_THAT(source, Succeeds());
  EXPECT_EQ((*source)->size(), 10u);
  EXPECT_EQ((*source)->name(), path);
  Bytes out(3);
  ASSERT_THAT((*source)->ReadAt(7, out), Succeeds());
  EXPECT_EQ(AsText(out), "789");
  EXPECT_THAT((*source)->ReadAt(8, out),
              FailsWith(ErrorCode::kCorrupt, AllOf(HasSubstr(path), HasSubstr("truncated"))));
}

TEST(FileSourceTest, NoticesAFileThatShrinks) {
  test::TemporaryFolder folder;
  const std::string path = folder / "a";
  ASSERT_THAT(WriteFileAtomically(path, AsBytes("0123456789")), Succeeds());
  const auto source = FileSource::Open(path);
  ASSERT_THAT(source, Succeeds());
  ASSERT_EQ(::truncate(path.c_str(), 4), 0);
  Bytes out(10);
  EXPECT_THAT((*source)->ReadAt(0, out), FailsWith(ErrorCode::kCorrupt, HasSubstr("byte 4")));
}

TEST(FileSourceTest, RefusesWhatIsNoFile) {
  test::TemporaryFolder folder;
  EXPECT_THAT(FileSource::Open(folder.path()), FailsWith(ErrorCode::kInvalidArgument));
  EXPECT_THAT(FileSource::Open(folder / "no"), FailsWith(ErrorCode::kNotFound));
  EXPECT_THAT(FileSource::Open("/dev/null"), FailsWith(ErrorCode::kInvalidArgument));
}

TEST(FileSourceTest, ANamedPipeIsRefusedAndNotWaitedFor) {
  test::TemporaryFolder folder;
  const std::string path = folder / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  // The other end is open, so that opening cannot block here either way.
  const int other_end = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(other_end, 0);
  EXPECT_THAT(FileSource::Open(path), FailsWith(ErrorCode::kInvalidArgument));
  ::close(other_end);
}

TEST(ErrnoErrorTest, MapsWhatCallersReactTo) {
  EXPECT_EQ(ErrnoError("open", "x", ENOENT).code, ErrorCode::kNotFound);
  for (const int number : {ENOSPC, EDQUOT, EMFILE, ENOMEM, EFBIG}) {
    EXPECT_EQ(ErrnoError("write", "x", number).code, ErrorCode::kResourceExhausted);
  }
  EXPECT_EQ(ErrnoError("write", "x", EIO).code, ErrorCode::kIo);
  EXPECT_EQ(ErrnoError("write", "x", EACCES).message, "cannot write x: Permission denied");
}

}  // namespace
}  // namespace dnc
