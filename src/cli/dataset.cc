#include "cli/dataset.h"

#include <CLI/CLI.hpp>

#include "cli/values.h"

namespace dnc::cli {

void AddStoreOptions(CLI::App* command, StoreArguments* arguments) {
  const char* const group = "Where the dataset lies";
  const auto text = [&](const char* name, std::string* value, const char* help) {
    command->add_option(name, *value, help)->group(group);
  };
  text("--up", &arguments->up, "Bytes a second to upload at most, such as 2MiB");
  text("--down", &arguments->down, "Bytes a second to download at most");
  text("--proxy", &arguments->proxy, "URL of a proxy; else as the environment says");
  command->add_option("--connections", arguments->connections, "Connections at a time")
      ->check(CLI::Range(1, 256))
      ->group(group);
  text("--s3-endpoint", &arguments->s3_endpoint,
       "URL of an S3 server; else AWS_ENDPOINT_URL, else Amazon's");
  text("--s3-region", &arguments->s3_region, "Else AWS_REGION, else us-east-1");
  command->add_flag("--s3-anonymous", arguments->s3_anonymous, "Sign no request")->group(group);
  command
      ->add_flag("--s3-path-style", arguments->s3_path_style,
                 "Name the bucket in the path, not in the host")
      ->group(group);
  command
      ->add_option("--ipfs-gateway", arguments->ipfs_gateways,
                   "A trustless IPFS gateway; may be given several times")
      ->group(group);
  text("--ipfs-api", &arguments->ipfs_api, "The RPC address of a Kubo node, to write to it");
}

Result<store::StoreOptions> MakeStoreOptions(const StoreArguments& arguments) {
  store::StoreOptions options;
  if (!arguments.up.empty()) {
    DNC_ASSIGN(options.up_bytes_per_second, ByteOption("--up", arguments.up));
  }
  if (!arguments.down.empty()) {
    DNC_ASSIGN(options.down_bytes_per_second, ByteOption("--down", arguments.down));
  }
  options.proxy = arguments.proxy;
  if (arguments.connections > 0) options.connections_max = arguments.connections;
  options.s3_endpoint = arguments.s3_endpoint;
  options.s3_region = arguments.s3_region;
  options.s3_anonymous = arguments.s3_anonymous;
  options.s3_path_style = arguments.s3_path_style;
  options.ipfs_gateways = arguments.ipfs_gateways;
  options.ipfs_api = arguments.ipfs_api;
  return options;
}

Result<Dataset> OpenDataset(const std::string& location, const StoreArguments& arguments) {
  DNC_ASSIGN(const store::StoreOptions options, MakeStoreOptions(arguments));
  return divide::OpenDataset(location, options);
}

}  // namespace dnc::cli
