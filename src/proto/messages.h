// The messages of the REST interface as plain structs, and their JSON. docs/api.md
// describes each call. Raw bytes (shards, weights, updates, models) travel as
// bodies of their own, never inside JSON.
//
// What is parsed may come from a stranger: every field is checked for its presence,
// type and range, and sizes are limited. Requests with an unknown field are refused,
// so that a misspelt option is not ignored; in answers unknown fields are skipped,
// so that a later server may add some.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "proto/project_file.h"

namespace dnc::proto {

inline constexpr std::size_t kAccountNameBytesMax = 64;
inline constexpr std::size_t kPasswordBytesMin = 8;
inline constexpr std::size_t kPasswordBytesMax = 1024;
inline constexpr std::size_t kReasonBytesMax = 1000;
inline constexpr std::int64_t kLeaseWaitMsMax = 30'000;
// Above any message but ProjectSpec and ProjectWork, which hold a manifest.
inline constexpr std::uint64_t kMessageBytesMax = 1u << 20;
inline constexpr std::uint64_t kProjectMessageBytesMax = 256u << 20;

// ---- Accounts.

// POST /v1/accounts and /v1/sessions. A name is letters, digits and ._@- .
struct Credentials {
  std::string name;
  std::string password;
};

// Times are microseconds since 1970, by the server's clock.
struct SessionCreated {
  std::string token;
  std::int64_t expires_us = 0;
};

struct AccountInfo {
  std::string name;
  std::int64_t created_us = 0;
  std::uint64_t projects = 0;
};

// POST /v1/providers: a process that lends this machine.
struct ProviderRequest {
  std::string name;  // Shown to requestors: "kitchen-pc".
  std::uint32_t cores = 1;
  std::uint64_t memory_bytes = 0;
};

struct ProviderCreated {
  ProviderId provider_id;
  std::string token;
  std::int64_t expires_us = 0;
};

// ---- Projects, as their owner sees them.

// POST /v1/projects. In JSON the model and the manifest are objects.
struct ProjectSpec {
  std::string name;
  std::string description;
  FitSettings fit;
  GridSettings grid;
  std::string model_json;     // A JSON text: what ParseModel reads.
  std::string manifest_json;  // A JSON text: what ParseManifest reads.
  // The object that training begins with, an update container (update/update.h) of the
  // weights; empty: weights drawn from fit.seed.
  std::string weights_cid;
};

struct ProjectCreated {
  ProjectId project_id;
};

enum class Phase : std::uint8_t { kRunning, kPaused, kCancelled, kFinished, kFailed };
const char* PhaseName(Phase phase);  // "running", ...

struct ProjectSummary {
  ProjectId project_id;
  std::string name;
  Phase phase = Phase::kRunning;
  std::uint64_t version = 0;
  std::uint64_t steps_total = 0;
  std::uint64_t tasks_done = 0;
  std::uint64_t tasks_total = 0;
  std::int64_t submitted_us = 0;
  std::int64_t ended_us = 0;  // 0: not yet.
};

struct ProjectList {
  std::vector<ProjectSummary> projects;  // Newest first.
};

struct StepStatus {
  std::uint64_t step = 0;
  std::uint64_t samples = 0;
  double loss = 0;
  double accuracy = 0;
  double samples_per_second = 0;  // Of the whole grid, from the step's start to its end.
};

struct EvaluationStatus {
  std::uint64_t version = 0;
  std::uint64_t epochs = 0;  // Completed.
  std::uint64_t samples = 0;
  double loss = 0;
  double accuracy = 0;
};

// How a project stands that may stop early.
struct StoppingStatus {
  bool stopped_early = false;
  std::uint64_t epochs = 0;         // Whose figure is known; after a stop, the last one.
  std::uint64_t best_epoch = 0;     // By their figures; 0: none is known.
  std::uint64_t model_version = 0;  // Of the weights that GET .../model gives.
};

enum class TaskKind : std::uint8_t { kTrain, kEvaluate };

struct TaskInfo {
  TaskKind kind = TaskKind::kTrain;
  std::uint64_t version = 0;     // Of the weights it starts from.
  std::uint32_t epoch = 0;       // Of kEvaluate: epochs completed.
  std::uint32_t task_index = 0;  // Within the epoch.
  std::uint64_t begin = 0;       // Positions in the epoch's sequence of the train split
  std::uint64_t end = 0;         // (for kEvaluate: of the validation split, unshuffled).

