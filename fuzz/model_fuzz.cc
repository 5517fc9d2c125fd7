// Feeds ParseModel any bytes. What it accepts, it must read back unchanged from its
// own format, and its derived numbers must be computable.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "model/model.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const dnc::model::ModelLimits limits = {.weight_count_max = 1u << 16,
                                          .activation_count_max = 1u << 20};
  const auto model = dnc::model::ParseModel(text, "fuzz", limits);
  if (!model.ok()) return 0;
  const std::string formatted = dnc::model::FormatModel(*model);
  const auto again = dnc::model::ParseModel(formatted, "fuzz", limits);
  DNC_ASSERT(again.ok());
  DNC_ASSERT(dnc::model::FormatModel(*again) == formatted);
  DNC_ASSERT(again->weight_count == model->weight_count);
  (void)dnc::model::ForwardFlops(*model);
  return 0;
}
