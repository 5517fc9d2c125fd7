// Memory of batches, as NumPy arrays: a batch is gathered straight into the memory
// that its array shows. When Python has let go of an array and of all views of it, its
// memory is used again: fresh pages cost as much as the gathering.

#pragma once

#include <pybind11/numpy.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "array/column.h"
#include "binding.h"

namespace dnc::python {

// Aligned memory that an array holds alive; known to Python without any method.
class Buffer {
 public:
  explicit Buffer(std::size_t bytes);
  std::byte* data() const { return data_.get(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  std::size_t bytes_;
};

// The buffers of one column. All calls with the interpreter's lock.
class BufferPool {
 public:
  // A buffer of at least `bytes` that nobody else holds.
  // Raises MemoryError.
  py::object Take(std::size_t bytes);

 private:
  std::vector<py::object> buffers_;
};

// The array of `samples` samples over `buffer`, from its beginning.
py::array ArrayOver(const py::object& buffer, const array::ColumnSpec& column,
                    std::uint64_t samples);

// Appends the samples of a column of varying lengths: bytes objects, or str of texts.
void AppendTo(py::list list, const array::ColumnSpec& column, const Bytes& bytes,
              const std::vector<std::uint32_t>& ends);

void BindBuffer(py::module_* module);

}  // namespace dnc::python
