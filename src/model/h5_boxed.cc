#include <algorithm>
#include <memory>

#include "base/random_access_source.h"
#include "box/box.h"
#include "hdf/open_source.h"
#include "model/h5.h"
#include "model/h5_read.h"
#include "model/trained_bytes.h"

namespace dnc::model {
namespace {

constexpr std::uint64_t kStartBytes = 64u << 10;  // Behind which no superblock is looked for.

Result<std::shared_ptr<const RandomAccessSource>> Open(const std::string& path) {
  DNC_ASSIGN(std::unique_ptr<FileSource> source, FileSource::Open(path));
  Bytes start(std::min<std::uint64_t>(source->size(), kStartBytes));
  DNC_TRY(source->ReadAt(0, start));
  if (AsText(start).starts_with("PK\x03\x04")) {
    return Error{ErrorCode::kUnsupported,
                 path + ": is a .keras or zip archive; name it so that it ends in .keras"};
  }
  if (hdf::FindSignature(start) < 0) {
    return Error{ErrorCode::kCorrupt, path +
                                          ": is not an HDF5 file; expected a model as Keras's "
                                          "model.save(\"m.h5\") writes it"};
  }
  return std::shared_ptr<const RandomAccessSource>(std::move(source));
}

}  // namespace

Result<TrainedModel> LoadH5(const std::string& path, const ModelLimits& limits) {
  DNC_ASSIGN(const std::shared_ptr<const RandomAccessSource> source, Open(path));
  DNC_ASSIGN(const Bytes bytes, box::RunBoxed(path, TrainedBytesMax(source->size()),
                                              kReaderSecondsMax, [&]() -> Result<Bytes> {
                                                DNC_ASSIGN(const TrainedModel trained,
                                                           ReadH5(source, limits));
                                                return EncodeTrained(trained);
                                              }));
  return DecodeTrained(bytes, path, limits);
}

Status LoadH5Weights(const std::string& path, TrainedModel* trained) {
  DNC_ASSIGN(const std::shared_ptr<const RandomAccessSource> source, Open(path));
  ModelLimits limits;
  limits.weight_count_max = trained->model.weight_count;
  DNC_ASSIGN(const Bytes bytes, box::RunBoxed(path, TrainedBytesMax(source->size()),
                                              kReaderSecondsMax, [&]() -> Result<Bytes> {
                                                DNC_TRY(ReadH5Weights(source, trained));
                                                return EncodeTrained(*trained);
                                              }));
  DNC_ASSIGN(*trained, DecodeTrained(bytes, path, limits));
  return {};
}

}  // namespace dnc::model
