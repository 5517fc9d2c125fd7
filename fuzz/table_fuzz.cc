// A table under the options that change how its values are read: the first bytes
// choose them, the rest is the csv.

#include "fuzz_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  dnc::source::SourceOptions options;
  options.table.missing = static_cast<dnc::source::MissingPolicy>(data[0] % 5);
  options.table.date_order = static_cast<dnc::source::DateOrder>(data[0] / 5 % 3);
  options.table.decimal_comma = (data[1] & 1) != 0;
  if ((data[1] & 2) != 0) options.table.header = (data[1] & 4) != 0;
  if ((data[1] & 8) != 0) options.table.dtype = dnc::array::DType::kFloat64;
  if ((data[1] & 16) != 0) options.table.category_columns = {"#0"};
  if ((data[1] & 32) != 0) options.table.drop_columns = {"#1"};
  if ((data[1] & 64) != 0) options.label_column = "#2";
  constexpr char kDelimiters[] = {'\0', ',', '\t', ';', '|'};
  options.table.delimiter = kDelimiters[data[2] % 5];
  dnc::fuzz::ReadEverything(dnc::fuzz::File(data + 3, size - 3), options);
  return 0;
}
