// A project's state as lines of text, for `dnc status` and its --follow.

#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "proto/messages.h"

namespace dnc::cli {

// How fast tasks end, measured between two looks at a project.
struct TaskRate {
  std::uint64_t tasks = 0;
  Duration elapsed;
};

// One line about the project, then one about each provider that works on it now or
// has done so.
std::vector<std::string> StatusLines(const proto::ProjectStatus& status, const TaskRate& rate);

// "stopped early after epoch 6; epoch 3 is the best", as far as there is such to say.
std::string StoppingText(const proto::ProjectStatus& status);

// "loss 0.3121, accuracy 0.8912 (epoch 3)" of the newest evaluation, or "".
std::string NewestEvaluation(const proto::ProjectStatus& status);
// Of the weights that are handed out, as far as the project says which they are.
std::string ModelEvaluation(const proto::ProjectStatus& status);

}  // namespace dnc::cli
