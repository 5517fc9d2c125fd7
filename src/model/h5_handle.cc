#include "model/h5_handle.h"

#include <hdf5.h>

#include <cstdlib>
#include <string_view>

namespace dnc::model {
namespace {

static_assert(sizeof(hid_t) == sizeof(std::int64_t));

// Upwards, the first entry is the innermost: the cause.
herr_t VisitError(unsigned index, const H5E_error2_t* error, void* data) {
  auto* failure = static_cast<H5Failure*>(data);
  const std::string_view text = error->desc == nullptr ? "" : error->desc;
  if (index == 0) failure->text = text;
  constexpr std::string_view kErrno = "errno = ";
  if (const auto at = text.find(kErrno); at != std::string_view::npos) {
    failure->error_number = std::atoi(std::string(text.substr(at + kErrno.size())).c_str());
  }
  return 0;
}

}  // namespace

QuietH5::QuietH5() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

QuietH5::~QuietH5() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }

H5Failure LastH5Failure() {
  H5Failure failure;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, VisitError, &failure);
  return failure;
}

}  // namespace dnc::model
