#include "client/transfer.h"

#include <curl/curl.h>

#include <array>

#include "base/human.h"

namespace dnc::client {
namespace {

// How often a waiting exchange looks at its cancel flag and its silence.
constexpr int kPollMs = 100;
constexpr std::uint64_t kErrorBodyBytesMax = 1u << 20;
// Smaller bodies are sent without asking whether they are welcome: libcurl would ask
// for every one, which costs a round trip.
constexpr std::uint64_t kExpectBytesMin = 1u << 20;

bool IsSuccess(int status) { return status >= 200 && status < 300; }

bool IsLoopback(std::string_view url) {
  const auto scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return false;
  const std::string_view host = url.substr(scheme_end + 3);
  return host.starts_with("127.") || host.starts_with("localhost:") ||
         host.starts_with("localhost/") || host == "localhost" || host.starts_with("[::1]");
}

}  // namespace

struct TransferPool::Connection {
  CURLM* multi = curl_multi_init();
  CURL* easy = curl_easy_init();

  Connection() { DNC_ASSERT(multi != nullptr && easy != nullptr); }
  ~Connection() {
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
  }
};

// What the callbacks of one exchange share.
struct TransferPool::State {
  const Exchange* exchange = nullptr;
  TransferPool* pool = nullptr;
  CURL* easy = nullptr;
  Reply reply;
  std::uint64_t offset = 0;  // Of the upload.
  bool sink_used = false;
  std::optional<Error> error;  // Of the source, the sink or a limit.
  Instant last_activity;
  std::array<char, CURL_ERROR_SIZE> message{};

  static State* Of(void* user) { return static_cast<State*>(user); }

  static std::size_t OnUpload(char* buffer, std::size_t size, std::size_t count, void* user) {
    State* state = Of(user);
    state->last_activity = MonotonicNow();
    const std::uint64_t left = state->exchange->upload_bytes - state->offset;
    const std::size_t room = std::min<std::uint64_t>(size * count, left);
    if (room == 0) return 0;
    Result<std::size_t> got = (*state->exchange->upload)(
        state->offset, std::span(reinterpret_cast<std::byte*>(buffer), room));
    if (got.ok() && (*got == 0 || *got > room)) {
      got =
          Error{ErrorCode::kIo, "what is uploaded ended after " + FormatCount(state->offset) +
                                    " of " + FormatCount(state->exchange->upload_bytes) + " bytes"};
    }
    if (!got.ok()) {
      state->error = got.error();
      return CURL_READFUNC_ABORT;
    }
    state->offset += *got;
    state->pool->bytes_sent_ += *got;
    return *got;
  }

  static int OnRewind(void* user, curl_off_t offset, int origin) {
    if (origin != SEEK_SET) return CURL_SEEKFUNC_CANTSEEK;
    Of(user)->offset = static_cast<std::uint64_t>(offset);
    return CURL_SEEKFUNC_OK;
  }

  static std::size_t OnHeader(char*, std::size_t size, std::size_t count, void* user) {
    Of(user)->last_activity = MonotonicNow();
    return size * count;
  }

  static std::size_t OnDownload(char* data, std::size_t size, std::size_t count, void* user) {
    State* state = Of(user);
    const ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size * count);
    state->last_activity = MonotonicNow();
    state->pool->bytes_received_ += bytes.size();
    long status = 0;
    curl_easy_getinfo(state->easy, CURLINFO_RESPONSE_CODE, &status);
    if (IsSuccess(static_cast<int>(status)) && state->exchange->sink != nullptr) {
      state->sink_used = true;
      if (Status written = (*state->exchange->sink)(bytes); !written.ok()) {
        state->error = written.error();
        return CURL_WRITEFUNC_ERROR;
      }
      return bytes.size();
    }
    const std::uint64_t limit =
        IsSuccess(static_cast<int>(status)) ? state->exchange->body_bytes_max : kErrorBodyBytesMax;
    if (state->reply.body.size() + bytes.size() > limit) {
      state->error = Error{ErrorCode::kTooLarge,
                           state->exchange->url + ": an answer above " + FormatByteCount(limit)};
      return CURL_WRITEFUNC_ERROR;
    }
    state->reply.body.insert(state->reply.body.end(), bytes.begin(), bytes.end());
    return bytes.size();
  }
};

TransferPool::TransferPool() {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  DNC_ASSERT(initialised == CURLE_OK);
}

TransferPool::~TransferPool() = default;

std::unique_ptr<TransferPool::Connection> TransferPool::Borrow() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<Connection>();
  std::unique_ptr<Connection> connection = std::move(idle_.back());
  idle_.pop_back();
  return connection;
}

void TransferPool::GiveBack(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
}

