// A server on a free loopback port with its state in a temporary folder, a client of
// it, a small project, and a provider that trains nothing but whose updates are a
// function of their task: what the tests of server and client together need.

#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/client.h"
#include "model/model.h"
#include "proto/messages.h"
#include "server/server.h"
#include "shard/manifest.h"

namespace dnc::loopback {

// A server and what it needs to be killed and started again at the same address.
class TestServer {
 public:
  // `state_dir` must outlive it. Aborts if the server does not start.
  explicit TestServer(const std::string& state_dir, server::ServerOptions options = {});

  server::Server& server() { return *server_; }
  const std::string& url() const { return url_; }
  // Breaks the server off, as a crash would.
  void Kill() { server_.reset(); }
  // Starts it again at the same port.
  void Restart();

 private:
  server::ServerOptions options_;
  std::unique_ptr<server::Server> server_;
  std::string url_;
};

std::unique_ptr<client::Client> MakeClient(const std::string& url, const std::string& token = "");
// Signs up and logs in.
std::unique_ptr<client::Client> MakeUser(const std::string& url, const std::string& name);
// A provider of this user's, with its own token.
std::unique_ptr<client::Client> MakeProvider(client::Client* user, const std::string& name);

// A dense network of 3 classes on 4 features, and a dataset of 60 + 12 samples in
// three shards.
struct TinyProject {
  proto::ProjectSpec spec;
  model::Model model;
  shard::Manifest manifest;
  std::map<std::string, std::string> shards;  // Bytes by content id.
};
TinyProject MakeTinyProject();
// Uploads the shards and submits.
Result<ProjectId> Submit(client::Client* user, const TinyProject& project);
Status Upload(client::Client* user, const std::string& cid, const std::string& bytes);

// The update of a task: any function of it will do, so long as tasks differ.
std::vector<float> UpdateOf(const proto::TaskInfo& task, std::uint64_t weight_count);
// A task's metrics, likewise.
proto::ResultMetrics MetricsOf(const proto::TaskInfo& task);
// Fetches what a task needs and reports its result.
Result<proto::LeaseAnswer> DoTask(client::Client* provider, const proto::LeaseGrant& grant,
                                  std::uint64_t weight_count);

// The final weights by the definition of the grid: initial weights, and step after
// step the mean of its tasks' updates.
std::vector<float> ExpectedWeights(const TinyProject& project);

}  // namespace dnc::loopback
