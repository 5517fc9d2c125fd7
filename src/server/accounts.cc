#include "server/accounts.h"

#include <sodium.h>

#include <array>

#include "base/hash.h"
#include "base/human.h"

namespace dnc::server {
namespace {

// libsodium's interactive limits, but 16 MiB instead of 64, so that a login cannot
// double the server's memory, and one pass more to make up for it.
constexpr unsigned long long kHashPasses = 3;
constexpr std::size_t kHashBytes = 16u << 20;
// Beyond this many waiting, a flood of logins is turned away.
constexpr int kHashingMax = 64;

constexpr int kFreeAttempts = 5;
constexpr Duration kBlockMax = Duration::Seconds(60);
constexpr std::size_t kAttemptsKept = 10'000;

constexpr std::size_t kTokenBytes = 32;

std::string MakeToken() {
  std::array<std::byte, kTokenBytes> bytes;
  randombytes_buf(bytes.data(), bytes.size());
  return HexEncode(bytes);
}

Bytes DigestOfToken(const std::string& token) {
  const Digest digest = Sha256(AsBytes(token));
  const auto* bytes = reinterpret_cast<const std::byte*>(digest.bytes.data());
  return Bytes(bytes, bytes + digest.bytes.size());
}

Result<std::string> HashPassword(const std::string& password) {
  std::array<char, crypto_pwhash_STRBYTES> hash{};
  if (crypto_pwhash_str(hash.data(), password.data(), password.size(), kHashPasses, kHashBytes) !=
      0) {
    return Error{ErrorCode::kResourceExhausted, "not enough memory to hash a password"};
  }
  return std::string(hash.data());
}

// What an unknown name's password is compared with, so that it takes as long.
const std::string& HashOfNobody() {
  static const std::string hash = [] {
    Result<std::string> made = HashPassword(MakeToken());
    return made.ok() ? *made : std::string();
  }();
  return hash;
}

Status CheckCredentials(const proto::Credentials& credentials) {
  const bool good = !credentials.name.empty() &&
                    std::all_of(credentials.name.begin(), credentials.name.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '@' || c == '-';
                    });
  if (!good) {
    return Error{ErrorCode::kInvalidArgument,
                 "the account name \"" + credentials.name +
                     "\" will not do; expected letters, digits and the signs . _ @ -"};
  }
  if (credentials.password.size() < proto::kPasswordBytesMin) {
    return Error{ErrorCode::kInvalidArgument,
                 "the password has " + std::to_string(credentials.password.size()) +
                     " bytes; expected at least " + std::to_string(proto::kPasswordBytesMin)};
  }
  return {};
}

const Error kWrongCredentials{ErrorCode::kUnauthenticated, "wrong name or password"};

Sequencer::Writes InsertToken(const std::string& token, Principal principal, Instant now,
                              Instant expires) {
  return [digest = DigestOfToken(token), principal, now, expires](Database* db) -> Status {
    DNC_TRY(db->Run("DELETE FROM tokens WHERE expires_us <= ?", {now.us}));
    return db->Run(
        "INSERT INTO tokens(digest, account, provider, expires_us) VALUES(?, ?, ?, ?)",
        {digest, AsValue(principal.account.value), AsValue(principal.provider.value), expires.us});
  };
}

}  // namespace

Accounts::Accounts(const Parts& parts, Duration token_lifetime)
    : parts_(parts), token_lifetime_(token_lifetime) {
  DNC_ASSERT(sodium_init() >= 0);
}

Result<Principal> Accounts::Find(const std::string& token) const {
  if (token.empty()) {
    return Error{ErrorCode::kUnauthenticated, "no token: log in first (dnc login)"};
  }
  std::optional<Principal> principal;
  Instant expires{0};
  DNC_TRY(parts_.reader->Run("SELECT account, provider, expires_us FROM tokens WHERE digest = ?",
                             {DigestOfToken(token)}, [&](const Row& row) {
                               principal = Principal{{row.Uint(0)}, {row.Uint(1)}};
                               expires = Instant{row.Int(2)};
                             }));
  if (!principal) {
    return Error{ErrorCode::kUnauthenticated, "the token is not known: log in again (dnc login)"};
  }
  if (expires <= parts_.sequencer->Now()) {
    return Error{ErrorCode::kUnauthenticated, "the token has expired: log in again (dnc login)"};
  }
  return *principal;
}

Status Accounts::TakeHashingSlot() {
  if (hashing_ >= kHashingMax) {
    return Error{ErrorCode::kUnavailable, "too many logins at once: try again in a few seconds"};
  }
  ++hashing_;
  return {};
}

void Accounts::CreateAccount(const proto::Credentials& credentials,
                             std::function<void(Status)> done) {
  if (const Status status = CheckCredentials(credentials); !status.ok()) return done(status);
  if (const Status status = TakeHashingSlot(); !status.ok()) return done(status);
  parts_.workers->Post([this, credentials, done = std::move(done)] {
    Result<std::string> hash = HashPassword(credentials.password);
    parts_.loop->Post([this, name = credentials.name, hash, done] {
      --hashing_;
      if (!hash.ok()) return done(hash.error());
      const auto write = [name, hash = *hash, now = parts_.sequencer->Now()](Database* db) {
        return db->Run("INSERT INTO accounts(name, password, created_us) VALUES(?, ?, ?)",
                       {name, hash, now.us});
      };
      parts_.sequencer->Write(write, std::nullopt, [name, done](const Result<Effects>& result) {
        if (!result.ok() && result.error().code == ErrorCode::kAlreadyExists) {
          return done(Error{ErrorCode::kAlreadyExists,
                            "there is an account \"" + name + "\" already: choose another name"});
        }
        done(result.status());
      });
    });
  });
}

