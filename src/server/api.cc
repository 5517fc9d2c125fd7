#include "server/api.h"

#include <charconv>

namespace dnc::server {

Response EmptyResponse() {
  Response response;
  response.status = 204;
  return response;
}

BodyPlan AnswerWith(std::function<Response()> answer) {
  BodyPlan plan;
  plan.handle = [answer = std::move(answer)](std::string,
                                             const std::shared_ptr<Exchange>& exchange) {
    exchange->Respond(answer());
  };
  return plan;
}

Result<std::uint64_t> ParseId(const std::string& text, const char* what) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id == 0) {
    return Error{ErrorCode::kNotFound,
                 "\"" + text.substr(0, 40) + "\" is not the number of a " + what};
  }
  return id;
}

Api::Api(const Parts& parts, Options options)
    : parts_(parts), options_(std::move(options)), started_(MonotonicNow()) {}

const std::vector<Api::Route>& Api::Routes() {
  static const std::vector<Route> routes = {
      {"GET", "/v1/status", Access::kAnyone, &Api::GetStatus},
      {"POST", "/v1/accounts", Access::kAnyone, &Api::PostAccount},
      {"GET", "/v1/account", Access::kSession, &Api::GetAccount},
      {"POST", "/v1/sessions", Access::kAnyone, &Api::PostSession},
      {"DELETE", "/v1/sessions", Access::kSession, &Api::DeleteSession},
      {"POST", "/v1/providers", Access::kSession, &Api::PostProvider},
      {"HEAD", "/v1/objects/{}", Access::kEither, &Api::GetObject},
      {"GET", "/v1/objects/{}", Access::kEither, &Api::GetObject},
      {"PUT", "/v1/objects/{}", Access::kSession, &Api::PutObject},
      {"POST", "/v1/projects", Access::kSession, &Api::PostProject},
      {"GET", "/v1/projects", Access::kSession, &Api::ListProjects},
      {"GET", "/v1/projects/{}", Access::kSession, &Api::GetProject},
      {"GET", "/v1/projects/{}/model", Access::kSession, &Api::GetModel},
      {"GET", "/v1/projects/{}/work", Access::kProvider, &Api::GetWork},
      {"POST", "/v1/projects/{}/{}", Access::kSession, &Api::ChangeProject},
      {"GET", "/v1/projects/{}/weights/{}", Access::kProvider, &Api::GetWeights},
      {"POST", "/v1/leases", Access::kProvider, &Api::PostLease},
      {"POST", "/v1/leases/{}/renew", Access::kProvider, &Api::RenewLease},
      {"PUT", "/v1/leases/{}/result", Access::kProvider, &Api::PutResult},
      {"POST", "/v1/leases/{}/release", Access::kProvider, &Api::ReleaseLease},
  };
  return routes;
}

bool Api::Matches(const Route& route, const std::string& path,
                  std::vector<std::string>* parameters) {
  parameters->clear();
  std::string_view pattern = route.pattern;
  std::string_view rest = path;
  while (!pattern.empty() && !rest.empty()) {
    const std::string_view wanted = pattern.substr(0, pattern.find('/', 1));
    const std::string_view found = rest.substr(0, rest.find('/', 1));
    pattern.remove_prefix(wanted.size());
    rest.remove_prefix(found.size());
    if (wanted == "/{}" && found.size() > 1 && found[0] == '/') {
      parameters->emplace_back(found.substr(1));
    } else if (wanted != found) {
      return false;
    }
  }
  return pattern.empty() && rest.empty();
}

Result<Principal> Api::Authorize(Access access, const std::string& token) const {
  if (access == Access::kAnyone) return Principal{};
  DNC_ASSIGN(const Principal principal, parts_.accounts->Find(token));
  const bool is_provider = static_cast<bool>(principal.provider);
  if (access == Access::kSession && is_provider) {
    return Error{ErrorCode::kPermissionDenied,
                 "a provider's token cannot do this: use the token of a login"};
  }
  if (access == Access::kProvider && !is_provider) {
    return Error{ErrorCode::kPermissionDenied,
                 "the token of a login cannot do this: use a provider's token (POST "
                 "/v1/providers)"};
  }
  return principal;
}

