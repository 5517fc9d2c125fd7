#include "source/hdf5_source.h"

#include <hdf5.h>

#include <algorithm>
#include <optional>

#include "base/assert.h"
#include "base/human.h"
#include "hdf/handle.h"
#include "hdf/open_source.h"
#include "source/slab_array.h"
#include "source/text.h"

namespace dnc::source {
namespace {

using array::DType;
using array::Shape;
using hdf::H5Handle;
using hdf::LastH5Failure;
using hdf::QuietH5;

constexpr std::size_t kNameBytesMax = 4096;

Error Spoilt(const std::string& name, const std::string& what) {
  return {ErrorCode::kCorrupt, name + ": " + what + ": HDF5: " + LastH5Failure()};
}

// MATLAB's class of a variable, "" if it is not one.
std::string MatlabClass(hid_t dataset) {
  if (H5Aexists(dataset, "MATLAB_class") <= 0) return "";
  const H5Handle attribute(H5Aopen(dataset, "MATLAB_class", H5P_DEFAULT), H5Aclose);
  const H5Handle type(H5Aget_type(attribute.id()), H5Tclose);
  const std::size_t size = H5Tget_size(type.id());
  if (!type.ok() || H5Tget_class(type.id()) != H5T_STRING || size == 0 || size > 64 ||
      H5Tis_variable_str(type.id()) != 0) {
    return "";
  }
  std::string text(size, '\0');
  if (H5Aread(attribute.id(), type.id(), text.data()) < 0) return "";
  return text.substr(0, text.find('\0'));
}

// h5py writes a bool as an enumeration of FALSE and TRUE.
bool IsBool(hid_t type) {
  if (H5Tget_class(type) != H5T_ENUM || H5Tget_size(type) != 1 || H5Tget_nmembers(type) != 2) {
    return false;
  }
  char* name = H5Tget_member_name(type, 0);
  const bool is_false = name != nullptr && std::string_view(name) == "FALSE";
  H5free_memory(name);
  return is_false;
}

std::optional<DType> IntegerType(std::size_t size, bool is_signed) {
  switch (size) {
    case 1:
      return is_signed ? DType::kInt8 : DType::kUint8;
    case 2:
      return is_signed ? DType::kInt16 : DType::kUint16;
    case 4:
      return is_signed ? DType::kInt32 : DType::kUint32;
    case 8:
      return is_signed ? DType::kInt64 : DType::kUint64;
    default:
      return std::nullopt;
  }
}

// IEEE 754 of 2, 4 or 8 bytes.
std::optional<DType> FloatType(hid_t type) {
  const std::size_t size = H5Tget_size(type);
  if (H5Tget_precision(type) != 8 * size) return std::nullopt;
  if (size == 4) return DType::kFloat32;
  if (size == 8) return DType::kFloat64;
  std::size_t sign = 0;
  std::size_t exponent = 0;
  std::size_t exponent_bits = 0;
  std::size_t mantissa = 0;
  std::size_t mantissa_bits = 0;
  const bool has_fields =
      H5Tget_fields(type, &sign, &exponent, &exponent_bits, &mantissa, &mantissa_bits) >= 0;
  if (size == 2 && has_fields && exponent_bits == 5 && mantissa_bits == 10) {
    return DType::kFloat16;
  }
  return std::nullopt;
}

std::optional<DType> NumberType(hid_t type) {
  if (IsBool(type)) return DType::kBool;
  if (H5Tget_class(type) == H5T_FLOAT) return FloatType(type);
  if (H5Tget_class(type) != H5T_INTEGER) return std::nullopt;
  return IntegerType(H5Tget_size(type), H5Tget_sign(type) == H5T_SGN_2);
}

const char* OtherTypeName(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_STRING:
      return "text";
    case H5T_COMPOUND:
      return "records";
    case H5T_ENUM:
      return "an enumeration";
    case H5T_REFERENCE:
      return "references";
    case H5T_VLEN:
      return "lists of varying length";
    default:
      return "of another type";
  }
}

// The type in memory: the same numbers, little-endian.
H5Handle MemoryType(hid_t stored, DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return {H5Tcopy(stored), H5Tclose};
    case DType::kInt8:
      return {H5Tcopy(H5T_STD_I8LE), H5Tclose};
    case DType::kUint8:
      return {H5Tcopy(H5T_STD_U8LE), H5Tclose};
    case DType::kInt16:
      return {H5Tcopy(H5T_STD_I16LE), H5Tclose};
    case DType::kUint16:
      return {H5Tcopy(H5T_STD_U16LE), H5Tclose};
    case DType::kInt32:
      return {H5Tcopy(H5T_STD_I32LE), H5Tclose};
    case DType::kUint32:
      return {H5Tcopy(H5T_STD_U32LE), H5Tclose};
    case DType::kInt64:
      return {H5Tcopy(H5T_STD_I64LE), H5Tclose};
    case DType::kUint64:
      return {H5Tcopy(H5T_STD_U64LE), H5Tclose};
    case DType::kFloat32:
      return {H5Tcopy(H5T_IEEE_F32LE), H5Tclose};
    case DType::kFloat64:
      return {H5Tcopy(H5T_IEEE_F64LE), H5Tclose};
    case DType::kFloat16:
      break;
  }
  H5Handle type(H5Tcopy(stored), H5Tclose);
  H5Tset_order(type.id(), H5T_ORDER_LE);
  return type;
}

