#include "provider/server_calls.h"

#include <utility>

namespace dnc::provider {
namespace {

using client::Client;

// A client a purpose, since each has its own way to be cancelled and to retry. Calls
// that the agent retries are not retried here.
class ClientServerCalls final : public ServerCalls {
 public:
  ClientServerCalls(std::unique_ptr<Client> work, std::unique_ptr<Client> objects,
                    std::unique_ptr<Client> renewals, std::unique_ptr<Client> releases)
      : work_(std::move(work)),
        objects_(std::move(objects)),
        renewals_(std::move(renewals)),
        releases_(std::move(releases)) {}

  Result<std::optional<proto::LeaseGrant>> RequestLease(Duration wait) override {
    return work_->RequestLease(wait);
  }
  Result<proto::ProjectWork> GetWork(ProjectId project) override { return work_->GetWork(project); }
  Result<Bytes> GetWeights(ProjectId project, std::uint64_t version,
                           std::uint64_t bytes_max) override {
    return work_->GetWeights(project, version, bytes_max);
  }
  Status GetObjectRange(const std::string& cid, std::uint64_t offset,
                        std::span<std::byte> out) override {
    return objects_->GetObjectRange(cid, offset, out);
  }
  Result<proto::LeaseAnswer> SubmitResult(LeaseId lease, const proto::ResultMetrics& metrics,
                                          ByteSpan update) override {
    return work_->SubmitResult(lease, metrics, update);
  }
  Result<proto::LeaseAnswer> ReleaseLease(LeaseId lease,
                                          const proto::LeaseRelease& release) override {
    return releases_->ReleaseLease(lease, release);
  }
  Result<proto::LeaseAnswer> RenewLease(LeaseId lease, std::uint64_t samples_done) override {
    return renewals_->RenewLease(lease, samples_done);
  }
  client::ByteCounts byte_counts() const override {
    client::ByteCounts sum;
    for (const auto* client : {&work_, &objects_, &renewals_, &releases_}) {
      const client::ByteCounts counts = (*client)->byte_counts();
      sum.sent += counts.sent;
      sum.received += counts.received;
    }
    return sum;
  }

 private:
  std::unique_ptr<Client> work_;
  std::unique_ptr<Client> objects_;
  std::unique_ptr<Client> renewals_;
  std::unique_ptr<Client> releases_;
};

}  // namespace

Result<std::unique_ptr<ServerCalls>> MakeServerCalls(const ServerCallsOptions& options) {
  client::ClientOptions client_options;
  client_options.base_url = options.server_url;
  client_options.token = options.token;
  client_options.retry.give_up_after = Duration::Seconds(0);
  client_options.cancelled = options.work_cancelled;
  DNC_ASSIGN(std::unique_ptr<Client> work, Client::Create(client_options));

  client_options.cancelled = options.renewals_cancelled;
  DNC_ASSIGN(std::unique_ptr<Client> renewals, Client::Create(client_options));

  client_options.cancelled = options.releases_cancelled;
  DNC_ASSIGN(std::unique_ptr<Client> releases, Client::Create(client_options));

  client_options.cancelled = options.work_cancelled;
  client_options.retry.give_up_after = Duration::Minutes(1);
  client_options.retry.wait_max = Duration::Seconds(4);
  client_options.retry.on_retry = options.on_object_retry;
  DNC_ASSIGN(std::unique_ptr<Client> objects, Client::Create(client_options));
  return std::unique_ptr<ServerCalls>(std::make_unique<ClientServerCalls>(
      std::move(work), std::move(objects), std::move(renewals), std::move(releases)));
}

}  // namespace dnc::provider
