// What all files of the extension share: errors as exceptions, options out of
// dictionaries, calls back into Python.
//
// The rooms below know neither Python nor exceptions. Here a Result becomes a value or
// an exception of dividenconquer.errors, one class a code. Whatever may wait runs
// without the interpreter's lock (the GIL), and looks after Ctrl-C now and then.

#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace dnc::python {

namespace py = pybind11;

// An Error on its way to Python; errors.cc translates it. Never leaves this extension.
struct ThrownError : std::exception {
  explicit ThrownError(Error e) : error(std::move(e)) {}
  const char* what() const noexcept override { return error.message.c_str(); }
  Error error;
};

[[noreturn]] void Raise(const Error& error);
inline void Check(const Status& status) {
  if (!status.ok()) Raise(status.error());
}
template <typename T>
T Take(Result<T> result) {
  if (!result.ok()) Raise(result.error());
  return std::move(result).value();
}
void RegisterErrors();
// Before the first array is made. Raises UnsupportedError where the installed NumPy lays
// out its types otherwise than the pybind11 of this build knows: strides would be wrong.
void CheckNumPy();

// Named options out of a dictionary. Every one must be asked for: Finish() refuses
// what is left, and names the one that was probably meant.
class Options {
 public:
  Options(const py::dict& values, std::string of) : values_(values), of_(std::move(of)) {}

  // Sets `field` if there is such an option and it is not None.
  // Raises InvalidArgumentError, naming the option, if it is of another type.
  template <typename T>
  void Read(const char* name, T* field) {
    if (const std::optional<py::object> value = Find(name)) {
      try {
        *field = value->template cast<T>();
      } catch (const py::cast_error&) {
        WrongType(name, *value);
      }
    }
  }
  // A number of bytes: an int, or a text such as "64MiB".
  void ReadBytes(const char* name, std::uint64_t* field);
  void Finish() const;

 private:
  std::optional<py::object> Find(const char* name);
  [[noreturn]] void WrongType(const char* name, const py::object& value) const;

  py::dict values_;
  std::string of_;  // For messages: "upload".
  std::vector<std::string> known_;
};

// A Python function that is called while a long job runs without the lock: at most
// every tenth of a second. An exception of it (Ctrl-C is one) stops the job, and is
// raised again by Rethrow() when the job has returned.
class Callback {
 public:
  // `function` may be None: then it only looks after Ctrl-C.
  explicit Callback(py::object function) : function_(std::move(function)) {}

  // Calls function(*make_arguments()) if it is due; `make_arguments` runs with the lock.
  // False: stop. Requires: the caller does not hold the lock.
  template <typename MakeArguments>
  bool Call(const MakeArguments& make_arguments) {
    if (thrown_) return false;
    const Instant now = MonotonicNow();
    if (now - last_ < Duration::Milliseconds(100)) return true;
    last_ = now;
    const py::gil_scoped_acquire lock;
    return Guard([&] {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!function_.is_none()) function_(*make_arguments());
    });
  }
  // Runs `body`, which calls Python, and keeps what it throws. Requires: the lock.
  template <typename Body>
  bool Guard(const Body& body) {
    try {
      body();
      return true;
    } catch (...) {
      thrown_ = std::current_exception();
      return false;
    }
  }
  // Requires: the lock.
  void Rethrow() const {
    if (thrown_) std::rethrow_exception(thrown_);
  }

 private:
  py::object function_;
  Instant last_ = MonotonicNow();
  std::exception_ptr thrown_;
};

// Each file's part of the module.
void BindDataset(py::module_* module);
void BindDivide(py::module_* module);
void BindImages(py::module_* module);
void BindStream(py::module_* module);

}  // namespace dnc::python
