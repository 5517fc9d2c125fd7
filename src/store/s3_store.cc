#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/hash.h"
#include "base/human.h"
#include "store/http_client.h"
#include "store/http_object.h"
#include "store/s3_account.h"
#include "store/s3_xml.h"
#include "store/spool.h"
#include "store/store_errors.h"
#include "store/stores.h"

// libcurl signs (CURLOPT_AWS_SIGV4), and its versions differ in what they sort and encode
// of a query before that. So queries here are written as they are signed: names in
// ascending order, each with '=', all else percent-encoded.

namespace dnc::store {
namespace {

constexpr std::uint64_t kSinglePutBytesMax = 64u << 20;
constexpr std::uint64_t kPartBytes = 16u << 20;  // At least 5 MiB, says S3.
constexpr std::uint64_t kPartsMax = 10'000;
constexpr std::uint64_t kListBytesMax = 16u << 20;  // A page of 1,000 keys.
constexpr std::uint64_t kListPagesMax = 100'000;
constexpr std::size_t kHashPiece = 1u << 20;

// What an error's body says beyond the status.
Error S3Error(const HttpResponse& response, const std::string& what) {
  const auto body = ParseS3Error(AsText(response.body));
  Error error = StatusError(response, what);
  std::string region = response.headers.bucket_region;
  if (body) {
    error.message = what + ": " + body->code + ": " + body->message;
    if (region.empty()) region = body->region;
    if (body->code == "NoSuchBucket") error.code = ErrorCode::kNotFound;
    if (body->code == "InvalidAccessKeyId" || body->code == "ExpiredToken" ||
        body->code == "SignatureDoesNotMatch" || body->code == "InvalidToken") {
      error.code = ErrorCode::kUnauthenticated;
    }
    if (body->code == "RequestTimeTooSkewed") {
      error.message += "; set this machine's clock";
    }
  }
  const bool elsewhere = response.status == 301 || response.status == 307 ||
                         (body && body->code == "AuthorizationHeaderMalformed");
  if (elsewhere && !region.empty()) {
    error = {ErrorCode::kInvalidArgument,
             what + ": the bucket lies in the region " + region + "; give --s3-region " + region};
  }
  return error;
}

Error ObjectStatusError(const HttpObject& object, const HttpResponse& response) {
  const auto body = ParseS3Error(AsText(response.body));
  if (response.status == 404 && (!body || body->code == "NoSuchKey")) {
    return NoObjectError(object.key, object.store);
  }
  return S3Error(response, NameOf(object));
}

// The calls, on one bucket.
class S3Bucket {
 public:
  S3Bucket(S3Account account, const StoreOptions& options)
      : account_(std::move(account)), client_(options) {}

  HttpClient* client() { return &client_; }
  const S3Account& account() const { return account_; }
  std::string Describe() const { return "s3://" + account_.bucket + "/" + account_.raw_prefix; }
  std::string UrlOf(const std::string& key) const {
    return account_.base_url + account_.prefix + key;
  }

  HttpObject Object(const std::string& key) const {
    HttpObject object;
    object.url = UrlOf(key);
    object.key = key;
    object.store = Describe();
    object.signer = signer();
    if (object.signer != nullptr) {
      object.headers = {"x-amz-content-sha256: " + Sha256({}).Hex()};
    }
    object.follow_redirects = false;
    object.status_error = &ObjectStatusError;
    return object;
  }

  // A call on `url`, whose query is as it is signed. Any status but 2xx is an error.
  Result<HttpResponse> Call(const std::string& method, const std::string& url, const HttpBody* body,
                            const Digest& body_hash, std::vector<std::string> headers = {}) {
    HttpRequest request;
    request.method = method;
    request.url = url;
    request.body = body;
    request.headers = std::move(headers);
    if (signer() != nullptr) {
      request.headers.push_back("x-amz-content-sha256: " + body_hash.Hex());
    }
    request.signer = signer();
    request.follow_redirects = false;
    request.body_bytes_max = kListBytesMax;
    DNC_ASSIGN(HttpResponse response, client_.Run(request));
    if (!response.ok()) return S3Error(response, method + " " + DisplayUrl(url));
    return response;
  }

