#include "cli/dataset.h"

#include "divide/manifest_file.h"

namespace dnc::cli {

Result<LocalDataset> OpenLocalDataset(const std::string& path) {
  LocalDataset dataset;
  DNC_ASSIGN(dataset.manifest, divide::LoadManifest(path));
  DNC_ASSIGN(dataset.store, divide::OpenManifestStore(path));
  return dataset;
}

}  // namespace dnc::cli
