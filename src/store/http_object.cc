#include "store/http_object.h"

#include <algorithm>
#include <cstring>

#include "base/human.h"
#include "store/store_errors.h"

namespace dnc::store {
namespace {

// Progress that makes the tries count anew: less, and a server could keep us for ever.
constexpr std::uint64_t kProgressBytesMin = 64u << 10;

HttpRequest RequestFor(const HttpObject& object) {
  HttpRequest request;
  request.url = object.url;
  request.headers = object.headers;
  request.signer = object.signer;
  request.follow_redirects = object.follow_redirects;
  return request;
}

Error ErrorOf(const HttpObject& object, const HttpResponse& response) {
  if (object.status_error != nullptr) return object.status_error(object, response);
  if (response.status == 404 || response.status == 410) {
    return NoObjectError(object.key, object.store);
  }
  return StatusError(response, NameOf(object));
}

Status CheckEncoding(const HttpObject& object, const HttpResponse& response) {
  if (response.headers.content_encoding.empty()) return {};
  return Error{ErrorCode::kUnsupported, NameOf(object) + ": the server sends it encoded as \"" +
                                            response.headers.content_encoding +
                                            "\", unasked; turn that off for these files"};
}

// The size by a GET of the first byte, or of all bytes where no length is told.
Result<std::uint64_t> SizeByGet(HttpClient* client, const HttpObject& object) {
  HttpRequest request = RequestFor(object);
  request.range = "0-0";
  std::uint64_t counted = 0;
  bool length_known = false;
  request.start = [&](const HttpResponse& response) {
    counted = 0;
    length_known = response.headers.content_length.has_value() || response.status == 206;
    return CheckEncoding(object, response);
  };
  request.sink = [&](ByteSpan bytes) -> Result<bool> {
    counted += bytes.size();
    return !length_known;
  };
  DNC_ASSIGN(const HttpResponse response, client->Run(request));
  const HttpHeaders& headers = response.headers;
  if (response.status == 416 && headers.unsatisfied_total == 0u) return std::uint64_t{0};
  if (!response.ok()) return ErrorOf(object, response);
  if (response.status == 206) {
    if (headers.content_range && headers.content_range->total) {
      return *headers.content_range->total;
    }
    return Error{ErrorCode::kCorrupt,
                 NameOf(object) + ": the server sends a part without saying of how many bytes"};
  }
  return headers.content_length.value_or(counted);
}

// One read, over as many requests as it takes.
class RangeRead {
 public:
  RangeRead(HttpClient* client, const HttpObject& object, std::uint64_t offset,
            std::span<std::byte> out)
      : client_(client), object_(object), offset_(offset), out_(out), retry_(client) {}

  Status Run() {
    std::size_t counted = 0;
    while (done_ < out_.size()) {
      const Result<HttpResponse> response = Ask();
      if (done_ - counted >= kProgressBytesMin) {
        counted = done_;
        retry_.Reset();
      }
      if (done_ == out_.size()) break;  // Whatever came after the last byte.
      if (!response.ok()) {
        if (response.error().code != ErrorCode::kUnavailable) return response.error();
        DNC_TRY(retry_.Next(response.error()));
      } else if (response->status == 416) {
        return EndsBefore(response->headers.unsatisfied_total.value_or(offset_ + done_));
      } else if (IsPassingStatus(response->status)) {
        DNC_TRY(retry_.Next(ErrorOf(object_, *response), response->headers.retry_after));
      } else if (!response->ok()) {
        return ErrorOf(object_, *response);
      } else {
        DNC_TRY(retry_.Next(EndsBefore(passed_)));  // The end, or broken off: nobody can say.
      }
    }
    return {};
  }

 private:
  Error EndsBefore(std::uint64_t size) const {
    return ObjectEndsError(object_.key, object_.store, size, offset_ + out_.size());
  }

  Result<HttpResponse> Ask() {
    const std::uint64_t begin = offset_ + done_;
    HttpRequest request = RequestFor(object_);
    request.range = std::to_string(begin) + "-" + std::to_string(offset_ + (out_.size() - 1));
    passed_ = 0;
    request.start = [this](const HttpResponse& response) { return Check(response); };
    request.sink = [this](ByteSpan bytes) { return Take(bytes); };
    return client_->Try(request);
  }

