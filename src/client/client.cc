#include "client/client.h"

#include <chrono>
#include <thread>

#include "base/human.h"
#include "base/prng.h"
#include "client/transfer.h"

namespace dnc::client {
namespace {

constexpr char kJson[] = "application/json";
constexpr char kOctets[] = "application/octet-stream";
constexpr Duration kSleepSlice = Duration::Milliseconds(50);

Client::UploadSource SourceOf(ByteSpan bytes) {
  return [bytes](std::uint64_t offset, std::span<std::byte> out) -> Result<std::size_t> {
    const std::size_t size = std::min<std::uint64_t>(out.size(), bytes.size() - offset);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), size, out.begin());
    return size;
  };
}

std::string Path(const char* collection, std::uint64_t id, const char* rest = "") {
  return std::string("/v1/") + collection + "/" + std::to_string(id) + rest;
}

}  // namespace

struct Call {
  std::string method = "GET";
  std::string path;
  std::string range;
  std::string content_type;
  ByteSpan body;  // Sent, if upload is null.
  std::uint64_t upload_bytes = 0;
  const Client::UploadSource* upload = nullptr;
  const Client::DownloadSink* sink = nullptr;
  std::uint64_t body_bytes_max = proto::kMessageBytesMax;
  bool repeatable = true;
  Duration wait;  // A long poll's.
};

struct Client::Impl {
  ClientOptions options;
  TransferPool pool;
  std::mutex mutex;  // Guards options.token and prng.
  Prng prng{static_cast<std::uint64_t>(WallNow().us) ^ reinterpret_cast<std::uintptr_t>(this)};

  bool Cancelled() const { return options.cancelled != nullptr && *options.cancelled; }

  // kCancelled, if that is what ended the wait.
  Status Sleep(Duration duration) const {
    const Instant end = MonotonicNow() + duration;
    while (!Cancelled()) {
      const Duration left = end - MonotonicNow();
      if (left <= Duration{}) return {};
      std::this_thread::sleep_for(std::chrono::microseconds(std::min(left, kSleepSlice).us));
    }
    return Error{ErrorCode::kCancelled, "cancelled"};
  }

  Duration WaitBefore(int try_count) {
    const std::int64_t whole =
        std::min(options.retry.wait_max.us, options.retry.wait_first.us << std::min(try_count, 20));
    const std::lock_guard lock(mutex);
    return Duration{whole / 2 + static_cast<std::int64_t>(
                                    prng.Below(static_cast<std::uint64_t>(whole / 2) + 1))};
  }

  Exchange MakeExchange(const Call& call, const UploadSource* memory) {
    Exchange exchange;
    exchange.method = call.method;
    exchange.url = options.base_url + call.path;
    exchange.range = call.range;
    exchange.content_type = call.content_type;
    exchange.upload = call.upload != nullptr ? call.upload : memory;
    exchange.upload_bytes = call.upload != nullptr ? call.upload_bytes : call.body.size();
    exchange.sink = call.sink;
    exchange.body_bytes_max = call.body_bytes_max;
    exchange.connect_timeout = options.connect_timeout;
    exchange.silence_max = options.silence_max + call.wait;
    exchange.cancelled = options.cancelled;
    const std::lock_guard lock(mutex);
    exchange.token = options.token;
    return exchange;
  }

  // One try. An answer of 400 and above is an error here.
  std::variant<Reply, TransferError> Try(const Call& call) {
    const UploadSource memory = SourceOf(call.body);
    std::variant<Reply, TransferError> outcome = pool.Run(MakeExchange(call, &memory));
    if (const Reply* reply = std::get_if<Reply>(&outcome); reply != nullptr) {
      if (reply->status >= 400) {
        return TransferError{.error = proto::ErrorFromJson(reply->status, AsText(reply->body))};
      }
      if (reply->status < 200 || reply->status >= 300) {
        return TransferError{.error = {ErrorCode::kCorrupt, options.base_url + call.path +
                                                                ": HTTP status " +
                                                                std::to_string(reply->status) +
                                                                " is not one of a dnc server"}};
      }
    }
    return outcome;
  }

  Result<Reply> Run(const Call& call) {
    Instant first_failure{};
    for (int try_count = 0;; ++try_count) {
      if (Cancelled()) return Error{ErrorCode::kCancelled, "cancelled"};
      std::variant<Reply, TransferError> outcome = Try(call);
      if (Reply* reply = std::get_if<Reply>(&outcome); reply != nullptr) return std::move(*reply);
      const TransferError& failure = std::get<TransferError>(outcome);
      const bool may_repeat = (call.repeatable || !failure.connected) && !failure.sink_used;
      if (failure.error.code != ErrorCode::kUnavailable || !may_repeat) return failure.error;
      if (try_count == 0) first_failure = MonotonicNow();
      const Duration wait = WaitBefore(try_count);
      const Duration after = MonotonicNow() - first_failure + wait;
      if (after > options.retry.give_up_after) {
        Error error = failure.error;
        if (try_count > 0) {
          error.message += " (gave up after " + std::to_string(try_count + 1) + " tries)";
        }
        return error;
      }
      if (options.retry.on_retry) options.retry.on_retry(failure.error, wait);
      DNC_TRY(Sleep(wait));
    }
  }

