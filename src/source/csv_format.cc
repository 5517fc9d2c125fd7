#include "source/csv_format.h"

#include <algorithm>
#include <memory>
#include <set>

#include "source/csv_reader.h"
#include "source/value.h"

namespace dnc::source {
namespace {

constexpr std::size_t kSampleRecordsMax = 200;
constexpr char kDelimiters[] = {'\t', ';', '|', ','};

using Records = std::vector<std::vector<std::string>>;

enum class Look { kMissing, kValue, kText };  // kValue: a number or a date.

Look LookOf(const std::string& field, const MissingTexts& missing) {
  if (ParseCommaNumber(field)) return Look::kValue;
  if (missing.Contains(field)) return Look::kMissing;
  return ParseDate(field, DateOrder::kUnknown).kind != ParsedDate::Kind::kNone ? Look::kValue
                                                                               : Look::kText;
}

struct ColumnLook {
  bool has_values = false;
  bool has_text = false;
};

ColumnLook LookOfColumn(const Records& below, std::size_t column, const MissingTexts& missing) {
  ColumnLook look;
  for (const auto& record : below) {
    if (column >= record.size()) continue;
    const Look field = LookOf(record[column], missing);
    look.has_values = look.has_values || field == Look::kValue;
    look.has_text = look.has_text || field == Look::kText;
  }
  return look;
}

// All fields differ from each other, and from all fields of their columns.
bool AreNewNames(const std::vector<std::string>& first, const Records& below) {
  std::set<std::string> seen;
  for (std::size_t column = 0; column < first.size(); ++column) {
    if (first[column].empty() || !seen.insert(first[column]).second) return false;
    const bool is_known = std::any_of(below.begin(), below.end(), [&](const auto& record) {
      return column < record.size() && record[column] == first[column];
    });
    if (is_known) return false;
  }
  return true;
}

}  // namespace

std::vector<std::vector<std::string>> SampleRecords(ByteSpan sample, bool is_whole,
                                                    char delimiter) {
  Records records;
  auto source = std::make_shared<MemorySource>(sample, "the first lines");
  CsvReader reader(OpenRange(source, {0, sample.size()}), {"the first lines", delimiter});
  for (;;) {
    const Result<bool> more = reader.Next();
    if (!more.ok()) return records;  // The reader of the whole will say it better.
    if (!*more) break;
    records.emplace_back();
    for (const std::string_view field : reader.fields()) records.back().emplace_back(Trim(field));
    if (records.size() > kSampleRecordsMax) break;
  }
  const bool may_be_cut = !is_whole || records.size() > kSampleRecordsMax;
  if (may_be_cut && records.size() > 1) records.pop_back();
  return records;
}

char FindDelimiter(ByteSpan sample, bool is_whole) {
  char widest = ',';
  std::size_t fields_most = 1;
  for (const char delimiter : kDelimiters) {
    const Records records = SampleRecords(sample, is_whole, delimiter);
    if (records.empty()) continue;
    const std::size_t fields = records[0].size();
    const bool is_even = std::all_of(records.begin(), records.end(),
                                     [&](const auto& record) { return record.size() == fields; });
    if (is_even && fields > 1) return delimiter;
    if (fields > fields_most) {
      fields_most = fields;
      widest = delimiter;
    }
  }
  return widest;
}

bool LooksLikeHeader(const std::vector<std::string>& first, const Records& below,
                     std::size_t skipped) {
  const MissingTexts missing(DefaultMissingTexts(), true);
  bool has_value = false;
  for (std::size_t column = 0; column < first.size(); ++column) {
    if (column == skipped) continue;
    const Look look = LookOf(first[column], missing);
    if (look == Look::kValue) has_value = true;
    const ColumnLook rest = LookOfColumn(below, column, missing);
    const bool is_name = look == Look::kText || (column == 0 && first[column].empty());
    if (is_name && !rest.has_text && (rest.has_values || below.empty())) return true;
  }
  return !has_value && AreNewNames(first, below);
}

}  // namespace dnc::source
