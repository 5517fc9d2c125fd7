#include "batch_buffers.h"

#include <algorithm>
#include <new>

namespace dnc::python {
namespace {

constexpr std::align_val_t kAlignment{64};  // A cache line; DLPack's consumers expect it.
// Beyond the batch in use and the one before: what a caller holds back for a while.
constexpr std::size_t kBuffersMax = 4;

}  // namespace

Buffer::Buffer(std::size_t bytes)
    : data_(static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 1), kAlignment))),
      bytes_(bytes) {}

void Buffer::Free::operator()(std::byte* data) const { ::operator delete(data, kAlignment); }

py::object BufferPool::Take(std::size_t bytes) {
  for (py::object& buffer : buffers_) {
    // Only the pool holds it: no array, no view, no capsule of DLPack.
    if (Py_REFCNT(buffer.ptr()) == 1 && buffer.cast<const Buffer&>().bytes() >= bytes) {
      return buffer;
    }
  }
  py::object buffer = py::cast(std::make_unique<Buffer>(bytes));
  if (buffers_.size() == kBuffersMax) buffers_.erase(buffers_.begin());
  buffers_.push_back(buffer);
  return buffer;
}

py::array ArrayOver(const py::object& buffer, const array::ColumnSpec& column,
                    std::uint64_t samples) {
  std::vector<py::ssize_t> shape = {static_cast<py::ssize_t>(samples)};
  shape.insert(shape.end(), column.shape.begin(), column.shape.end());
  return py::array(py::dtype(array::DTypeName(column.dtype)), std::move(shape),
                   buffer.cast<const Buffer&>().data(), buffer);
}

void AppendTo(py::list list, const array::ColumnSpec& column, const Bytes& bytes,
              const std::vector<std::uint32_t>& ends) {
  const char* begin = reinterpret_cast<const char*>(bytes.data());
  std::uint32_t last = 0;
  for (const std::uint32_t end : ends) {
    const auto size = static_cast<py::ssize_t>(end - last);
    // A text that is no UTF-8 comes back as it was: text.encode("utf-8", "surrogateescape").
    const auto item = py::reinterpret_steal<py::object>(
        column.kind == array::ColumnKind::kText
            ? PyUnicode_DecodeUTF8(begin + last, size, "surrogateescape")
            : PyBytes_FromStringAndSize(begin + last, size));
    if (!item) throw py::error_already_set();
    list.append(item);
    last = end;
  }
}

void BindBuffer(py::module_* module) { py::class_<Buffer>(*module, "Buffer"); }

}  // namespace dnc::python
