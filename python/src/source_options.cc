#include "source_options.h"

#include <pybind11/stl.h>

#include <map>
#include <variant>

namespace dnc::python {
namespace {

template <typename T>
void ReadChoice(Options* options, const char* name, const std::map<std::string, T>& choices,
                T* field) {
  std::optional<std::string> text;
  options->Read(name, &text);
  if (!text) return;
  if (const auto found = choices.find(*text); found != choices.end()) {
    *field = found->second;
    return;
  }
  std::string known;
  for (const auto& choice : choices) known += (known.empty() ? "" : ", ") + choice.first;
  Raise({ErrorCode::kInvalidArgument,
         std::string(name) + "=\"" + *text + "\"; expected one of " + known});
}

void ReadMissing(Options* options, source::TableOptions* table) {
  using source::MissingPolicy;
  std::optional<std::variant<double, std::string>> missing;
  options->Read("missing", &missing);
  if (!missing) return;
  if (const double* number = std::get_if<double>(&*missing)) {
    table->missing = MissingPolicy::kNumber;
    table->missing_number = *number;
    return;
  }
  ReadChoice(options, "missing",
             std::map<std::string, MissingPolicy>{{"error", MissingPolicy::kError},
                                                  {"drop", MissingPolicy::kDrop},
                                                  {"mean", MissingPolicy::kMean},
                                                  {"nan", MissingPolicy::kNan},
                                                  {"zero", MissingPolicy::kNumber}},
             &table->missing);
}

void ReadTableOptions(Options* options, source::TableOptions* table) {
  options->Read("columns", &table->columns);
  options->Read("drop_columns", &table->drop_columns);
  options->Read("categories", &table->category_columns);
  ReadMissing(options, table);
  options->Read("missing_values", &table->missing_texts);
  ReadChoice(options, "date_order",
             std::map<std::string, source::DateOrder>{{"dmy", source::DateOrder::kDayFirst},
                                                      {"mdy", source::DateOrder::kMonthFirst}},
             &table->date_order);
  ReadChoice(options, "dtype",
             std::map<std::string, std::optional<array::DType>>{
                 {"float32", array::DType::kFloat32}, {"float64", array::DType::kFloat64}},
             &table->dtype);
  std::string delimiter;
  options->Read("delimiter", &delimiter);
  if (delimiter.size() > 1) {
    Raise({ErrorCode::kInvalidArgument,
           "delimiter=\"" + delimiter + "\"; expected one character, such as \";\" or \"\\t\""});
  }
  if (!delimiter.empty()) table->delimiter = delimiter[0];
  options->Read("header", &table->header);
}

}  // namespace

void ReadSourceOptions(Options* options, source::SourceOptions* source) {
  options->Read("labels", &source->labels_path);
  options->Read("label", &source->label_column);
  options->Read("skip_bad", &source->skip_bad);
  std::optional<std::pair<std::uint32_t, std::uint32_t>> resize;
  options->Read("resize", &resize);
  if (resize) source->resize = image::ImageSize{resize->first, resize->second};
  std::optional<std::pair<std::uint32_t, std::uint32_t>> crop;
  options->Read("crop", &crop);
  if (crop) source->crop = image::ImageSize{crop->first, crop->second};
  options->Read("grayscale", &source->grayscale);
  options->Read("query", &source->query);
  options->Read("variable", &source->variable);
  options->Read("labels_variable", &source->labels_variable);
  options->Read("sample_axis", &source->sample_axis);
  ReadTableOptions(options, &source->table);
}

}  // namespace dnc::python