 private:
  const S3Signer* signer() const { return account_.signer ? &*account_.signer : nullptr; }

  const S3Account account_;
  HttpClient client_;
};

Result<Digest> HashOf(const Spool& spool, std::uint64_t offset, std::uint64_t bytes) {
  Sha256Hasher hasher;
  Bytes piece(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kHashPiece)));
  while (bytes > 0) {
    const auto out = std::span(piece).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes, piece.size())));
    DNC_TRY(spool.ReadAt(offset, out));
    hasher.Update(out);
    offset += out.size();
    bytes -= out.size();
  }
  return hasher.Finish();
}

HttpBody BodyOf(const Spool& spool, std::uint64_t begin, std::uint64_t bytes) {
  return {bytes, [&spool, begin](std::uint64_t offset, std::span<std::byte> out) {
            return spool.ReadAt(begin + offset, out);
          }};
}

// An object is named only once it is whole, so that its bytes wait in a spool until then.
class S3Writer final : public ObjectWriter {
 public:
  explicit S3Writer(std::shared_ptr<S3Bucket> bucket) : bucket_(std::move(bucket)) {}

  Status Write(ByteSpan bytes) override {
    DNC_ASSERT(bucket_ != nullptr);
    return spool_.Write(bytes);
  }

  Status Commit(const std::string& key) override {
    DNC_ASSERT(bucket_ != nullptr);
    if (!IsValidKey(key)) return InvalidKeyError(key);
    if (spool_.size() <= kSinglePutBytesMax) {
      DNC_TRY(PutWhole(key));
    } else {
      DNC_TRY(PutParts(key));
    }
    bucket_ = nullptr;
    return {};
  }

 private:
  Status PutWhole(const std::string& key) {
    DNC_ASSIGN(const Digest hash, HashOf(spool_, 0, spool_.size()));
    const HttpBody body = BodyOf(spool_, 0, spool_.size());
    return bucket_->Call("PUT", bucket_->UrlOf(key), &body, hash).status();
  }

  Status PutParts(const std::string& key) {
    const std::string url = bucket_->UrlOf(key);
    const HttpBody none = store::BodyOf({});
    DNC_ASSIGN(const HttpResponse begun,
               bucket_->Call("POST", url + "?uploads=", &none, Sha256({})));
    DNC_ASSIGN(const std::string id, ParseS3UploadId(AsText(begun.body)));
    const std::string upload = "uploadId=" + PercentEncode(id);
    const Status status = SendParts(url, key, upload);
    if (!status.ok()) {
      // What was sent would cost its owner money for ever. If this fails too, the first
      // error is still the one to tell.
      static_cast<void>(bucket_->Call("DELETE", url + "?" + upload, nullptr, Sha256({})).ok());
    }
    return status;
  }

