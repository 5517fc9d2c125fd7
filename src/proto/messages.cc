#include "proto/messages.h"

#include <array>
#include <charconv>

#include "proto/json.h"
#include "proto/settings.h"

namespace dnc::proto {
namespace {

constexpr std::size_t kCidTextBytesMax = 128;
constexpr std::uint64_t kUintMax = UINT64_MAX;
constexpr std::size_t kTokenBytesMax = 256;
constexpr std::size_t kListMax = 100'000;

constexpr std::array<const char*, 5> kPhaseNames = {"running", "paused", "cancelled", "finished",
                                                    "failed"};
constexpr std::array<const char*, 2> kTaskKindNames = {"train", "evaluate"};

Result<JsonObject> ParseRequest(std::string_view json, std::uint64_t bytes_max = kMessageBytesMax) {
  return JsonObject::Parse(json, {.name = "request", .bytes_max = bytes_max});
}

Result<JsonObject> ParseAnswer(std::string_view json, std::uint64_t bytes_max = kMessageBytesMax) {
  return JsonObject::Parse(
      json, {.name = "server's answer", .bytes_max = bytes_max, .refuse_unknown = false});
}

// The index of the string under `key` among `names`.
template <std::size_t N>
std::size_t ReadName(JsonObject* object, std::string_view key,
                     const std::array<const char*, N>& names) {
  const std::string text = object->String(key, 40);
  std::string expected = "one of";
  for (std::size_t i = 0; i < N; ++i) {
    if (text == names[i]) return i;
    expected += (i ? ", " : " ") + std::string(names[i]);
  }
  if (object->Has(key)) object->Refuse(key, "\"" + text + "\"", expected);
  return 0;
}

template <typename Number>
Number ReadId(JsonObject* object, std::string_view key) {
  return Number{object->Uint(key, 1, kUintMax)};
}

std::uint32_t ReadUint32(JsonObject* object, std::string_view key) {
  return static_cast<std::uint32_t>(object->Uint(key, 0, UINT32_MAX));
}

std::uint64_t ReadUint(JsonObject* object, std::string_view key) {
  return object->Uint(key, 0, kUintMax);
}

std::int64_t ReadTime(JsonObject* object, std::string_view key) {
  return object->Int(key, 0, INT64_MAX);
}

// A value if nothing was wrong.
template <typename Message>
Result<Message> Finish(JsonObject* object, Message message) {
  object->Close();
  DNC_TRY(object->status());
  return message;
}

void Write(const TaskInfo& task, JsonWriter* writer) {
  writer->BeginObject("task");
  writer->String("kind", kTaskKindNames[static_cast<std::size_t>(task.kind)]);
  writer->Uint("version", task.version);
  writer->Uint("epoch", task.epoch);
  writer->Uint("task_index", task.task_index);
  writer->Uint("begin", task.begin);
  writer->Uint("end", task.end);
  writer->EndObject();
}

TaskInfo ReadTask(JsonObject* object) {
  TaskInfo task;
  std::optional<JsonObject> section = object->Object("task");
  if (!section) return task;
  task.kind = static_cast<TaskKind>(ReadName(&*section, "kind", kTaskKindNames));
  task.version = ReadUint(&*section, "version");
  task.epoch = ReadUint32(&*section, "epoch");
  task.task_index = ReadUint32(&*section, "task_index");
  task.begin = ReadUint(&*section, "begin");
  task.end = ReadUint(&*section, "end");
  return task;
}

void WriteFields(const ProjectSummary& summary, JsonWriter* writer) {
  writer->Uint("project_id", summary.project_id.value);
  writer->String("name", summary.name);
  writer->String("phase", PhaseName(summary.phase));
  writer->Uint("version", summary.version);
  writer->Uint("steps_total", summary.steps_total);
  writer->Uint("tasks_done", summary.tasks_done);
  writer->Uint("tasks_total", summary.tasks_total);
  writer->Int("submitted_us", summary.submitted_us);
  writer->Int("ended_us", summary.ended_us);
}

ProjectSummary ReadSummary(JsonObject* object) {
  ProjectSummary summary;
  summary.project_id = ReadId<ProjectId>(object, "project_id");
  summary.name = object->String("name", kNameBytesMax);
  summary.phase = static_cast<Phase>(ReadName(object, "phase", kPhaseNames));
  summary.version = ReadUint(object, "version");
  summary.steps_total = ReadUint(object, "steps_total");
  summary.tasks_done = ReadUint(object, "tasks_done");
  summary.tasks_total = ReadUint(object, "tasks_total");
  summary.submitted_us = ReadTime(object, "submitted_us");
  summary.ended_us = ReadTime(object, "ended_us");
  return summary;
}

void Write(const StepStatus& step, JsonWriter* writer) {
  writer->BeginObject("last_step");
  writer->Uint("step", step.step);
  writer->Uint("samples", step.samples);
  writer->Real("loss", step.loss);
  writer->Real("accuracy", step.accuracy);
  writer->Real("samples_per_second", step.samples_per_second);
  writer->EndObject();
}

StepStatus ReadStep(JsonObject* section) {
  StepStatus step;
  step.step = ReadUint(section, "step");
  step.samples = ReadUint(section, "samples");
  step.loss = section->Real("loss");
  step.accuracy = section->Real("accuracy");
  step.samples_per_second = section->Real("samples_per_second");
  return step;
}

void Write(const EvaluationStatus& evaluation, JsonWriter* writer) {
  writer->BeginObject();
  writer->Uint("version", evaluation.version);
  writer->Uint("epochs", evaluation.epochs);
  writer->Uint("samples", evaluation.samples);
  writer->Real("loss", evaluation.loss);
  writer->Real("accuracy", evaluation.accuracy);
  writer->EndObject();
}

EvaluationStatus ReadEvaluation(JsonObject* element) {
  EvaluationStatus evaluation;
  evaluation.version = ReadUint(element, "version");
  evaluation.epochs = ReadUint(element, "epochs");
  evaluation.samples = ReadUint(element, "samples");
  evaluation.loss = element->Real("loss");
  evaluation.accuracy = element->Real("accuracy");
  return evaluation;
}

void Write(const StoppingStatus& stopping, JsonWriter* writer) {
  writer->BeginObject("stopping");
  writer->Bool("stopped_early", stopping.stopped_early);
  writer->Uint("epochs", stopping.epochs);
  writer->Uint("best_epoch", stopping.best_epoch);
  writer->Uint("model_version", stopping.model_version);
  writer->EndObject();
}

StoppingStatus ReadStopping(JsonObject* section) {
  StoppingStatus stopping;
  stopping.stopped_early = section->Bool("stopped_early");
  stopping.epochs = ReadUint(section, "epochs");
  stopping.best_epoch = ReadUint(section, "best_epoch");
  stopping.model_version = ReadUint(section, "model_version");
  return stopping;
}

void Write(const ProviderStatus& provider, JsonWriter* writer) {
  writer->BeginObject();
  writer->Uint("provider_id", provider.provider_id.value);
  writer->String("name", provider.name);
  writer->Uint("cores", provider.cores);
  if (provider.has_task) Write(provider.task, writer);
  writer->Uint("samples_done", provider.samples_done);
  writer->Real("samples_per_second", provider.samples_per_second);
  writer->Uint("tasks_accepted", provider.tasks_accepted);
  writer->Uint("samples_accepted", provider.samples_accepted);
  writer->Uint("results_refused", provider.results_refused);
  writer->Uint("bytes_in", provider.bytes_in);
  writer->Uint("bytes_out", provider.bytes_out);
  writer->Int("last_seen_us", provider.last_seen_us);
  writer->EndObject();
}

ProviderStatus ReadProvider(JsonObject* element) {
  ProviderStatus provider;
  provider.provider_id = ReadId<ProviderId>(element, "provider_id");
  provider.name = element->String("name", kNameBytesMax);
  provider.cores = ReadUint32(element, "cores");
  provider.has_task = element->Has("task");
  if (provider.has_task) provider.task = ReadTask(element);
  provider.samples_done = ReadUint(element, "samples_done");
  provider.samples_per_second = element->Real("samples_per_second");
  provider.tasks_accepted = ReadUint(element, "tasks_accepted");
  provider.samples_accepted = ReadUint(element, "samples_accepted");
  provider.results_refused = ReadUint(element, "results_refused");
  provider.bytes_in = ReadUint(element, "bytes_in");
  provider.bytes_out = ReadUint(element, "bytes_out");
  provider.last_seen_us = ReadTime(element, "last_seen_us");
  return provider;
}

}  // namespace

const char* PhaseName(Phase phase) { return kPhaseNames[static_cast<std::size_t>(phase)]; }

// ---- Accounts

std::string ToJson(const Credentials& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.String("name", message.name);
  writer.String("password", message.password);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<Credentials> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseRequest(json));
  Credentials message;
  message.name = object.String("name", kAccountNameBytesMax);
  message.password = object.String("password", kPasswordBytesMax);
  return Finish(&object, std::move(message));
}

