#include "server/http_server.h"

#include <boost/asio/ip/address.hpp>

#include "server/asio_loop.h"
#include "server/http_session.h"

namespace dnc::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

// Sent to a connection above the limit, which is closed at once.
constexpr char kTooMany[] =
    "HTTP/1.1 503 Error\r\nContent-Type: application/json\r\nContent-Length: 84\r\n"
    "Connection: close\r\n\r\n"
    R"({"error":{"code":"unavailable","message":"too many connections: try again later"}})"
    "\r\n";

Error ListenError(const HttpOptions& options, const boost::system::error_code& error) {
  const std::string where = options.address + ":" + std::to_string(options.port);
  if (error == asio::error::address_in_use) {
    return {ErrorCode::kAlreadyExists,
            where + " is in use by another program; choose another port"};
  }
  if (error == asio::error::access_denied) {
    return {ErrorCode::kPermissionDenied,
            where + ": ports below 1024 need root; choose another port"};
  }
  return {ErrorCode::kIo, "cannot listen on " + where + ": " + error.message()};
}

}  // namespace

HttpServer::Impl::Impl(Loop* loop_, Handler* handler_, const HttpOptions& options_)
    : loop(loop_), handler(handler_), options(options_), acceptor(loop_->impl().io) {}

void HttpServer::Impl::Ended(HttpSession* session) {
  sessions.erase(session);
  if (draining && sessions.empty() && drained) std::exchange(drained, nullptr)();
}

HttpServer::HttpServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() {
  boost::system::error_code ignored;
  impl_->acceptor.close(ignored);
  impl_->drained = nullptr;
}

Result<std::unique_ptr<HttpServer>> HttpServer::Start(Loop* loop, Handler* handler,
                                                      const HttpOptions& options) {
  boost::system::error_code error;
  const auto address =
      asio::ip::make_address(options.address == "localhost" ? "127.0.0.1" : options.address, error);
  if (error) {
    return Error{ErrorCode::kInvalidArgument, "\"" + options.address +
                                                  "\" is not an address to listen on; expected "
                                                  "one such as 127.0.0.1 or 0.0.0.0"};
  }
  auto impl = std::make_shared<Impl>(loop, handler, options);
  const tcp::endpoint endpoint(address, options.port);
  impl->acceptor.open(endpoint.protocol(), error);
  if (!error) impl->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) impl->acceptor.bind(endpoint, error);
  if (!error) impl->acceptor.listen(tcp::acceptor::max_listen_connections, error);
  if (error) return ListenError(options, error);
  std::unique_ptr<HttpServer> server(new HttpServer(impl));
  loop->Post([impl] { impl->Accept(); });
  return server;
}

void HttpServer::Impl::Accept() {
  if (!acceptor.is_open()) return;
  // The acceptor closes with the server, and the handler with it: no owner is needed.
  acceptor.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || !acceptor.is_open()) return;
    if (error) {
      // Out of descriptors, mostly: wait until some connection has gone.
      loop->After(Duration::Milliseconds(100), [this] { Accept(); });
      return;
    }
    if (sessions.size() >= options.connections_max) {
      boost::system::error_code ignored;
      socket.non_blocking(true, ignored);
      socket.write_some(asio::buffer(kTooMany, sizeof(kTooMany) - 1), ignored);
    } else {
      // Shared with the operations in progress; the last one takes it along.
      std::make_shared<HttpSession>(shared_from_this(), std::move(socket))->Start();
    }
    Accept();
  });
}

std::uint16_t HttpServer::port() const {
  boost::system::error_code ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

void HttpServer::Drain(Duration patience, std::function<void()> done) {
  boost::system::error_code ignored;
  impl_->acceptor.close(ignored);
  impl_->draining = true;
  if (impl_->sessions.empty()) return done();
  impl_->drained = std::move(done);
  const std::set<HttpSession*> sessions = impl_->sessions;
  for (HttpSession* session : sessions) session->CloseWhenIdle();
  impl_->loop->After(patience, [impl = impl_] {
    if (impl->drained) std::exchange(impl->drained, nullptr)();
  });
}

}  // namespace dnc::server
