#include "sql/driver.h"

namespace dnc::sql {

Result<std::shared_ptr<Database>> OpenServer(const Url& url) {
  if (url.scheme == "postgresql" || url.scheme == "postgres") return OpenPostgresql(url);
  if (url.scheme == "mysql" || url.scheme == "mariadb") return OpenMysql(url);
  return Error{ErrorCode::kUnsupported,
               url.shown +
                   ": not a kind of server that is known; known are postgresql://, "
                   "mysql:// and mariadb://"};
}

}  // namespace dnc::sql
