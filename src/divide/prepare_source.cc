#include "divide/prepare_source.h"

#include <utility>

#include "divide/feature_steps.h"
#include "divide/raw_source.h"

namespace dnc::divide {
namespace {

Error Wrong(const std::string& message) { return {ErrorCode::kInvalidArgument, message}; }

Status Check(const PrepareOptions& options, const DivideOptions& divide) {
  if (options.raw && (options.hog || options.standardise)) {
    return Wrong("files divided as bytes have no features; leave out --raw or the steps");
  }
  if (options.raw && divide.splits.size() > 1) {
    return Wrong("files divided as bytes have one split; leave out --raw or --split");
  }
  if (options.location == "-" && (options.part || options.standardise || options.raw)) {
    return Wrong(
        "standard input can be read once only, and so neither as bytes of a tree, nor in "
        "parts, nor standardised; write it to a file first");
  }
  return {};
}

Result<std::unique_ptr<source::SampleSource>> WithHog(
    const PrepareOptions& options, Result<std::unique_ptr<source::SampleSource>> source,
    std::vector<shard::FeatureStep>* steps) {
  if (!source.ok() || !options.hog) return source;
  return MakeHogSource(std::move(*source), *options.hog, steps);
}

// What the source itself did to images.
void DeclareImageSteps(const source::SourceOptions& source,
                       std::vector<shard::FeatureStep>* steps) {
  const auto add = [&](const char* name, const std::optional<image::ImageSize>& size) {
    if (!size) return;
    steps->push_back(
        {name,
         "x",
         {{"size", {static_cast<double>(size->width), static_cast<double>(size->height)}}},
         {}});
  };
  add("resize", source.resize);
  add("crop", source.crop);
  if (source.grayscale) steps->push_back({"grayscale", "x", {}, {}});
}

}  // namespace

Result<std::unique_ptr<PeekSource>> PrepareSource(const PrepareOptions& options,
                                                  DivideOptions* divide) {
  DNC_TRY(Check(options, *divide));
  if (options.raw) divide->parameters["content"] = kRawContent;
  const SourceOpener open = [&]() -> Result<std::unique_ptr<source::SampleSource>> {
    if (options.raw) return OpenRawSource(options.location, options.source.skip_bad);
    return source::OpenSource(options.location, options.source);
  };
  DeclareImageSteps(options.source, &divide->steps);

  std::optional<Standardiser> standardiser;
  if (options.standardise) {
    StandardiseOptions learn{divide->splits, divide->seed, options.progress};
    std::vector<shard::FeatureStep> ignored;
    DNC_ASSIGN(standardiser,
               LearnStandardiser([&] { return WithHog(options, open(), &ignored); }, learn));
  }
  std::unique_ptr<source::SampleSource> source;
  if (options.part) {
    DNC_ASSIGN(OpenedPart part,
               OpenPart(open, *options.part, !options.source.skip_bad, options.progress));
    source = std::move(part.source);
    divide->first_split_window = part.first_split_window;
    const std::string name =
        std::to_string(options.part->index) + "-of-" + std::to_string(options.part->count);
    divide->manifest_key = "manifest-" + name + ".json";
    divide->journal_name = "dividing-" + name;
    divide->parameters["part"] =
        std::to_string(options.part->index) + "/" + std::to_string(options.part->count);
  } else {
    DNC_ASSIGN(source, open());
  }
  DNC_ASSIGN(source, WithHog(options, std::move(source), &divide->steps));
  if (standardiser) {
    source = MakeStandardisedSource(std::move(source), *standardiser, &divide->steps);
  }
  return MakePeekSource(std::move(source));
}

}  // namespace dnc::divide