std::string ToJson(const SessionCreated& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.String("token", message.token);
  writer.Int("expires_us", message.expires_us);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<SessionCreated> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json));
  SessionCreated message;
  message.token = object.String("token", kTokenBytesMax);
  message.expires_us = ReadTime(&object, "expires_us");
  return Finish(&object, std::move(message));
}

std::string ToJson(const AccountInfo& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.String("name", message.name);
  writer.Int("created_us", message.created_us);
  writer.Uint("projects", message.projects);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<AccountInfo> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json));
  AccountInfo message;
  message.name = object.String("name", kAccountNameBytesMax);
  message.created_us = ReadTime(&object, "created_us");
  message.projects = ReadUint(&object, "projects");
  return Finish(&object, std::move(message));
}

std::string ToJson(const ProviderRequest& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.String("name", message.name);
  writer.Uint("cores", message.cores);
  writer.Uint("memory_bytes", message.memory_bytes);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<ProviderRequest> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseRequest(json));
  ProviderRequest message;
  message.name = object.String("name", kNameBytesMax);
  message.cores = static_cast<std::uint32_t>(object.Uint("cores", 1, 65'536));
  message.memory_bytes = object.Uint("memory_bytes", 0, INT64_MAX);
  return Finish(&object, std::move(message));
}

std::string ToJson(const ProviderCreated& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.Uint("provider_id", message.provider_id.value);
  writer.String("token", message.token);
  writer.Int("expires_us", message.expires_us);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<ProviderCreated> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json));
  ProviderCreated message;
  message.provider_id = ReadId<ProviderId>(&object, "provider_id");
  message.token = object.String("token", kTokenBytesMax);
  message.expires_us = ReadTime(&object, "expires_us");
  return Finish(&object, std::move(message));
}

