// The format is docs/formats/models.md: a length, a JSON header, the data.

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "base/human.h"
#include "model/float_widths.h"
#include "model/json_text.h"
#include "model/named_weights.h"
#include "model/weight_files.h"

namespace dnc::model {
namespace {

using nlohmann::json;

constexpr std::uint64_t kHeaderBytesMax = 16u << 20;
constexpr std::size_t kPieceElements = 1u << 16;

Error Corrupt(std::string message) { return {ErrorCode::kCorrupt, std::move(message)}; }

struct Tensor {
  std::string name;
  FloatWidth width = FloatWidth::kF32;
  array::Shape shape;
  std::uint64_t begin = 0;  // Of its data, behind the header.
  std::uint64_t end = 0;
};

std::optional<std::uint64_t> OffsetOf(const json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

Result<FloatWidth> WidthOf(const std::string& name, const json& dtype) {
  static const std::pair<const char*, FloatWidth> kWidths[] = {{"F16", FloatWidth::kF16},
                                                               {"BF16", FloatWidth::kBf16},
                                                               {"F32", FloatWidth::kF32},
                                                               {"F64", FloatWidth::kF64}};
  for (const auto& [text, width] : kWidths) {
    if (dtype == text) return width;
  }
  return Error{ErrorCode::kUnsupported, "its tensor " + Quoted(name) + " is of dtype " +
                                            ShortJson(dtype) +
                                            "; weights are F32, F16, BF16 or F64"};
}

Result<Tensor> ReadTensor(const std::string& name, const json& entry) {
  const Error wrong =
      Corrupt("its tensor " + Quoted(name) + " is " + ShortJson(entry) +
              "; expected an object with \"dtype\", \"shape\" and \"data_offsets\"");
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
      !entry.contains("shape") || !entry.contains("data_offsets")) {
    return wrong;
  }
  Tensor tensor;
  tensor.name = name;
  DNC_ASSIGN(tensor.width, WidthOf(name, entry["dtype"]));
  const json& shape = entry["shape"];
  const json& offsets = entry["data_offsets"];
  if (!shape.is_array() || shape.size() > 32 || !offsets.is_array() || offsets.size() != 2) {
    return wrong;
  }
  for (const json& axis : shape) {
    const std::optional<std::uint64_t> length = OffsetOf(axis);
    if (!length || *length > INT64_MAX) return wrong;
    tensor.shape.push_back(static_cast<std::int64_t>(*length));
  }
  const auto begin = OffsetOf(offsets[0]);
  const auto end = OffsetOf(offsets[1]);
  if (!begin || !end || *begin > *end) return wrong;
  tensor.begin = *begin;
  tensor.end = *end;
  const auto count = array::ElementCount(tensor.shape);
  if (!count || *count * FloatBytes(tensor.width) != tensor.end - tensor.begin) {
    return Corrupt("its tensor " + Quoted(name) + " of shape " + array::ShapeText(tensor.shape) +
                   " claims " + FormatCount(tensor.end - tensor.begin) +
                   " bytes, which do not fit the shape");
  }
  return tensor;
}

// The tensors in the order of their data, which must fill the file behind the header.
Result<std::vector<Tensor>> ReadTensors(const json& header, std::uint64_t data_bytes) {
  if (!header.is_object()) return Corrupt("its header is no JSON object");
  std::vector<Tensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    DNC_ASSIGN(Tensor tensor, ReadTensor(name, entry));
    tensors.push_back(std::move(tensor));
  }
  std::sort(tensors.begin(), tensors.end(), [](const Tensor& a, const Tensor& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    if (tensor.begin != offset) {
      return Corrupt("its tensor " + Quoted(tensor.name) + " begins at byte " +
                     FormatCount(tensor.begin) + " of the data; expected " + FormatCount(offset) +
                     ", without gap or overlap");
    }
    offset = tensor.end;
  }
  if (offset != data_bytes) {
    return Corrupt("its tensors take " + FormatCount(offset) + " bytes, but " +
                   FormatCount(data_bytes) + " follow the header");
  }
  return tensors;
}

Status ReadElements(const RandomAccessSource& source, const Tensor& tensor, std::uint64_t data,
                    std::span<float> out) {
  const std::size_t width = FloatBytes(tensor.width);
  Bytes piece(std::min(out.size(), kPieceElements) * width);
  std::uint64_t offset = data + tensor.begin;
  while (!out.empty()) {
    const std::size_t count = std::min(out.size(), kPieceElements);
    const auto bytes = std::span(piece).first(count * width);
    DNC_TRY(source.ReadAt(offset, bytes));
    ToFloat32(tensor.width, bytes, out.first(count));
    out = out.subspan(count);
    offset += bytes.size();
  }
  return {};
}

Result<std::vector<float>> Read(const RandomAccessSource& source, const Model& model) {
  Bytes prefix(8);
  if (source.size() < prefix.size()) {
    return Corrupt("has " + FormatByteCount(source.size()) + "; not a safetensors file");
  }
  DNC_TRY(source.ReadAt(0, prefix));
  const auto header_bytes = ByteReader(prefix).Get<std::uint64_t>();
  if (header_bytes > source.size() - prefix.size()) {
    return Corrupt("claims a header of " + FormatCount(header_bytes) + " bytes, but has only " +
                   FormatCount(source.size()) + "; truncated, or not a safetensors file");
  }
  if (header_bytes > kHeaderBytesMax) {
    return Error{ErrorCode::kTooLarge, "has a header of " + FormatByteCount(header_bytes) +
                                           "; at most " + FormatByteCount(kHeaderBytesMax) +
                                           " are read"};
  }
  Bytes text(header_bytes);
  DNC_TRY(source.ReadAt(prefix.size(), text));
  json header;
  const Status parsed = ParseJsonText(AsText(text), kHeaderBytesMax, &header);
  if (!parsed.ok()) return parsed.error().WithContext("its header");
  const std::uint64_t data = prefix.size() + header_bytes;
  DNC_ASSIGN(const std::vector<Tensor> tensors, ReadTensors(header, source.size() - data));
  NamedWeights names(&model);
  std::vector<const WeightSpec*> weights;
  for (const Tensor& tensor : tensors) {
    DNC_ASSIGN(const WeightSpec* weight, names.Claim(tensor.name, tensor.shape));
    weights.push_back(weight);
  }
  DNC_TRY(names.CheckAllClaimed());
  // The file holds two bytes or more for each of these.
  std::vector<float> elements(model.weight_count);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    DNC_TRY(ReadElements(source, tensors[i], data,
                         std::span(elements).subspan(weights[i]->offset, weights[i]->count)));
  }
  return elements;
}

}  // namespace

