#include "cli/store_options.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "base/human.h"
#include "cli/interrupt.h"

namespace dnc::cli {
namespace {

constexpr char kGroup[] = "Stores";

// An option whose value is bytes a second: "10MB".
void AddRateOption(CLI::App* command, const char* name, std::uint64_t* rate,
                   const char* description) {
  command
      ->add_option_function<std::string>(
          name,
          [rate](const std::string& text) {
            if (const auto bytes = ParseByteCount(text); bytes.ok()) *rate = *bytes;
          },
          description)
      ->check(CLI::Validator(
          [](std::string& text) {
            const auto bytes = ParseByteCount(text);
            return bytes.ok() ? std::string() : bytes.error().message;
          },
          "BYTES"))
      ->group(kGroup);
}

}  // namespace

void AddStoreOptions(CLI::App* command, store::StoreOptions* options) {
  AddRateOption(command, "--down", &options->down_bytes_per_second,
                "Fetch at most so many bytes a second, such as 10MB (default: no limit)");
  AddRateOption(command, "--up", &options->up_bytes_per_second,
                "Send at most so many bytes a second");
  command
      ->add_option("--connections", options->connections_max,
                   "Connections to one server at the same time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str()
      ->group(kGroup);
  command
      ->add_option("--mirror", options->mirrors,
                   "Another LOCATION of the same shards; the fastest is read first, and another "
                   "where one fails (repeatable)")
      ->type_name("LOCATION")
      ->allow_extra_args(false)
      ->group(kGroup);
  command
      ->add_option("--proxy", options->proxy,
                   "Proxy, such as http://host:3128 (default: as http_proxy, https_proxy and "
                   "no_proxy say)")
      ->type_name("URL")
      ->group(kGroup);
  command
      ->add_option("--s3-endpoint", options->s3_endpoint,
                   "S3 server, such as http://127.0.0.1:9000 (default: AWS_ENDPOINT_URL, else "
                   "Amazon's)")
      ->type_name("URL")
      ->group(kGroup);
  command
      ->add_option("--s3-region", options->s3_region,
                   "S3 region (default: AWS_REGION, else us-east-1)")
      ->group(kGroup);
  command
      ->add_flag("--s3-anonymous", options->s3_anonymous,
                 "Read a public bucket without credentials")
      ->group(kGroup);
  command
      ->add_flag("--s3-path-style", options->s3_path_style,
                 "Put the bucket into the path, not into the host name")
      ->group(kGroup);
  command
      ->add_option("--ipfs-gateway", options->ipfs_gateways,
                   "Trustless IPFS gateway, such as http://127.0.0.1:8080; asked in order "
                   "(repeatable)")
      ->type_name("URL")
      ->allow_extra_args(false)
      ->group(kGroup);
  command
      ->add_option("--ipfs-api", options->ipfs_api,
                   "RPC of a Kubo node, to write to IPFS, such as http://127.0.0.1:5001")
      ->type_name("URL")
      ->group(kGroup);
  options->cancelled = InterruptFlag();
  options->report = [](const Error& error) {
    std::fprintf(stderr, "dnc: warning: %s\n", error.message.c_str());
  };
}

}  // namespace dnc::cli
