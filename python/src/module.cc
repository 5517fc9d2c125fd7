// The extension module: names and types for _native.pyi; documentation is on the
// Python side, which is all that users see.

#include "binding.h"

PYBIND11_MODULE(_native, module) {
  module.doc() = "The rooms of Divide-n-conquer for the package dividenconquer.";
  module.attr("__version__") = DNC_VERSION;
  dnc::python::RegisterErrors();
  dnc::python::BindDataset(&module);
  dnc::python::BindDivide(&module);
  dnc::python::BindImages(&module);
  dnc::python::BindStream(&module);
}
