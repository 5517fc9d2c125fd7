#include "divide/divide.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "base/human.h"
#include "dataset.h"
#include "divide/dataset.h"
#include "divide/prepare_source.h"
#include "object_source.h"
#include "source_options.h"

namespace dnc::python {
namespace {

struct ParsedOptions {
  divide::DivideOptions divide;
  divide::PrepareOptions prepare;
  store::StoreOptions store;
};

void ReadDivideOptions(Options* options, ParsedOptions* parsed) {
  divide::DivideOptions& divide = parsed->divide;
  options->Read("name", &divide.name);
  options->Read("description", &divide.description);
  options->ReadBytes("shard_bytes", &divide.shard_bytes);
  options->Read("batches", &divide.batches);
  std::string splits;
  options->Read("split", &splits);
  if (!splits.empty()) divide.splits = Take(divide::ParseSplits(splits));
  options->Read("seed", &divide.seed);
  std::string compression;
  options->Read("compression", &compression);
  if (!compression.empty()) {
    const auto known = shard::CompressionFromName(compression);
    if (!known) {
      Raise({ErrorCode::kInvalidArgument,
             "compression=\"" + compression + "\"; expected balanced, smallest, fast or none"});
    }
    divide.compression = *known;
    if (*known == shard::Compression::kSmallest) divide.zstd_level = 19;
  }
  options->Read("level", &divide.zstd_level);
  divide.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  options->Read("threads", &divide.threads);
  options->Read("overwrite", &divide.overwrite);
  options->Read("parameters", &divide.parameters);
}

py::dict ReportToDict(const divide::DivideReport& report) {
  py::list skipped;
  for (const source::SkippedInput& input : report.skipped) {
    skipped.append(py::make_tuple(input.name, input.reason));
  }
  py::dict dict;
  dict["manifest"] = ManifestToDict(report.manifest);
  dict["samples"] = report.totals.samples_done;
  dict["raw_bytes"] = report.totals.bytes_in;
  dict["stored_bytes"] = report.totals.bytes_out;
  dict["seconds"] = report.elapsed.seconds();
  dict["skipped"] = skipped;
  return dict;
}

// Divides without the lock; progress(samples_done, samples_total or None, bytes_in,
// bytes_out).
py::dict Run(source::SampleSource* source, const std::string& to, ParsedOptions* parsed,
             Callback* callback) {
  parsed->store.create = true;
  parsed->divide.read_back = divide::IsRemote(to);  // As the command does.
  const bool is_new_folder = !store::IsUrl(to) && !PathExists(to);
  const auto result = [&]() -> Result<divide::DivideReport> {
    const py::gil_scoped_release unlocked;
    DNC_ASSIGN(const auto store, store::OpenStore(to, parsed->store));
    return divide::Divide(source, store.get(), parsed->divide,
                          [&](const divide::DivideProgress& done) {
                            return callback->Call([&] {
                              return py::make_tuple(done.samples_done, done.samples_total,
                                                    done.bytes_in, done.bytes_out);
                            });
                          });
  }();
  // An empty folder that this run made is half-written too.
  std::error_code ignored;
  if (!result.ok() && is_new_folder) std::filesystem::remove(to, ignored);
  callback->Rethrow();
  return ReportToDict(Take(result));
}

// A source that was counted before.
class CountedSource final : public source::SampleSource {
 public:
  CountedSource(std::unique_ptr<source::SampleSource> inner, std::uint64_t count)
      : inner_(std::move(inner)), count_(count) {}

  const std::vector<array::ColumnSpec>& columns() const override { return inner_->columns(); }
  std::optional<std::uint64_t> sample_count() const override { return count_; }
  std::string Describe() const override { return inner_->Describe(); }
  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    return inner_->Read(sample_count_max, block);
  }
  source::SourceBytes bytes() const override { return inner_->bytes(); }
  Result<std::uint64_t> Skip(std::uint64_t sample_count) override {
    return inner_->Skip(sample_count);
  }
  const std::vector<source::SkippedInput>& skipped() const override { return inner_->skipped(); }

