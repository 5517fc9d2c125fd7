#include "divide/export.h"

#include <memory>

#include "divide/checked_object.h"
#include "shard/shard_reader.h"

namespace dnc::divide {
namespace {

bool SameColumns(const std::vector<array::ColumnSpec>& a, const std::vector<array::ColumnSpec>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t c = 0; c < a.size(); ++c) {
    if (a[c].name != b[c].name || a[c].kind != b[c].kind || a[c].dtype != b[c].dtype ||
        a[c].shape != b[c].shape) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<ExportProgress> Export(const shard::Manifest& manifest, const store::ObjectStore& store,
                              const ExportOptions& options, const ExportCallback& callback) {
  const shard::SplitInfo* const split = manifest.FindSplit(options.split);
  if (split == nullptr) {
    std::string names;
    for (const shard::SplitInfo& other : manifest.splits) {
      names += (names.empty() ? "" : ", ") + other.name;
    }
    return Error{ErrorCode::kNotFound,
                 manifest.name + " has no split \"" + options.split + "\"; it has " + names};
  }
  ExportProgress progress;
  progress.samples_total = split->samples;
  DNC_ASSIGN(const auto sink, sink::CreateSink(options.format, options.to, manifest.columns,
                                               {split->samples, options.shard_bytes}));
  shard::BlockDecoder decoder;
  array::SampleBlock block;
  for (const shard::ShardInfo& info : manifest.shards) {
    if (info.split != options.split) continue;
    const CheckedObject object(&store, &info);
    DNC_ASSIGN(const shard::ShardReader reader, shard::ShardReader::Open(&object));
    if (!SameColumns(reader.summary().columns, manifest.columns) ||
        reader.summary().samples != info.samples) {
      return Error{ErrorCode::kCorrupt, "shard " + info.cid +
                                            " has other columns or samples than "
                                            "its manifest says"};
    }
    for (std::uint32_t b = 0; b < reader.summary().block_count; ++b) {
      progress.bytes_written = sink->bytes_written();
      if (callback && !callback(progress)) {
        return Error{ErrorCode::kCancelled, "exporting was stopped"};
      }
      DNC_TRY(decoder.Decode(reader, b, &block));
      DNC_TRY(sink->Write(block));
      progress.samples_done += block.sample_count;
    }
  }
  if (progress.samples_done != split->samples) {
    return Error{ErrorCode::kCorrupt, "split \"" + options.split + "\": its shards hold " +
                                          std::to_string(progress.samples_done) +
                                          " samples; its manifest says " +
                                          std::to_string(split->samples)};
  }
  DNC_TRY(sink->Finish());
  progress.bytes_written = sink->bytes_written();
  return progress;
}

}  // namespace dnc::divide
