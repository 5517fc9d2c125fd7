// Any bytes as each REST message. What parses is written and read again to the same
// text. The first byte chooses the message.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "proto/messages.h"

namespace {

template <typename Message>
void Check(std::string_view json) {
  const auto message = dnc::proto::FromJson<Message>(json);
  if (!message.ok()) {
    DNC_ASSERT(!message.error().message.empty());
    return;
  }
  const std::string text = ToJson(*message);
  const auto again = dnc::proto::FromJson<Message>(text);
  DNC_ASSERT(again.ok());
  DNC_ASSERT(ToJson(*again) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace proto = dnc::proto;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 18) {
    case 0:
      Check<proto::Credentials>(text);
      break;
    case 1:
      Check<proto::SessionCreated>(text);
      break;
    case 2:
      Check<proto::AccountInfo>(text);
      break;
    case 3:
      Check<proto::ProviderRequest>(text);
      break;
    case 4:
      Check<proto::ProviderCreated>(text);
      break;
    case 5:
      Check<proto::ProjectSpec>(text);
      break;
    case 6:
      Check<proto::ProjectWork>(text);
      break;
    case 7:
      Check<proto::ProjectCreated>(text);
      break;
    case 8:
      Check<proto::ProjectList>(text);
      break;
    case 9:
      Check<proto::ProjectStatus>(text);
      break;
    case 10:
      Check<proto::LeaseRequest>(text);
      break;
    case 11:
      Check<proto::LeaseGrant>(text);
      break;
    case 12:
      Check<proto::LeaseRenewal>(text);
      break;
    case 13:
      Check<proto::LeaseRelease>(text);
      break;
    case 14:
      Check<proto::LeaseAnswer>(text);
      break;
    case 15:
      Check<proto::ServerStatus>(text);
      break;
    case 16: {
      const auto metrics = proto::ParseResultMetrics(text);
      if (metrics.ok()) DNC_ASSERT(proto::ParseResultMetrics(ToQuery(*metrics)).ok());
      break;
    }
    default:
      static_cast<void>(proto::ErrorFromJson(500, text));
      break;
  }
  return 0;
}
