#include "cli/share.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <deque>
#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <thread>

#include "base/assert.h"
#include "base/random_access_source.h"
#include "ipfs/cid.h"
#include "server/http.h"
#include "server/http_server.h"
#include "server/loop.h"

namespace dnc::cli {
namespace {

constexpr std::string_view kPathBegin = "/ipfs/";

Error NotAnAddress(const std::string& text) {
  return {ErrorCode::kInvalidArgument,
          "--share: \"" + text + "\" is not HOST:PORT; write for example " + kShareAddress};
}

Result<server::HttpOptions> ParseAddress(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return NotAnAddress(text);
  server::HttpOptions options;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, options.port);
  if (error != std::errc() || rest != end) return NotAnAddress(text);
  options.address = text.substr(0, colon);
  if (options.address.front() == '[' && options.address.back() == ']') {
    options.address = options.address.substr(1, options.address.size() - 2);
  }
  options.connections_max = kShareConnections;
  options.header_timeout = Duration::Seconds(5);
  options.silence_timeout = Duration::Seconds(10);
  options.keep_alive_timeout = Duration::Seconds(20);
  return options;
}

// A leaf that is sent piece by piece.
class LeafInMemory final : public RandomAccessSource {
 public:
  explicit LeafInMemory(Bytes bytes) : bytes_(std::move(bytes)) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Status ReadAt(std::uint64_t offset, std::span<std::byte> out) const override {
    DNC_ASSERT(offset <= size() && out.size() <= size() - offset);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }
  const std::string& name() const override { return name_; }

 private:
  const Bytes bytes_;
  const std::string name_ = "a leaf";
};

}  // namespace

// Everything below runs on the loop's thread, but for the constructor and destructor.
struct LeafShare::Impl final : server::Handler {
  explicit Impl(const stream::Stream* stream_) : stream(stream_) {}
  ~Impl() override {
    loop.Stop();
    if (thread.joinable()) thread.join();
  }

  Result<server::BodyPlan> OnHead(const server::RequestHead& head) override;
  // A request is answered once fewer than kShareLeaves are in memory.
  void AnswerNext() {
    while (in_memory < kShareLeaves && !waiting.empty()) {
      const std::function<void()> answer = std::move(waiting.front());
      waiting.pop_front();
      ++in_memory;
      answer();
    }
  }
  void Answer(const Digest& digest, bool head_only, server::Exchange* exchange) const;

  const stream::Stream* stream;
  server::Loop loop;
  std::unique_ptr<server::HttpServer> http;
  std::deque<std::function<void()>> waiting;  // At most one a connection.
  int in_memory = 0;                          // Leaves that are being sent.
  std::atomic<std::uint64_t> bytes_given = 0;
  std::thread thread;
};

Result<server::BodyPlan> LeafShare::Impl::OnHead(const server::RequestHead& head) {
  if (head.method != "GET" && head.method != "HEAD") {
    return Error{ErrorCode::kUnsupported, head.method + ": only GET and HEAD are known here"};
  }
  std::optional<ipfs::Cid> cid;
  if (head.path.starts_with(kPathBegin)) {
    cid = ipfs::ParseCid(std::string_view(head.path).substr(kPathBegin.size()));
  }
  if (!cid || cid->codec != ipfs::Codec::kRaw) {
    return Error{ErrorCode::kNotFound, "only /ipfs/{cid} of raw blocks is here"};
  }
  // An answer that was begun is over when its transfer is, whatever became of it.
  const auto begun = std::make_shared<bool>(false);
  server::BodyPlan plan;
  plan.handle = [this, begun, digest = cid->digest, head_only = head.method == "HEAD"](
                    const std::string&, std::shared_ptr<server::Exchange> exchange) {
    waiting.push_back([this, begun, digest, head_only, exchange = std::move(exchange)] {
      *begun = true;
      Answer(digest, head_only, exchange.get());
    });
    AnswerNext();
  };
  plan.on_transferred = [this, begun](std::uint64_t, std::uint64_t out) {
    bytes_given += out;
    if (!*begun) return;
    --in_memory;
    AnswerNext();
  };
  return plan;
}

void LeafShare::Impl::Answer(const Digest& digest, bool head_only,
                             server::Exchange* exchange) const {
  Result<Bytes> leaf = stream->CachedLeaf(digest);
  if (!leaf.ok()) return exchange->Fail(leaf.error());
  server::Response response;
  response.content_type = "application/vnd.ipld.raw";
  response.headers = {{"Cache-Control", "public, max-age=29030400, immutable"}};
  if (head_only) {
    response.head_only = true;
    response.head_bytes = leaf->size();
  } else {
    response.source_bytes = leaf->size();
    response.source = std::make_shared<LeafInMemory>(std::move(leaf).value());
  }
  exchange->Respond(std::move(response));
}

LeafShare::LeafShare(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LeafShare::~LeafShare() = default;

std::uint16_t LeafShare::port() const { return impl_->http->port(); }
std::uint64_t LeafShare::bytes_given() const { return impl_->bytes_given; }

Result<std::unique_ptr<LeafShare>> LeafShare::Start(const std::string& address,
                                                    const stream::Stream* stream) {
  DNC_ASSIGN(const server::HttpOptions options, ParseAddress(address));
  auto impl = std::make_unique<Impl>(stream);
  DNC_ASSIGN(impl->http, server::HttpServer::Start(&impl->loop, impl.get(), options));
  try {
    impl->thread = std::thread([loop = &impl->loop] { loop->Run(); });
  } catch (const std::exception& failure) {
    return Error{ErrorCode::kResourceExhausted,
                 std::string("cannot start to share: ") + failure.what()};
  }
  return std::unique_ptr<LeafShare>(new LeafShare(std::move(impl)));
}

}  // namespace dnc::cli
