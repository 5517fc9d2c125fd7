#include "source/zip.h"

namespace dnc::source {

Result<std::unique_ptr<ByteStream>> OpenZipMember(SharedSource source, const zip::Member& member) {
  const std::string name = source->name() + "(" + member.name + ")";
  DNC_TRY(zip::CheckMethod(member, name));
  DNC_ASSIGN(const zip::Range range, zip::StoredRange(*source, member));
  DeflatedMember deflated{{range.offset, range.size}, member.size, member.crc32, name};
  if (member.method == 0) return OpenStored(std::move(source), std::move(deflated));
  return OpenDeflated(std::move(source), std::move(deflated));
}

}  // namespace dnc::source