  // What the answer says of itself, before its first byte.
  Status Check(const HttpResponse& response) {
    DNC_TRY(CheckEncoding(object_, response));
    const HttpHeaders& headers = response.headers;
    const std::uint64_t begin = offset_ + done_;
    const std::uint64_t end = offset_ + out_.size();
    if (response.status == 200) {
      if (headers.content_length && *headers.content_length < end) {
        return EndsBefore(*headers.content_length);
      }
      passed_ = 0;
      whole_ = true;
      return {};
    }
    whole_ = false;
    passed_ = begin;
    if (response.status != 206 || !headers.content_range) {
      return WrongAnswer("status " + std::to_string(response.status) + " without a range");
    }
    const ContentRange& range = *headers.content_range;
    if (range.total && *range.total < end) return EndsBefore(*range.total);
    if (range.first != begin || range.last >= end ||
        (headers.content_length && *headers.content_length != range.last - range.first + 1)) {
      return WrongAnswer("bytes " + std::to_string(range.first) + " to " +
                         std::to_string(range.last));
    }
    return {};
  }

  Error WrongAnswer(const std::string& found) const {
    return {ErrorCode::kCorrupt, NameOf(object_) + ": bytes " + std::to_string(offset_ + done_) +
                                     " to " + std::to_string(offset_ + out_.size() - 1) +
                                     " were asked for, but the server answers with " + found};
  }

  Result<bool> Take(ByteSpan bytes) {
    const std::uint64_t begin = offset_ + done_;
    const auto skip = static_cast<std::size_t>(
        std::min<std::uint64_t>(begin - std::min(begin, passed_), bytes.size()));
    passed_ += bytes.size();
    bytes = bytes.subspan(skip);
    const std::size_t room = out_.size() - done_;
    if (!whole_ && bytes.size() > room) {
      return WrongAnswer("more bytes");
    }
    const std::size_t count = std::min(room, bytes.size());
    if (count > 0) std::memcpy(out_.data() + done_, bytes.data(), count);
    done_ += count;
    // A range ends by itself, which leaves the connection for the next request.
    return !whole_ || done_ < out_.size();
  }

  HttpClient* client_;
  const HttpObject& object_;
  std::uint64_t offset_;
  std::span<std::byte> out_;
  Retry retry_;
  std::size_t done_ = 0;      // Of out_.
  std::uint64_t passed_ = 0;  // Where in the object the next byte of the answer lies.
  bool whole_ = false;        // The answer is the whole object.
};

}  // namespace

std::string NameOf(const HttpObject& object) {
  return object.key + " in " + object.store + " (" + DisplayUrl(object.url) + ")";
}

Result<std::uint64_t> HttpObjectSize(HttpClient* client, const HttpObject& object) {
  HttpRequest request = RequestFor(object);
  request.method = "HEAD";
  DNC_ASSIGN(const HttpResponse response, client->Run(request));
  if (response.status == 404 || response.status == 410) return ErrorOf(object, response);
  if (response.status == 200) {
    DNC_TRY(CheckEncoding(object, response));
    if (response.headers.content_length) return *response.headers.content_length;
  }
  // A link may be signed for GET alone, and some servers know no HEAD.
  return SizeByGet(client, object);
}

Status ReadHttpObject(HttpClient* client, const HttpObject& object, std::uint64_t offset,
                      std::span<std::byte> out) {
  // A range of nothing cannot be asked for, and offsets beyond int64 are no server's.
  if (out.empty() || offset > INT64_MAX || out.size() > INT64_MAX - offset) {
    DNC_ASSIGN(const std::uint64_t size, HttpObjectSize(client, object));
    if (out.empty() && offset <= size) return {};
    return ObjectEndsError(object.key, object.store, size, offset + out.size());
  }
  return RangeRead(client, object, offset, out).Run();
}

}  // namespace dnc::store
