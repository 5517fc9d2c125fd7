#include "server/http.h"

#include "proto/messages.h"

namespace dnc::server {

Response JsonResponse(std::string json, int status) {
  Response response;
  response.status = status;
  response.body = std::move(json);
  return response;
}

Response ErrorResponse(const Error& error) {
  return JsonResponse(proto::ErrorToJson(error), proto::HttpStatusOf(error.code));
}

}  // namespace dnc::server
