// The REST interface (docs/api.md): finds the call that a request means, checks its
// token and its ownership, and turns messages into calls of the parts that do the
// work. Knows HTTP only as the structs of http.h.
//
// Lives on the loop's thread.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/accounts.h"
#include "server/grid.h"
#include "server/http.h"
#include "server/projects.h"
#include "server/upkeep.h"
#include "store/object_store.h"

namespace dnc::server {

struct Traffic {
  std::uint64_t in = 0;
  std::uint64_t out = 0;
};

class Api final : public Handler {
 public:
  struct Parts {
    Loop* loop = nullptr;
    Workers* workers = nullptr;
    Sequencer* sequencer = nullptr;
    Database* reader = nullptr;
    store::ObjectStore* store = nullptr;
    Accounts* accounts = nullptr;
    Projects* projects = nullptr;
    Upkeep* upkeep = nullptr;
    Grid* grid = nullptr;
    const Log* log = nullptr;
  };
  struct Options {
    std::uint64_t object_bytes_max = 0;
    std::uint64_t project_bytes_max = 0;
    std::string temporary_dir;  // For models on their way out.
  };
  Api(const Parts& parts, Options options);

  Result<BodyPlan> OnHead(const RequestHead& head) override;

 private:
  enum class Access { kAnyone, kSession, kProvider, kEither };
  struct Request {
    const RequestHead* head = nullptr;
    Principal principal;
    std::vector<std::string> parameters;  // What stands for each {} of the pattern.
  };
  using Call = Result<BodyPlan> (Api::*)(const Request& request);
  struct Route {
    const char* method;
    const char* pattern;
    Access access;
    Call call;
  };
  static const std::vector<Route>& Routes();
  static bool Matches(const Route& route, const std::string& path,
                      std::vector<std::string>* parameters);
  Result<Principal> Authorize(Access access, const std::string& token) const;

  Result<BodyPlan> GetStatus(const Request& request);
  Result<BodyPlan> PostAccount(const Request& request);
  Result<BodyPlan> GetAccount(const Request& request);
  Result<BodyPlan> PostSession(const Request& request);
  Result<BodyPlan> DeleteSession(const Request& request);
  Result<BodyPlan> PostProvider(const Request& request);

  // api_objects.cc
  Result<BodyPlan> GetObject(const Request& request);
  Result<BodyPlan> PutObject(const Request& request);
  Result<std::uint64_t> FindObject(const Request& request, const std::string& cid) const;

  // api_projects.cc
  Result<BodyPlan> PostProject(const Request& request);
  Result<BodyPlan> ListProjects(const Request& request);
  Result<BodyPlan> GetProject(const Request& request);
  Result<BodyPlan> ChangeProject(const Request& request);
  Result<BodyPlan> GetModel(const Request& request);
  Result<const ProjectInfo*> FindOwn(const Request& request) const;
  proto::ProjectSummary Summarize(const ProjectInfo& info) const;
  proto::ProjectStatus Describe(const ProjectInfo& info) const;
  std::vector<proto::ProviderStatus> DescribeProviders(ProjectId project) const;
  void SendModel(ProjectId project, int tries_left, const std::shared_ptr<Exchange>& exchange);

  // api_grid.cc
  Result<BodyPlan> GetWork(const Request& request);
  Result<BodyPlan> GetWeights(const Request& request);
  Result<BodyPlan> PostLease(const Request& request);
  Result<BodyPlan> RenewLease(const Request& request);
  Result<BodyPlan> PutResult(const Request& request);
  Result<BodyPlan> ReleaseLease(const Request& request);
  Result<ProjectId> FindGranted(const Request& request) const;

  Parts parts_;
  Options options_;
  Instant started_;
  std::map<ProviderId, Traffic> traffic_;
  std::uint64_t models_made_ = 0;  // Names their files.
};

// A plan for a call without a body: `answer` makes the response.
BodyPlan AnswerWith(std::function<Response()> answer);
// A plan for a call whose body is a message.
template <typename Message>
BodyPlan AnswerTo(std::function<void(Message, const std::shared_ptr<Exchange>&)> answer) {
  BodyPlan plan;
  plan.bytes_max = 64u << 10;
  plan.handle = [answer = std::move(answer)](std::string body,
                                             const std::shared_ptr<Exchange>& exchange) {
    Result<Message> message = proto::FromJson<Message>(body);
    if (!message.ok()) return exchange->Fail(message.error());
    answer(std::move(*message), exchange);
  };
  return plan;
}
Response EmptyResponse();  // 204.

// A positive number of a path, or kNotFound.
Result<std::uint64_t> ParseId(const std::string& text, const char* what);

}  // namespace dnc::server
