// Ctrl-C and SIGTERM: the first asks every command to stop cleanly, a second one
// ends the process at once.

#pragma once

#include <atomic>

namespace dnc::cli {

void InstallInterruptHandler();
bool Interrupted();
// The flag itself, for code that polls one.
const std::atomic<bool>* InterruptFlag();

}  // namespace dnc::cli
