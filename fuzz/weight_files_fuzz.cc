// Files of weights alone, safetensors and npz, for a small model. What is read has as
// many weights as the model.

#include <cstddef>
#include <cstdint>

#include "base/assert.h"
#include "model/weight_files.h"

namespace {

const dnc::model::Model& SmallModel() {
  static const auto model = dnc::model::ParseModel(
      R"({"class_name": "Sequential", "config": {"name": "m", "layers": [
          {"class_name": "Dense", "config": {"name": "dense", "units": 2,
           "batch_input_shape": [null, 2]}}]}})",
      "fuzz");
  DNC_ASSERT(model.ok());
  return *model;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const dnc::MemorySource source({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
  const dnc::model::Model& model = SmallModel();
  for (const auto& weights :
       {dnc::model::ReadSafetensors(source, model), dnc::model::ReadNpz(source, model)}) {
    DNC_ASSERT(weights.ok() ? weights->size() == model.weight_count
                            : !weights.error().message.empty());
  }
  return 0;
}
