#include "store/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>

#include "base/human.h"
#include "store/rate_limiter.h"

namespace dnc::store {
namespace {

constexpr int kPollMs = 100;  // How often a waiting exchange looks at its silence.
constexpr std::uint64_t kErrorBodyBytesMax = 64u << 10;
constexpr Duration kRetryWaitMax = Duration::Seconds(10);
constexpr Duration kRetryAfterMax = Duration::Minutes(2);
constexpr Duration kConnectTimeoutMax = Duration::Seconds(15);
constexpr long kRedirectsMax = 10;
constexpr long kBufferBytes = 128L << 10;

bool IsLoopback(std::string_view url) {
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return false;
  std::string_view host = url.substr(scheme_end + 3);
  host = host.substr(0, host.find_first_of("/?#"));
  if (const std::size_t at = host.rfind('@'); at != std::string_view::npos) {
    host.remove_prefix(at + 1);
  }
  return host.starts_with("127.") || host == "localhost" || host.starts_with("localhost:") ||
         host.starts_with("[::1]");
}

// What a failure inside libcurl means to us.
Error ErrorOfCurl(CURLcode code, const std::string& url, const char* message) {
  const std::string text =
      DisplayUrl(url) + ": " + (message[0] != '\0' ? message : curl_easy_strerror(code));
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return {ErrorCode::kInvalidArgument, text};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return {ErrorCode::kPermissionDenied,
              DisplayUrl(url) +
                  ": the server's certificate is not trusted: " + curl_easy_strerror(code)};
    case CURLE_TOO_MANY_REDIRECTS:
      return {ErrorCode::kUnsupported,
              DisplayUrl(url) + ": more than " + std::to_string(kRedirectsMax) + " redirects"};
    case CURLE_OUT_OF_MEMORY:
      return {ErrorCode::kResourceExhausted, text};
    default:
      return {ErrorCode::kUnavailable, text};
  }
}

class HeaderList {
 public:
  HeaderList() = default;
  ~HeaderList() { curl_slist_free_all(list_); }
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  void Add(const std::string& line) { list_ = curl_slist_append(list_, line.c_str()); }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

}  // namespace

struct HttpClient::Connection {
  CURLM* multi = curl_multi_init();
  CURL* easy = curl_easy_init();

  Connection() { DNC_ASSERT(multi != nullptr && easy != nullptr); }
  ~Connection() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }
};

// What the callbacks of one exchange share.
struct HttpClient::Exchange {
  const HttpRequest* request = nullptr;
  const std::atomic<bool>* cancelled = nullptr;
  CURL* easy = nullptr;
  HttpResponse response;
  bool limited_up = false;
  bool limited_down = false;
  bool started = false;
  bool enough = false;
  std::uint64_t sent = 0;
  std::optional<Error> error;  // Of start, sink or a limit.
  Instant last_activity;
  std::array<char, CURL_ERROR_SIZE> message{};

  static Exchange* Of(void* user) { return static_cast<Exchange*>(user); }

  void Pass(RateLimiter* limiter, std::uint64_t bytes) {
    const Duration wait = limiter->Take(bytes, MonotonicNow());
    if (wait > Duration{}) SleepFor(wait, cancelled);
    last_activity = MonotonicNow();
  }

  static std::size_t OnUpload(char* buffer, std::size_t size, std::size_t count, void* user) {
    Exchange* self = Of(user);
    const HttpBody& body = *self->request->body;
    const std::size_t room = std::min<std::uint64_t>(size * count, body.bytes - self->sent);
    if (room == 0) return 0;
    if (self->limited_up) self->Pass(&UpLimiter(), room);
    const auto out = std::span(reinterpret_cast<std::byte*>(buffer), room);
    if (Status read = body.read(self->sent, out); !read.ok()) {
      self->error = read.error();
      return CURL_READFUNC_ABORT;
    }
    self->sent += room;
    self->last_activity = MonotonicNow();
    return room;
  }

  static int OnRewind(void* user, curl_off_t offset, int origin) {
    Exchange* self = Of(user);
    const auto to = static_cast<std::uint64_t>(offset);
    if (origin != SEEK_SET || to > self->request->body->bytes) return CURL_SEEKFUNC_CANTSEEK;
    self->sent = to;
    return CURL_SEEKFUNC_OK;
  }

  static std::size_t OnHeader(char* data, std::size_t size, std::size_t count, void* user) {
    Exchange* self = Of(user);
    const std::string_view line(data, size * count);
    // Each answer of a chain of redirects begins with its own status line.
    if (line.starts_with("HTTP/")) {
      self->response.headers = {};
    } else {
      self->response.headers.AddLine(line, WallNow());
    }
    self->last_activity = MonotonicNow();
    return line.size();
  }

