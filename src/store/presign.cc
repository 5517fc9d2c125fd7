#include "store/presign.h"

#include <time.h>

#include <algorithm>
#include <array>

#include "store/s3_account.h"

namespace dnc::store {
namespace {

constexpr Duration kValidMax = Duration::Minutes(7 * 24 * 60);

ByteSpan AsSpan(const Digest& digest) { return std::as_bytes(std::span(digest.bytes)); }

// "20130524T000000Z".
std::string BasicTime(Instant now) {
  const time_t seconds = now.us / 1'000'000;
  struct tm fields {};
  ::gmtime_r(&seconds, &fields);
  std::array<char, 32> text{};
  ::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &fields);
  return text.data();
}

}  // namespace

Digest HmacSha256(ByteSpan key, ByteSpan message) {
  constexpr std::size_t kBlock = 64;
  std::array<std::byte, kBlock> inner{};
  if (key.size() > kBlock) {
    const Digest hashed = Sha256(key);
    std::copy_n(AsSpan(hashed).begin(), hashed.bytes.size(), inner.begin());
  } else {
    std::copy(key.begin(), key.end(), inner.begin());
  }
  std::array<std::byte, kBlock> outer = inner;
  for (std::byte& b : inner) b ^= std::byte{0x36};
  for (std::byte& b : outer) b ^= std::byte{0x5c};
  Sha256Hasher first;
  first.Update(inner);
  first.Update(message);
  const Digest hashed = first.Finish();
  Sha256Hasher second;
  second.Update(outer);
  second.Update(AsSpan(hashed));
  return second.Finish();
}

std::string PresignUrl(const std::string& url, const S3Signer& signer,
                       const PresignOptions& options) {
  const std::string time = BasicTime(options.now);
  const std::string scope = time.substr(0, 8) + "/" + signer.region + "/s3/aws4_request";
  const std::size_t host_begin = url.find("://") + 3;
  const std::size_t path_begin = std::min(url.find('/', host_begin), url.size());
  const std::string host = url.substr(host_begin, path_begin - host_begin);

  // In ascending order, as they are signed.
  std::string query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" +
                      PercentEncode(signer.access_key + "/" + scope) + "&X-Amz-Date=" + time +
                      "&X-Amz-Expires=" + std::to_string(options.valid_for.us / 1'000'000);
  if (!signer.session_token.empty()) {
    query += "&X-Amz-Security-Token=" + PercentEncode(signer.session_token);
  }
  query += "&X-Amz-SignedHeaders=host";

  const std::string canonical = options.method + "\n" + url.substr(path_begin) + "\n" + query +
                                "\nhost:" + host + "\n\nhost\nUNSIGNED-PAYLOAD";
  const std::string to_sign =
      "AWS4-HMAC-SHA256\n" + time + "\n" + scope + "\n" + Sha256(AsBytes(canonical)).Hex();
  Digest key = HmacSha256(AsBytes("AWS4" + signer.secret_key), AsBytes(time.substr(0, 8)));
  for (const std::string& part : {signer.region, std::string("s3"), std::string("aws4_request")}) {
    key = HmacSha256(AsSpan(key), AsBytes(part));
  }
  return url + "?" + query + "&X-Amz-Signature=" + HmacSha256(AsSpan(key), AsBytes(to_sign)).Hex();
}

Result<std::string> MakePresignedUrl(const std::string& location, const PresignOptions& presign,
                                     const StoreOptions& options) {
  const std::size_t slash = location.rfind('/');
  const std::string key = slash == std::string::npos ? "" : location.substr(slash + 1);
  if (!location.starts_with("s3://") || slash < 6 || !IsValidKey(key)) {
    return Error{ErrorCode::kInvalidArgument,
                 "\"" + location + "\" is no object of S3; expected s3://bucket/prefix/key"};
  }
  if (presign.valid_for <= Duration{} || presign.valid_for > kValidMax) {
    return Error{ErrorCode::kInvalidArgument, "a link is valid for 1 second to 7 days"};
  }
  StoreOptions signing = options;
  signing.s3_anonymous = false;
  DNC_ASSIGN(const S3Account account,
             OpenS3Account(location.substr(0, slash), signing, ProcessEnvironment()));
  return PresignUrl(account.base_url + account.prefix + key, *account.signer, presign);
}

}  // namespace dnc::store
