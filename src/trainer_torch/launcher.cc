// The program dnc-trainer: opens the library that trains (main.cc), which brings libtorch,
// and calls it.
//
// Debian's libtorch brings 280 libraries. Linked in the ordinary way, each of their 140,000
// references is looked for in all of them, one library after the other, which is a third of
// the time that the program takes to start. A library that is opened by itself looks in what
// it needs alone. So those with the most references are opened first (DNC_OPEN_FIRST, found
// when the program is built); one that is not there is not needed.

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "trainer_torch/main.h"

namespace {

constexpr std::string_view kOpenFirst = DNC_OPEN_FIRST;  // Names with ':' between them.

void OpenFirst() {
  std::string_view rest = kOpenFirst;
  while (!rest.empty()) {
    const std::size_t length = std::min(rest.find(':'), rest.size());
    ::dlopen(std::string(rest.substr(0, length)).c_str(), RTLD_NOW | RTLD_LOCAL);
    rest.remove_prefix(std::min(length + 1, rest.size()));
  }
}

// The folder of this program, with a '/' behind it.
std::string ProgramFolder() {
  std::array<char, 4096> path;
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  if (length <= 0) return "";
  const std::string_view name(path.data(), static_cast<std::size_t>(length));
  return std::string(name.substr(0, name.rfind('/') + 1));
}

}  // namespace

int main(int argc, char** argv) {
  OpenFirst();
  const std::string path = ProgramFolder() + DNC_TRAINER_LIBRARY;
  void* const library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const entry = library == nullptr ? nullptr : ::dlsym(library, "DncTrainerMain");
  if (entry == nullptr) {
    ::fprintf(stderr, "dnc-trainer: %s\n", ::dlerror());
    return 1;
  }
  return reinterpret_cast<decltype(&DncTrainerMain)>(entry)(argc, argv);
}