  static std::size_t OnDownload(char* data, std::size_t size, std::size_t count, void* user) {
    Exchange* self = Of(user);
    const ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size * count);
    if (self->limited_down) self->Pass(&DownLimiter(), bytes.size());
    self->last_activity = MonotonicNow();
    return self->Take(bytes) ? bytes.size() : 0;
  }

  // Before the first byte of a body, or at the end of an answer without one.
  bool Start() {
    if (started) return true;
    started = true;
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    response.status = static_cast<int>(status);
    if (!response.ok() || !request->start) return true;
    if (Status may = request->start(response); !may.ok()) error = may.error();
    return !error;
  }

  // False ends the transfer.
  bool Take(ByteSpan bytes) {
    if (!Start()) return false;
    if (response.ok() && request->sink) {
      const Result<bool> more = request->sink(bytes);
      if (!more.ok()) error = more.error();
      enough = more.ok() && !*more;
      return more.ok() && *more;
    }
    const std::uint64_t limit = response.ok() ? request->body_bytes_max : kErrorBodyBytesMax;
    if (response.body.size() + bytes.size() > limit) {
      if (!response.ok()) {
        enough = true;  // Nobody reads all of it.
        return false;
      }
      error =
          Error{ErrorCode::kTooLarge, DisplayUrl(request->url) + ": an answer above the limit of " +
                                          FormatByteCount(limit)};
      return false;
    }
    response.body.insert(response.body.end(), bytes.begin(), bytes.end());
    return true;
  }

  // Runs the transfer to its end; the code of libcurl, or an error of ours.
  Result<CURLcode> Perform(CURLM* multi, Duration stall_timeout) {
    for (;;) {
      int running = 0;
      curl_multi_perform(multi, &running);
      if (running == 0) {
        CURLcode code = CURLE_OK;
        int left = 0;
        while (const CURLMsg* done = curl_multi_info_read(multi, &left)) {
          if (done->msg == CURLMSG_DONE) code = done->data.result;
        }
        return code;
      }
      if (cancelled != nullptr && *cancelled) return Error{ErrorCode::kCancelled, "cancelled"};
      if (MonotonicNow() - last_activity > stall_timeout) {
        return Error{ErrorCode::kUnavailable, DisplayUrl(request->url) + ": no progress for " +
                                                  FormatDuration(stall_timeout)};
      }
      curl_multi_poll(multi, nullptr, 0, kPollMs, nullptr);
    }
  }
};

namespace {

void SetTransport(CURL* easy, const HttpRequest& request, const StoreOptions& options) {
  curl_easy_reset(easy);  // Keeps the connection.
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR,
                   request.url.starts_with("https:") ? "https" : "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request.follow_redirects ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_MAXREDIRS, kRedirectsMax);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "dnc/" DNC_VERSION);
  const Duration connect = std::min(options.stall_timeout, kConnectTimeoutMax);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect.milliseconds()));
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  if (!options.proxy.empty()) {
    curl_easy_setopt(easy, CURLOPT_PROXY, options.proxy.c_str());
  } else if (IsLoopback(request.url)) {
    // A proxy cannot reach this machine's loopback, whatever the environment says.
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
  }
}

void SetRequest(CURL* easy, const HttpRequest& request, HeaderList* headers) {
  for (const std::string& line : request.headers) headers->Add(line);
  if (!request.range.empty()) curl_easy_setopt(easy, CURLOPT_RANGE, request.range.c_str());
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else {
    if (request.body != nullptr) {
      headers->Add("Expect:");  // The body is small; asking first costs a round trip.
      curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                       static_cast<curl_off_t>(request.body->bytes));
      curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
    }
    if (request.method != "GET" || request.body != nullptr) {
      curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
  }
  if (request.signer != nullptr) {
    const S3Signer& signer = *request.signer;
    curl_easy_setopt(easy, CURLOPT_AWS_SIGV4, ("aws:amz:" + signer.region + ":s3").c_str());
    curl_easy_setopt(easy, CURLOPT_USERNAME, signer.access_key.c_str());
    curl_easy_setopt(easy, CURLOPT_PASSWORD, signer.secret_key.c_str());
    if (!signer.session_token.empty()) {
      headers->Add("x-amz-security-token: " + signer.session_token);
    }
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers->get());
}

}  // namespace

HttpBody BodyOf(ByteSpan bytes) {
  return {bytes.size(), [bytes](std::uint64_t offset, std::span<std::byte> out) -> Status {
            const ByteSpan part = bytes.subspan(static_cast<std::size_t>(offset), out.size());
            std::copy(part.begin(), part.end(), out.begin());
            return {};
          }};
}

bool IsPassingStatus(int status) {
  if (status == 501 || status == 505) return false;  // What the server cannot do.
  return status == 408 || status == 425 || status == 429 || (status >= 500 && status < 600);
}

std::string DisplayUrl(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return std::string(url.substr(0, 500));
  const std::size_t host = scheme_end + 3;
  const std::size_t host_end = std::min(url.find('/', host), url.size());
  const std::size_t at = url.substr(0, host_end).rfind('@');
  std::string shown(url.substr(0, host));
  shown += url.substr(at == std::string_view::npos || at < host ? host : at + 1);
  return shown.substr(0, 500);
}

