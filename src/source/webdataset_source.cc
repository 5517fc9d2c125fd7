#include "source/webdataset_source.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/human.h"
#include "base/random_access_source.h"
#include "source/decoded_images.h"
#include "source/fields.h"
#include "source/tar_reader.h"
#include "source/text.h"

namespace dnc::source {
namespace {

namespace fs = std::filesystem;

Error Wrong(const std::string& what) { return {ErrorCode::kInvalidArgument, what}; }

bool HasTarName(const std::string& name) {
  for (const char* ending : {".tar", ".tar.gz", ".tgz", ".tar.zst"}) {
    if (name.ends_with(ending)) return true;
  }
  return false;
}

Result<Field> FieldOf(const std::string& extension) {
  static const std::map<std::string, FieldForm> kForms = {
      {"jpg", FieldForm::kImage},         {"jpeg", FieldForm::kImage},
      {"png", FieldForm::kImage},         {"webp", FieldForm::kImage},
      {"cls", FieldForm::kIntegerText},   {"id", FieldForm::kIntegerText},
      {"index", FieldForm::kIntegerText}, {"count", FieldForm::kIntegerText},
      {"txt", FieldForm::kText},          {"text", FieldForm::kText},
      {"json", FieldForm::kText},         {"npy", FieldForm::kNpy}};
  static const std::set<std::string> kCode = {"pyd", "pickle", "pkl", "pth", "pt"};
  const std::size_t dot = extension.rfind('.');
  const std::string last = dot == std::string::npos ? extension : extension.substr(dot + 1);
  if (kCode.contains(last)) {
    return Error{ErrorCode::kUnsupported,
                 "files ." + extension +
                     " are pickles, whose reading runs code; they are never "
                     "read"};
  }
  Field field;
  field.name = dot == std::string::npos ? extension : extension.substr(0, dot);
  const auto form = kForms.find(last);
  if (form == kForms.end()) {
    field.name = extension;
    field.column.kind = array::ColumnKind::kBytes;
    return field;
  }
  field.form = form->second;
  switch (field.form) {
    case FieldForm::kImage:
      field.column.kind = array::ColumnKind::kImage;
      break;
    case FieldForm::kText:
      field.column.kind = array::ColumnKind::kText;
      break;
    default:
      field.column.dtype = array::DType::kInt64;
  }
  return field;
}

// Opens one of the tars.
using TarOpener = std::function<Result<Input>(std::size_t)>;

struct Sample {
  std::string tar;
  std::string key;
  std::map<std::string, Bytes> fields;  // By their extensions, in lower case.
};

// The samples of several tars, one behind the other.
class SampleReader {
 public:
  SampleReader(TarOpener open, std::size_t tar_count)
      : open_(std::move(open)), tar_count_(tar_count) {}

  // False at the end. Errors: those of the tar; kTooLarge, a sample above
  // kElementBytesMax.
  Result<bool> Next(Sample* sample) {
    sample->fields.clear();
    sample->key.clear();
    std::uint64_t bytes = 0;
    for (;;) {
      if (!entry_) DNC_TRY(Advance());
      if (!entry_ || (!sample->key.empty() && (ended_tar_ || entry_key_ != sample->key))) {
        ended_tar_ = false;
        return !sample->key.empty();
      }
      ended_tar_ = false;
      if (sample->key.empty()) {
        sample->key = entry_key_;
        sample->tar = name_;
      }
      bytes += entry_->size;
      if (entry_->size > kElementBytesMax || bytes > kElementBytesMax) {
        return Error{ErrorCode::kTooLarge, name_ + ": sample " + Printable(entry_key_, 200) +
                                               " has more than " +
                                               FormatByteCount(kElementBytesMax)};
      }
      Bytes content(entry_->size);
      DNC_TRY(tar_->ReadContent(content));
      if (sample->fields.size() == kFieldCountMax ||
          !sample->fields.emplace(entry_extension_, std::move(content)).second) {
        return Error{ErrorCode::kCorrupt, name_ + ": sample " + Printable(entry_key_, 200) +
                                              " has ." + Printable(entry_extension_, 100) +
                                              " twice, or too many files"};
      }
      entry_.reset();
    }
  }

  std::uint64_t position() const {
    return bytes_before_ + (tar_ == nullptr ? 0 : tar_->position());
  }