struct DatasetInfo {
  std::string path;  // Without the first "/".
  DType dtype = DType::kUint8;
  Shape shape;  // As HDF5 has it.
};

// Collects the datasets below the root while H5Ovisit walks.
struct Listing {
  bool is_matlab = false;
  std::size_t object_count = 0;
  std::vector<DatasetInfo> arrays;
  std::vector<ArrayEntry> entries;
  std::vector<ArrayEntry> others;
};

void AddDataset(hid_t dataset, const std::string& name, Listing* listing) {
  const H5Handle type(H5Dget_type(dataset), H5Tclose);
  const H5Handle space(H5Dget_space(dataset), H5Sclose);
  const std::string matlab_class = listing->is_matlab ? MatlabClass(dataset) : "";
  std::optional<DType> dtype = NumberType(type.id());
  if (matlab_class == "logical" && dtype == DType::kUint8) dtype = DType::kBool;
  const int axes = H5Sget_simple_extent_ndims(space.id());
  const bool is_text = matlab_class == "char";
  const bool is_empty = listing->is_matlab && H5Aexists(dataset, "MATLAB_empty") > 0;
  if (!dtype || is_text || is_empty || axes <= 0) {
    const char* what = is_text                  ? "text"
                       : matlab_class == "cell" ? "a cell array"
                       : is_empty               ? "empty"
                       : dtype                  ? "a single number"
                                                : OtherTypeName(type.id());
    listing->others.push_back({name, what});
    return;
  }
  std::vector<hsize_t> lengths(static_cast<std::size_t>(axes));
  H5Sget_simple_extent_dims(space.id(), lengths.data(), nullptr);
  DatasetInfo info{name, *dtype, {}};
  for (const hsize_t length : lengths) {
    info.shape.push_back(length > INT64_MAX ? INT64_MAX : static_cast<std::int64_t>(length));
  }
  Shape shown = info.shape;
  if (listing->is_matlab) std::reverse(shown.begin(), shown.end());
  listing->entries.push_back(
      {name, std::string(array::DTypeName(*dtype)) + " " + array::ShapeText(shown)});
  listing->arrays.push_back(std::move(info));
}

herr_t Visit(hid_t root, const char* name, const H5O_info_t* info, void* data) {
  auto* listing = static_cast<Listing*>(data);
  if (++listing->object_count > kH5ObjectCountMax) return 1;
  const std::string_view text(name);
  if (info->type != H5O_TYPE_DATASET || text.size() > kNameBytesMax || !IsUtf8(text)) return 0;
  // MATLAB's own bookkeeping.
  if (listing->is_matlab && text.starts_with('#')) return 0;
  const H5Handle dataset(H5Dopen2(root, name, H5P_DEFAULT), H5Dclose);
  if (dataset.ok()) {
    AddDataset(dataset.id(), std::string(text), listing);
  } else {
    listing->others.push_back({std::string(text), "damaged"});
  }
  return 0;
}

