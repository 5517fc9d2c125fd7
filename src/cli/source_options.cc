#include "cli/source_options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>

#include "cli/values.h"

namespace dnc::cli {
namespace {

Error Wrong(const std::string& option, const std::string& value, const std::string& expected) {
  return {ErrorCode::kInvalidArgument,
          option + ": \"" + value + "\" is not one of them; expected " + expected};
}

Result<char> Delimiter(const std::string& text) {
  if (text == "tab" || text == "\\t") return '\t';
  if (text == "comma") return ',';
  if (text == "semicolon") return ';';
  if (text == "pipe") return '|';
  const bool is_one = text.size() == 1 && text[0] != '"' && text[0] != '\n' && text[0] != '\r' &&
                      static_cast<unsigned char>(text[0]) < 0x80;
  if (is_one) return text[0];
  return Wrong("--delimiter", text, "one character, or comma, tab, semicolon or pipe");
}

Status ReadMissing(const std::string& text, source::TableOptions* table) {
  using source::MissingPolicy;
  static const std::map<std::string, MissingPolicy> kPolicies = {{"error", MissingPolicy::kError},
                                                                 {"drop", MissingPolicy::kDrop},
                                                                 {"mean", MissingPolicy::kMean},
                                                                 {"nan", MissingPolicy::kNan},
                                                                 {"zero", MissingPolicy::kNumber}};
  table->missing_number = 0;
  if (const auto found = kPolicies.find(text); found != kPolicies.end()) {
    table->missing = found->second;
    return {};
  }
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, table->missing_number);
  if (error != std::errc() || rest != end || !std::isfinite(table->missing_number)) {
    return Wrong("--missing", text, "error, drop, mean, zero, nan or a number");
  }
  table->missing = MissingPolicy::kNumber;
  return {};
}

Status ReadTable(const SourceArguments& arguments, source::TableOptions* table) {
  table->columns = SplitNames(arguments.columns);
  table->drop_columns = SplitNames(arguments.drop_columns);
  table->category_columns = SplitNames(arguments.categories);
  if (!arguments.delimiter.empty()) {
    DNC_ASSIGN(table->delimiter, Delimiter(arguments.delimiter));
  }
  if (arguments.header) table->header = true;
  if (arguments.no_header) table->header = false;
  DNC_TRY(ReadMissing(arguments.missing, table));
  if (arguments.has_missing_values) table->missing_texts = SplitNames(arguments.missing_values);
  table->decimal_comma = arguments.decimal_comma;
  if (arguments.date_order == "dmy") table->date_order = source::DateOrder::kDayFirst;
  if (arguments.date_order == "mdy") table->date_order = source::DateOrder::kMonthFirst;
  if (arguments.dtype == "float32") table->dtype = array::DType::kFloat32;
  if (arguments.dtype == "float64") table->dtype = array::DType::kFloat64;
  return {};
}

void AddTableOptions(CLI::App* command, SourceArguments* arguments) {
  constexpr char kGroup[] = "Tables (csv, databases)";
  command
      ->add_option("--label-column", arguments->label_column,
                   "The column that is the label: its name, or #3 by index from 0")
      ->group(kGroup);
  command
      ->add_option("--columns", arguments->columns,
                   "Columns to take: names with commas between; of a file of arrays (npz, "
                   "hdf5, mat) those that become a column each")
      ->group(kGroup);
  command->add_option("--drop-columns", arguments->drop_columns, "Columns to leave out")
      ->group(kGroup);
  command
      ->add_option("--categories", arguments->categories,
                   "Columns whose values are names, even where they look like numbers")
      ->group(kGroup);
  command
      ->add_option("--missing", arguments->missing,
                   "Of a missing value: error, drop (the row), mean (of the column), zero, nan, or "
                   "a number")
      ->capture_default_str()
      ->group(kGroup);
  command
      ->add_option_function<std::string>(
          "--missing-values",
          [arguments](const std::string& text) {
            arguments->missing_values = text;
            arguments->has_missing_values = true;
          },
          "What is written for a missing value, beside nothing; by default NA, N/A, nan, null, "
          "none, ? and the like")
      ->group(kGroup);
  command
      ->add_option("--date-order", arguments->date_order, "Of dates such as 03/04/2021: dmy or mdy")
      ->check(CLI::IsMember({"dmy", "mdy"}))
      ->group(kGroup);
  command
      ->add_flag("--decimal-comma", arguments->decimal_comma, "Numbers are written 1,5 and not 1.5")
      ->group(kGroup);
  command->add_option("--dtype", arguments->dtype, "Of the features: float32 or float64")
      ->check(CLI::IsMember({"float32", "float64"}))
      ->group(kGroup);
  command
      ->add_option("--delimiter", arguments->delimiter,
                   "Between the fields of a csv: comma, tab, semicolon, pipe or a character; found "
                   "by default")
      ->group(kGroup);
  CLI::Option* header =
      command->add_flag("--header", arguments->header, "The first line of a csv names its columns");
  header->group(kGroup);
  command->add_flag("--no-header", arguments->no_header, "It does not")
      ->excludes(header)
      ->group(kGroup);
  command->add_option("--query", arguments->query, "The SELECT whose rows are the samples")
      ->group(kGroup);
}

void AddImageOptions(CLI::App* command, SourceArguments* arguments) {
  constexpr char kGroup[] = "Images";
  command
      ->add_option("--resize", arguments->resize,
                   "Decode images and resize them to WIDTHxHEIGHT; else they stay as they are")
      ->group(kGroup);
  command->add_option("--crop", arguments->crop, "Keep the middle WIDTHxHEIGHT, after --resize")
      ->group(kGroup);
  command->add_flag("--grayscale", arguments->grayscale, "One channel instead of three")
      ->group(kGroup);
  command->add_flag("--skip-bad", arguments->skip_bad, "Leave bad images out, and list them")
      ->group(kGroup);
}

}  // namespace

