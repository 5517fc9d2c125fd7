#include "training/checkpoint.h"

#include <algorithm>
#include <cstring>

#include "base/file.h"

namespace dnc::training {
namespace {

constexpr std::uint64_t kMagic = 0x31544b50434e44u;  // "DNCKPT1", little-endian.
constexpr std::uint32_t kVersion = 3;
constexpr std::uint32_t kEpochsMax = 1u << 20;
constexpr std::uint32_t kSumsMax = 1u << 16;
constexpr std::uint64_t kBytesMax = std::uint64_t{64} << 30;
constexpr std::uint32_t kStateBytesMax = 0xffffffffu;

void PutTotals(ByteWriter* out, const trainer::Totals& totals) {
  out->Put(totals.samples);
  out->Put(totals.loss_sum);
  out->Put(totals.correct);
  out->Put(static_cast<std::uint32_t>(totals.sums.size()));
  for (const double sum : totals.sums) out->Put(sum);
}

trainer::Totals GetTotals(ByteReader* in) {
  trainer::Totals totals;
  totals.samples = in->Get<std::uint64_t>();
  totals.loss_sum = in->Get<double>();
  totals.correct = in->Get<std::uint64_t>();
  const auto sum_count = in->Get<std::uint32_t>();
  for (std::uint32_t i = 0; i < std::min(sum_count, kSumsMax) && in->ok(); ++i) {
    totals.sums.push_back(in->Get<double>());
  }
  return totals;
}

void PutEpoch(ByteWriter* out, const EpochReport& report) {
  out->Put(report.epoch);
  PutTotals(out, report.train);
  out->Put(static_cast<std::uint8_t>(report.validation.has_value()));
  PutTotals(out, report.validation.value_or(trainer::Totals{}));
  out->Put(report.steps);
  out->Put(report.seconds);
}

EpochReport GetEpoch(ByteReader* in) {
  EpochReport report;
  report.epoch = in->Get<std::uint32_t>();
  report.train = GetTotals(in);
  const bool has_validation = in->Get<std::uint8_t>() != 0;
  const trainer::Totals validation = GetTotals(in);
  if (has_validation) report.validation = validation;
  report.steps = in->Get<std::uint64_t>();
  report.seconds = in->Get<double>();
  return report;
}

Error Damaged(const std::string& path, const std::string& what) {
  return {ErrorCode::kCorrupt, path + " " + what + "; remove it and start again without --resume"};
}

}  // namespace

Status SaveCheckpoint(const Checkpoint& checkpoint, const std::string& path) {
  DNC_ASSERT(checkpoint.optimizer_state.size() <= kStateBytesMax);
  ByteWriter out;
  out.Put(kMagic);
  out.Put(kVersion);
  out.PutBytes(std::as_bytes(std::span(checkpoint.run.bytes)));
  out.Put(checkpoint.epochs_done);
  out.Put(checkpoint.samples_done);
  PutTotals(&out, checkpoint.totals);
  out.Put(checkpoint.seconds);
  out.Put(static_cast<std::uint32_t>(checkpoint.history.size()));
  for (const EpochReport& report : checkpoint.history) PutEpoch(&out, report);
  out.Put(static_cast<std::uint64_t>(checkpoint.weights.size()));
  out.Put(static_cast<std::uint64_t>(checkpoint.optimizer_state.size()));

  // The large parts go to the file as they lie in memory, without a second copy.
  const ByteSpan weights = std::as_bytes(std::span(checkpoint.weights));
  Sha256Hasher hasher;
  DNC_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  for (const ByteSpan part :
       {ByteSpan(out.bytes()), weights, ByteSpan(checkpoint.optimizer_state)}) {
    hasher.Update(part);
    DNC_TRY(file.Write(part));
  }
  const Digest digest = hasher.Finish();
  DNC_TRY(file.Write(std::as_bytes(std::span(digest.bytes))));
  return file.Commit();
}

Result<Checkpoint> LoadCheckpoint(const std::string& path, const Digest& run,
                                  std::uint64_t weight_count) {
  DNC_ASSIGN(const std::string text, ReadFile(path, kBytesMax));
  const ByteSpan bytes = AsBytes(text);
  constexpr std::size_t kDigestBytes = sizeof(Digest::bytes);
  if (bytes.size() < sizeof(kMagic) + sizeof(kVersion) + kDigestBytes) {
    return Damaged(path, "is too short for a checkpoint");
  }
  ByteReader in(bytes.first(bytes.size() - kDigestBytes));
  if (in.Get<std::uint64_t>() != kMagic) return Damaged(path, "is not a checkpoint");
  if (const auto version = in.Get<std::uint32_t>(); version != kVersion) {
    return Error{ErrorCode::kUnsupported, path + " is a checkpoint of version " +
                                              std::to_string(version) + "; this program reads " +
                                              std::to_string(kVersion)};
  }
  const Digest digest = Sha256(bytes.first(bytes.size() - kDigestBytes));
  if (std::memcmp(digest.bytes.data(), bytes.last(kDigestBytes).data(), kDigestBytes) != 0) {
    return Damaged(path, "is damaged (its checksum does not match)");
  }

  Checkpoint checkpoint;
  if (const ByteSpan raw = in.GetBytes(kDigestBytes); raw.size() == kDigestBytes) {
    std::memcpy(checkpoint.run.bytes.data(), raw.data(), kDigestBytes);
  }
  if (checkpoint.run != run) {
    return Error{ErrorCode::kInvalidArgument,
                 path +
                     " belongs to another run: the model, the data or a setting has changed; "
                     "start again without --resume"};
  }
  checkpoint.epochs_done = in.Get<std::uint32_t>();
  checkpoint.samples_done = in.Get<std::uint64_t>();
  checkpoint.totals = GetTotals(&in);
  checkpoint.seconds = in.Get<double>();
  const auto history_count = in.Get<std::uint32_t>();
  if (history_count > kEpochsMax) return Damaged(path, "claims too many epochs");
  for (std::uint32_t i = 0; i < history_count && in.ok(); ++i) {
    checkpoint.history.push_back(GetEpoch(&in));
  }
  const auto found_count = in.Get<std::uint64_t>();
  const auto state_bytes = in.Get<std::uint64_t>();
  if (!in.ok() || found_count != weight_count ||
      in.remaining() != weight_count * sizeof(float) + state_bytes) {
    return Damaged(path, "has " + std::to_string(found_count) + " weights, the model has " +
                             std::to_string(weight_count));
  }
  checkpoint.weights.resize(weight_count);
  const ByteSpan weights = in.GetBytes(weight_count * sizeof(float));
  if (!weights.empty()) std::memcpy(checkpoint.weights.data(), weights.data(), weights.size());
  const ByteSpan state = in.GetBytes(state_bytes);
  checkpoint.optimizer_state.assign(state.begin(), state.end());
  return checkpoint;
}

}  // namespace dnc::training
