#include "source/input.h"

#include <algorithm>
#include <string_view>

namespace dnc::source {
namespace {

constexpr std::string_view kGzipMagic = "\x1f\x8b";
constexpr std::string_view kZstdMagic = "\x28\xb5\x2f\xfd";

const char* WrappingOf(ByteSpan start) {
  const std::string_view text = AsText(start);
  if (text.starts_with(kGzipMagic)) return ".gz";
  if (text.starts_with(kZstdMagic)) return ".zst";
  return "";
}

std::unique_ptr<ByteStream> Unwrap(std::unique_ptr<ByteStream> stream, std::string_view wrapping,
                                   const std::string& name) {
  if (wrapping == ".gz") return OpenGzip(std::move(stream), name);
  if (wrapping == ".zst") return OpenZstd(std::move(stream), name);
  return stream;
}

Result<Bytes> ReadStart(ByteStream* stream) {
  Bytes start(kInputStartBytes);
  DNC_ASSIGN(const std::size_t size, stream->Read(start));
  start.resize(size);
  return start;
}

// What is inside must be data, and some of it.
Status CheckStart(const Input& input) {
  if (input.start.empty()) {
    return Error{ErrorCode::kInvalidArgument, input.name + ": an empty file"};
  }
  if (!input.wrapping.empty() && *WrappingOf(input.start) != '\0') {
    return Error{ErrorCode::kUnsupported,
                 input.name + ": compressed twice; decompress it once and try again"};
  }
  return {};
}

}  // namespace

Result<Input> OpenInput(SharedSource file) {
  Input input;
  input.name = file->name();
  input.medium_bytes = file->size();
  input.start.resize(std::min<std::uint64_t>(file->size(), kInputStartBytes));
  DNC_TRY(file->ReadAt(0, input.start));
  input.wrapping = WrappingOf(input.start);
  input.open = [file, wrapping = input.wrapping]() -> Result<std::unique_ptr<ByteStream>> {
    return Unwrap(OpenRange(file, {0, file->size()}), wrapping, file->name());
  };
  if (input.wrapping.empty()) {
    input.content_bytes = file->size();
    input.file = std::move(file);
  } else {
    input.is_checked = true;
    DNC_ASSIGN(const auto stream, input.open());
    DNC_ASSIGN(input.start, ReadStart(stream.get()));
  }
  DNC_TRY(CheckStart(input));
  return input;
}

Result<Input> OpenPipe(std::unique_ptr<ByteStream> stream, std::string name) {
  Input input;
  input.name = std::move(name);
  input.is_once = true;
  input.is_checked = true;
  DNC_ASSIGN(input.start, ReadStart(stream.get()));
  input.wrapping = WrappingOf(input.start);
  if (!input.wrapping.empty()) {
    stream = Unwrap(OpenPrefixed(std::move(input.start), 0, std::move(stream)), input.wrapping,
                    input.name);
    DNC_ASSIGN(input.start, ReadStart(stream.get()));
  }
  DNC_TRY(CheckStart(input));
  // A std::function must be copyable; the stream is handed out once.
  auto rest = std::make_shared<std::unique_ptr<ByteStream>>(std::move(stream));
  input.open = [rest, start = input.start,
                name = input.name]() -> Result<std::unique_ptr<ByteStream>> {
    if (*rest == nullptr) {
      return Error{ErrorCode::kInternal, name + ": a pipe was opened a second time"};
    }
    return OpenPrefixed(start, 0, std::move(*rest));
  };
  return input;
}

}  // namespace dnc::source
