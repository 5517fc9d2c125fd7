// Any bytes as a project file: an error or a value, never a crash.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "proto/project_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto file = dnc::proto::ParseProjectFile(json, "folder/project.json");
  if (file.ok()) {
    DNC_ASSERT(file->grid.task_size >= 1 && file->grid.task_size <= file->grid.total_tasks);
    DNC_ASSERT(file->fit.epochs >= 1 && !file->name.empty() && !file->model_path.empty());
    const auto again = dnc::proto::FitFromJson(dnc::proto::FitToJson(file->fit));
    DNC_ASSERT(again.ok() && *again == file->fit);
  } else {
    DNC_ASSERT(!file.error().message.empty());
  }
  return 0;
}
