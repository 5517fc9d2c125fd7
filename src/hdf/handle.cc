#include "hdf/handle.h"

#include <hdf5.h>

namespace dnc::hdf {
namespace {

static_assert(sizeof(hid_t) == sizeof(std::int64_t));

// Upwards, the first entry is the innermost: the cause.
herr_t VisitError(unsigned index, const H5E_error2_t* error, void* data) {
  if (index == 0 && error->desc != nullptr) *static_cast<std::string*>(data) = error->desc;
  return 0;
}

}  // namespace

QuietH5::QuietH5() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

QuietH5::~QuietH5() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

std::string LastH5Failure() {
  std::string text = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, VisitError, &text);
  return text;
}

}  // namespace dnc::hdf
