#include "object_source.h"

#include <pybind11/stl.h>

#include <cstring>

namespace dnc::python {
namespace {

[[noreturn]] void RaiseInvalid(const std::string& message) {
  Raise({ErrorCode::kInvalidArgument, message});
}

array::ColumnSpec ParseColumn(const py::dict& dict) {
  array::ColumnSpec column;
  column.name = dict["name"].cast<std::string>();
  const auto kind = array::ColumnKindFromName(dict["kind"].cast<std::string>());
  const auto dtype = array::DTypeFromName(dict["dtype"].cast<std::string>());
  if (!kind || !dtype) RaiseInvalid("column " + column.name + " has an unknown kind or dtype");
  column.kind = *kind;
  column.dtype = *dtype;
  column.shape = dict["shape"].cast<array::Shape>();
  if (!array::ElementCount(column.shape)) {
    RaiseInvalid("column " + column.name + ": samples of shape " + array::ShapeText(column.shape) +
                 " are too large");
  }
  column.class_names = dict["class_names"].cast<std::vector<std::string>>();
  for (const auto& item : dict["features"].cast<py::list>()) {
    array::Feature feature;
    feature.name = item["name"].cast<std::string>();
    feature.kind = array::FeatureKindFromName(item["kind"].cast<std::string>())
                       .value_or(array::FeatureKind::kNumber);
    feature.categories = item["categories"].cast<std::vector<std::string>>();
    column.features.push_back(std::move(feature));
  }
  return column;
}

class ObjectSource final : public source::SampleSource {
 public:
  ObjectSource(std::vector<array::ColumnSpec> columns, py::object reader,
               std::optional<std::uint64_t> sample_count, std::string description,
               Callback* callback)
      : columns_(std::move(columns)),
        reader_(std::move(reader)),
        sample_count_(sample_count),
        description_(std::move(description)),
        callback_(callback) {}

  // Divide may let go of it without the lock.
  ~ObjectSource() override {
    const py::gil_scoped_acquire lock;
    reader_ = py::object();
  }

  const std::vector<array::ColumnSpec>& columns() const override { return columns_; }
  std::optional<std::uint64_t> sample_count() const override { return sample_count_; }
  std::string Describe() const override { return description_; }
  const std::vector<source::SkippedInput>& skipped() const override { return skipped_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    const py::gil_scoped_acquire lock;
    Status status;
    const bool returned = callback_->Guard([&] {
      const py::object parts = reader_(sample_count_max);
      status = Copy(parts.cast<py::sequence>(), sample_count_max, block);
    });
    // The exception itself is raised again when Divide has returned.
    if (!returned) return Error{ErrorCode::kIo, "reading the source raised an exception"};
    return status;
  }

 private:
  Status Copy(const py::sequence& parts, std::uint64_t sample_count_max,
              array::SampleBlock* block) {
    block->columns.resize(columns_.size());
    block->ends.clear();
    std::optional<std::uint64_t> samples;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      DNC_ASSIGN(const std::uint64_t count, columns_[c].is_array() ? CopyArray(parts[c], c, block)
                                                                   : CopyList(parts[c], c, block));
      if (count > sample_count_max || (samples && *samples != count)) {
        return Error{ErrorCode::kInvalidArgument,
                     description_ + ": column " + columns_[c].name + " has " +
                         std::to_string(count) + " samples where " +
                         std::to_string(samples.value_or(sample_count_max)) + " were expected"};
      }
      samples = count;
    }
    block->sample_count = samples.value_or(0);
    return {};
  }

  Result<std::uint64_t> CopyArray(const py::object& part, std::size_t c,
                                  array::SampleBlock* block) const {
    Py_buffer view;
    if (PyObject_GetBuffer(part.ptr(), &view, PyBUF_C_CONTIGUOUS) != 0) {
      throw py::error_already_set();
    }
    const auto size = static_cast<std::size_t>(view.len);
    const auto* begin = static_cast<const std::byte*>(view.buf);
    block->columns[c].assign(begin, begin + size);
    PyBuffer_Release(&view);
    const std::size_t sample_bytes = columns_[c].sample_bytes();
    if (sample_bytes == 0 || size % sample_bytes != 0) {
      return Error{ErrorCode::kInvalidArgument,
                   description_ + ": column " + columns_[c].name + " gave " + std::to_string(size) +
                       " bytes, which are no whole samples of " + std::to_string(sample_bytes)};
    }
    return std::uint64_t{size / sample_bytes};
  }

  Result<std::uint64_t> CopyList(const py::object& part, std::size_t c,
                                 array::SampleBlock* block) const {
    const auto list = part.cast<py::list>();
    block->ends.resize(columns_.size());
    Bytes& bytes = block->columns[c];
    bytes.clear();
    for (const auto& item : list) {
      char* begin = nullptr;
      py::ssize_t size = 0;
      if (PyBytes_AsStringAndSize(item.ptr(), &begin, &size) != 0) throw py::error_already_set();
      const ByteSpan element = AsBytes({begin, static_cast<std::size_t>(size)});
      if (element.size() > UINT32_MAX - bytes.size()) {
        return Error{ErrorCode::kTooLarge, description_ + ": column " + columns_[c].name +
                                               " has samples of more than 4 GiB together"};
      }
      bytes.insert(bytes.end(), element.begin(), element.end());
      block->ends[c].push_back(static_cast<std::uint32_t>(bytes.size()));
    }
    return std::uint64_t{list.size()};
  }

  std::vector<array::ColumnSpec> columns_;
  py::object reader_;
  std::optional<std::uint64_t> sample_count_;
  std::string description_;
  std::vector<source::SkippedInput> skipped_;
  Callback* callback_;
};

}  // namespace

std::unique_ptr<source::SampleSource> MakeObjectSource(const py::list& columns, py::object reader,
                                                       std::optional<std::uint64_t> sample_count,
                                                       const std::string& description,
                                                       Callback* callback) {
  std::vector<array::ColumnSpec> specs;
  for (const auto& column : columns) specs.push_back(ParseColumn(column.cast<py::dict>()));
  if (specs.empty()) RaiseInvalid(description + " has no columns");
  return std::make_unique<ObjectSource>(std::move(specs), std::move(reader), sample_count,
                                        description, callback);
}

}  // namespace dnc::python
