// Progress on stderr: one line that is rewritten on a terminal, a plain line every
// two seconds elsewhere. Nothing is shown before a short while has passed, so that
// quick commands stay quiet.

#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"

namespace dnc::cli {

class Progress {
 public:
  // `quiet` shows nothing.
  explicit Progress(bool quiet = false);
  ~Progress();  // Ends the line.
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Whether Show() would print now: ask before building a costly text.
  bool Due() const;
  void Show(const std::string& text);
  // Prints a line of its own, above the progress line. Always shown, unless quiet.
  void Print(const std::string& line);
  Duration elapsed() const;

 private:
  void ClearLine();

  bool quiet_;
  bool terminal_;
  bool line_open_ = false;
  Instant started_;
  Instant shown_;
};

// "12,345/60,000 samples, 8,211/s, 6 s left" ; `total` 0: unknown.
std::string RateText(std::uint64_t done, std::uint64_t total, const char* unit, Duration elapsed);

}  // namespace dnc::cli
