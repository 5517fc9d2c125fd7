// The XML that an S3 server answers with.

#include "store/s3_xml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(dnc::store::ParseXml(text).ok());
  static_cast<void>(dnc::store::ParseS3ListPage(text).ok());
  static_cast<void>(dnc::store::ParseS3Error(text).has_value());
  static_cast<void>(dnc::store::ParseS3UploadId(text).ok());
  return 0;
}