 private:
  // The next file that belongs to a sample; none at the end.
  Status Advance() {
    for (;;) {
      if (tar_ == nullptr) {
        if (next_ == tar_count_) return {};
        DNC_ASSIGN(const Input input, open_(next_++));
        name_ = input.name;
        DNC_ASSIGN(auto stream, input.open());
        tar_ = std::make_unique<TarReader>(std::move(stream), name_);
      }
      DNC_ASSIGN(entry_, tar_->Next());
      if (!entry_) {
        bytes_before_ += tar_->position();
        tar_.reset();
        ended_tar_ = true;  // A key of the next tar is another sample's.
        continue;
      }
      const std::size_t slash = entry_->name.rfind('/');
      const std::size_t base = slash == std::string::npos ? 0 : slash + 1;
      const std::size_t dot = entry_->name.find('.', base);
      // As WebDataset does: no extension, hidden, or "__meta__" is no part of a sample.
      if (dot == std::string::npos || dot == base || entry_->name.compare(base, 2, "__") == 0) {
        continue;
      }
      entry_key_ = entry_->name.substr(0, dot);
      entry_extension_ = entry_->name.substr(dot + 1);
      std::transform(entry_extension_.begin(), entry_extension_.end(), entry_extension_.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      return {};
    }
  }

  const TarOpener open_;
  const std::size_t tar_count_;
  std::size_t next_ = 0;
  std::string name_;
  std::unique_ptr<TarReader> tar_;
  std::uint64_t bytes_before_ = 0;
  std::optional<TarEntry> entry_;  // Whose content was not read yet.
  std::string entry_key_;
  std::string entry_extension_;
  bool ended_tar_ = false;  // Between the entry before and this one.
};

class WebDatasetSource final : public SampleSource {
 public:
  WebDatasetSource(SampleReader reader, Sample first, std::vector<std::string> extensions,
                   std::unique_ptr<FieldConverter> converter, std::string description,
                   bool skip_bad, std::optional<std::uint64_t> bytes)
      : reader_(std::move(reader)),
        sample_(std::move(first)),
        extensions_(std::move(extensions)),
        converter_(std::move(converter)),
        description_(std::move(description)),
        skip_bad_(skip_bad),
        bytes_(bytes) {}

  const std::vector<array::ColumnSpec>& columns() const override { return converter_->columns(); }
  std::optional<std::uint64_t> sample_count() const override { return std::nullopt; }
  std::string Describe() const override { return description_; }
  SourceBytes bytes() const override { return {reader_.position(), bytes_}; }
  const std::vector<SkippedInput>& skipped() const override { return skipped_; }

  Status Read(std::uint64_t sample_count_max, array::SampleBlock* block) override {
    BlockBuilder builder(columns(), block);
    while (builder.sample_count() < sample_count_max && !builder.is_full() && !ended_) {
      if (Status status = AddSample(&builder); !status.ok()) {
        Error error =
            status.error().WithContext(sample_.tar + ": sample " + Printable(sample_.key, 200));
        if (!skip_bad_) return error;
        skipped_.push_back({sample_.tar + "/" + sample_.key, error.message});
      }
      DNC_ASSIGN(const bool more, reader_.Next(&sample_));
      ended_ = !more;
    }
    return {};
  }

 private:
  Status AddSample(BlockBuilder* builder) {
    std::vector<ByteSpan> fields;
    for (const std::string& extension : extensions_) {
      const auto found = sample_.fields.find(extension);
      if (found == sample_.fields.end()) {
        return Error{ErrorCode::kCorrupt, "has no ." + extension + ", which the first sample has"};
      }
      fields.push_back(found->second);
    }
    if (sample_.fields.size() > extensions_.size()) {
      for (const auto& [extension, content] : sample_.fields) {
        if (std::find(extensions_.begin(), extensions_.end(), extension) != extensions_.end()) {
          continue;
        }
        return Error{ErrorCode::kCorrupt,
                     "has ." + Printable(extension, 100) + ", which the first sample has not"};
      }
    }
    return converter_->Add(fields, builder);
  }

