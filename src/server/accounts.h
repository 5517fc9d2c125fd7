// Accounts, tokens and providers. Passwords are kept as Argon2id hashes, tokens as
// SHA-256 of 32 random bytes: whoever reads the database can use neither.
//
// Lives on the loop's thread. Hashing a password takes 0.05 s and 16 MiB, on a worker.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/id.h"
#include "base/result.h"
#include "proto/messages.h"
#include "server/database.h"
#include "server/loop.h"
#include "server/sequencer.h"
#include "server/workers.h"

namespace dnc::server {

// Who a token stands for.
struct Principal {
  AccountId account;
  ProviderId provider;  // None for a session.
};

class Accounts {
 public:
  struct Parts {
    Loop* loop = nullptr;
    Workers* workers = nullptr;
    Sequencer* sequencer = nullptr;
    Database* reader = nullptr;
  };
  Accounts(const Parts& parts, Duration token_lifetime);

  // Errors: kUnauthenticated, none, unknown or expired.
  Result<Principal> Find(const std::string& token) const;

  // Errors, given to `done`, are those of docs/api.md.
  void CreateAccount(const proto::Credentials& credentials, std::function<void(Status)> done);
  void CreateSession(const proto::Credentials& credentials,
                     std::function<void(Result<proto::SessionCreated>)> done);
  void DeleteToken(const std::string& token, std::function<void(Status)> done);
  void CreateProvider(AccountId account, const proto::ProviderRequest& request,
                      std::function<void(Result<proto::ProviderCreated>)> done);

  Result<proto::AccountInfo> GetInfo(AccountId account) const;
  // Name and cores of a provider; empty if there is none of that number.
  proto::ProviderRequest FindProvider(ProviderId provider) const;
  std::uint64_t CountAccounts() const;

 private:
  struct Attempts {
    int failures = 0;
    Instant blocked_until{0};
  };
  Status CheckAttempts(const std::string& name);
  void CountFailure(const std::string& name);
  void IssueSession(AccountId account, std::function<void(Result<proto::SessionCreated>)> done);
  Status TakeHashingSlot();

  Parts parts_;
  Duration token_lifetime_;
  std::map<std::string, Attempts> attempts_;
  int hashing_ = 0;  // Jobs on the workers.
};

}  // namespace dnc::server
