#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/assert.h"
#include "base/time.h"
#include "store/open_store.h"

namespace dnc::store {
namespace {

// A read of fewer bytes tells of latency, not of throughput: it counts as this many.
constexpr double kMeasuredBytesMin = 64 << 10;
constexpr double kForget = 0.8;  // Of what was measured, at each read.
// Every so many reads another mirror than the fastest is measured again.
constexpr std::uint64_t kProbeInterval = 32;
constexpr Duration kRestFirst = Duration::Seconds(1);
constexpr Duration kRestMax = Duration::Minutes(1);
// What is remembered of single objects, for each purpose.
constexpr std::size_t kRememberedMax = 4096;
constexpr std::size_t kServedMax = 256;  // Reads that may still be rejected.

struct Mirror {
  std::unique_ptr<ObjectStore> store;
  double seconds = 0;  // Of recent reads, of `bytes` bytes.
  double bytes = 0;
  std::uint64_t measured_at = 0;  // Number of the read.
  int failures = 0;               // In a row.
  Instant rests_until{INT64_MIN};
};

class Mirrors final : public ObjectStore {
 public:
  Mirrors(std::vector<std::unique_ptr<ObjectStore>> stores, FailureReport report)
      : report_(std::move(report)) {
    for (auto& store : stores) mirrors_.push_back({.store = std::move(store)});
  }

  Result<std::unique_ptr<ObjectWriter>> Create() override { return first()->Create(); }
  Status Delete(const std::string& key) override { return first()->Delete(key); }

  Result<std::uint64_t> Size(const std::string& key) const override {
    std::optional<Error> failure;
    for (const std::size_t i : Order(key, std::nullopt)) {
      Result<std::uint64_t> size = mirrors_[i].store->Size(key);
      if (size.ok()) return size;
      DNC_TRY(Failed(i, key, size.error(), &failure));
    }
    return *failure;
  }

  Status Read(const std::string& key, std::uint64_t offset,
              std::span<std::byte> out) const override {
    std::optional<Error> failure;
    for (const std::size_t i : Order(key, offset)) {
      const Instant begin = MonotonicNow();
      const Status status = mirrors_[i].store->Read(key, offset, out);
      if (status.ok()) {
        Succeeded(i, {key, offset}, out.size(), MonotonicNow() - begin);
        return {};
      }
      DNC_TRY(Failed(i, key, status.error(), &failure));
    }
    return *failure;
  }

  bool Reject(const std::string& key, std::uint64_t offset) const override {
    std::size_t server = 0;
    bool another = false;
    {
      const std::lock_guard lock(mutex_);
      const auto served = std::find_if(served_.begin(), served_.end(), [&](const Served& s) {
        return s.place.first == key && s.place.second <= offset &&
               offset - s.place.second < std::max<std::uint64_t>(s.bytes, 1);
      });
      if (served == served_.end()) return false;
      server = served->mirror;
      const Place place = served->place;
      served_.erase(served);
      // A mirror that is itself several may have the bytes elsewhere.
      if (mirrors_[server].store->Reject(key, offset)) return true;
      Remember({server, place.first, place.second}, &wrong_);
      for (std::size_t i = 0; i < mirrors_.size(); ++i) {
        another = another || !wrong_.contains({i, place.first, place.second});
      }
    }
    Report({ErrorCode::kCorrupt, key + " at byte " + std::to_string(offset) + " is wrong in " +
                                     mirrors_[server].store->Describe() +
                                     (another ? "; it is taken from another mirror" : "")});
    return another;
  }

  Result<std::vector<std::string>> List() const override {
    std::optional<Error> failure;
    for (const Mirror& mirror : mirrors_) {
      Result<std::vector<std::string>> keys = mirror.store->List();
      if (keys.ok()) return keys;
      if (!failure || failure->code == ErrorCode::kUnsupported) failure = keys.error();
    }
    return *failure;
  }

  std::string Describe() const override {
    std::string text = first()->Describe();
    for (std::size_t i = 1; i < mirrors_.size(); ++i) {
      text += (i == 1 ? " with the mirrors " : ", ") + mirrors_[i].store->Describe();
    }
    return text;
  }

 private:
  using Place = std::pair<std::string, std::uint64_t>;  // Key, offset.
  using Mark = std::tuple<std::size_t, std::string, std::uint64_t>;
  struct Served {
    Place place;
    std::uint64_t bytes = 0;
    std::size_t mirror = 0;
  };

  ObjectStore* first() const { return mirrors_[0].store.get(); }

  static void Remember(Mark mark, std::set<Mark>* marks) {
    if (marks->size() >= kRememberedMax) marks->erase(marks->begin());
    marks->insert(std::move(mark));
  }