// ---- Projects

std::string ToJson(const ProjectSpec& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.String("name", message.name);
  writer.String("description", message.description);
  WriteFit(message.fit, &writer);
  WriteGrid(message.grid, &writer);
  writer.Raw("model", message.model_json);
  writer.Raw("manifest", message.manifest_json);
  if (!message.weights_cid.empty()) writer.String("weights", message.weights_cid);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<ProjectSpec> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseRequest(json, kProjectMessageBytesMax));
  ProjectSpec message;
  message.name = object.String("name", kNameBytesMax);
  if (message.name.empty() && object.Has("name")) object.Refuse("name", "empty", "a name");
  message.description = object.OptionalString("description", kDescriptionBytesMax, "");
  message.fit = ReadFit(&object);
  message.grid = ReadGrid(&object);
  message.model_json = object.RawObject("model");
  message.manifest_json = object.RawObject("manifest");
  message.weights_cid = object.OptionalString("weights", kCidTextBytesMax, "");
  return Finish(&object, std::move(message));
}

std::string ToJson(const ProjectWork& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.Uint("project_id", message.project_id.value);
  writer.String("name", message.name);
  WriteFit(message.fit, &writer);
  WriteGrid(message.grid, &writer);
  writer.Uint("weight_count", message.weight_count);
  writer.Raw("model", message.model_json);
  writer.Raw("manifest", message.manifest_json);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<ProjectWork> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json, kProjectMessageBytesMax));
  ProjectWork message;
  message.project_id = ReadId<ProjectId>(&object, "project_id");
  message.name = object.String("name", kNameBytesMax);
  message.fit = ReadFit(&object);
  message.grid = ReadGrid(&object);
  message.weight_count = ReadUint(&object, "weight_count");
  message.model_json = object.RawObject("model");
  message.manifest_json = object.RawObject("manifest");
  return Finish(&object, std::move(message));
}

