// One connection of an HttpServer. Its steps, each begun by the one before:
//
//   idle -> head -> body -> the handler's -> answer -> idle, or the end
//
// A refusal before the body was read ends the connection: the rest of the body is
// read and dropped for a moment, so that the client gets to see the answer.

#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <optional>
#include <set>

#include "server/http_server.h"

namespace dnc::server {

class HttpSession;

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  Impl(Loop* loop_, Handler* handler_, const HttpOptions& options_);
  void Accept();
  void Ended(HttpSession* session);

  Loop* loop;
  Handler* handler;
  HttpOptions options;
  boost::asio::ip::tcp::acceptor acceptor;
  std::set<HttpSession*> sessions;
  bool draining = false;
  std::function<void()> drained;
};

class HttpSession final : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(std::shared_ptr<HttpServer::Impl> server, boost::asio::ip::tcp::socket socket);
  ~HttpSession();

  void Start();
  // Closes now, whatever the session does.
  void Abort();
  // Closes when the exchange in progress is over; now, if there is none.
  void CloseWhenIdle();

 private:
  friend class SessionExchange;
  using ErrorOf = const boost::system::error_code&;

  void ReadHead(bool first);
  void OnHead(ErrorOf error);
  void Begin(const RequestHead& head);
  void ReadBody();
  void OnBody(ErrorOf error);
  bool TakeBody(std::size_t bytes);  // false: refused.
  void Handle();
  void Answer(Response response);
  void Refuse(const Error& error);
  void WriteSource();
  void AfterAnswer();
  void Linger();
  void Watch();
  void Finish();

  void Arm(Duration timeout);
  std::string FormatHead(const Response& response, std::uint64_t body_bytes) const;

  std::shared_ptr<HttpServer::Impl> server_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::buffer_body>> parser_;
  std::vector<char> chunk_;

  BodyPlan plan_;
  std::string body_;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  std::uint64_t exchange_number_ = 0;  // Tells a late answer from the current one.
  bool in_exchange_ = false;
  bool awaiting_answer_ = false;
  bool watching_ = false;
  bool close_after_ = false;
  bool body_unread_ = false;
  std::function<void()> on_abandoned_;

  Response response_;
  std::string out_;
};

}  // namespace dnc::server