class Hdf5Slabs final : public SlabReader {
 public:
  Hdf5Slabs(std::shared_ptr<const H5Handle> file, H5Handle dataset, const DatasetInfo& info,
            std::string name, std::size_t sample_axis, std::uint64_t step)
      : file_(std::move(file)),
        dataset_(std::move(dataset)),
        info_(info),
        name_(std::move(name)),
        sample_axis_(sample_axis),
        step_(step) {}

  std::uint64_t sample_step() const override { return step_; }

  Status ReadSlab(std::uint64_t first, std::uint64_t count, std::span<std::byte> out) override {
    const QuietH5 quiet;
    const std::size_t axes = info_.shape.size();
    std::vector<hsize_t> start(axes, 0);
    std::vector<hsize_t> size;
    std::uint64_t bytes = array::DTypeSize(info_.dtype);
    for (const std::int64_t length : info_.shape) size.push_back(static_cast<hsize_t>(length));
    start[sample_axis_] = first;
    size[sample_axis_] = count;
    for (const hsize_t length : size) bytes *= length;
    DNC_ASSERT(bytes == out.size());
    const H5Handle stored_type(H5Dget_type(dataset_.id()), H5Tclose);
    const H5Handle type = MemoryType(stored_type.id(), info_.dtype);
    const H5Handle file_space(H5Dget_space(dataset_.id()), H5Sclose);
    const H5Handle memory_space(H5Screate_simple(static_cast<int>(axes), size.data(), nullptr),
                                H5Sclose);
    if (!type.ok() || H5Tget_size(type.id()) != array::DTypeSize(info_.dtype) || !file_space.ok() ||
        !memory_space.ok() ||
        H5Sselect_hyperslab(file_space.id(), H5S_SELECT_SET, start.data(), nullptr, size.data(),
                            nullptr) < 0 ||
        H5Dread(dataset_.id(), type.id(), memory_space.id(), file_space.id(), H5P_DEFAULT,
                out.data()) < 0) {
      return Spoilt(name_, "samples " + std::to_string(first) + " to " +
                               std::to_string(first + count - 1) + " cannot be read");
    }
    return {};
  }

 private:
  std::shared_ptr<const H5Handle> file_;  // Is closed last.
  H5Handle dataset_;
  DatasetInfo info_;
  std::string name_;
  std::size_t sample_axis_;
  std::uint64_t step_;
};

Status CheckFilters(hid_t creation, const std::string& name) {
  const int count = H5Pget_nfilters(creation);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0;
    std::size_t value_count = 0;
    char text[64] = {};
    unsigned config = 0;
    const H5Z_filter_t filter = H5Pget_filter2(creation, static_cast<unsigned>(i), &flags,
                                               &value_count, nullptr, sizeof text, text, &config);
    if (filter >= 0 && H5Zfilter_avail(filter) > 0) continue;
    return Error{ErrorCode::kUnsupported,
                 name + ": is compressed by the filter " + std::to_string(filter) +
                     (text[0] == '\0' ? "" : " (" + Printable(text, 40) + ")") +
                     ", which this HDF5 library does not have; write it again with h5repack -f "
                     "GZIP=4"};
  }
  return {};
}

// What a dataset says of its storage, before anything is read: the length of a chunk
// along the sample axis.
Result<std::uint64_t> CheckStorage(hid_t dataset, const DatasetInfo& info, const std::string& name,
                                   std::size_t sample_axis) {
  const H5Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  if (!creation.ok()) return Spoilt(name, "its layout cannot be read");
  const H5D_layout_t layout = H5Pget_layout(creation.id());
  if (layout == H5D_VIRTUAL || H5Pget_external_count(creation.id()) > 0) {
    return Error{ErrorCode::kUnsupported,
                 name + ": its elements lie in other files; copy it into one file with h5repack"};
  }
  if (layout != H5D_CHUNKED) return std::uint64_t{1};
  DNC_TRY(CheckFilters(creation.id(), name));
  std::vector<hsize_t> chunk(info.shape.size(), 0);
  if (H5Pget_chunk(creation.id(), static_cast<int>(chunk.size()), chunk.data()) !=
      static_cast<int>(chunk.size())) {
    return Spoilt(name, "its chunks cannot be read");
  }
  std::uint64_t chunk_bytes = array::DTypeSize(info.dtype);
  for (const hsize_t length : chunk) {
    if (length == 0 || length > kH5ChunkBytesMax || chunk_bytes > kH5ChunkBytesMax / length) {
      return Error{ErrorCode::kTooLarge,
                   name + ": a chunk of it has more than " + FormatByteCount(kH5ChunkBytesMax) +
                       "; write it again in smaller ones with h5repack -l CHUNK=..."};
    }
    chunk_bytes *= length;
  }
  return std::uint64_t{chunk[sample_axis]};
}

