// Shards in and out, by content id.

#include <charconv>

#include "base/human.h"
#include "server/api.h"
#include "shard/content_id.h"

namespace dnc::server {
namespace {

struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// "bytes=5-9", "bytes=5-", "bytes=-5". One range only: a server may ignore what it
// does not support, and then sends the whole.
std::optional<ByteRange> ParseRange(std::string_view text, std::uint64_t size) {
  if (!text.starts_with("bytes=")) return std::nullopt;
  text.remove_prefix(6);
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto number = [](std::string_view digits, std::uint64_t* value) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *value);
    return error == std::errc() && end == digits.data() + digits.size() && !digits.empty();
  };
  const std::string_view first = text.substr(0, dash);
  const std::string_view last = text.substr(dash + 1);
  ByteRange range{0, size};
  std::uint64_t value = 0;
  if (first.empty()) {
    if (!number(last, &value)) return std::nullopt;
    range.begin = size - std::min(size, value);
    return range;
  }
  if (!number(first, &range.begin)) return std::nullopt;
  if (!last.empty()) {
    if (!number(last, &value) || value < range.begin) return std::nullopt;
    range.end = std::min(size, value == UINT64_MAX ? value : value + 1);
  }
  return range;
}

Response RangeError(const std::string& cid, std::uint64_t size) {
  Response response = ErrorResponse({ErrorCode::kCorrupt, cid + " has " + FormatCount(size) +
                                                              " bytes: the range is past its end"});
  response.status = 416;
  response.headers.emplace_back("Content-Range", "bytes */" + std::to_string(size));
  return response;
}

// A shard on its way in.
struct Upload {
  std::string cid;
  std::unique_ptr<store::ObjectWriter> writer;  // Null: there is such an object already.
  shard::ContentHasher hasher;
  std::uint64_t bytes = 0;
};

}  // namespace

// The size of an object that the token may read; for all others the same kNotFound.
Result<std::uint64_t> Api::FindObject(const Request& request, const std::string& cid) const {
  const Error missing{ErrorCode::kNotFound, "there is no object " + cid.substr(0, 128)};
  if (!shard::IsContentId(cid)) return missing;
  const Principal& principal = request.principal;
  if (principal.provider) {
    if (!parts_.grid->MayReadShard(principal.provider, cid)) return missing;
    return parts_.store->Size(cid);
  }
  std::optional<std::uint64_t> bytes;
  DNC_TRY(parts_.reader->Run("SELECT bytes FROM object_owners WHERE cid = ? AND account = ?",
                             {cid, AsValue(principal.account.value)},
                             [&](const Row& row) { bytes = row.Uint(0); }));
  if (!bytes) return missing;
  return *bytes;
}

Result<BodyPlan> Api::GetObject(const Request& request) {
  const std::string cid = request.parameters[0];
  DNC_ASSIGN(const std::uint64_t size, FindObject(request, cid));
  return AnswerWith([this, cid, size, range_text = request.head->range,
                     head_only = request.head->method == "HEAD"] {
    Response response;
    response.content_type = "application/octet-stream";
    response.headers.emplace_back("Accept-Ranges", "bytes");
    if (head_only) {
      response.head_only = true;
      response.head_bytes = size;
      return response;
    }
    ByteRange range{0, size};
    if (const auto parsed = ParseRange(range_text, size)) {
      range = *parsed;
      if (range.begin >= size) return RangeError(cid, size);
      response.status = 206;
      response.headers.emplace_back("Content-Range", "bytes " + std::to_string(range.begin) + "-" +
                                                         std::to_string(range.end - 1) + "/" +
                                                         std::to_string(size));
    }
    Result<std::unique_ptr<RandomAccessSource>> source = store::OpenObject(parts_.store, cid);
    if (!source.ok()) return ErrorResponse(source.error());
    response.source = std::move(*source);
    response.source_offset = range.begin;
    response.source_bytes = range.end - range.begin;
    return response;
  });
}

Result<BodyPlan> Api::PutObject(const Request& request) {
  const auto upload = std::make_shared<Upload>();
  upload->cid = request.parameters[0];
  if (!shard::IsContentId(upload->cid)) {
    return Error{ErrorCode::kInvalidArgument,
                 "\"" + upload->cid.substr(0, 128) + "\" is not a content id"};
  }
  BodyPlan plan;
  plan.bytes_max = options_.object_bytes_max;
  // Another account's upload of the same bytes has to show that it has them: they are
  // hashed, and not written once more.
  if (!parts_.store->Size(upload->cid).ok()) {
    DNC_ASSIGN(upload->writer, parts_.store->Create());
  }
  plan.sink = [upload](ByteSpan bytes) -> Status {
    upload->bytes += bytes.size();
    upload->hasher.Update(bytes);
    return upload->writer == nullptr ? Status() : upload->writer->Write(bytes);
  };
  plan.handle = [this, upload, account = request.principal.account](
                    std::string, const std::shared_ptr<Exchange>& exchange) {
    const std::string found = upload->hasher.Finish().cid;
    if (found != upload->cid) {
      return exchange->Fail(
          {ErrorCode::kCorrupt, "the bytes are those of " + found + ", not of " + upload->cid});
    }
    parts_.workers->Post([this, upload, account, exchange] {
      // The object is durable before the row that makes it somebody's.
      const Status stored =
          upload->writer == nullptr ? Status() : upload->writer->Commit(upload->cid);
      upload->writer = nullptr;
      parts_.loop->Post([this, upload, account, exchange, stored] {
        if (!stored.ok()) return exchange->Fail(stored.error());
        const auto write = [upload, account](Database* db) {
          return db->Run("INSERT OR IGNORE INTO object_owners(cid, account, bytes) VALUES(?, ?, ?)",
                         {upload->cid, AsValue(account.value), AsValue(upload->bytes)});
        };
        parts_.sequencer->Write(write, std::nullopt, [exchange](const Result<Effects>& result) {
          exchange->Respond(result.ok() ? EmptyResponse() : ErrorResponse(result.error()));
        });
      });
    });
  };
  return plan;
}

}  // namespace dnc::server
