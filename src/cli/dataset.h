// What several commands do with a dataset: open it by its location, with the options
// of stores that the command line takes.

#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "divide/dataset.h"
#include "store/open_store.h"

namespace CLI {
class App;
}

namespace dnc::cli {

using divide::Dataset;

// What the options below were given, as text.
struct StoreArguments {
  std::string up;
  std::string down;
  std::string proxy;
  std::string s3_endpoint;
  std::string s3_region;
  bool s3_anonymous = false;
  bool s3_path_style = false;
  std::vector<std::string> ipfs_gateways;
  std::string ipfs_api;
  int connections = 0;
};

// Adds --up, --down, --proxy, --connections, --s3-... and --ipfs-... `arguments` must
// live until the command line is parsed.
void AddStoreOptions(CLI::App* command, StoreArguments* arguments);

// Errors: kInvalidArgument, naming the option.
Result<store::StoreOptions> MakeStoreOptions(const StoreArguments& arguments);

// OpenDataset with those options.
Result<Dataset> OpenDataset(const std::string& location, const StoreArguments& arguments = {});

}  // namespace dnc::cli