  SampleReader reader_;
  Sample sample_;  // The next one, unless ended_.
  bool ended_ = false;
  const std::vector<std::string> extensions_;  // One a field.
  const std::unique_ptr<FieldConverter> converter_;
  const std::string description_;
  const bool skip_bad_;
  const std::optional<std::uint64_t> bytes_;
  std::vector<SkippedInput> skipped_;
};

Result<std::unique_ptr<SampleSource>> OpenSamples(TarOpener open, std::size_t tar_count,
                                                  const std::string& name,
                                                  std::optional<std::uint64_t> bytes,
                                                  const SourceOptions& options) {
  SampleReader reader(std::move(open), tar_count);
  Sample first;
  DNC_ASSIGN(const bool has_samples, reader.Next(&first));
  if (!has_samples) {
    return Wrong(name + ": no samples in it; expected files such as 000.jpg and 000.cls");
  }
  std::vector<std::string> extensions;
  std::vector<Field> fields;
  for (const auto& [extension, content] : first.fields) {
    if (!IsUtf8(extension)) return Wrong(name + ": an extension that is not UTF-8 text");
    auto field = FieldOf(extension);
    Status status = field.ok() ? CompleteColumn(content, &*field) : field.status();
    if (!status.ok()) {
      return status.error().WithContext(first.tar + ": sample " + Printable(first.key, 200) +
                                        ": ." + extension);
    }
    extensions.push_back(extension);
    fields.push_back(std::move(*field));
  }
  auto arranged = ArrangeColumns(fields, options.label_column);
  if (!arranged.ok()) return arranged.error().WithContext(name);
  auto converter = std::make_unique<FieldConverter>(std::move(fields), std::move(*arranged));
  std::string description =
      tar_count == 1 ? "WebDataset tar" : "WebDataset of " + FormatCount(tar_count) + " tars";
  auto source = std::make_unique<WebDatasetSource>(std::move(reader), std::move(first),
                                                   std::move(extensions), std::move(converter),
                                                   std::move(description), options.skip_bad, bytes);
  return DecodeImages(std::move(source), name, options);
}

// What stands between a pair of braces: "a,b" or "000..999".
Result<std::vector<std::string>> Alternatives(const std::string& text, const std::string& pattern) {
  std::vector<std::string> names;
  const std::size_t dots = text.find("..");
  if (dots == std::string::npos) {
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      names.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return names;
  }
  const std::string first = text.substr(0, dots);
  const std::string last = text.substr(dots + 2);
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  const auto read = [](const std::string& digits, std::uint64_t* value) {
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), *value);
    return result.ec == std::errc() && result.ptr == digits.data() + digits.size();
  };
  if (!read(first, &begin) || !read(last, &end) || begin > end || end - begin >= kTarCountMax) {
    return Wrong(pattern + ": {" + text + "} is no range of at most " + FormatCount(kTarCountMax) +
                 " numbers; expected one such as {000..099}");
  }
  for (std::uint64_t i = begin; i <= end; ++i) {
    std::string number = std::to_string(i);
    if (number.size() < first.size()) number.insert(0, first.size() - number.size(), '0');
    names.push_back(std::move(number));
  }
  return names;
}

}  // namespace

Result<std::vector<std::string>> ExpandBraces(const std::string& pattern) {
  std::vector<std::string> names = {""};
  for (std::size_t begin = 0; begin < pattern.size();) {
    const std::size_t open = std::min(pattern.find('{', begin), pattern.size());
    for (std::string& name : names) name += pattern.substr(begin, open - begin);
    if (open == pattern.size()) break;
    const std::size_t close = pattern.find('}', open);
    if (close == std::string::npos) return Wrong(pattern + ": a brace is never closed");
    DNC_ASSIGN(const auto alternatives,
               Alternatives(pattern.substr(open + 1, close - open - 1), pattern));
    if (names.size() > kTarCountMax / alternatives.size()) {
      return Wrong(pattern + ": stands for more than " + FormatCount(kTarCountMax) + " names");
    }
    std::vector<std::string> longer;
    for (const std::string& name : names) {
      for (const std::string& alternative : alternatives) longer.push_back(name + alternative);
    }
    names = std::move(longer);
    begin = close + 1;
  }
  return names;
}

Result<std::unique_ptr<SampleSource>> OpenTar(const Input& input, const SourceOptions& options) {
  return OpenSamples([input](std::size_t) -> Result<Input> { return input; }, 1, input.name,
                     input.medium_bytes, options);
}

bool IsTarPlace(const std::string& location) {
  if (HasTarName(location) && location.find('{') != std::string::npos) return true;
  std::error_code error;
  fs::directory_iterator it(location, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    if (HasTarName(it->path().filename().string())) return true;
  }
  return false;
}

Result<std::unique_ptr<SampleSource>> OpenTars(const std::string& location,
                                               const SourceOptions& options) {
  std::vector<std::string> paths;
  std::error_code error;
  if (fs::is_directory(location, error)) {
    fs::directory_iterator it(location, error);
    for (; !error && it != fs::directory_iterator(); it.increment(error)) {
      const std::string name = it->path().filename().string();
      if (!name.starts_with(".") && HasTarName(name)) paths.push_back(it->path().string());
    }
    if (error) return ErrnoError("list folder", location, error.value());
    std::sort(paths.begin(), paths.end());
  } else {
    DNC_ASSIGN(paths, ExpandBraces(location));
  }
  std::uint64_t bytes = 0;
  for (const std::string& path : paths) {
    const std::uint64_t size = fs::file_size(path, error);
    if (error) return ErrnoError("open", path, error.value());
    bytes += size;
  }
  const std::size_t count = paths.size();
  const auto open = [paths = std::move(paths)](std::size_t i) -> Result<Input> {
    DNC_ASSIGN(auto file, FileSource::Open(paths[i]));
    DNC_ASSIGN(Input input, OpenInput(std::move(file)));
    if (!IsTar(input.start)) {
      return Error{ErrorCode::kCorrupt, paths[i] + ": not a tar, though it is named as one"};
    }
    return input;
  };
  return OpenSamples(open, count, location, bytes, options);
}

}  // namespace dnc::source