namespace {

// The options that are the same for every exchange; the rest follows in Run.
void SetCommonOptions(CURL* easy, const Exchange& exchange, curl_slist* headers) {
  curl_easy_reset(easy);  // Keeps the connection.
  curl_easy_setopt(easy, CURLOPT_URL, exchange.url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "dnc/" DNC_VERSION);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(exchange.connect_timeout.milliseconds()));
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L << 10);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  // A proxy cannot reach this machine's loopback, whatever the environment says.
  if (IsLoopback(exchange.url)) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  if (!exchange.range.empty()) curl_easy_setopt(easy, CURLOPT_RANGE, exchange.range.c_str());
  if (exchange.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (!exchange.content_type.empty()) {
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                     static_cast<curl_off_t>(exchange.upload_bytes));
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 128L << 10);
  } else if (exchange.method == "POST") {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
  }
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
                   exchange.method == "HEAD" ? nullptr : exchange.method.c_str());
}

// What a failure inside libcurl means to us.
TransferError ErrorOfCurl(CURLcode code, const Exchange& exchange, const char* message) {
  TransferError result;
  const std::string text = message[0] != '\0' ? message : curl_easy_strerror(code);
  switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      result.connected = false;
      result.error = {ErrorCode::kUnavailable, exchange.url + ": not reachable: " + text};
      break;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      result.connected = false;
      result.error = {ErrorCode::kInvalidArgument, exchange.url + ": " + text};
      break;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      result.connected = false;
      result.error = {ErrorCode::kPermissionDenied,
                      exchange.url + ": the server's certificate is not trusted: " + text};
      break;
    case CURLE_OUT_OF_MEMORY:
      result.error = {ErrorCode::kResourceExhausted, exchange.url + ": " + text};
      break;
    default:
      result.error = {ErrorCode::kUnavailable, exchange.url + ": " + text};
  }
  return result;
}

}  // namespace

std::variant<Reply, TransferError> TransferPool::Run(const Exchange& exchange) {
  std::unique_ptr<Connection> connection = Borrow();
  CURL* easy = connection->easy;
  State state;
  state.exchange = &exchange;
  state.pool = this;
  state.easy = easy;
  state.last_activity = MonotonicNow();

  curl_slist* headers = nullptr;
  if (!exchange.token.empty()) {
    headers = curl_slist_append(headers, ("Authorization: Bearer " + exchange.token).c_str());
  }
  if (!exchange.content_type.empty()) {
    headers = curl_slist_append(headers, ("Content-Type: " + exchange.content_type).c_str());
  }
  if (!exchange.content_type.empty() && exchange.upload_bytes < kExpectBytesMin) {
    headers = curl_slist_append(headers, "Expect:");
  }
  SetCommonOptions(easy, exchange, headers);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, state.message.data());
  curl_easy_setopt(easy, CURLOPT_READFUNCTION, &State::OnUpload);
  curl_easy_setopt(easy, CURLOPT_READDATA, &state);
  curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &State::OnRewind);
  curl_easy_setopt(easy, CURLOPT_SEEKDATA, &state);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &State::OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &state);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &State::OnDownload);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &state);

  curl_multi_add_handle(connection->multi, easy);
  std::optional<TransferError> failure;
  CURLcode code = CURLE_OK;
  for (bool over = false; !over && !failure;) {
    int running = 0;
    curl_multi_perform(connection->multi, &running);
    if (running == 0) {
      int left = 0;
      while (CURLMsg* done = curl_multi_info_read(connection->multi, &left)) {
        if (done->msg == CURLMSG_DONE) code = done->data.result;
      }
      over = true;
    } else if (exchange.cancelled != nullptr && *exchange.cancelled) {
      failure = TransferError{.error = {ErrorCode::kCancelled, "cancelled"}};
    } else if (MonotonicNow() - state.last_activity >
               exchange.silence_max + exchange.connect_timeout) {
      failure = TransferError{
          .error = {ErrorCode::kUnavailable,
                    exchange.url + ": no answer for " + FormatDuration(exchange.silence_max)}};
    } else {
      curl_multi_poll(connection->multi, nullptr, 0, kPollMs, nullptr);
    }
  }
  long status = 0;
  curl_off_t length = -1;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  curl_multi_remove_handle(connection->multi, easy);  // Closes what was broken off.
  curl_easy_reset(easy);
  curl_slist_free_all(headers);
  GiveBack(std::move(connection));

  if (!failure && state.error) failure = TransferError{.error = *state.error};
  if (!failure && code != CURLE_OK) failure = ErrorOfCurl(code, exchange, state.message.data());
  if (failure) {
    failure->sink_used = state.sink_used;
    return *failure;
  }
  state.reply.status = static_cast<int>(status);
  state.reply.content_length = length < 0 ? 0 : static_cast<std::uint64_t>(length);
  return std::move(state.reply);
}

}  // namespace dnc::client