// ---- Sessions

Status Accounts::CheckAttempts(const std::string& name) {
  const auto found = attempts_.find(name);
  if (found == attempts_.end()) return {};
  const Duration left = found->second.blocked_until - MonotonicNow();
  if (left <= Duration{}) return {};
  return Error{ErrorCode::kPermissionDenied,
               "too many wrong passwords for \"" + name + "\": try again in " +
                   FormatDuration(left + Duration::Milliseconds(500))};
}

void Accounts::CountFailure(const std::string& name) {
  const Instant now = MonotonicNow();
  if (attempts_.size() >= kAttemptsKept) {
    std::erase_if(attempts_, [now](const auto& entry) {
      return entry.second.blocked_until + kBlockMax <= now;
    });
    if (attempts_.size() >= kAttemptsKept) attempts_.clear();
  }
  Attempts& attempts = attempts_[name];
  const int beyond = ++attempts.failures - kFreeAttempts;
  attempts.blocked_until = now;
  if (beyond >= 0) {
    attempts.blocked_until =
        now + std::min(kBlockMax, Duration::Seconds(std::int64_t{1} << std::min(beyond, 10)));
  }
}

void Accounts::CreateSession(const proto::Credentials& credentials,
                             std::function<void(Result<proto::SessionCreated>)> done) {
  if (const Status status = CheckAttempts(credentials.name); !status.ok()) {
    return done(status.error());
  }
  if (const Status status = TakeHashingSlot(); !status.ok()) return done(status.error());
  AccountId account;
  std::string hash;
  const Status found = parts_.reader->Run("SELECT id, password FROM accounts WHERE name = ?",
                                          {credentials.name}, [&](const Row& row) {
                                            account = AccountId{row.Uint(0)};
                                            hash = row.Text(1);
                                          });
  if (!found.ok()) {
    --hashing_;
    return done(found.error());
  }
  parts_.workers->Post([this, credentials, account, hash, done = std::move(done)] {
    const std::string& expected = hash.empty() ? HashOfNobody() : hash;
    const bool matches = crypto_pwhash_str_verify(expected.c_str(), credentials.password.data(),
                                                  credentials.password.size()) == 0;
    parts_.loop->Post([this, name = credentials.name, account, matches, done] {
      --hashing_;
      if (!matches || !account) {
        CountFailure(name);
        return done(kWrongCredentials);
      }
      attempts_.erase(name);
      IssueSession(account, done);
    });
  });
}

void Accounts::IssueSession(AccountId account,
                            std::function<void(Result<proto::SessionCreated>)> done) {
  const Instant now = parts_.sequencer->Now();
  const Instant expires = now + token_lifetime_;
  const std::string token = MakeToken();
  parts_.sequencer->Write(InsertToken(token, {account, {}}, now, expires), std::nullopt,
                          [token, expires, done](const Result<Effects>& result) {
                            if (!result.ok()) return done(result.error());
                            done(proto::SessionCreated{token, expires.us});
                          });
}

void Accounts::DeleteToken(const std::string& token, std::function<void(Status)> done) {
  const auto write = [digest = DigestOfToken(token)](Database* db) {
    return db->Run("DELETE FROM tokens WHERE digest = ?", {digest});
  };
  parts_.sequencer->Write(write, std::nullopt,
                          [done](const Result<Effects>& result) { done(result.status()); });
}

// ---- Providers

void Accounts::CreateProvider(AccountId account, const proto::ProviderRequest& request,
                              std::function<void(Result<proto::ProviderCreated>)> done) {
  const Instant now = parts_.sequencer->Now();
  const Instant expires = now + token_lifetime_;
  const std::string token = MakeToken();
  const auto id = std::make_shared<ProviderId>();
  const auto write = [=](Database* db) -> Status {
    DNC_TRY(
        db->Run("INSERT INTO providers(account, name, cores, memory_bytes, created_us)"
                " VALUES(?, ?, ?, ?, ?)",
                {AsValue(account.value), request.name, AsValue(request.cores),
                 AsValue(request.memory_bytes), now.us}));
    *id = ProviderId{static_cast<std::uint64_t>(db->last_insert_id())};
    return InsertToken(token, {account, *id}, now, expires)(db);
  };
  parts_.sequencer->Write(write, std::nullopt,
                          [token, id, expires, done](const Result<Effects>& result) {
                            if (!result.ok()) return done(result.error());
                            done(proto::ProviderCreated{*id, token, expires.us});
                          });
}

proto::ProviderRequest Accounts::FindProvider(ProviderId provider) const {
  proto::ProviderRequest found;
  static_cast<void>(parts_.reader->Run(
      "SELECT name, cores, memory_bytes FROM providers WHERE id = ?", {AsValue(provider.value)},
      [&](const Row& row) {
        found = {row.Text(0), static_cast<std::uint32_t>(row.Int(1)), row.Uint(2)};
      }));
  return found;
}

Result<proto::AccountInfo> Accounts::GetInfo(AccountId account) const {
  proto::AccountInfo info;
  DNC_TRY(parts_.reader->Run(
      "SELECT name, created_us, (SELECT count(*) FROM projects WHERE account = accounts.id)"
      " FROM accounts WHERE id = ?",
      {AsValue(account.value)}, [&](const Row& row) {
        info = {row.Text(0), row.Int(1), row.Uint(2)};
      }));
  return info;
}

std::uint64_t Accounts::CountAccounts() const {
  std::uint64_t count = 0;
  static_cast<void>(parts_.reader->Run("SELECT count(*) FROM accounts", {},
                                       [&](const Row& row) { count = row.Uint(0); }));
  return count;
}

}  // namespace dnc::server
