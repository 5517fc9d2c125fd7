// SQLite, as little of it as the server needs: statements with arguments, rows,
// transactions. A Database is used by one thread at a time. A writer and readers of
// one file see each other's committed state (write-ahead log).

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace dnc::server {

class Row {
 public:
  explicit Row(void* statement) : statement_(statement) {}
  std::int64_t Int(int column) const;
  std::uint64_t Uint(int column) const { return static_cast<std::uint64_t>(Int(column)); }
  std::string Text(int column) const;
  Bytes Blob(int column) const;

 private:
  void* statement_;  // A sqlite3_stmt.
};

class Database {
 public:
  using Value = std::variant<std::int64_t, std::string, Bytes>;

  // A writer creates the file and brings its tables to this version's.
  // Errors: kUnsupported, tables of a later version; kCorrupt, not a database of
  // ours; kIo, kResourceExhausted.
  static Result<std::unique_ptr<Database>> OpenWriter(const std::string& path);
  // Sees what a writer has committed; changes nothing.
  static Result<std::unique_ptr<Database>> OpenReader(const std::string& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Runs one statement, with `arguments` for its question marks, and calls `on_row`
  // for each row that it gives. `sql` is kept prepared.
  // Errors: kAlreadyExists, a uniqueness is violated; kResourceExhausted, the disk is
  // full; kCorrupt; kIo.
  Status Run(const char* sql, const std::vector<Value>& arguments = {},
             const std::function<void(const Row&)>& on_row = {});

  std::int64_t last_insert_id() const;

 private:
  explicit Database(void* connection) : connection_(connection) {}
  static Result<std::unique_ptr<Database>> Open(const std::string& path, int flags);
  Status CreateTables();
  // From tables of an earlier version, in one transaction.
  Status Migrate(std::int64_t version);
  Error MakeError(const std::string& what) const;
  Result<void*> Prepare(const char* sql);

  void* connection_;  // A sqlite3.
  std::map<std::string, void*, std::less<>> statements_;
};

// An unsigned number as SQLite keeps it: the same 64 bits.
inline Database::Value AsValue(std::uint64_t number) { return static_cast<std::int64_t>(number); }

}  // namespace dnc::server
