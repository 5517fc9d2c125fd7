// A .keras archive: the zip, its sizes, the JSON within. HDF5, which reads the weights,
// is not made for hostile files (hdf/open_source.h), and not ours.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "model/keras_file.h"
#include "model/keras_paths.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dnc::ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  const dnc::model::ModelLimits limits = {.weight_count_max = 1u << 16,
                                          .activation_count_max = 1u << 20};
  const auto archive = dnc::model::ReadKerasArchive(dnc::MemorySource(bytes, "fuzz"), limits);
  if (!archive.ok()) {
    DNC_ASSERT(!archive.error().message.empty());
    return 0;
  }
  const auto paths = dnc::model::KerasPaths(archive->trained.model);
  DNC_ASSERT(!paths.ok() || paths->size() == archive->trained.model.weights.size());
  (void)dnc::model::KerasJson(archive->trained.model, dnc::model::CompileStyle::kKeras3);
  return 0;
}