std::string PercentEncode(std::string_view text, bool keep_slash) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash);
    if (plain) {
      encoded.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

HttpClient::HttpClient(const StoreOptions& options)
    : options_(options),
      prng_(static_cast<std::uint64_t>(WallNow().us) ^ reinterpret_cast<std::uintptr_t>(this)) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  DNC_ASSERT(initialised == CURLE_OK);
  if (options.up_bytes_per_second > 0) UpLimiter().SetRate(options.up_bytes_per_second);
  if (options.down_bytes_per_second > 0) DownLimiter().SetRate(options.down_bytes_per_second);
}

HttpClient::~HttpClient() = default;

std::unique_ptr<HttpClient::Connection> HttpClient::Borrow() {
  std::unique_lock lock(mutex_);
  returned_.wait(lock, [this] { return borrowed_ < options_.connections_max; });
  ++borrowed_;
  if (idle_.empty()) return std::make_unique<Connection>();
  std::unique_ptr<Connection> connection = std::move(idle_.back());
  idle_.pop_back();
  return connection;
}

void HttpClient::GiveBack(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
  --borrowed_;
  returned_.notify_one();
}

Result<HttpResponse> HttpClient::Try(const HttpRequest& request) {
  std::unique_ptr<Connection> connection = Borrow();
  CURL* const easy = connection->easy;
  Exchange exchange;
  exchange.request = &request;
  exchange.cancelled = options_.cancelled;
  exchange.easy = easy;
  exchange.limited_up = options_.up_bytes_per_second > 0;
  exchange.limited_down = options_.down_bytes_per_second > 0;
  exchange.last_activity = MonotonicNow();

  HeaderList headers;
  SetTransport(easy, request, options_);
  SetRequest(easy, request, &headers);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange.message.data());
  curl_easy_setopt(easy, CURLOPT_READFUNCTION, &Exchange::OnUpload);
  curl_easy_setopt(easy, CURLOPT_READDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &Exchange::OnRewind);
  curl_easy_setopt(easy, CURLOPT_SEEKDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Exchange::OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Exchange::OnDownload);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);

  curl_multi_add_handle(connection->multi, easy);
  const Result<CURLcode> code = exchange.Perform(connection->multi, options_.stall_timeout);
  if (code.ok() && *code == CURLE_OK && !exchange.started) exchange.Start();
  curl_multi_remove_handle(connection->multi, easy);  // Closes what was broken off.
  curl_easy_reset(easy);
  GiveBack(std::move(connection));

  if (exchange.error) return *exchange.error;
  if (!code.ok()) return code.error();
  if (*code != CURLE_OK && !exchange.enough) {
    return ErrorOfCurl(*code, request.url, exchange.message.data());
  }
  return std::move(exchange.response);
}

Result<HttpResponse> HttpClient::Run(const HttpRequest& request) {
  Retry retry(this);
  for (;;) {
    Result<HttpResponse> response = Try(request);
    if (!response.ok()) {
      if (response.error().code != ErrorCode::kUnavailable) return response.error();
      DNC_TRY(retry.Next(response.error()));
    } else if (IsPassingStatus(response->status) &&
               (response->status != 500 || request.internal_error_passes)) {
      DNC_TRY(retry.Next(StatusError(*response, DisplayUrl(request.url)),
                         response->headers.retry_after));
    } else {
      return response;
    }
  }
}

Duration HttpClient::WaitBefore(int try_count) {
  const std::int64_t whole =
      std::min(kRetryWaitMax.us, options_.retry_wait_first.us << std::min(try_count, 16));
  const std::lock_guard lock(mutex_);
  const auto half = static_cast<std::uint64_t>(std::max<std::int64_t>(whole / 2, 0));
  return Duration{whole / 2 + static_cast<std::int64_t>(prng_.Below(half + 1))};
}

Status Retry::Next(const Error& error, std::optional<Duration> retry_after) {
  const StoreOptions& options = client_->options();
  const Duration wait = std::max(client_->WaitBefore(tries_), retry_after.value_or(Duration{}));
  ++tries_;
  if (tries_ >= options.attempts_max || wait > kRetryAfterMax) {
    Error last = error;
    if (tries_ > 1) last.message += " (gave up after " + std::to_string(tries_) + " tries)";
    return last;
  }
  if (!SleepFor(wait, options.cancelled)) return Error{ErrorCode::kCancelled, "cancelled"};
  return {};
}

Error StatusError(const HttpResponse& response, const std::string& what) {
  const std::string text = what + ": HTTP status " + std::to_string(response.status);
  switch (response.status) {
    case 401:
      return {ErrorCode::kUnauthenticated, text + ": the server wants to know who asks"};
    case 403:
      return {ErrorCode::kPermissionDenied, text + ": the server does not allow it"};
    case 404:
    case 410:
      return {ErrorCode::kNotFound, text + ": not there"};
    default:
      break;
  }
  if (IsPassingStatus(response.status)) return {ErrorCode::kUnavailable, text};
  return {ErrorCode::kUnsupported, text + ", which is not expected here"};
}

}  // namespace dnc::store