std::string ToJson(const ProjectCreated& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.Uint("project_id", message.project_id.value);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<ProjectCreated> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json));
  ProjectCreated message;
  message.project_id = ReadId<ProjectId>(&object, "project_id");
  return Finish(&object, std::move(message));
}

std::string ToJson(const ProjectList& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.BeginArray("projects");
  for (const ProjectSummary& summary : message.projects) {
    writer.BeginObject();
    WriteFields(summary, &writer);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return writer.Take();
}

template <>
Result<ProjectList> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json, kProjectMessageBytesMax));
  ProjectList message;
  for (JsonObject& element : object.Array("projects", kListMax)) {
    message.projects.push_back(ReadSummary(&element));
  }
  return Finish(&object, std::move(message));
}

std::string ToJson(const ProjectStatus& message) {
  JsonWriter writer;
  writer.BeginObject();
  WriteFields(message.summary, &writer);
  writer.String("description", message.description);
  WriteFit(message.fit, &writer);
  WriteGrid(message.grid, &writer);
  writer.Uint("weight_count", message.weight_count);
  writer.Uint("train_samples", message.train_samples);
  writer.Uint("validation_samples", message.validation_samples);
  writer.Uint("tasks_leased", message.tasks_leased);
  writer.Uint("contributors", message.contributors);
  if (message.has_last_step) Write(message.last_step, &writer);
  writer.BeginArray("evaluations");
  for (const EvaluationStatus& evaluation : message.evaluations) Write(evaluation, &writer);
  writer.EndArray();
  writer.BeginArray("providers");
  for (const ProviderStatus& provider : message.providers) Write(provider, &writer);
  writer.EndArray();
  if (message.stopping) Write(*message.stopping, &writer);
  writer.String("failure", message.failure);
  writer.Int("now_us", message.now_us);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<ProjectStatus> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json, kProjectMessageBytesMax));
  ProjectStatus message;
  message.summary = ReadSummary(&object);
  message.description = object.String("description", kDescriptionBytesMax);
  message.fit = ReadFit(&object);
  message.grid = ReadGrid(&object);
  message.weight_count = ReadUint(&object, "weight_count");
  message.train_samples = ReadUint(&object, "train_samples");
  message.validation_samples = ReadUint(&object, "validation_samples");
  message.tasks_leased = ReadUint(&object, "tasks_leased");
  message.contributors = ReadUint(&object, "contributors");
  if (std::optional<JsonObject> step = object.OptionalObject("last_step")) {
    message.has_last_step = true;
    message.last_step = ReadStep(&*step);
  }
  for (JsonObject& element : object.Array("evaluations", kListMax)) {
    message.evaluations.push_back(ReadEvaluation(&element));
  }
  for (JsonObject& element : object.Array("providers", kListMax)) {
    message.providers.push_back(ReadProvider(&element));
  }
  if (std::optional<JsonObject> stopping = object.OptionalObject("stopping")) {
    message.stopping = ReadStopping(&*stopping);
  }
  message.failure = object.String("failure", 100 * kReasonBytesMax);
  message.now_us = ReadTime(&object, "now_us");
  return Finish(&object, std::move(message));
}