  // The mirrors in the order in which they are asked: first those with right bytes, then
  // those that do not rest after a failure, then by speed; those not measured yet go
  // before, so that each is measured early.
  std::vector<std::size_t> Order(const std::string& key,
                                 std::optional<std::uint64_t> offset) const {
    const std::lock_guard lock(mutex_);
    const Instant now = MonotonicNow();
    if (offset) ++reads_;
    std::vector<std::tuple<bool, bool, bool, double, std::size_t>> ranked;
    for (std::size_t i = 0; i < mirrors_.size(); ++i) {
      const Mirror& mirror = mirrors_[i];
      const bool wrong = offset && wrong_.contains({i, key, *offset});
      const bool lacks = missing_.contains({i, key, 0});
      const double cost = mirror.bytes > 0 ? mirror.seconds / mirror.bytes : 0;
      ranked.emplace_back(wrong, lacks, mirror.rests_until > now, cost, i);
    }
    std::sort(ranked.begin(), ranked.end());
    std::vector<std::size_t> order;
    for (const auto& [wrong, lacks, rests, cost, i] : ranked) order.push_back(i);
    if (offset && reads_ % kProbeInterval == 0) PutOldestFirst(ranked, &order);
    return order;
  }

  // Moves the mirror whose measurement is the oldest to the front, if all is well with it.
  void PutOldestFirst(const std::vector<std::tuple<bool, bool, bool, double, std::size_t>>& ranked,
                      std::vector<std::size_t>* order) const {
    std::optional<std::size_t> oldest;
    for (const auto& [wrong, lacks, rests, cost, i] : ranked) {
      if (wrong || lacks || rests) continue;
      if (!oldest || mirrors_[i].measured_at < mirrors_[*oldest].measured_at) oldest = i;
    }
    if (!oldest) return;
    order->erase(std::find(order->begin(), order->end(), *oldest));
    order->insert(order->begin(), *oldest);
  }

  void Succeeded(std::size_t i, Place place, std::uint64_t bytes, Duration took) const {
    const std::lock_guard lock(mutex_);
    Mirror& mirror = mirrors_[i];
    mirror.seconds = mirror.seconds * kForget + std::max(took.seconds(), 1e-9);
    mirror.bytes = mirror.bytes * kForget + std::max(static_cast<double>(bytes), kMeasuredBytesMin);
    mirror.measured_at = reads_;
    mirror.failures = 0;
    mirror.rests_until = Instant{INT64_MIN};
    if (served_.size() >= kServedMax) served_.pop_back();
    missing_.erase({i, place.first, 0});
    served_.push_front({std::move(place), bytes, i});
  }

  // Remembers and reports the failure of one mirror. `failure` becomes what is told if no
  // mirror succeeds: that of the first, unless it only lacks what another failed to read.
  // Errors: kCancelled; what no mirror can mend.
  Status Failed(std::size_t i, const std::string& key, const Error& error,
                std::optional<Error>* failure) const {
    if (error.code == ErrorCode::kCancelled) return error;
    if (!*failure || (*failure)->code == ErrorCode::kNotFound) *failure = error;
    bool news = false;
    {
      const std::lock_guard lock(mutex_);
      Mirror& mirror = mirrors_[i];
      if (error.code == ErrorCode::kNotFound) {
        // No failure: the datasets that were merged have each their own objects.
        Remember({i, key, 0}, &missing_);
      } else {
        news = mirror.failures == 0;
        const Duration rest = kRestFirst * (std::int64_t{1} << std::min(mirror.failures, 6));
        mirror.rests_until = MonotonicNow() + std::min(rest, kRestMax);
        ++mirror.failures;
      }
    }
    if (news && mirrors_.size() > 1) Report(error);
    return {};
  }

  void Report(const Error& error) const {
    if (!report_) return;
    const std::lock_guard lock(report_mutex_);
    report_(error);
  }

  const FailureReport report_;
  mutable std::mutex report_mutex_;
  mutable std::mutex mutex_;  // Guards all below but Mirror::store.
  mutable std::vector<Mirror> mirrors_;
  mutable std::uint64_t reads_ = 0;
  mutable std::deque<Served> served_;  // Last first.
  mutable std::set<Mark> wrong_;       // Mirror, key, offset.
  mutable std::set<Mark> missing_;     // Mirror, key, 0.
};

}  // namespace

std::unique_ptr<ObjectStore> MakeMirrors(std::vector<std::unique_ptr<ObjectStore>> stores,
                                         FailureReport report) {
  DNC_ASSERT(!stores.empty());
  if (stores.size() == 1) return std::move(stores[0]);
  return std::make_unique<Mirrors>(std::move(stores), std::move(report));
}

}  // namespace dnc::store
