// The options of `dnc divide` that say how a source is read.

#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "source/sample_source.h"

namespace CLI {
class App;
}

namespace dnc::cli {

// As the user wrote them; filled while the command line is parsed.
struct SourceArguments {
  std::string labels;
  std::string label_column;
  std::string columns;
  std::string drop_columns;
  std::string categories;
  std::string delimiter;
  std::string missing = "error";
  std::string missing_values;
  bool has_missing_values = false;
  std::string date_order;
  std::string dtype;
  bool decimal_comma = false;
  bool header = false;
  bool no_header = false;
  std::string query;
  std::string variable;
  std::string labels_variable;
  std::string sample_axis;
  std::string resize;
  std::string crop;
  bool grayscale = false;
  bool skip_bad = false;
};

// Adds the options to `command`. `arguments` must outlive it.
void AddSourceOptions(CLI::App* command, SourceArguments* arguments);

// Checks the arguments and sets what they say in `options`; others stay as they are.
// Errors: kInvalidArgument, a value that is not one, with the accepted forms.
Status ReadSourceArguments(const SourceArguments& arguments, source::SourceOptions* options);

// "a,b" as two names; a comma within a name is written twice.
std::vector<std::string> SplitNames(const std::string& text);

}  // namespace dnc::cli