  // A call whose answer is a message.
  template <typename Message>
  Result<Message> Ask(const Call& call) {
    DNC_ASSIGN(const Reply reply, Run(call));
    return Read<Message>(reply);
  }

  template <typename Message>
  Result<Message> Read(const Reply& reply) const {
    Result<Message> message = proto::FromJson<Message>(AsText(reply.body));
    if (message.ok()) return message;
    return Error{ErrorCode::kCorrupt,
                 options.base_url + ": not an answer of a dnc server: " + message.error().message};
  }
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Create(ClientOptions options) {
  std::string& url = options.base_url;
  while (url.ends_with('/')) url.pop_back();
  const std::size_t scheme = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
  const bool clean = url.find_first_of(" \t\r\n?#\"<>") == std::string::npos;
  if (scheme == 0 || url.size() == scheme || !clean) {
    return Error{ErrorCode::kInvalidArgument,
                 "\"" + url +
                     "\" is not a server's address; expected one such as "
                     "http://127.0.0.1:7070"};
  }
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

void Client::SetToken(std::string token) {
  const std::lock_guard lock(impl_->mutex);
  impl_->options.token = std::move(token);
}

const std::string& Client::base_url() const { return impl_->options.base_url; }

ByteCounts Client::byte_counts() const {
  return {impl_->pool.bytes_sent(), impl_->pool.bytes_received()};
}

Result<proto::ServerStatus> Client::GetServerStatus() {
  return impl_->Ask<proto::ServerStatus>({.path = "/v1/status"});
}

// ---- Accounts

Status Client::CreateAccount(const proto::Credentials& credentials) {
  const std::string json = ToJson(credentials);
  return impl_
      ->Run({.method = "POST",
             .path = "/v1/accounts",
             .content_type = kJson,
             .body = AsBytes(json),
             .repeatable = false})
      .status();
}

Result<proto::SessionCreated> Client::CreateSession(const proto::Credentials& credentials) {
  const std::string json = ToJson(credentials);
  return impl_->Ask<proto::SessionCreated>(
      {.method = "POST", .path = "/v1/sessions", .content_type = kJson, .body = AsBytes(json)});
}

Status Client::DeleteSession() {
  return impl_->Run({.method = "DELETE", .path = "/v1/sessions"}).status();
}

Result<proto::AccountInfo> Client::GetAccount() {
  return impl_->Ask<proto::AccountInfo>({.path = "/v1/account"});
}

Result<proto::ProviderCreated> Client::CreateProvider(const proto::ProviderRequest& request) {
  const std::string json = ToJson(request);
  return impl_->Ask<proto::ProviderCreated>({.method = "POST",
                                             .path = "/v1/providers",
                                             .content_type = kJson,
                                             .body = AsBytes(json),
                                             .repeatable = false});
}

// ---- Objects

Result<std::uint64_t> Client::ObjectSize(const std::string& cid) {
  Result<Reply> reply = impl_->Run({.method = "HEAD", .path = "/v1/objects/" + cid});
  if (reply.ok()) return reply->content_length;
  // An answer to HEAD has no body, so the message has to be ours.
  if (reply.error().code == ErrorCode::kNotFound) {
    return Error{ErrorCode::kNotFound, impl_->options.base_url + ": no object " + cid};
  }
  return reply.error();
}

Status Client::GetObjectRange(const std::string& cid, std::uint64_t offset,
                              std::span<std::byte> out) {
  if (out.empty()) return {};
  Result<Reply> reply =
      impl_->Run({.path = "/v1/objects/" + cid,
                  .range = std::to_string(offset) + "-" + std::to_string(offset + out.size() - 1),
                  .body_bytes_max = out.size()});
  if (!reply.ok()) {
    // The whole object instead of the range, or more than was asked for.
    if (reply.error().code != ErrorCode::kTooLarge) return reply.error();
    return Error{ErrorCode::kCorrupt, cid + ": " + reply.error().message};
  }
  if (reply->status != 206 && !(reply->status == 200 && offset == 0)) {
    return Error{ErrorCode::kCorrupt,
                 impl_->options.base_url + ": " + cid + ": the server ignored the range"};
  }
  if (reply->body.size() != out.size()) {
    return Error{ErrorCode::kCorrupt, cid + ": " + FormatCount(out.size()) + " bytes from " +
                                          FormatCount(offset) + " asked for, but it ends after " +
                                          FormatCount(reply->body.size())};
  }
  std::copy_n(reply->body.begin(), out.size(), out.begin());
  return {};
}

Status Client::GetObject(const std::string& cid, const DownloadSink& sink) {
  return impl_->Run({.path = "/v1/objects/" + cid, .sink = &sink}).status();
}

Status Client::PutObject(const std::string& cid, std::uint64_t bytes, const UploadSource& source) {
  const Result<std::uint64_t> there = ObjectSize(cid);
  if (there.ok() && *there == bytes) return {};
  if (!there.ok() && there.error().code != ErrorCode::kNotFound) return there.error();
  return impl_
      ->Run({.method = "PUT",
             .path = "/v1/objects/" + cid,
             .content_type = kOctets,
             .upload_bytes = bytes,
             .upload = &source})
      .status();
}

// ---- Projects

Result<ProjectId> Client::SubmitProject(const proto::ProjectSpec& spec) {
  const std::string json = ToJson(spec);
  DNC_ASSIGN(const proto::ProjectCreated created,
             impl_->Ask<proto::ProjectCreated>({.method = "POST",
                                                .path = "/v1/projects",
                                                .content_type = kJson,
                                                .body = AsBytes(json),
                                                .repeatable = false}));
  return created.project_id;
}

Result<proto::ProjectList> Client::ListProjects() {
  return impl_->Ask<proto::ProjectList>(
      {.path = "/v1/projects", .body_bytes_max = proto::kProjectMessageBytesMax});
}

Result<proto::ProjectStatus> Client::GetProject(ProjectId project) {
  return impl_->Ask<proto::ProjectStatus>(
      {.path = Path("projects", project.value), .body_bytes_max = proto::kProjectMessageBytesMax});
}

Status Client::PauseProject(ProjectId project) {
  return impl_->Run({.method = "POST", .path = Path("projects", project.value, "/pause")}).status();
}

Status Client::ResumeProject(ProjectId project) {
  return impl_->Run({.method = "POST", .path = Path("projects", project.value, "/resume")})
      .status();
}

Status Client::CancelProject(ProjectId project) {
  return impl_->Run({.method = "POST", .path = Path("projects", project.value, "/cancel")})
      .status();
}

Status Client::DownloadModel(ProjectId project, const DownloadSink& sink) {
  return impl_->Run({.path = Path("projects", project.value, "/model"), .sink = &sink}).status();
}

// ---- The grid

Result<proto::ProjectWork> Client::GetWork(ProjectId project) {
  return impl_->Ask<proto::ProjectWork>({.path = Path("projects", project.value, "/work"),
                                         .body_bytes_max = proto::kProjectMessageBytesMax});
}

Result<Bytes> Client::GetWeights(ProjectId project, std::uint64_t version,
                                 std::uint64_t bytes_max) {
  const std::string path = Path("projects", project.value, "/weights/") + std::to_string(version);
  DNC_ASSIGN(Reply reply, impl_->Run({.path = path, .body_bytes_max = bytes_max}));
  return std::move(reply.body);
}

Result<std::optional<proto::LeaseGrant>> Client::RequestLease(Duration wait) {
  const std::int64_t wait_ms =
      std::clamp<std::int64_t>(wait.milliseconds(), 0, proto::kLeaseWaitMsMax);
  const std::string json = ToJson(proto::LeaseRequest{wait_ms});
  DNC_ASSIGN(const Reply reply, impl_->Run({.method = "POST",
                                            .path = "/v1/leases",
                                            .content_type = kJson,
                                            .body = AsBytes(json),
                                            .wait = Duration::Milliseconds(wait_ms)}));
  if (reply.status == 204) return std::optional<proto::LeaseGrant>();
  DNC_ASSIGN(proto::LeaseGrant grant, impl_->Read<proto::LeaseGrant>(reply));
  return std::optional(grant);
}

Result<proto::LeaseAnswer> Client::RenewLease(LeaseId lease, std::uint64_t samples_done) {
  const std::string json = ToJson(proto::LeaseRenewal{samples_done});
  return impl_->Ask<proto::LeaseAnswer>({.method = "POST",
                                         .path = Path("leases", lease.value, "/renew"),
                                         .content_type = kJson,
                                         .body = AsBytes(json)});
}

Result<proto::LeaseAnswer> Client::SubmitResult(LeaseId lease, const proto::ResultMetrics& metrics,
                                                ByteSpan update) {
  return impl_->Ask<proto::LeaseAnswer>(
      {.method = "PUT",
       .path = Path("leases", lease.value, "/result?") + ToQuery(metrics),
       .content_type = kOctets,
       .body = update});
}

Result<proto::LeaseAnswer> Client::ReleaseLease(LeaseId lease, const proto::LeaseRelease& release) {
  const std::string json = ToJson(release);
  return impl_->Ask<proto::LeaseAnswer>({.method = "POST",
                                         .path = Path("leases", lease.value, "/release"),
                                         .content_type = kJson,
                                         .body = AsBytes(json)});
}

}  // namespace dnc::client
