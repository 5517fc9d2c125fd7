// A trained model as bytes, from a boxed reader of files to the process that asked for
// it; not a format of files. Private to this room.

#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "model/h5.h"

namespace dnc::model {

// Of processor time that a reader may take.
inline constexpr int kReaderSecondsMax = 600;

// What a reader may send: a file has at least half the bytes of its weights as float32,
// and of the optimizer's state; its texts are limited.
constexpr std::uint64_t TrainedBytesMax(std::uint64_t file_bytes) {
  return 4 * file_bytes + (std::uint64_t{256} << 20);
}

Bytes EncodeTrained(const TrainedModel& trained);

// The bytes are foreign: the model is parsed and checked anew, and all that refers to it.
// `name` is used in messages. Errors: kCorrupt; those of ParseModel.
Result<TrainedModel> DecodeTrained(ByteSpan bytes, const std::string& name,
                                   const ModelLimits& limits);

}  // namespace dnc::model
