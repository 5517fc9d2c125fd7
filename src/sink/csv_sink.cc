#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "array/samples.h"
#include "base/file.h"
#include "base/human.h"
#include "sink/output_folder.h"
#include "sink/sinks.h"

// As RFC 4180 has it, but with "\n" as the end of a line: a header with the names, then a
// line a sample. Numbers are as short as they can be and still be read back to the same
// value; a label with classes is the name of its class.

namespace dnc::sink {
namespace {

constexpr std::uint64_t kFieldsMax = 1u << 16;

using array::DType;

template <typename T>
void AppendNumber(const std::byte* at, std::string* line) {
  T value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(value)) return;  // A missing value.
  }
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  line->append(text, end);
}

using Append = void (*)(const std::byte*, std::string*);

Append AppendOf(DType dtype) {
  switch (dtype) {
    case DType::kBool:
    case DType::kUint8:
      return AppendNumber<std::uint8_t>;
    case DType::kInt8:
      return AppendNumber<std::int8_t>;
    case DType::kInt16:
      return AppendNumber<std::int16_t>;
    case DType::kUint16:
      return AppendNumber<std::uint16_t>;
    case DType::kInt32:
      return AppendNumber<std::int32_t>;
    case DType::kUint32:
      return AppendNumber<std::uint32_t>;
    case DType::kInt64:
      return AppendNumber<std::int64_t>;
    case DType::kUint64:
      return AppendNumber<std::uint64_t>;
    case DType::kFloat32:
      return AppendNumber<float>;
    case DType::kFloat64:
      return AppendNumber<double>;
    case DType::kFloat16:
      break;
  }
  return nullptr;
}

void AppendText(std::string_view text, std::string* line) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos && !text.empty()) {
    line->append(text);
    return;
  }
  line->push_back('"');
  for (const char c : text) {
    if (c == '"') line->push_back('"');
    line->push_back(c);
  }
  line->push_back('"');
}

struct Column {
  std::uint64_t elements = 1;
  std::size_t element_bytes = 1;
  Append append = nullptr;  // Null: text.
  std::vector<std::string> class_names;
};

class CsvSink final : public SampleSink {
 public:
  CsvSink(AtomicFile file, std::vector<array::ColumnSpec> specs, std::vector<Column> columns)
      : file_(std::move(file)), specs_(std::move(specs)), columns_(std::move(columns)) {}

  Status WriteLine() {
    line_.back() = '\n';  // Instead of the last comma.
    bytes_ += line_.size();
    buffer_ += line_;
    line_.clear();
    if (buffer_.size() < (1u << 20)) return {};
    DNC_TRY(file_.Write(AsBytes(buffer_)));
    buffer_.clear();
    return {};
  }
  std::string* line() { return &line_; }

  Status Write(const array::SampleBlock& block) override {
    for (std::uint64_t i = 0; i < block.sample_count; ++i) {
      for (std::size_t c = 0; c < columns_.size(); ++c) AddElements(block, c, i);
      DNC_TRY(WriteLine());
    }
    return {};
  }
  Status Finish() override {
    DNC_TRY(file_.Write(AsBytes(buffer_)));
    return file_.Commit();
  }
  std::uint64_t bytes_written() const override { return bytes_; }

 private:
  void AddElements(const array::SampleBlock& block, std::size_t c, std::uint64_t i) {
    const Column& column = columns_[c];
    const ByteSpan element = array::ElementOf(specs_, block, c, i);
    if (column.append == nullptr) {
      AppendText(AsText(element), &line_);
      line_.push_back(',');
      return;
    }
    for (std::uint64_t e = 0; e < column.elements; ++e) {
      const std::size_t before = line_.size();
      column.append(element.data() + e * column.element_bytes, &line_);
      if (!column.class_names.empty()) {
        std::size_t index = SIZE_MAX;
        std::from_chars(line_.data() + before, line_.data() + line_.size(), index);
        if (index < column.class_names.size()) {
          line_.resize(before);
          AppendText(column.class_names[index], &line_);
        }
      }
      line_.push_back(',');
    }
  }

  AtomicFile file_;
  const std::vector<array::ColumnSpec> specs_;
  const std::vector<Column> columns_;  // One a spec.
  std::string line_;
  std::string buffer_;
  std::uint64_t bytes_ = 0;
};

// "x", or "x_0", "x_1"..., or the names of the features.
void AppendNames(const array::ColumnSpec& column, std::uint64_t elements, std::string* line) {
  for (std::uint64_t e = 0; e < elements; ++e) {
    std::string name = column.name;
    if (e < column.features.size()) {
      name = column.features[e].name;
    } else if (!column.shape.empty()) {
      name += "_" + std::to_string(e);
    }
    AppendText(name, line);
    line->push_back(',');
  }
}

}  // namespace

Result<std::unique_ptr<SampleSink>> CreateCsvSink(const std::string& path,
                                                  const std::vector<array::ColumnSpec>& columns,
                                                  const SinkOptions&) {
  if (PathExists(path)) {
    return Error{ErrorCode::kAlreadyExists, path + " is there already; export to another place"};
  }
  std::vector<Column> made;
  std::uint64_t fields = 0;
  for (const array::ColumnSpec& column : columns) {
    Column text;
    if (column.kind == array::ColumnKind::kText) {
      made.push_back(text);
      ++fields;
      continue;
    }
    const Append append = column.is_array() ? AppendOf(column.dtype) : nullptr;
    if (append == nullptr) {
      return Error{ErrorCode::kUnsupported,
                   "csv holds numbers and texts, but the column " + column.name + " is " +
                       array::ColumnTypeText(column) + "; export to npy, webdataset or mds"};
    }
    made.push_back({*array::ElementCount(column.shape), array::DTypeSize(column.dtype), append,
                    column.class_names});
    fields += made.back().elements;
  }
  if (fields > kFieldsMax) {
    return Error{ErrorCode::kUnsupported, "a csv of " + FormatCount(fields) +
                                              " fields a line; at most " + FormatCount(kFieldsMax) +
                                              " are written. Export to npy instead"};
  }
  DNC_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  auto sink = std::make_unique<CsvSink>(std::move(file), columns, std::move(made));
  for (const array::ColumnSpec& column : columns) {
    const bool text = column.kind == array::ColumnKind::kText;
    AppendNames(column, text ? 1 : *array::ElementCount(column.shape), sink->line());
  }
  DNC_TRY(sink->WriteLine());
  return std::unique_ptr<SampleSink>(std::move(sink));
}

}  // namespace dnc::sink
