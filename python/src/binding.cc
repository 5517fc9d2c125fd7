#include "binding.h"

#include "base/human.h"

namespace dnc::python {

void Raise(const Error& error) { throw ThrownError(error); }

void CheckNumPy() {
  // Version 2.12 is the first that knows NumPy 2.
  if (PYBIND11_VERSION_MAJOR * 100 + PYBIND11_VERSION_MINOR >= 212) return;
  static bool is_checked = false;  // With the interpreter's lock.
  if (is_checked) return;
  const auto version = py::module_::import("numpy").attr("__version__").cast<std::string>();
  if (version.substr(0, version.find('.')).size() > 1 || version[0] >= '2') {
    Raise({ErrorCode::kUnsupported,
           "NumPy " + version + " is newer than this build of dividenconquer; use a NumPy " +
               "below 2 with it, or build it for this one with: pip install ."});
  }
  is_checked = true;
}

void RegisterErrors() {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ThrownError& thrown) {
      // The class of the code, by its name: kNotFound is "not_found" on both sides.
      const py::object classes = py::module_::import("dividenconquer.errors").attr("BY_CODE");
      const py::object type = classes[ErrorCodeName(thrown.error.code)];
      // A name out of a file may hold bytes that are no UTF-8.
      const std::string& message = thrown.error.message;
      const auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
          message.data(), static_cast<py::ssize_t>(message.size()), "replace"));
      PyErr_SetObject(type.ptr(), text.ptr());
    }
  });
}

std::optional<py::object> Options::Find(const char* name) {
  known_.emplace_back(name);
  if (!values_.contains(name)) return std::nullopt;
  py::object value = values_[name];
  if (value.is_none()) return std::nullopt;
  return value;
}

void Options::ReadBytes(const char* name, std::uint64_t* field) {
  const std::optional<py::object> value = Find(name);
  if (!value) return;
  if (py::isinstance<py::str>(*value)) {
    Result<std::uint64_t> bytes = ParseByteCount(value->cast<std::string>());
    if (!bytes.ok()) Raise(bytes.error().WithContext(name));
    *field = *bytes;
    return;
  }
  try {
    *field = value->cast<std::uint64_t>();
  } catch (const py::cast_error&) {
    WrongType(name, *value);
  }
}

void Options::WrongType(const char* name, const py::object& value) const {
  Raise({ErrorCode::kInvalidArgument,
         of_ + ": " + name + "=" + py::repr(value).cast<std::string>() +
             " is not of the type that is expected there; help(dividenconquer) says which"});
}

void Options::Finish() const {
  for (const auto& [key, value] : values_) {
    const std::string name = py::str(key);
    bool known = false;
    for (const std::string& option : known_) known = known || option == name;
    if (known) continue;
    const std::string near = NearestName(name, known_);
    std::string message = of_ + " has no option \"" + name + "\"";
    if (!near.empty()) {
      message += "; did you mean \"" + near + "\"?";
    } else {
      message += "; there are:";
      for (const std::string& option : known_) message += " " + option;
    }
    Raise({ErrorCode::kInvalidArgument, message});
  }
}

}  // namespace dnc::python
