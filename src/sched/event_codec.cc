// An event as bytes: the format's version, the event's kind (its place in Event, which
// therefore only grows at its end), then its fields in order, little-endian. Each event is
// written in the first version that holds it: 1, or for a submission with a stopping
// rule 2, in which the rule comes last.

#include <utility>

#include "sched/wire.h"

namespace dnc::sched {

namespace {

constexpr std::uint8_t kFormatVersion = 2;
// The writer cuts at it, so that whatever was encoded can be decoded.
constexpr std::uint32_t kTextBytesMax = 64u << 10;

std::uint8_t VersionOf(const Event& event) {
  const auto* submitted = std::get_if<ProjectSubmitted>(&event);
  return submitted != nullptr && submitted->config.stopping ? 2 : 1;
}

struct Writer {
  WireWriter& out;

  void operator()(const ProjectSubmitted& e) const {
    out.Put(e.project);
    out.Put(e.config);
    if (e.config.stopping) out.Put(*e.config.stopping);
  }
  void operator()(const ProjectPaused& e) const { out.Put(e.project); }
  void operator()(const ProjectResumed& e) const { out.Put(e.project); }
  void operator()(const ProjectCancelled& e) const { out.Put(e.project); }
  void operator()(const LeaseRequested& e) const { out.Put(e.provider); }
  void operator()(const LeaseRenewed& e) const {
    out.Put(e.provider);
    out.Put(e.lease);
    out.U64(e.samples_done);
  }
  void operator()(const ResultSubmitted& e) const {
    out.Put(e.provider);
    out.Put(e.lease);
    out.Put(e.update);
    out.Put(e.metrics);
  }
  void operator()(const LeaseReleased& e) const {
    out.Put(e.provider);
    out.Put(e.lease);
    out.Bool(e.failed);
    out.Put(e.reason.substr(0, kTextBytesMax));
  }
  void operator()(const StepFolded& e) const {
    out.Put(e.project);
    out.U64(e.step);
    out.Put(e.weights);
  }
  void operator()(const TimePassed&) const {}
};

struct Reader {
  WireReader& in;
  std::uint8_t version;

  void operator()(ProjectSubmitted& e) const {
    in.Get(&e.project);
    in.Get(&e.config);
    if (version >= 2) in.Get(&e.config.stopping.emplace());
  }
  void operator()(ProjectPaused& e) const { in.Get(&e.project); }
  void operator()(ProjectResumed& e) const { in.Get(&e.project); }
  void operator()(ProjectCancelled& e) const { in.Get(&e.project); }
  void operator()(LeaseRequested& e) const { in.Get(&e.provider); }
  void operator()(LeaseRenewed& e) const {
    in.Get(&e.provider);
    in.Get(&e.lease);
    e.samples_done = in.U64();
  }
  void operator()(ResultSubmitted& e) const {
    in.Get(&e.provider);
    in.Get(&e.lease);
    in.Get(&e.update);
    in.Get(&e.metrics);
  }
  void operator()(LeaseReleased& e) const {
    in.Get(&e.provider);
    in.Get(&e.lease);
    e.failed = in.Bool();
    in.Get(&e.reason, kTextBytesMax);
  }
  void operator()(StepFolded& e) const {
    in.Get(&e.project);
    e.step = in.U64();
    in.Get(&e.weights);
  }
  void operator()(TimePassed&) const {}
};

// An empty event of the given kind.
template <std::size_t... kIndex>
Event MakeKind(std::size_t kind, std::index_sequence<kIndex...>) {
  Event event;
  ((kIndex == kind ? static_cast<void>(event.emplace<kIndex>()) : static_cast<void>(0)), ...);
  return event;
}

}  // namespace

Bytes EncodeEvent(const Event& event) {
  WireWriter out;
  out.U8(VersionOf(event));
  out.U8(static_cast<std::uint8_t>(event.index()));
  std::visit(Writer{out}, event);
  return std::move(out).Take();
}

Result<Event> DecodeEvent(ByteSpan bytes) {
  WireReader in(bytes);
  const std::uint8_t version = in.U8();
  const std::uint8_t kind = in.U8();
  if (!in.ok() || version == 0) {
    return Error{ErrorCode::kCorrupt,
                 "scheduler event: " + std::to_string(bytes.size()) +
                     " bytes that do not begin with a format version and a kind"};
  }
  if (version > kFormatVersion) {
    return Error{ErrorCode::kUnsupported, "scheduler event: format version " +
                                              std::to_string(version) + ", this program knows " +
                                              std::to_string(kFormatVersion) +
                                              ": it was written by a later version"};
  }
  if (kind >= std::variant_size_v<Event>) {
    return Error{ErrorCode::kUnsupported,
                 "scheduler event: kind " + std::to_string(kind) +
                     " is not known: it was written by a later version, or is damaged"};
  }
  Event event = MakeKind(kind, std::make_index_sequence<std::variant_size_v<Event>>());
  std::visit(Reader{in, version}, event);
  if (!in.AtEnd() || VersionOf(event) != version) {
    return Error{ErrorCode::kCorrupt, "scheduler event: " + std::to_string(bytes.size()) +
                                          " bytes are not a whole event of kind " +
                                          std::to_string(kind)};
  }
  return event;
}

}  // namespace dnc::sched