  Status SendParts(const std::string& url, const std::string& key, const std::string& upload) {
    const std::uint64_t part_bytes = std::max(kPartBytes, spool_.size() / kPartsMax + 1);
    std::vector<std::string> etags;
    for (std::uint64_t begin = 0; begin < spool_.size(); begin += part_bytes) {
      const std::uint64_t bytes = std::min(part_bytes, spool_.size() - begin);
      DNC_ASSIGN(const Digest hash, HashOf(spool_, begin, bytes));
      const HttpBody body = BodyOf(spool_, begin, bytes);
      const std::string query = "?partNumber=" + std::to_string(etags.size() + 1) + "&" + upload;
      DNC_ASSIGN(const HttpResponse part, bucket_->Call("PUT", url + query, &body, hash));
      if (part.headers.etag.empty()) {
        return Error{ErrorCode::kCorrupt, DisplayUrl(url) + ": a part was taken without an ETag"};
      }
      etags.push_back(part.headers.etag);
    }
    const std::string text = FormatS3Completion(etags);
    const HttpBody body = store::BodyOf(AsBytes(text));
    const auto done = bucket_->Call("POST", url + "?" + upload, &body, Sha256(AsBytes(text)),
                                    {"Content-Type: application/xml"});
    if (!done.ok()) {
      // A repeated completion finds no upload, if the first one's answer was lost.
      if (done.error().code != ErrorCode::kNotFound) return done.error();
      const auto size = HttpObjectSize(bucket_->client(), bucket_->Object(key));
      return size.ok() && *size == spool_.size() ? Status() : done.status();
    }
    // S3 answers with 200 before it knows, and may tell of an error in the body.
    if (const auto error = ParseS3Error(AsText(done->body))) {
      return Error{ErrorCode::kUnavailable,
                   DisplayUrl(url) + ": " + error->code + ": " + error->message};
    }
    return {};
  }

  std::shared_ptr<S3Bucket> bucket_;  // nullptr once committed.
  Spool spool_;
};

class S3Store final : public ObjectStore {
 public:
  explicit S3Store(std::shared_ptr<S3Bucket> bucket) : bucket_(std::move(bucket)) {}

  Result<std::unique_ptr<ObjectWriter>> Create() override {
    return std::unique_ptr<ObjectWriter>(new S3Writer(bucket_));
  }

  Result<std::uint64_t> Size(const std::string& key) const override {
    if (!IsValidKey(key)) return NoObjectError(key, Describe());
    return HttpObjectSize(bucket_->client(), bucket_->Object(key));
  }

  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    if (!IsValidKey(key)) return NoObjectError(key, Describe());
    return ReadHttpObject(bucket_->client(), bucket_->Object(key), offset, out);
  }

  Status Delete(const std::string& key) override {
    DNC_TRY(Size(key).status());  // S3 deletes what is not there without a word.
    return bucket_->Call("DELETE", bucket_->UrlOf(key), nullptr, Sha256({})).status();
  }

  Result<std::vector<std::string>> List() const override {
    const std::string& prefix = bucket_->account().raw_prefix;
    std::vector<std::string> keys;
    std::string token;
    for (std::uint64_t page_index = 0; page_index < kListPagesMax; ++page_index) {
      const std::string query =
          "?" + (token.empty() ? "" : "continuation-token=" + PercentEncode(token) + "&") +
          "delimiter=%2F&list-type=2&max-keys=1000&prefix=" + PercentEncode(prefix);
      DNC_ASSIGN(const HttpResponse response,
                 bucket_->Call("GET", bucket_->account().base_url + query, nullptr, Sha256({})));
      Result<S3ListPage> page = ParseS3ListPage(AsText(response.body));
      if (!page.ok()) return page.error().WithContext(Describe());
      for (const std::string& key : page->keys) {
        if (!key.starts_with(prefix)) continue;
        std::string name = key.substr(prefix.size());
        if (IsValidKey(name)) keys.push_back(std::move(name));
      }
      token = page->next_token;
      if (token.empty()) {
        std::sort(keys.begin(), keys.end());
        return keys;
      }
    }
    return Error{ErrorCode::kTooLarge,
                 Describe() + ": a list of more than " + FormatCount(kListPagesMax) + " pages"};
  }

  std::string Describe() const override { return bucket_->Describe(); }

 private:
  const std::shared_ptr<S3Bucket> bucket_;  // Shared with its writers.
};

}  // namespace

Result<std::unique_ptr<ObjectStore>> OpenS3Store(const std::string& url,
                                                 const StoreOptions& options) {
  DNC_ASSIGN(S3Account account, OpenS3Account(url, options, ProcessEnvironment()));
  return std::unique_ptr<ObjectStore>(
      new S3Store(std::make_shared<S3Bucket>(std::move(account), options)));
}

}  // namespace dnc::store
