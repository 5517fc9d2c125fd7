// An .h5 of Keras. HDF5 is not made for hostile files, and not ours: it may crash in its
// box, which then has to be an error; what comes out of the box is parsed here.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/assert.h"
#include "box/box.h"
#include "model/h5_read.h"
#include "model/trained_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using dnc::Bytes;
  using dnc::Result;
  const dnc::ByteSpan file(reinterpret_cast<const std::byte*>(data), size);
  const dnc::model::ModelLimits limits = {.weight_count_max = 1u << 16,
                                          .activation_count_max = 1u << 20};
  const Result<Bytes> bytes = dnc::box::RunBoxed("fuzz", 64u << 20, 10, [&]() -> Result<Bytes> {
    const auto source = std::make_shared<dnc::MemorySource>(file, "fuzz");
    DNC_ASSIGN(const dnc::model::TrainedModel trained, dnc::model::ReadH5(source, limits));
    return dnc::model::EncodeTrained(trained);
  });
  if (!bytes.ok()) {
    DNC_ASSERT(!bytes.error().message.empty());
    // As if the box had been taken over.
    (void)dnc::model::DecodeTrained(file, "fuzz", limits);
    return 0;
  }
  const auto trained = dnc::model::DecodeTrained(*bytes, "fuzz", limits);
  DNC_ASSERT(trained.ok());
  DNC_ASSERT(trained->weights.size() == trained->model.weight_count);
  return 0;
}
