#include "source/sample_source.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "source/array_container.h"
#include "source/array_images.h"
#include "source/array_source.h"
#include "source/input.h"
#include "source/kinds.h"
#include "source/open_file.h"

namespace dnc::source {
namespace {

constexpr char kStandardInput[] = "standard input";

Result<std::unique_ptr<SampleSource>> OpenRecognised(const Input& input,
                                                     const SourceOptions& options) {
  DNC_ASSIGN(const FileKind* kind, RecogniseInput(input));
  DNC_TRY(CheckOptions(input.name, kind->name, kind->options, options));
  if ((kind->options & kArray) == 0) return kind->open(input, options);
  DNC_ASSIGN(auto source, kind->open(input, options));
  return FormArrayImages(std::move(source), input.name, options);
}

// Where the password of a URL lies: between the ":" and the last "@" of its authority.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};
std::optional<Span> PasswordOf(const std::string& location) {
  const std::size_t scheme = location.find("://");
  if (scheme == std::string::npos) return std::nullopt;
  const std::size_t begin = scheme + 3;
  const std::size_t query = std::min(location.find('?', begin), location.size());
  const std::size_t at = location.substr(0, query).rfind('@');
  if (at == std::string::npos || at < begin) return std::nullopt;
  const std::size_t colon = location.find(':', begin);
  if (colon == std::string::npos || colon > at) return std::nullopt;
  return Span{colon, at};
}

}  // namespace

Result<std::uint64_t> SampleSource::Skip(std::uint64_t sample_count) {
  constexpr std::uint64_t kStep = 256;
  array::SampleBlock block;
  std::uint64_t skipped = 0;
  while (skipped < sample_count) {
    DNC_TRY(Read(std::min(kStep, sample_count - skipped), &block));
    if (block.sample_count == 0) break;
    skipped += block.sample_count;
  }
  return skipped;
}

Result<std::unique_ptr<SampleSource>> OpenFileSource(SharedSource file,
                                                     const SourceOptions& options) {
  DNC_ASSIGN(const Input input, OpenInput(std::move(file)));
  return OpenRecognised(input, options);
}

Result<std::unique_ptr<SampleSource>> OpenSource(const std::string& location,
                                                 const SourceOptions& options) {
  if (location == "-") {
    DNC_ASSIGN(const Input input,
               OpenPipe(OpenDescriptor(STDIN_FILENO, kStandardInput), kStandardInput));
    return OpenRecognised(input, options);
  }
  for (const PlaceKind& kind : PlaceKinds()) {
    if (!kind.recognise(location)) continue;
    DNC_TRY(CheckOptions(ShownLocation(location), kind.name, kind.options, options));
    return kind.open(location, options);
  }
  const ArrayLocation where = SplitArrayLocation(location);
  if (where.variable.empty()) {
    DNC_ASSIGN(auto file, FileSource::Open(location));
    return OpenFileSource(std::move(file), options);
  }
  SourceOptions inner = options;
  inner.variable = where.variable;
  if (inner.labels_variable.empty()) inner.labels_variable = kNoLabels;
  DNC_ASSIGN(auto file, FileSource::Open(where.path));
  return OpenFileSource(std::move(file), inner);
}

std::string ShownLocation(const std::string& location) {
  std::string shown = location;
  if (const auto password = PasswordOf(location)) {
    shown.erase(password->begin, password->end - password->begin);
  }
  // libpq also takes it as a parameter.
  const std::size_t query = shown.find('?');
  const std::size_t parameter = query == std::string::npos ? query : shown.find("password=", query);
  if (shown.find("://") != std::string::npos && parameter != std::string::npos) {
    const std::size_t end = std::min(shown.find('&', parameter), shown.size());
    shown.replace(parameter, end - parameter, "password=...");
  }
  return shown;
}

}  // namespace dnc::source
