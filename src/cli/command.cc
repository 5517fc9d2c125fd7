#include "cli/command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>

#include "cli/interrupt.h"

namespace dnc::cli {
namespace {

constexpr int kUsageExitCode = 2;

}  // namespace

CLI::App* AddCommand(Registry* registry, const CommandText& text, std::function<Status()> run) {
  CLI::App* command = registry->app->add_subcommand(text.name, text.description);
  command->footer("Examples:\n" + text.examples);
  command->callback([registry, run = std::move(run)] { registry->run = run; });
  return command;
}

int Main(int argc, char** argv) {
  CLI::App app{
      "dnc divides a dataset into small verifiable shards and trains on them: on this\n"
      "machine in a fixed amount of memory, or on many borrowed machines."};
  app.set_version_flag("--version", "dnc " DNC_VERSION);
  app.require_subcommand(0, 1);
  app.footer("`dnc COMMAND --help` shows a command's options and examples.");
  Registry registry{.app = &app, .run = nullptr};
  AddDivide(&registry);
  AddInspect(&registry);
  AddVerify(&registry);
  AddStream(&registry);
  AddMerge(&registry);
  AddFetch(&registry);
  AddExport(&registry);
  AddCid(&registry);
  AddPresign(&registry);
  AddTrain(&registry);
  AddEvaluate(&registry);
  AddPredict(&registry);
  AddConvert(&registry);
  AddDoctor(&registry);
  AddServe(&registry);
  AddAccountCommands(&registry);
  AddSubmit(&registry);
  AddProjectCommands(&registry);
  AddJoin(&registry);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsageExitCode;
  }
  if (!registry.run) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  }
  InstallInterruptHandler();
  const Status status = registry.run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "dnc: %s\n", status.error().message.c_str());
  return ExitCode(status.error().code);
}

}  // namespace dnc::cli
