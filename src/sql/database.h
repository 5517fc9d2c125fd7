// A database from which rows are read: SQLite, PostgreSQL, MySQL and MariaDB.
//
// Everything happens in one read-only transaction that sees one state of the data:
// the same query run twice gives the same rows, and no query changes anything. Rows
// come one at a time, so that memory does not grow with the result.
//
// The servers' client libraries (libpq, libmariadb) are loaded when a server is first
// named: they bring dozens of others with them. No message has a password in it.
//
// A Database is not thread-safe. One query runs at a time.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sql/url.h"

namespace dnc::sql {

enum class ColumnType { kAny, kNumber, kBoolean, kDate, kText };

struct Column {
  std::string name;
  ColumnType type = ColumnType::kAny;
};

// A field is at most so long.
inline constexpr std::size_t kFieldBytesMax = 16 << 20;

class Rows {
 public:
  virtual ~Rows() = default;
  // Moves to the next row; false at the end.
  // Errors: kUnavailable, the server went away; kInvalidArgument, what it says;
  // kTooLarge, a field.
  virtual Result<bool> Next() = 0;
  // As text; a view without data (nullptr) is NULL. Valid until Next().
  virtual std::span<const std::string_view> fields() const = 0;
};

class Database {
 public:
  virtual ~Database() = default;
  virtual const char* kind() const = 0;  // "postgresql".
  // The columns that `query` gives, without running it.
  // Errors: kInvalidArgument, with what the database says of it, or that it gives
  // no rows, or is several statements.
  virtual Result<std::vector<Column>> Describe(const std::string& query) = 0;
  // Runs `query`. Ending the rows early ends the query.
  // Requires: the rows of the last query have ended; `query` was described.
  virtual Result<std::unique_ptr<Rows>> Run(const std::string& query) = 0;
};

// Errors: kNotFound, no such file; kCorrupt, not a SQLite database; kIo.
Result<std::shared_ptr<Database>> OpenSqlite(const std::string& path);

// The server that `url` names: postgresql, postgres, mysql or mariadb.
// Errors: kUnsupported, the client library is not installed, or a parameter;
// kUnavailable, no server; kUnauthenticated; kInvalidArgument.
Result<std::shared_ptr<Database>> OpenServer(const Url& url);

}  // namespace dnc::sql
