// The options of every command that reads or writes a store (store/open_store.h).

#pragma once

#include "store/open_store.h"

namespace CLI {
class App;
}

namespace dnc::cli {

// Adds --up, --down, --connections, --proxy, --mirror, --s3-endpoint, --s3-region,
// --s3-anonymous, --s3-path-style, --ipfs-gateway and --ipfs-api, a group of their own in
// the help. Requests end at Ctrl-C; what went wrong and was made good is printed as a
// warning. `options` must outlive the command line's parsing and the command's run.
void AddStoreOptions(CLI::App* command, store::StoreOptions* options);

}  // namespace dnc::cli
