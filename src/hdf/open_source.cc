#include "hdf/open_source.h"

#include <hdf5.h>
#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#endif

#include <cstring>

namespace dnc::hdf {
namespace {

// As the file-access property holds it: a pointer to the caller's shared_ptr, which
// is copied while H5Fopen runs.
struct DriverInfo {
  const std::shared_ptr<const RandomAccessSource>* source;
};

struct OpenFile {
  H5FD_t base;  // First: the library sees only this.
  std::shared_ptr<const RandomAccessSource> source;
  haddr_t end_of_allocation;
};

OpenFile* Own(H5FD_t* file) { return reinterpret_cast<OpenFile*>(file); }
const OpenFile* Own(const H5FD_t* file) { return reinterpret_cast<const OpenFile*>(file); }

H5FD_t* Open(const char*, unsigned flags, hid_t access, haddr_t) {
  if ((flags & H5F_ACC_RDWR) != 0) return nullptr;
  const auto* info = static_cast<const DriverInfo*>(H5Pget_driver_info(access));
  if (info == nullptr) return nullptr;
  auto* file = new OpenFile{};
  file->source = *info->source;
  return &file->base;
}

herr_t Close(H5FD_t* file) {
  delete Own(file);
  return 0;
}

int Compare(const H5FD_t* a, const H5FD_t* b) {
  const auto* left = Own(a)->source.get();
  const auto* right = Own(b)->source.get();
  return left == right ? 0 : std::less<>()(left, right) ? -1 : 1;
}

herr_t Query(const H5FD_t*, unsigned long* flags) {
  if (flags != nullptr) *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_DATA_SIEVE;
  return 0;
}

haddr_t EndOfAllocation(const H5FD_t* file, H5FD_mem_t) { return Own(file)->end_of_allocation; }

herr_t SetEndOfAllocation(H5FD_t* file, H5FD_mem_t, haddr_t end) {
  Own(file)->end_of_allocation = end;
  return 0;
}

haddr_t EndOfFile(const H5FD_t* file, H5FD_mem_t) { return Own(file)->source->size(); }

herr_t Read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t offset, std::size_t size, void* buffer) {
  const RandomAccessSource& source = *Own(file)->source;
  if (offset > source.size() || size > source.size() - offset) return -1;
  return source.ReadAt(offset, {static_cast<std::byte*>(buffer), size}).ok() ? 0 : -1;
}

// The library wants one, though the file is opened to be read.
herr_t Write(H5FD_t*, H5FD_mem_t, hid_t, haddr_t, std::size_t, const void*) { return -1; }

H5FD_class_t DriverClass() {
  H5FD_class_t driver{};
#ifdef H5FD_CLASS_VERSION
  driver.version = H5FD_CLASS_VERSION;
  driver.value = static_cast<H5FD_class_value_t>(513);  // Free for testing and private use.
#endif
  driver.name = "dnc_source";
  driver.maxaddr = HADDR_MAX - 1;
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(DriverInfo);
  driver.open = Open;
  driver.close = Close;
  driver.cmp = Compare;
  driver.query = Query;
  driver.get_eoa = EndOfAllocation;
  driver.set_eoa = SetEndOfAllocation;
  driver.get_eof = EndOfFile;
  driver.read = Read;
  driver.write = Write;
  const H5FD_mem_t single[] = H5FD_FLMAP_SINGLE;
  std::memcpy(driver.fl_map, single, sizeof single);
  return driver;
}

}  // namespace

std::int64_t FindSignature(ByteSpan start) {
  constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
  const std::string_view text = AsText(start);
  for (std::size_t offset = 0; offset < text.size(); offset = offset == 0 ? 512 : 2 * offset) {
    if (text.substr(offset).starts_with(kSignature)) return static_cast<std::int64_t>(offset);
  }
  return -1;
}

Result<H5Handle> OpenSource(std::shared_ptr<const RandomAccessSource> source) {
  const QuietH5 quiet;
  static const H5FD_class_t driver = DriverClass();
  // The library drops the class with the last file and property list that use it.
  const H5Handle registered(H5FDregister(&driver), H5FDunregister);
  const H5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  const DriverInfo info{&source};
  if (!registered.ok() || !access.ok() || H5Pset_driver(access.id(), registered.id(), &info) < 0 ||
      H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG) < 0) {
    return Error{ErrorCode::kResourceExhausted, "HDF5: " + LastH5Failure()};
  }
  const std::string& name = source->name();
  H5Handle file(H5Fopen(name.c_str(), H5F_ACC_RDONLY, access.id()), H5Fclose);
  if (!file.ok()) {
    return Error{ErrorCode::kCorrupt,
                 name + ": cannot be opened as HDF5: " + LastH5Failure() +
                     "; it is damaged or truncated (h5dump and h5clear can say more)"};
  }
  return file;
}

}  // namespace dnc::hdf