// ---- Leases

std::string ToJson(const LeaseRequest& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.Int("wait_ms", message.wait_ms);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<LeaseRequest> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseRequest(json));
  LeaseRequest message;
  message.wait_ms = object.Int("wait_ms", 0, kLeaseWaitMsMax);
  return Finish(&object, std::move(message));
}

std::string ToJson(const LeaseGrant& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.Uint("lease_id", message.lease_id.value);
  writer.Uint("project_id", message.project_id.value);
  Write(message.task, &writer);
  writer.Bool("backup", message.backup);
  writer.Int("renew_every_ms", message.renew_every_ms);
  writer.Int("deadline_ms", message.deadline_ms);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<LeaseGrant> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json));
  LeaseGrant message;
  message.lease_id = ReadId<LeaseId>(&object, "lease_id");
  message.project_id = ReadId<ProjectId>(&object, "project_id");
  message.task = ReadTask(&object);
  if (message.task.end < message.task.begin) {
    object.Refuse("task.end", std::to_string(message.task.end), "at least \"task.begin\"");
  }
  message.backup = object.Bool("backup");
  message.renew_every_ms = object.Int("renew_every_ms", 1, INT32_MAX);
  message.deadline_ms = object.Int("deadline_ms", 0, INT32_MAX);
  return Finish(&object, std::move(message));
}

std::string ToJson(const LeaseRenewal& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.Uint("samples_done", message.samples_done);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<LeaseRenewal> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseRequest(json));
  LeaseRenewal message;
  message.samples_done = ReadUint(&object, "samples_done");
  return Finish(&object, std::move(message));
}

std::string ToJson(const LeaseRelease& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.Bool("failed", message.failed);
  writer.String("reason", message.reason);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<LeaseRelease> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseRequest(json));
  LeaseRelease message;
  message.failed = object.OptionalBool("failed", false);
  message.reason = object.OptionalString("reason", kReasonBytesMax, "");
  return Finish(&object, std::move(message));
}

std::string ToJson(const LeaseAnswer& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.Bool("accepted", message.accepted);
  writer.String("reason", message.reason);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<LeaseAnswer> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json));
  LeaseAnswer message;
  message.accepted = object.Bool("accepted");
  message.reason = object.String("reason", 10 * kReasonBytesMax);
  return Finish(&object, std::move(message));
}

// ---- The server

std::string ToJson(const ServerStatus& message) {
  JsonWriter writer;
  writer.BeginObject();
  writer.String("version", message.version);
  writer.Int("uptime_ms", message.uptime_ms);
  writer.Uint("accounts", message.accounts);
  writer.Uint("projects", message.projects);
  writer.Uint("projects_running", message.projects_running);
  writer.Uint("providers_waiting", message.providers_waiting);
  writer.Uint("tasks_leased", message.tasks_leased);
  writer.EndObject();
  return writer.Take();
}

template <>
Result<ServerStatus> FromJson(std::string_view json) {
  DNC_ASSIGN(JsonObject object, ParseAnswer(json));
  ServerStatus message;
  message.version = object.String("version", 100);
  message.uptime_ms = object.Int("uptime_ms", 0, INT64_MAX);
  message.accounts = ReadUint(&object, "accounts");
  message.projects = ReadUint(&object, "projects");
  message.projects_running = ReadUint(&object, "projects_running");
  message.providers_waiting = ReadUint(&object, "providers_waiting");
  message.tasks_leased = ReadUint(&object, "tasks_leased");
  return Finish(&object, std::move(message));
}

}  // namespace dnc::proto
