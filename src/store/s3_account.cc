#include "store/s3_account.h"

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "store/stores.h"

namespace dnc::store {
namespace {

constexpr std::uint64_t kFileBytesMax = 1u << 20;
constexpr std::string_view kScheme = "s3://";
constexpr std::string_view kBucketMark = "{bucket}";

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

// The rules of S3, but for those that no server of another maker holds to.
bool IsBucketName(std::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && name.front() != '.' && name.front() != '-' &&
         name.back() != '.' && name.back() != '-' && name.find("..") == std::string_view::npos &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                  c == '_';
         });
}

bool IsRegionName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

// An environment variable that is set and not empty.
std::optional<std::string> Set(const Environment& environment, const char* name) {
  std::optional<std::string> value = environment(name);
  if (value && value->empty()) value.reset();
  return value;
}

// A file of the AWS tool: the one that the variable names, or ~/.aws/`name`. Empty if it is
// not there.
Result<std::string> ReadAwsFile(const Environment& environment, const char* variable,
                                const char* name) {
  std::optional<std::string> path = Set(environment, variable);
  if (!path) {
    const auto home = Set(environment, "HOME");
    if (!home) return std::string();
    path = *home + "/.aws/" + name;
  }
  Result<std::string> text = ReadFile(*path, kFileBytesMax);
  if (!text.ok() && text.error().code == ErrorCode::kNotFound) return std::string();
  return text;
}

Result<S3Signer> FindCredentials(const Environment& environment, const std::string& profile) {
  S3Signer signer;
  const auto access_key = Set(environment, "AWS_ACCESS_KEY_ID");
  const auto secret_key = Set(environment, "AWS_SECRET_ACCESS_KEY");
  if (access_key && secret_key) {
    signer.access_key = *access_key;
    signer.secret_key = *secret_key;
    signer.session_token = Set(environment, "AWS_SESSION_TOKEN").value_or("");
    return signer;
  }
  DNC_ASSIGN(const std::string text,
             ReadAwsFile(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials"));
  signer.access_key = FindIniValue(text, profile, "aws_access_key_id").value_or("");
  signer.secret_key = FindIniValue(text, profile, "aws_secret_access_key").value_or("");
  signer.session_token = FindIniValue(text, profile, "aws_session_token").value_or("");
  if (signer.access_key.empty() || signer.secret_key.empty()) {
    return Error{ErrorCode::kUnauthenticated,
                 "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or put "
                 "them under [" +
                     profile +
                     "] in ~/.aws/credentials; or read a public bucket with "
                     "--s3-anonymous"};
  }
  for (const std::string& value : {signer.access_key, signer.session_token}) {
    if (value.find_first_of("\r\n") != std::string::npos) {
      return Error{ErrorCode::kInvalidArgument, "credentials for S3 with a line's end in them"};
    }
  }
  return signer;
}

Result<std::string> FindRegion(const StoreOptions& options, const Environment& environment,
                               const std::string& profile) {
  std::string region = options.s3_region;
  if (region.empty()) region = Set(environment, "AWS_REGION").value_or("");
  if (region.empty()) region = Set(environment, "AWS_DEFAULT_REGION").value_or("");
  if (region.empty()) {
    DNC_ASSIGN(const std::string text, ReadAwsFile(environment, "AWS_CONFIG_FILE", "config"));
    const std::string section = profile == "default" ? profile : "profile " + profile;
    region = FindIniValue(text, section, "region").value_or("us-east-1");
  }
  if (!IsRegionName(region)) {
    return Error{ErrorCode::kInvalidArgument,
                 "\"" + region + "\" is no region of S3; expected one such as eu-central-1"};
  }
  return region;
}

Result<std::string> BaseUrl(const std::string& bucket, const std::string& region,
                            const StoreOptions& options, const Environment& environment) {
  std::string endpoint = options.s3_endpoint;
  if (endpoint.empty()) endpoint = Set(environment, "AWS_ENDPOINT_URL_S3").value_or("");
  if (endpoint.empty()) endpoint = Set(environment, "AWS_ENDPOINT_URL").value_or("");
  if (endpoint.empty()) {
    // A name with a dot is no host name that Amazon's certificate covers.
    const bool in_path = options.s3_path_style || bucket.find('.') != std::string::npos;
    const std::string host = "s3." + region + ".amazonaws.com/";
    return in_path ? "https://" + host + bucket + "/" : "https://" + bucket + "." + host;
  }
  while (endpoint.ends_with('/')) endpoint.pop_back();
  const std::size_t mark = endpoint.find(kBucketMark);
  std::string url = endpoint + "/";
  if (mark != std::string::npos) {
    url.replace(mark, kBucketMark.size(), bucket);
  } else {
    url += bucket + "/";
  }
  if (!IsHttpUrl(url) || url.find_first_of("?#") != std::string::npos) {
    return Error{ErrorCode::kInvalidArgument,
                 "\"" + DisplayUrl(endpoint) +
                     "\" is no endpoint of S3; expected one such as http://127.0.0.1:9000 or "
                     "https://{bucket}.host"};
  }
  return url;
}

}  // namespace

Environment ProcessEnvironment() {
  return [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

std::optional<std::string> FindIniValue(std::string_view text, std::string_view section,
                                        std::string_view key) {
  bool inside = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#' || line.front() == ';') continue;
    if (line.front() == '[') {
      inside = line.back() == ']' && Trim(line.substr(1, line.size() - 2)) == section;
    } else if (const std::size_t equals = line.find('='); inside && equals < line.size()) {
      if (Trim(line.substr(0, equals)) == key) return std::string(Trim(line.substr(equals + 1)));
    }
  }
  return std::nullopt;
}

Result<S3Account> OpenS3Account(const std::string& location, const StoreOptions& options,
                                const Environment& environment) {
  S3Account account;
  const std::string path = location.substr(kScheme.size());
  const std::size_t slash = std::min(path.find('/'), path.size());
  account.bucket = path.substr(0, slash);
  account.raw_prefix = path.substr(std::min(slash + 1, path.size()));
  while (account.raw_prefix.ends_with('/')) account.raw_prefix.pop_back();
  const bool odd_prefix = account.raw_prefix.starts_with('/') ||
                          account.raw_prefix.find("//") != std::string::npos ||
                          account.raw_prefix.size() > 800;
  if (!IsBucketName(account.bucket) || odd_prefix) {
    return Error{ErrorCode::kInvalidArgument,
                 "\"" + location + "\" names no bucket of S3; expected s3://bucket/prefix"};
  }
  // "." and ".." would be taken out of the URL's path on its way.
  for (const std::string_view part : {"/./", "/../"}) {
    if (("/" + account.raw_prefix + "/").find(part) != std::string::npos) {
      return Error{ErrorCode::kInvalidArgument,
                   "\"" + location + "\": \".\" and \"..\" cannot stand in a prefix of S3"};
    }
  }
  if (!account.raw_prefix.empty()) account.raw_prefix += "/";
  account.prefix = PercentEncode(account.raw_prefix, true);
  const std::string profile = Set(environment, "AWS_PROFILE").value_or("default");
  DNC_ASSIGN(account.region, FindRegion(options, environment, profile));
  DNC_ASSIGN(account.base_url, BaseUrl(account.bucket, account.region, options, environment));
  if (!options.s3_anonymous) {
    DNC_ASSIGN(account.signer, FindCredentials(environment, profile));
    account.signer->region = account.region;
  }
  return account;
}

}  // namespace dnc::store