 private:
  std::unique_ptr<source::SampleSource> inner_;
  std::uint64_t count_;
};

// Batches of equal size need the number of samples: where the source does not know
// it, or knows an upper bound only, it is read once to count them.
Result<std::unique_ptr<source::SampleSource>> OpenCounted(ParsedOptions* parsed,
                                                          Callback* callback) {
  constexpr std::uint64_t kStep = 4096;
  divide::DivideOptions untouched = parsed->divide;
  std::unique_ptr<source::SampleSource> source;
  DNC_ASSIGN(source, divide::PrepareSource(parsed->prepare, &parsed->divide));
  if (parsed->divide.batches == 0 || (source->sample_count() && !parsed->prepare.source.skip_bad)) {
    return source;
  }
  std::uint64_t count = 0;
  for (;;) {
    DNC_ASSIGN(const std::uint64_t passed, source->Skip(kStep));
    count += passed;
    if (passed < kStep) break;
    if (!callback->Call([&] { return py::make_tuple(count, py::none(), 0, 0); })) {
      return Error{ErrorCode::kCancelled, "counting the samples was stopped"};
    }
  }
  parsed->divide = std::move(untouched);
  DNC_ASSIGN(source, divide::PrepareSource(parsed->prepare, &parsed->divide));
  return std::unique_ptr<source::SampleSource>(
      std::make_unique<CountedSource>(std::move(source), count));
}

void ReadPrepareOptions(Options* options, divide::PrepareOptions* prepare) {
  ReadSourceOptions(options, &prepare->source);
  options->Read("raw", &prepare->raw);
  options->Read("standardise", &prepare->standardise);
  std::string part;
  options->Read("part", &part);
  if (!part.empty()) prepare->part = Take(divide::ParsePart(part));
  constexpr std::string_view kHog = "hog";
  std::string features;
  options->Read("features", &features);
  if (features.empty()) return;
  if (!features.starts_with(kHog) || (features.size() > kHog.size() && features[3] != ':')) {
    Raise({ErrorCode::kInvalidArgument,
           "features=\"" + features +
               "\"; expected \"hog\", or \"hog:orientations=9,pixels_per_cell=8x8,"
               "cells_per_block=3x3,block_norm=L2-Hys\""});
  }
  prepare->hog = Take(image::ParseHogOptions(
      features.size() > kHog.size() ? features.substr(kHog.size() + 1) : ""));
}

py::dict DividePath(const std::string& path, const std::string& to, const py::dict& values,
                    const py::dict& store_options, py::object progress) {
  ParsedOptions parsed;
  Options options(values, "upload");
  ReadDivideOptions(&options, &parsed);
  ReadPrepareOptions(&options, &parsed.prepare);
  options.Finish();
  parsed.prepare.location = path;
  parsed.prepare.source.seed = parsed.divide.seed;
  parsed.prepare.source.threads = parsed.divide.threads;
  parsed.store = ParseStoreOptions(store_options);
  Callback callback(std::move(progress));
  // The first pass over a table, which finds its types; and passes for the steps.
  parsed.prepare.source.survey_progress = [&](const source::SourceBytes&) {
    return callback.Call([] { return py::make_tuple(0, py::none(), 0, 0); });
  };
  parsed.prepare.progress = [&](std::uint64_t samples) {
    return callback.Call([&] { return py::make_tuple(samples, py::none(), 0, 0); });
  };
  auto source = [&] {
    const py::gil_scoped_release unlocked;
    return OpenCounted(&parsed, &callback);
  }();
  callback.Rethrow();
  return Run(Take(std::move(source)).get(), to, &parsed, &callback);
}

py::dict DivideObjects(const py::list& columns, py::object reader,
                       std::optional<std::uint64_t> sample_count, const std::string& description,
                       const std::string& to, const py::dict& values, const py::dict& store_options,
                       py::object progress) {
  ParsedOptions parsed;
  Options options(values, "upload");
  ReadDivideOptions(&options, &parsed);
  options.Finish();
  parsed.store = ParseStoreOptions(store_options);
  Callback callback(std::move(progress));
  const auto source =
      MakeObjectSource(columns, std::move(reader), sample_count, description, &callback);
  return Run(source.get(), to, &parsed, &callback);
}

}  // namespace

void BindDivide(py::module_* module) {
  module->def("divide_path", &DividePath, py::arg("path"), py::arg("to"), py::arg("options"),
              py::arg("store_options"), py::arg("progress"));
  module->def("divide_objects", &DivideObjects, py::arg("columns"), py::arg("reader"),
              py::arg("sample_count"), py::arg("description"), py::arg("to"), py::arg("options"),
              py::arg("store_options"), py::arg("progress"));
  module->def("parse_bytes", [](const std::string& text) { return Take(ParseByteCount(text)); });
  module->def("format_bytes", &FormatByteCount);
}

}  // namespace dnc::python