  friend auto operator<=>(const TaskInfo&, const TaskInfo&) = default;
};

struct ProviderStatus {
  ProviderId provider_id;
  std::string name;
  std::uint32_t cores = 0;
  bool has_task = false;  // In this project, now.
  TaskInfo task;          // If has_task.
  std::uint64_t samples_done = 0;
  double samples_per_second = 0;  // Of its last tasks; 0: not known yet.
  std::uint64_t tasks_accepted = 0;
  std::uint64_t samples_accepted = 0;
  std::uint64_t results_refused = 0;
  std::uint64_t bytes_in = 0;   // Received from it by the server since the server started.
  std::uint64_t bytes_out = 0;  // Sent to it.
  std::int64_t last_seen_us = 0;
};

// GET /v1/projects/{id}.
struct ProjectStatus {
  ProjectSummary summary;
  std::string description;
  FitSettings fit;
  GridSettings grid;
  std::uint64_t weight_count = 0;
  std::uint64_t train_samples = 0;
  std::uint64_t validation_samples = 0;
  std::uint64_t tasks_leased = 0;
  std::uint64_t contributors = 0;
  bool has_last_step = false;
  StepStatus last_step;
  std::vector<EvaluationStatus> evaluations;  // Ascending by version.
  std::vector<ProviderStatus> providers;      // Ascending by id.
  std::optional<StoppingStatus> stopping;     // If fit.early_stopping.
  std::string failure;                        // Why it failed, or what holds it up.
  std::int64_t now_us = 0;                    // The server's clock, for ages and rates.
};

// ---- The grid, as a provider sees it.

// GET /v1/projects/{id}/work: what tasks of the project need, once a project.
struct ProjectWork {
  ProjectId project_id;
  std::string name;
  FitSettings fit;  // validation_split is empty if there is no validation.
  GridSettings grid;
  std::uint64_t weight_count = 0;
  std::string model_json;
  std::string manifest_json;
};

// POST /v1/leases.
struct LeaseRequest {
  std::int64_t wait_ms = 0;  // At most kLeaseWaitMsMax.
};

struct LeaseGrant {
  LeaseId lease_id;
  ProjectId project_id;
  TaskInfo task;
  bool backup = false;  // Another provider holds this task too.
  std::int64_t renew_every_ms = 0;
  std::int64_t deadline_ms = 0;  // From now; a renewal moves it on.
};

// POST /v1/leases/{id}/renew.
struct LeaseRenewal {
  std::uint64_t samples_done = 0;
};

// POST /v1/leases/{id}/release.
struct LeaseRelease {
  bool failed = false;
  std::string reason;
};

// Answers renew, result and release.
struct LeaseAnswer {
  bool accepted = false;
  std::string reason;  // Why not.
};

// Goes in the query of PUT /v1/leases/{id}/result.
struct ResultMetrics {
  std::uint64_t samples = 0;
  std::int64_t loss_sum_micro = 0;  // Sum over samples of the loss, in millionths.
  std::uint64_t correct = 0;
  std::uint64_t compute_us = 0;

  friend bool operator==(const ResultMetrics&, const ResultMetrics&) = default;
};

// "samples=..&loss_sum_micro=..&correct=..&compute_us=..", and back.
// Errors: kInvalidArgument, naming the field.
std::string ToQuery(const ResultMetrics& metrics);
Result<ResultMetrics> ParseResultMetrics(std::string_view query);

// ---- The server.

// GET /v1/status; needs no token.
struct ServerStatus {
  std::string version;
  std::int64_t uptime_ms = 0;
  std::uint64_t accounts = 0;
  std::uint64_t projects = 0;
  std::uint64_t projects_running = 0;
  std::uint64_t providers_waiting = 0;  // In a long poll now.
  std::uint64_t tasks_leased = 0;
};

// ---- Errors.

// Body of every answer with a status of 400 and above.
std::string ErrorToJson(const Error& error);
// What such a body says; if it is not ours, an error made from the HTTP status.
Error ErrorFromJson(int http_status, std::string_view body);

// The one mapping of codes and HTTP statuses.
int HttpStatusOf(ErrorCode code);
ErrorCode ErrorCodeOfHttpStatus(int http_status);

// ---- JSON. ToJson never fails; texts that are not UTF-8 get U+FFFD in place.

std::string ToJson(const Credentials& message);
std::string ToJson(const SessionCreated& message);
std::string ToJson(const AccountInfo& message);
std::string ToJson(const ProviderRequest& message);
std::string ToJson(const ProviderCreated& message);
// Requires, for these two: model_json and manifest_json are JSON texts.
std::string ToJson(const ProjectSpec& message);
std::string ToJson(const ProjectWork& message);
std::string ToJson(const ProjectCreated& message);
std::string ToJson(const ProjectList& message);
std::string ToJson(const ProjectStatus& message);
std::string ToJson(const LeaseRequest& message);
std::string ToJson(const LeaseGrant& message);
std::string ToJson(const LeaseRenewal& message);
std::string ToJson(const LeaseRelease& message);
std::string ToJson(const LeaseAnswer& message);
std::string ToJson(const ServerStatus& message);

// FromJson<LeaseGrant>(text), for each message above.
// Errors: kInvalidArgument, naming the field; kTooLarge.
template <typename Message>
Result<Message> FromJson(std::string_view json);

template <>
Result<Credentials> FromJson(std::string_view json);
template <>
Result<SessionCreated> FromJson(std::string_view json);
template <>
Result<AccountInfo> FromJson(std::string_view json);
template <>
Result<ProviderRequest> FromJson(std::string_view json);
template <>
Result<ProviderCreated> FromJson(std::string_view json);
template <>
Result<ProjectSpec> FromJson(std::string_view json);
template <>
Result<ProjectWork> FromJson(std::string_view json);
template <>
Result<ProjectCreated> FromJson(std::string_view json);
template <>
Result<ProjectList> FromJson(std::string_view json);
template <>
Result<ProjectStatus> FromJson(std::string_view json);
template <>
Result<LeaseRequest> FromJson(std::string_view json);
template <>
Result<LeaseGrant> FromJson(std::string_view json);
template <>
Result<LeaseRenewal> FromJson(std::string_view json);
template <>
Result<LeaseRelease> FromJson(std::string_view json);
template <>
Result<LeaseAnswer> FromJson(std::string_view json);
template <>
Result<ServerStatus> FromJson(std::string_view json);

}  // namespace dnc::proto
