// Weights as np.savez writes them: one .npy a weight, called as the weight is.

#include "array/npy_header.h"
#include "base/human.h"
#include "model/float_widths.h"
#include "model/json_text.h"
#include "model/named_weights.h"
#include "model/weight_files.h"
#include "zip/zip.h"

namespace dnc::model {
namespace {

constexpr std::string_view kSuffix = ".npy";

Result<FloatWidth> WidthOf(const array::NpyHeader& header) {
  if (!header.big_endian) {
    if (header.dtype == array::DType::kFloat16) return FloatWidth::kF16;
    if (header.dtype == array::DType::kFloat32) return FloatWidth::kF32;
    if (header.dtype == array::DType::kFloat64) return FloatWidth::kF64;
  }
  return Error{ErrorCode::kUnsupported,
               std::string("is of dtype ") + array::DTypeName(header.dtype) +
                   (header.big_endian ? ", big-endian" : "") +
                   "; weights are float32, float64 or float16, little-endian"};
}

// A matrix in Fortran's order is its transpose in C's; np.save writes it so.
void FromFortranOrder(const array::Shape& shape, std::span<const float> from, std::span<float> to) {
  std::vector<std::size_t> index(shape.size(), 0);
  for (float& element : to) {
    std::size_t position = 0;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      position = position * static_cast<std::size_t>(shape[axis]) + index[axis];
    }
    element = from[position];
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < static_cast<std::size_t>(shape[axis])) break;
      index[axis] = 0;
    }
  }
}

Status ReadArray(const RandomAccessSource& source, const zip::Member& member, NamedWeights* names,
                 std::vector<float>* elements) {
  if (!member.name.ends_with(kSuffix)) {
    return Error{ErrorCode::kUnsupported,
                 "its member " + Quoted(member.name) + " is no .npy; expected one array a weight"};
  }
  const std::string name = member.name.substr(0, member.name.size() - kSuffix.size());
  // No honest array of these weights is larger.
  const std::uint64_t bytes_max = 8 * elements->size() + array::kNpyHeaderBytesMax + 12;
  DNC_ASSIGN(const Bytes bytes, zip::ReadMember(source, member, bytes_max));
  DNC_ASSIGN(const array::NpyHeader header,
             array::ReadNpyHeader(MemorySource(bytes, source.name() + "(" + member.name + ")")));
  const Result<FloatWidth> width = WidthOf(header);
  if (!width.ok()) return width.error().WithContext(member.name);
  DNC_ASSIGN(const WeightSpec* weight, names->Claim(name, header.shape));
  const std::span<float> out = std::span(*elements).subspan(weight->offset, weight->count);
  const ByteSpan data =
      ByteSpan(bytes).subspan(header.data_offset, weight->count * FloatBytes(*width));
  if (!header.fortran_order || header.shape.size() < 2) {
    ToFloat32(*width, data, out);
    return {};
  }
  std::vector<float> transposed(weight->count);
  ToFloat32(*width, data, transposed);
  FromFortranOrder(header.shape, transposed, out);
  return {};
}

Result<std::vector<float>> Read(const RandomAccessSource& source, const Model& model) {
  DNC_ASSIGN(const std::vector<zip::Member> members, zip::ReadDirectory(source));
  // As many as the file can hold at deflate's best; ReadMember() checks each member.
  if (model.weight_count / 1032 > source.size()) {
    return Error{ErrorCode::kCorrupt, "has " + FormatByteCount(source.size()) +
                                          ", too few for the " + FormatCount(model.weight_count) +
                                          " weights of the architecture"};
  }
  NamedWeights names(&model);
  std::vector<float> elements(model.weight_count);
  for (const zip::Member& member : members) {
    DNC_TRY(ReadArray(source, member, &names, &elements));
  }
  DNC_TRY(names.CheckAllClaimed());
  return elements;
}

}  // namespace

Result<std::vector<float>> ReadNpz(const RandomAccessSource& source, const Model& model) {
  Result<std::vector<float>> weights = Read(source, model);
  if (!weights.ok() && !weights.error().message.starts_with(source.name())) {
    return weights.error().WithContext(source.name());
  }
  return weights;
}

Status SaveNpz(const TrainedModel& trained, const std::string& path) {
  DNC_ASSERT(trained.weights.size() == trained.model.weight_count);
  const std::size_t count = trained.model.weights.size();
  std::vector<Bytes> headers(count);
  std::vector<zip::Content> contents(count);
  for (std::size_t i = 0; i < count; ++i) {
    const WeightSpec& weight = trained.model.weights[i];
    headers[i] = array::FormatNpyHeader(array::DType::kFloat32, weight.shape);
    contents[i].name = weight.name + std::string(kSuffix);
    contents[i].parts = {
        headers[i], std::as_bytes(std::span(trained.weights).subspan(weight.offset, weight.count))};
  }
  return zip::WriteArchive(path, contents);
}

}  // namespace dnc::model