class Hdf5Container final : public ArrayContainer {
 public:
  Hdf5Container(const Input& input, H5Handle file, Listing listing)
      : name_(input.name),
        file_bytes_(input.medium_bytes.value_or(0)),
        file_(std::make_shared<const H5Handle>(std::move(file))),
        listing_(std::move(listing)) {}

  const std::string& name() const override { return name_; }
  std::string format() const override { return listing_.is_matlab ? "mat" : "hdf5"; }
  std::uint64_t file_bytes() const override { return file_bytes_; }
  const std::vector<ArrayEntry>& entries() const override { return listing_.entries; }
  const std::vector<ArrayEntry>& others() const override { return listing_.others; }
  bool is_matlab() const override { return listing_.is_matlab; }
  bool axis_follows_labels() const override { return true; }

  Result<Shape> ShapeOf(std::size_t entry) const override {
    Shape shape = listing_.arrays[entry].shape;
    if (listing_.is_matlab) std::reverse(shape.begin(), shape.end());
    return shape;
  }

  Result<std::unique_ptr<ArrayInput>> Open(std::size_t entry,
                                           std::size_t sample_axis) const override {
    const QuietH5 quiet;
    const DatasetInfo& dataset = listing_.arrays[entry];
    const std::string name = name_ + ":/" + dataset.path;
    StoredLayout layout{
        .shape = dataset.shape, .sample_axis = sample_axis, .is_reversed = listing_.is_matlab};
    if (listing_.is_matlab) layout.sample_axis = dataset.shape.size() - 1 - sample_axis;
    ArrayInfo info{name, format(), dataset.dtype, SampleFirstShape(layout)};
    DNC_TRY(CheckSamples(info));
    // Tiles are made of whole chunks where memory allows: what is kept of a chunk would
    // only be held twice.
    const H5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
    H5Pset_chunk_cache(access.id(), 1, 0, 1.0);
    H5Handle opened(H5Dopen2(file_->id(), dataset.path.c_str(), access.id()), H5Dclose);
    if (!opened.ok()) return Spoilt(name, "cannot be opened");
    DNC_ASSIGN(const std::uint64_t step,
               CheckStorage(opened.id(), dataset, name, layout.sample_axis));
    auto slabs = std::make_unique<Hdf5Slabs>(file_, std::move(opened), dataset, name,
                                             layout.sample_axis, step);
    return MakeSlabArray(std::move(info), layout, std::move(slabs));
  }

 private:
  std::string name_;
  std::uint64_t file_bytes_;
  std::shared_ptr<const H5Handle> file_;
  Listing listing_;
};

}  // namespace

bool IsHdf5(ByteSpan start) { return hdf::FindSignature(start) >= 0; }

Result<std::unique_ptr<ArrayContainer>> OpenHdf5Container(const Input& input) {
  const QuietH5 quiet;
  DNC_ASSIGN(H5Handle file, hdf::OpenSource(input.file));
  Listing listing;
  listing.is_matlab = AsText(input.start).starts_with("MATLAB 7.3 MAT-file");
  const herr_t visited =
      H5Ovisit2(file.id(), H5_INDEX_NAME, H5_ITER_INC, Visit, &listing, H5O_INFO_BASIC);
  if (visited < 0) return Spoilt(input.name, "its contents cannot be listed");
  if (visited > 0) {
    return Error{ErrorCode::kTooLarge, input.name + ": holds more than " +
                                           std::to_string(kH5ObjectCountMax) + " objects"};
  }
  return std::unique_ptr<ArrayContainer>(
      std::make_unique<Hdf5Container>(input, std::move(file), std::move(listing)));
}

Result<std::unique_ptr<SampleSource>> OpenHdf5(const Input& input, const SourceOptions& options) {
  DNC_ASSIGN(const auto container, OpenHdf5Container(input));
  return OpenContainer(*container, options);
}

}  // namespace dnc::source