Result<BodyPlan> Api::OnHead(const RequestHead& head) {
  Request request;
  request.head = &head;
  for (const Route& route : Routes()) {
    if (head.method != route.method || !Matches(route, head.path, &request.parameters)) continue;
    DNC_ASSIGN(request.principal, Authorize(route.access, head.token));
    DNC_ASSIGN(BodyPlan plan, (this->*route.call)(request));
    if (const ProviderId provider = request.principal.provider) {
      plan.on_transferred = [this, provider](std::uint64_t in, std::uint64_t out) {
        traffic_[provider].in += in;
        traffic_[provider].out += out;
      };
    }
    return plan;
  }
  return Error{ErrorCode::kNotFound, "there is no call " + head.method.substr(0, 20) + " " +
                                         head.path.substr(0, 200) + "; see docs/api.md"};
}

Result<BodyPlan> Api::GetStatus(const Request&) {
  return AnswerWith([this] {
    const sched::Scheduler& scheduler = parts_.sequencer->scheduler();
    proto::ServerStatus status;
    status.version = DNC_VERSION;
    status.uptime_ms = (MonotonicNow() - started_).milliseconds();
    status.accounts = parts_.accounts->CountAccounts();
    status.projects = parts_.projects->all().size();
    for (const ProjectId id : scheduler.projects()) {
      const auto view = scheduler.FindProject(id);
      if (view->phase == sched::ProjectPhase::kRunning) ++status.projects_running;
      status.tasks_leased += view->tasks_leased;
    }
    status.providers_waiting = parts_.grid->waiting_count();
    return JsonResponse(ToJson(status));
  });
}

// ---- Accounts

Result<BodyPlan> Api::PostAccount(const Request&) {
  return AnswerTo<proto::Credentials>(
      [this](const proto::Credentials& credentials, const std::shared_ptr<Exchange>& exchange) {
        parts_.accounts->CreateAccount(
            credentials, [this, exchange, name = credentials.name](const Status& status) {
              if (!status.ok()) return exchange->Fail(status.error());
              parts_.log->Info("account \"" + name + "\" was created");
              exchange->Respond(EmptyResponse());
            });
      });
}

Result<BodyPlan> Api::GetAccount(const Request& request) {
  return AnswerWith([this, account = request.principal.account] {
    const Result<proto::AccountInfo> info = parts_.accounts->GetInfo(account);
    return info.ok() ? JsonResponse(ToJson(*info)) : ErrorResponse(info.error());
  });
}

Result<BodyPlan> Api::PostSession(const Request&) {
  return AnswerTo<proto::Credentials>(
      [this](const proto::Credentials& credentials, const std::shared_ptr<Exchange>& exchange) {
        parts_.accounts->CreateSession(credentials,
                                       [exchange](const Result<proto::SessionCreated>& created) {
                                         if (!created.ok()) return exchange->Fail(created.error());
                                         exchange->Respond(JsonResponse(ToJson(*created)));
                                       });
      });
}

Result<BodyPlan> Api::DeleteSession(const Request& request) {
  BodyPlan plan;
  plan.handle = [this, token = request.head->token](std::string,
                                                    const std::shared_ptr<Exchange>& exchange) {
    parts_.accounts->DeleteToken(token, [exchange](const Status& status) {
      exchange->Respond(status.ok() ? EmptyResponse() : ErrorResponse(status.error()));
    });
  };
  return plan;
}

Result<BodyPlan> Api::PostProvider(const Request& request) {
  return AnswerTo<proto::ProviderRequest>(
      [this, account = request.principal.account](const proto::ProviderRequest& provider,
                                                  const std::shared_ptr<Exchange>& exchange) {
        parts_.accounts->CreateProvider(
            account, provider,
            [this, exchange, provider](const Result<proto::ProviderCreated>& created) {
              if (!created.ok()) return exchange->Fail(created.error());
              parts_.log->Info("provider " + std::to_string(created->provider_id.value) + " \"" +
                               provider.name + "\" joined");
              exchange->Respond(JsonResponse(ToJson(*created)));
            });
      });
}

}  // namespace dnc::server