Result<std::vector<float>> ReadSafetensors(const RandomAccessSource& source, const Model& model) {
  try {
    Result<std::vector<float>> weights = Read(source, model);
    if (!weights.ok()) return weights.error().WithContext(source.name());
    return weights;
  } catch (const std::exception& error) {  // Of the JSON library: no case of it is known.
    return Error{ErrorCode::kInternal, source.name() + ": " + error.what()};
  }
}

Status SaveSafetensors(const TrainedModel& trained, const std::string& path) {
  DNC_ASSERT(trained.weights.size() == trained.model.weight_count);
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const WeightSpec& weight : trained.model.weights) {
    header[weight.name] = {
        {"dtype", "F32"},
        {"shape", weight.shape},
        {"data_offsets", {4 * weight.offset, 4 * (weight.offset + weight.count)}}};
  }
  std::string text = DumpJson(header);
  text.append((8 - text.size() % 8) % 8, ' ');  // So that the data are aligned.
  const std::uint64_t header_bytes = text.size();
  DNC_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  DNC_TRY(file.Write(std::as_bytes(std::span(&header_bytes, 1))));
  DNC_TRY(file.Write(AsBytes(text)));
  DNC_TRY(file.Write(std::as_bytes(std::span(trained.weights))));
  return file.Commit();
}

}  // namespace dnc::model
