// The frame of the `dnc` binary: a file per command, each of which adds itself to
// the command line and leaves what it will do in Registry::run.
//
// Results go to stdout; progress, warnings and errors to stderr. A wrong command
// line ends with exit code 2, an Error with ExitCode(error.code).

#pragma once

#include <functional>
#include <string>

#include "base/result.h"

namespace CLI {
class App;
}

namespace dnc::cli {

struct Registry {
  CLI::App* app = nullptr;
  std::function<Status()> run;  // Of the command that the user chose.
};

struct CommandText {
  std::string name;
  std::string description;
  std::string examples;  // Shown under the options by --help.
};

// A subcommand; `run` becomes Registry::run when the user chose it.
CLI::App* AddCommand(Registry* registry, const CommandText& text, std::function<Status()> run);

// Each in the file of its name.
void AddDivide(Registry* registry);
void AddInspect(Registry* registry);
void AddVerify(Registry* registry);
void AddStream(Registry* registry);
void AddMerge(Registry* registry);
void AddFetch(Registry* registry);
void AddExport(Registry* registry);
void AddCid(Registry* registry);
void AddPresign(Registry* registry);
void AddTrain(Registry* registry);
void AddEvaluate(Registry* registry);
void AddPredict(Registry* registry);
void AddConvert(Registry* registry);
void AddDoctor(Registry* registry);
void AddServe(Registry* registry);
void AddAccountCommands(Registry* registry);
void AddSubmit(Registry* registry);
void AddProjectCommands(Registry* registry);
void AddJoin(Registry* registry);

// Parses the command line and runs it; returns the exit code.
int Main(int argc, char** argv);

}  // namespace dnc::cli
