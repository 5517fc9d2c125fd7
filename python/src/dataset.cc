#include "dataset.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "base/human.h"
#include "base/random_access_source.h"
#include "divide/fetch.h"
#include "divide/verify.h"
#include "shard/content_id.h"

namespace dnc::python {
namespace {

py::tuple ShapeToTuple(const array::Shape& shape) {
  py::tuple tuple(shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) tuple[i] = shape[i];
  return tuple;
}

py::dict StatisticsToDict(const shard::ColumnStatistics& statistics) {
  py::dict dict;
  dict["count"] = statistics.count;
  dict["mean"] = statistics.mean;
  dict["standard_deviation"] = statistics.standard_deviation;
  dict["min"] = statistics.min;
  dict["max"] = statistics.max;
  dict["class_counts"] = statistics.class_counts;
  dict["nonfinite_count"] = statistics.nonfinite_count;
  dict["element_mean"] = statistics.element_mean;
  dict["element_standard_deviation"] = statistics.element_standard_deviation;
  return dict;
}

py::dict ShardToDict(const shard::ShardInfo& shard) {
  py::dict dict;
  dict["cid"] = shard.cid;
  dict["split"] = shard.split;
  dict["bytes"] = shard.bytes;
  dict["samples"] = shard.samples;
  dict["urls"] = shard.urls;
  return dict;
}

std::shared_ptr<OpenedDataset> Open(const std::string& location, const py::dict& store_options) {
  const store::StoreOptions options = ParseStoreOptions(store_options);
  Result<divide::Dataset> result = [&] {
    const py::gil_scoped_release unlocked;
    return divide::OpenDataset(location, options);
  }();
  divide::Dataset dataset = Take(std::move(result));
  return std::make_shared<OpenedDataset>(location, std::move(dataset.manifest),
                                         std::move(dataset.store));
}

py::dict VerifyDataset(const OpenedDataset& opened, bool statistics, py::object progress) {
  divide::VerifyOptions options;
  options.statistics = statistics;
  Callback callback(std::move(progress));
  const auto result = [&] {
    const py::gil_scoped_release unlocked;
    return divide::Verify(
        opened.manifest(), opened.store(), options, [&](const divide::VerifyProgress& done) {
          return callback.Call([&] { return py::make_tuple(done.bytes_done, done.bytes_total); });
        });
  }();
  callback.Rethrow();
  const divide::VerifyProgress done = Take(result);
  py::dict dict;
  dict["shards"] = done.shards_done;
  dict["samples"] = done.samples_done;
  dict["bytes"] = done.bytes_done;
  return dict;
}

py::dict FetchDataset(const OpenedDataset& opened, const std::string& to, bool outside_links,
                      py::object progress) {
  Callback callback(std::move(progress));
  const divide::FetchCallback tell = [&](const divide::FetchProgress& done) {
    return callback.Call([&] { return py::make_tuple(done.bytes_done, done.bytes_total); });
  };
  const bool is_raw = divide::IsRawDataset(opened.manifest());
  const auto result = [&] {
    const py::gil_scoped_release unlocked;
    return is_raw ? divide::FetchFiles(opened.manifest(), opened.store(), to,
                                       {.outside_links = outside_links}, tell)
                  : divide::FetchShards(opened.manifest(), opened.store(), to, tell);
  }();
  callback.Rethrow();
  const divide::FetchProgress done = Take(result);
  py::dict dict;
  dict["shards"] = done.shards_done;
  dict["bytes"] = done.bytes_done;
  dict["bytes_kept"] = done.bytes_kept;
  dict["files"] = done.files;
  return dict;
}

std::string FileContentId(const std::string& path) {
  constexpr std::uint64_t kStep = 1u << 20;
  const auto result = [&]() -> Result<std::string> {
    const py::gil_scoped_release unlocked;
    DNC_ASSIGN(const auto file, FileSource::Open(path));
    shard::ContentHasher hasher;
    Bytes bytes;
    for (std::uint64_t offset = 0; offset < file->size(); offset += bytes.size()) {
      bytes.resize(std::min(kStep, file->size() - offset));
      DNC_TRY(file->ReadAt(offset, bytes));
      hasher.Update(bytes);
    }
    return hasher.Finish().cid;
  }();
  return Take(result);
}

}  // namespace

std::shared_ptr<OpenedDataset> OpenedDataset::Rest(const std::string& split,
                                                   std::uint64_t shard_count) const {
  const shard::SplitInfo* info = manifest_.FindSplit(split);
  if (info == nullptr) {
    Raise({ErrorCode::kNotFound, location_ + " has no split \"" + split + "\""});
  }
  shard::Manifest rest = manifest_;
  rest.splits = {*info};
  rest.shards.clear();
  std::uint64_t passed = 0;
  for (const shard::ShardInfo& shard : manifest_.shards) {
    if (shard.split != split) continue;
    if (passed == shard_count) {
      rest.shards.push_back(shard);
    } else {
      ++passed;
      rest.splits[0].samples -= shard.samples;
    }
  }
  if (passed < shard_count) {
    Raise({ErrorCode::kInvalidArgument,
           location_ + " has only " + FormatCount(passed) + " batches in split \"" + split + "\""});
  }
  return std::make_shared<OpenedDataset>(location_, std::move(rest), store_);
}

store::StoreOptions ParseStoreOptions(const py::dict& values) {
  store::StoreOptions parsed;
  Options options(values, "store");
  options.ReadBytes("up", &parsed.up_bytes_per_second);
  options.ReadBytes("down", &parsed.down_bytes_per_second);
  options.Read("connections", &parsed.connections_max);
  options.Read("attempts", &parsed.attempts_max);
  double stall_seconds = parsed.stall_timeout.seconds();
  options.Read("stall_timeout", &stall_seconds);
  parsed.stall_timeout =
      Duration::Microseconds(static_cast<std::int64_t>(std::min(stall_seconds, 1e9) * 1e6));
  options.Read("proxy", &parsed.proxy);
  options.Read("s3_endpoint", &parsed.s3_endpoint);
  options.Read("s3_region", &parsed.s3_region);
  options.Read("s3_anonymous", &parsed.s3_anonymous);
  options.Read("s3_path_style", &parsed.s3_path_style);
  options.Read("ipfs_gateways", &parsed.ipfs_gateways);
  options.Read("ipfs_api", &parsed.ipfs_api);
  options.Read("mirrors", &parsed.mirrors);
  options.Finish();
  return parsed;
}

py::dict ColumnToDict(const array::ColumnSpec& column) {
  py::list features;
  for (const array::Feature& feature : column.features) {
    py::dict item;
    item["name"] = feature.name;
    item["kind"] = array::FeatureKindName(feature.kind);
    item["categories"] = feature.categories;
    features.append(item);
  }
  py::dict dict;
  dict["name"] = column.name;
  dict["kind"] = array::ColumnKindName(column.kind);
  dict["dtype"] = array::DTypeName(column.dtype);
  dict["shape"] = ShapeToTuple(column.shape);
  dict["class_names"] = column.class_names;
  dict["features"] = features;
  return dict;
}

py::dict ManifestToDict(const shard::Manifest& manifest) {
  py::list columns;
  for (const array::ColumnSpec& column : manifest.columns) columns.append(ColumnToDict(column));
  py::list splits;
  for (const shard::SplitInfo& split : manifest.splits) {
    py::list statistics;
    for (const auto& column : split.statistics) statistics.append(StatisticsToDict(column));
    py::dict item;
    item["name"] = split.name;
    item["samples"] = split.samples;
    item["statistics"] = statistics;
    splits.append(item);
  }
  py::list shards;
  for (const shard::ShardInfo& shard : manifest.shards) shards.append(ShardToDict(shard));
  py::list steps;
  for (const shard::FeatureStep& step : manifest.steps) {
    py::dict item;
    item["name"] = step.name;
    item["column"] = step.column;
    item["numbers"] = step.numbers;
    item["texts"] = step.texts;
    steps.append(item);
  }
  py::dict dict;
  dict["name"] = manifest.name;
  dict["description"] = manifest.description;
  dict["columns"] = columns;
  dict["splits"] = splits;
  dict["shards"] = shards;
  dict["steps"] = steps;
  dict["parameters"] = manifest.parameters;
  dict["mirrors"] = manifest.mirrors;
  return dict;
}

void BindDataset(py::module_* module) {
  py::class_<OpenedDataset, std::shared_ptr<OpenedDataset>>(*module, "Dataset")
      .def(py::init(&Open), py::arg("location"), py::arg("store_options") = py::dict())
      .def_property_readonly("location", &OpenedDataset::location)
      .def("rest", &OpenedDataset::Rest, py::arg("split"), py::arg("shard_count"))
      .def("manifest", [](const OpenedDataset& self) { return ManifestToDict(self.manifest()); })
      .def("manifest_json",
           [](const OpenedDataset& self) { return shard::FormatManifest(self.manifest()); })
      .def("describe_store", [](const OpenedDataset& self) { return self.store().Describe(); })
      .def("fetch", &FetchDataset, py::arg("to"), py::arg("outside_links") = false,
           py::arg("progress") = py::none())
      .def("verify", &VerifyDataset, py::arg("statistics") = true,
           py::arg("progress") = py::none());
  module->def("cid", &FileContentId, py::arg("path"));
}

}  // namespace dnc::python
