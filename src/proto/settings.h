// The "fit" and "grid" sections, which the project file and the messages share.

#pragma once

#include "proto/json.h"
#include "proto/project_file.h"

namespace dnc::proto {

// Read the optional sections "fit" and "grid" of `object`.
FitSettings ReadFit(JsonObject* object);
GridSettings ReadGrid(JsonObject* object);

void WriteFit(const FitSettings& fit, JsonWriter* writer);
void WriteGrid(const GridSettings& grid, JsonWriter* writer);

}  // namespace dnc::proto
