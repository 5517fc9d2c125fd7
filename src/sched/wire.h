// The fields that snapshots and events have in common, as bytes. Private to the room.
// docs in event_codec.cc and snapshot.cc. A reader that meets a value out of range
// fails as if the bytes had ended.

#pragma once

#include <string>

#include "base/bytes.h"
#include "sched/scheduler.h"

namespace dnc::sched {

class WireWriter {
 public:
  void U8(std::uint8_t value) { out_.Put(value); }
  void U32(std::uint32_t value) { out_.Put(value); }
  void U64(std::uint64_t value) { out_.Put(value); }
  void I64(std::int64_t value) { out_.Put(value); }
  void Bool(bool value) { out_.Put(static_cast<std::uint8_t>(value ? 1 : 0)); }
  template <typename Tag>
  void Put(Id<Tag> id) {
    U64(id.value);
  }
  void Put(Instant instant) { I64(instant.us); }
  void Put(const Digest& digest) { out_.PutBytes(std::as_bytes(std::span(digest.bytes))); }
  void Put(const std::string& text) { out_.PutString(text); }
  // Without its stopping rule, which the first formats had no place for.
  void Put(const ProjectConfig& config) {
    U64(config.train_samples);
    U64(config.validation_samples);
    U32(config.epochs);
    U32(config.total_tasks);
    U32(config.task_size);
    U32(config.contributors_max);
  }
  void Put(const StoppingRule& rule) {
    U8(static_cast<std::uint8_t>(rule.monitor));
    U32(rule.patience);
    U64(rule.min_delta_nano);
    Bool(rule.restore_best);
  }
  void Put(const Metrics& metrics) {
    U64(metrics.samples);
    I64(metrics.loss_sum_micro);
    U64(metrics.correct);
    U64(metrics.compute_us);
  }
  const Bytes& bytes() const { return out_.bytes(); }
  Bytes Take() && { return std::move(out_).Take(); }

 private:
  ByteWriter out_;
};

class WireReader {
 public:
  explicit WireReader(ByteSpan bytes) : in_(bytes) {}

  std::uint8_t U8() { return in_.Get<std::uint8_t>(); }
  std::uint32_t U32() { return in_.Get<std::uint32_t>(); }
  std::uint64_t U64() { return in_.Get<std::uint64_t>(); }
  std::int64_t I64() { return in_.Get<std::int64_t>(); }
  bool Bool() { return U8AtMost(1) != 0; }
  // Fails above `value_max`, and gives 0.
  std::uint8_t U8AtMost(std::uint8_t value_max) {
    const std::uint8_t value = U8();
    if (value <= value_max) return value;
    failed_ = true;
    return 0;
  }
  // A count of entries of at least `entry_bytes` each, which must still be there.
  std::uint64_t Count(std::uint64_t entry_bytes) {
    const std::uint64_t count = U64();
    if (ok() && count <= in_.remaining() / entry_bytes) return count;
    failed_ = true;
    return 0;
  }
  void Get(Instant* instant) { instant->us = I64(); }
  template <typename Tag>
  void Get(Id<Tag>* id) {
    id->value = U64();
  }
  void Get(Digest* digest) {
    const ByteSpan raw = in_.GetBytes(digest->bytes.size());
    if (raw.size() == digest->bytes.size())
      std::memcpy(digest->bytes.data(), raw.data(), raw.size());
  }
  void Get(std::string* text, std::uint32_t bytes_max) { *text = in_.GetString(bytes_max); }
  void Get(ProjectConfig* config) {
    config->train_samples = U64();
    config->validation_samples = U64();
    config->epochs = U32();
    config->total_tasks = U32();
    config->task_size = U32();
    config->contributors_max = U32();
  }
  void Get(StoppingRule* rule) {
    rule->monitor =
        static_cast<Monitor>(U8AtMost(static_cast<std::uint8_t>(Monitor::kValidationAccuracy)));
    rule->patience = U32();
    rule->min_delta_nano = U64();
    rule->restore_best = Bool();
  }
  void Get(Metrics* metrics) {
    metrics->samples = U64();
    metrics->loss_sum_micro = I64();
    metrics->correct = U64();
    metrics->compute_us = U64();
  }
  bool ok() const { return in_.ok() && !failed_; }
  bool AtEnd() const { return ok() && in_.AtEnd(); }

 private:
  ByteReader in_;
  bool failed_ = false;
};

}  // namespace dnc::sched
