#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "base/human.h"

namespace dnc::cli {
namespace {

constexpr Duration kTerminalInterval = Duration::Milliseconds(100);
constexpr Duration kPlainInterval = Duration::Seconds(2);

std::size_t TerminalColumns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
  return size.ws_col;
}

}  // namespace

Progress::Progress(bool quiet)
    : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1), started_(MonotonicNow()) {
  shown_ = started_;
}

Progress::~Progress() { ClearLine(); }

bool Progress::Due() const {
  return !quiet_ && MonotonicNow() - shown_ >= (terminal_ ? kTerminalInterval : kPlainInterval);
}

void Progress::Show(const std::string& text) {
  if (!Due()) return;
  shown_ = MonotonicNow();
  if (!terminal_) {
    std::fprintf(stderr, "%s\n", text.c_str());
    return;
  }
  const std::string cut = text.substr(0, TerminalColumns() - 1);
  std::fprintf(stderr, "\r\033[K%s", cut.c_str());
  std::fflush(stderr);
  line_open_ = true;
}

void Progress::Print(const std::string& line) {
  if (quiet_) return;
  ClearLine();
  std::fprintf(stderr, "%s\n", line.c_str());
}

Duration Progress::elapsed() const { return MonotonicNow() - started_; }

void Progress::ClearLine() {
  if (!line_open_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  line_open_ = false;
}

std::string RateText(std::uint64_t done, std::uint64_t total, const char* unit, Duration elapsed) {
  const double seconds = elapsed.seconds();
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  std::string text = FormatCount(done);
  if (total > 0) text += "/" + FormatCount(total);
  text += std::string(" ") + unit + ", " + FormatCount(static_cast<std::uint64_t>(rate)) + "/s";
  if (total > done && rate > 0) {
    const double left = static_cast<double>(total - done) / rate;
    text += ", " + FormatDuration(Duration::Microseconds(static_cast<std::int64_t>(left * 1e6))) +
            " left";
  }
  return text;
}

}  // namespace dnc::cli
