// Keras's metrics by name, class or function, as the compile section lists them.

#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/compile_config.h"

namespace dnc::model {

// The index of the output of this name; of the only one, whatever the name, since old
// files have names of their own. `what` it is looked for is for the message.
// Errors: kInvalidArgument, none is called so, with the names.
Result<std::size_t> OutputOfName(const std::string& name,
                                 const std::vector<std::string>& output_names, const char* what);

// Reads `metrics`: one for all outputs, a list for all, or a list or an object with the
// metrics of each output. Those that are computed go to `outputs`, whose losses are read
// already; those that Keras knows and this does not compute, or that do not fit an
// output's labels, are named in `uncomputed`. `output_names` has a name for each output.
// Errors: kInvalidArgument, what is no metric; kUnsupported, a name that Keras does not
// have, with the known ones.
Status ReadMetrics(const nlohmann::json& metrics, const std::vector<std::string>& output_names,
                   std::vector<OutputConfig>* outputs, std::vector<std::string>* uncomputed);

}  // namespace dnc::model