std::vector<std::string> SplitNames(const std::string& text) {
  std::vector<std::string> names;
  if (text.empty()) return names;
  names.emplace_back();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      names.back().push_back(text[i]);
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      names.back().push_back(text[i++]);
    } else {
      names.emplace_back();
    }
  }
  return names;
}

void AddSourceOptions(CLI::App* command, SourceArguments* arguments) {
  constexpr char kGroup[] = "Arrays (npy, npz, idx, hdf5, mat)";
  command
      ->add_option(
          "--labels", arguments->labels,
          "The labels of an array: an npy, npz, idx or mat file, or file.h5:/dataset; of a "
          "folder of images: a csv of file names and labels")
      ->group(kGroup);
  command
      ->add_option("--variable,--table", arguments->variable,
                   "The array in the file that is the features, by its name; the table of a "
                   "SQLite file")
      ->group(kGroup);
  command
      ->add_option("--labels-variable", arguments->labels_variable,
                   "The array in the file that is the labels; - for none")
      ->group(kGroup);
  command
      ->add_option("--sample-axis", arguments->sample_axis,
                   "The axis that counts the samples, from 0; -1 is the last")
      ->group(kGroup);
  AddTableOptions(command, arguments);
  AddImageOptions(command, arguments);
}

Status ReadSourceArguments(const SourceArguments& arguments, source::SourceOptions* options) {
  options->labels_path = arguments.labels;
  options->label_column = arguments.label_column;
  options->query = arguments.query;
  options->variable = arguments.variable;
  options->grayscale = arguments.grayscale;
  options->skip_bad = arguments.skip_bad;
  if (!arguments.resize.empty()) {
    DNC_ASSIGN(options->resize, ImageSizeOption("--resize", arguments.resize));
  }
  if (!arguments.crop.empty()) {
    DNC_ASSIGN(options->crop, ImageSizeOption("--crop", arguments.crop));
  }
  options->labels_variable = arguments.labels_variable;
  if (!arguments.sample_axis.empty()) {
    const std::string& text = arguments.sample_axis;
    int axis = 0;
    const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), axis);
    if (error != std::errc() || rest != text.data() + text.size()) {
      return Wrong("--sample-axis", text, "a whole number, such as 0 or -1");
    }
    options->sample_axis = axis;
  }
  return ReadTable(arguments, &options->table);
}

}  // namespace dnc::cli
