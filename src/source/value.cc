#include "source/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>

namespace dnc::source {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string_view WithoutPlus(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return text;
}

// All that the quick way below cannot do exactly.
std::optional<double> ParseAnyNumber(std::string_view text) {
  // from_chars knows "inf" and "nan" as well.
  const std::size_t first = text.starts_with('-') ? 1 : 0;
  if (text.size() <= first || !(IsDigit(text[first]) || text[first] == '.')) return std::nullopt;
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (rest != end) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    // Too small is zero, too large infinite; from_chars does not say which.
    return std::strtod(std::string(text).c_str(), nullptr);
  }
  if (error != std::errc()) return std::nullopt;
  return value;
}

constexpr std::array<double, 23> kPowersOfTen = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

// Reads digits into `value`, at most `digits_max`. Returns how many there were.
class DateText {
 public:
  explicit DateText(std::string_view text) : rest_(text) {}

  bool done() const { return rest_.empty(); }
  char front() const { return rest_.empty() ? '\0' : rest_[0]; }
  bool Take(char c) {
    if (front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // A number of digits_min to digits_max digits.
  bool TakeNumber(std::size_t digits_min, std::size_t digits_max, int* value) {
    std::size_t digits = 0;
    *value = 0;
    while (digits < rest_.size() && digits < digits_max && IsDigit(rest_[digits])) {
      *value = *value * 10 + (rest_[digits++] - '0');
    }
    if (digits < digits_min || (digits < rest_.size() && IsDigit(rest_[digits]))) return false;
    rest_.remove_prefix(digits);
    return true;
  }
  // An English month, by its first three letters or in full.
  bool TakeMonth(int* month) {
    static constexpr std::string_view kMonths[] = {"january",   "february", "march",    "april",
                                                   "may",       "june",     "july",     "august",
                                                   "september", "october",  "november", "december"};
    std::size_t size = 0;
    std::string lower;
    while (size < rest_.size() && size < 10) {
      const char c = static_cast<char>(rest_[size] | 0x20);
      if (c < 'a' || c > 'z') break;
      lower.push_back(c);
      ++size;
    }
    for (int i = 0; i < 12; ++i) {
      if (lower != kMonths[i] && lower != kMonths[i].substr(0, 3)) continue;
      *month = i + 1;
      rest_.remove_prefix(size);
      return true;
    }
    return false;
  }
  // ".25" as 0.25.
  bool TakeFraction(double* fraction) {
    double scale = 0.1;
    if (!IsDigit(front())) return false;
    std::size_t digits = 0;
    for (; IsDigit(front()); rest_.remove_prefix(1)) {
      if (++digits > 9) continue;
      *fraction += scale * (front() - '0');
      scale /= 10;
    }
    return true;
  }

 private:
  std::string_view rest_;
};

struct CivilDate {
  int year = 0;
  int month = 0;
  int day = 0;
};

std::optional<double> DaySeconds(const CivilDate& date) {
  if (date.year < 1) return std::nullopt;
  const std::chrono::year_month_day day{std::chrono::year(date.year),
                                        std::chrono::month(static_cast<unsigned>(date.month)),
                                        std::chrono::day(static_cast<unsigned>(date.day))};
  if (!day.ok()) return std::nullopt;
  return 86400.0 * std::chrono::sys_days(day).time_since_epoch().count();
}

// "10:20", "10:20:30.5", "10:20Z", "10:20 +02:00"; nothing at the end of the text.
bool TakeTime(DateText* text, double* seconds) {
  *seconds = 0;
  if (text->done()) return true;
  if (!text->Take('T') && !text->Take('t') && !text->Take(' ')) return false;
  int hour = 0;
  int minute = 0;
  int second = 0;
  double fraction = 0;
  if (!text->TakeNumber(1, 2, &hour) || !text->Take(':') || !text->TakeNumber(2, 2, &minute)) {
    return false;
  }
  if (text->Take(':') && !text->TakeNumber(2, 2, &second)) return false;
  if (text->Take('.') && !text->TakeFraction(&fraction)) return false;
  if (hour > 23 || minute > 59 || second > 59) return false;
  *seconds = hour * 3600 + minute * 60 + second + fraction;
  text->Take(' ');
  if (text->Take('Z') || text->Take('z')) return text->done();
  const char sign = text->front();
  if (!text->Take('+') && !text->Take('-')) return text->done();
  int offset_hour = 0;
  int offset_minute = 0;
  if (text->TakeNumber(4, 4, &offset_hour)) {
    offset_minute = offset_hour % 100;
    offset_hour /= 100;
  } else {
    if (!text->TakeNumber(2, 2, &offset_hour)) return false;
    if (text->Take(':') && !text->TakeNumber(2, 2, &offset_minute)) return false;
  }
  if (offset_hour > 23 || offset_minute > 59) return false;
  const double offset = offset_hour * 3600 + offset_minute * 60;
  *seconds -= sign == '+' ? offset : -offset;
  return text->done();
}

enum class Parse { kNo, kYes, kUnknownOrder };

// "04.03.2021", "4 Mar 2021", "04-Mar-2021", "03/04/2021", behind their first number.
Parse ParseDayFirst(DateText* text, int first, DateOrder order, CivilDate* date) {
  const char between = text->front();
  if (between != '.' && between != '/' && between != '-' && between != ' ') return Parse::kNo;
  text->Take(between);
  int second = 0;
  if (between != '.' && between != '/' && text->TakeMonth(&date->month)) {
    date->day = first;
    return text->Take(between) && text->TakeNumber(4, 4, &date->year) ? Parse::kYes : Parse::kNo;
  }
  if (between == ' ' || !text->TakeNumber(1, 2, &second)) return Parse::kNo;
  if (!text->Take(between) || !text->TakeNumber(4, 4, &date->year)) return Parse::kNo;
  const bool month_first = between != '.' && order == DateOrder::kMonthFirst;
  date->day = month_first ? second : first;
  date->month = month_first ? first : second;
  return between != '.' && order == DateOrder::kUnknown ? Parse::kUnknownOrder : Parse::kYes;
}

Parse ParseDay(DateText* text, DateOrder order, CivilDate* date) {
  if (!IsDigit(text->front())) {  // "Mar 4, 2021"
    const bool ok = text->TakeMonth(&date->month) && text->Take(' ') &&
                    text->TakeNumber(1, 2, &date->day) && (text->Take(','), text->Take(' ')) &&
                    text->TakeNumber(4, 4, &date->year);
    return ok ? Parse::kYes : Parse::kNo;
  }
  DateText year_first = *text;
  if (year_first.TakeNumber(4, 4, &date->year)) {
    const char between = year_first.front();
    const bool ok = (year_first.Take('-') || year_first.Take('/')) &&
                    year_first.TakeNumber(1, 2, &date->month) && year_first.Take(between) &&
                    year_first.TakeNumber(1, 2, &date->day);
    *text = year_first;
    return ok ? Parse::kYes : Parse::kNo;
  }
  int first = 0;
  if (!text->TakeNumber(1, 2, &first)) return Parse::kNo;
  return ParseDayFirst(text, first, order, date);
}

}  // namespace

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Up to 19 digits and a power of ten up to 22 are one exact product or quotient of
// two doubles (Clinger, "How to read floating point numbers accurately", 1990).
std::optional<double> ParseNumber(std::string_view text) {
  text = WithoutPlus(text);
  const char* at = text.data();
  const char* const end = at + text.size();
  const bool is_negative = at != end && *at == '-';
  if (is_negative) ++at;
  const char* const digits = at;
  std::uint64_t mantissa = 0;
  for (; at != end && IsDigit(*at); ++at) {
    mantissa = mantissa * 10 + static_cast<std::uint64_t>(*at - '0');
  }
  std::ptrdiff_t digit_count = at - digits;
  int exponent = 0;
  if (at != end && *at == '.') {
    const char* const fraction = ++at;
    for (; at != end && IsDigit(*at); ++at) {
      mantissa = mantissa * 10 + static_cast<std::uint64_t>(*at - '0');
    }
    digit_count += at - fraction;
    exponent = -static_cast<int>(std::min<std::ptrdiff_t>(at - fraction, 1000));
  }
  if (at != end && (*at | 0x20) == 'e' && digit_count > 0) {
    ++at;
    if (at != end && *at == '+' && (++at == end || !IsDigit(*at))) return std::nullopt;
    int power = 0;
    const auto [rest, error] = std::from_chars(at, end, power);
    if (error == std::errc::invalid_argument || rest != end) return std::nullopt;
    if (error != std::errc() || power > 100 || power < -100) return ParseAnyNumber(text);
    exponent += power;
    at = end;
  }
  if (at != end || digit_count == 0) return std::nullopt;
  if (digit_count > 19 || mantissa > (std::uint64_t{1} << 53) || exponent > 22 || exponent < -22) {
    return ParseAnyNumber(text);
  }
  double value = static_cast<double>(mantissa);
  if (exponent < 0) value /= kPowersOfTen[static_cast<std::size_t>(-exponent)];
  if (exponent > 0) value *= kPowersOfTen[static_cast<std::size_t>(exponent)];
  return is_negative ? -value : value;
}

std::optional<double> ParseCommaNumber(std::string_view text) {
  constexpr std::size_t kBytesMax = 400;
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return ParseNumber(text);
  if (text.size() > kBytesMax || text.find('.') != std::string_view::npos) return std::nullopt;
  char buffer[kBytesMax];
  text.copy(buffer, text.size());
  buffer[comma] = '.';
  return ParseNumber({buffer, text.size()});
}

std::optional<std::int64_t> ParseInteger(std::string_view text) {
  text = WithoutPlus(text);
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (rest != end || error != std::errc()) return std::nullopt;
  return value;
}

ParsedDate ParseDate(std::string_view text, DateOrder order) {
  if (text.size() < 8 || text.size() > 48) return {};
  DateText rest(text);
  CivilDate date;
  double time = 0;
  const Parse parse = ParseDay(&rest, order, &date);
  if (parse == Parse::kNo || !TakeTime(&rest, &time)) return {};
  if (parse == Parse::kUnknownOrder) {
    // Either way round it must be a date.
    const bool fits = DaySeconds(date) || DaySeconds({date.year, date.day, date.month});
    return {fits ? ParsedDate::Kind::kUnknownOrder : ParsedDate::Kind::kNone, 0};
  }
  const std::optional<double> day = DaySeconds(date);
  if (!day) return {};
  return {ParsedDate::Kind::kDate, *day + time};
}

const std::vector<std::string>& DefaultMissingTexts() {
  static const std::vector<std::string> texts = {"NA",   "N/A",  "n/a",  "na",   "<NA>", "#N/A",
                                                 "#NA",  "NaN",  "nan",  "NAN",  "-NaN", "-nan",
                                                 "NULL", "Null", "null", "None", "none", "?"};
  return texts;
}

std::optional<bool> ParseBoolean(std::string_view text) {
  if (text == "t" || text == "1" || text == "true") return true;
  if (text == "f" || text == "0" || text == "false") return false;
  return std::nullopt;
}

MissingTexts::MissingTexts(const std::vector<std::string>& texts, bool has_empty)
    : has_empty_(has_empty) {
  for (const std::string& text : texts) {
    sorted_.emplace_back(Trim(text));
    bytes_max_ = std::max(bytes_max_, sorted_.back().size());
    has_numbers_ = has_numbers_ || ParseNumber(sorted_.back()).has_value();
  }
  std::sort(sorted_.begin(), sorted_.end());
}

bool MissingTexts::Contains(std::string_view text) const {
  if (text.empty()) return has_empty_;
  return text.size() <= bytes_max_ &&
         std::binary_search(sorted_.begin(), sorted_.end(), text, std::less<std::string_view>());
}

}  // namespace dnc::source
