#include "server/database.h"

#include <sqlite3.h>

#include <iterator>

namespace dnc::server {
namespace {

constexpr int kSchemaVersion = 2;
constexpr int kApplicationId = 0x444e4331;  // "DNC1"

constexpr const char* kTables[] = {
    "CREATE TABLE accounts(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL,"
    " password TEXT NOT NULL, created_us INTEGER NOT NULL)",

    "CREATE TABLE providers(id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL,"
    " name TEXT NOT NULL, cores INTEGER NOT NULL, memory_bytes INTEGER NOT NULL,"
    " created_us INTEGER NOT NULL)",

    // Only the hash of a token is kept. provider: 0 for a session.
    "CREATE TABLE tokens(digest BLOB PRIMARY KEY, account INTEGER NOT NULL,"
    " provider INTEGER NOT NULL, expires_us INTEGER NOT NULL) WITHOUT ROWID",

    "CREATE TABLE object_owners(cid TEXT NOT NULL, account INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, PRIMARY KEY(cid, account)) WITHOUT ROWID",

    "CREATE TABLE projects(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, name TEXT NOT NULL,"
    " description TEXT NOT NULL, epochs INTEGER NOT NULL, batch_size INTEGER NOT NULL,"
    " seed INTEGER NOT NULL, train_split TEXT NOT NULL, validation_split TEXT NOT NULL,"
    " total_tasks INTEGER NOT NULL, task_size INTEGER NOT NULL, max_contributors INTEGER NOT NULL,"
    " weight_count INTEGER NOT NULL, train_samples INTEGER NOT NULL,"
    " validation_samples INTEGER NOT NULL, model TEXT NOT NULL, manifest TEXT NOT NULL,"
    // The whole section "fit", JSON. Empty in projects of before, which have but the columns.
    " fit TEXT NOT NULL DEFAULT '')",

    "CREATE TABLE project_shards(project INTEGER NOT NULL, cid TEXT NOT NULL,"
    " PRIMARY KEY(project, cid)) WITHOUT ROWID",

    // The scheduler's history: the newest snapshot and the events after it.
    "CREATE TABLE events(seq INTEGER PRIMARY KEY, time_us INTEGER NOT NULL, bytes BLOB NOT NULL)",
    "CREATE TABLE snapshots(seq INTEGER PRIMARY KEY, time_us INTEGER NOT NULL,"
    " bytes BLOB NOT NULL)",
};

// What makes tables of version i + 1 those of version i + 2.
constexpr const char* kMigrations[] = {
    "ALTER TABLE projects ADD COLUMN fit TEXT NOT NULL DEFAULT ''",
};
static_assert(std::size(kMigrations) == kSchemaVersion - 1);

sqlite3* AsConnection(void* connection) { return static_cast<sqlite3*>(connection); }
sqlite3_stmt* AsStatement(void* statement) { return static_cast<sqlite3_stmt*>(statement); }

ErrorCode CodeOf(int code) {
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return ErrorCode::kAlreadyExists;
    case SQLITE_FULL:
    case SQLITE_NOMEM:
      return ErrorCode::kResourceExhausted;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kCorrupt;
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
      return ErrorCode::kInternal;
    default:
      return ErrorCode::kIo;
  }
}

}  // namespace

std::int64_t Row::Int(int column) const {
  return sqlite3_column_int64(AsStatement(statement_), column);
}

std::string Row::Text(int column) const {
  const auto* text =
      reinterpret_cast<const char*>(sqlite3_column_text(AsStatement(statement_), column));
  const int size = sqlite3_column_bytes(AsStatement(statement_), column);
  return text == nullptr ? std::string() : std::string(text, static_cast<std::size_t>(size));
}

Bytes Row::Blob(int column) const {
  const auto* bytes =
      static_cast<const std::byte*>(sqlite3_column_blob(AsStatement(statement_), column));
  const int size = sqlite3_column_bytes(AsStatement(statement_), column);
  return bytes == nullptr ? Bytes() : Bytes(bytes, bytes + size);
}

Database::~Database() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(AsStatement(statement));
  sqlite3_close(AsConnection(connection_));
}

Error Database::MakeError(const std::string& what) const {
  const int code = sqlite3_extended_errcode(AsConnection(connection_));
  return {CodeOf(code), "database: " + what + ": " + sqlite3_errmsg(AsConnection(connection_))};
}

Result<std::unique_ptr<Database>> Database::Open(const std::string& path, int flags) {
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &connection, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<Database> database(new Database(connection));
  if (code != SQLITE_OK) return database->MakeError("cannot open " + path);
  sqlite3_extended_result_codes(connection, 1);
  sqlite3_busy_timeout(connection, 5000);
  DNC_TRY(database->Run("PRAGMA cache_size = -2048"));
  return database;
}

Result<std::unique_ptr<Database>> Database::OpenWriter(const std::string& path) {
  DNC_ASSIGN(std::unique_ptr<Database> database,
             Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  DNC_TRY(database->Run("PRAGMA journal_mode = WAL"));
  DNC_TRY(database->Run("PRAGMA synchronous = FULL"));
  std::int64_t version = 0;
  std::int64_t application = 0;
  std::int64_t tables = 0;
  DNC_TRY(database->Run("PRAGMA user_version", {}, [&](const Row& row) { version = row.Int(0); }));
  DNC_TRY(database->Run("PRAGMA application_id", {},
                        [&](const Row& row) { application = row.Int(0); }));
  DNC_TRY(database->Run("SELECT count(*) FROM sqlite_master", {},
                        [&](const Row& row) { tables = row.Int(0); }));
  if (tables > 0 && application != kApplicationId) {
    return Error{ErrorCode::kCorrupt, path + " is a database, but not one of a dnc server"};
  }
  if (version > kSchemaVersion) {
    return Error{ErrorCode::kUnsupported,
                 path + " was written by a later version of dnc (tables of version " +
                     std::to_string(version) + "; this one knows " +
                     std::to_string(kSchemaVersion) + "); use that version"};
  }
  if (tables == 0) {
    DNC_TRY(database->CreateTables());
  } else if (version < kSchemaVersion) {
    DNC_TRY(database->Migrate(version));
  }
  return database;
}

Result<std::unique_ptr<Database>> Database::OpenReader(const std::string& path) {
  DNC_ASSIGN(std::unique_ptr<Database> database, Open(path, SQLITE_OPEN_READWRITE));
  DNC_TRY(database->Run("PRAGMA query_only = ON"));
  return database;
}

Status Database::CreateTables() {
  DNC_TRY(Run("BEGIN IMMEDIATE"));
  for (const char* sql : kTables) DNC_TRY(Run(sql));
  DNC_TRY(Run(("PRAGMA application_id = " + std::to_string(kApplicationId)).c_str()));
  DNC_TRY(Run(("PRAGMA user_version = " + std::to_string(kSchemaVersion)).c_str()));
  return Run("COMMIT");
}

Status Database::Migrate(std::int64_t version) {
  if (version < 1) return Error{ErrorCode::kCorrupt, "database: tables of no version"};
  DNC_TRY(Run("BEGIN IMMEDIATE"));
  for (auto i = static_cast<std::size_t>(version) - 1; i < std::size(kMigrations); ++i) {
    DNC_TRY(Run(kMigrations[i]));
  }
  DNC_TRY(Run(("PRAGMA user_version = " + std::to_string(kSchemaVersion)).c_str()));
  return Run("COMMIT");
}

Result<void*> Database::Prepare(const char* sql) {
  const auto found = statements_.find(std::string_view(sql));
  if (found != statements_.end()) return found->second;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(AsConnection(connection_), sql, -1, &statement, nullptr) != SQLITE_OK) {
    return MakeError(sql);
  }
  statements_.emplace(sql, statement);
  return static_cast<void*>(statement);
}

Status Database::Run(const char* sql, const std::vector<Value>& arguments,
                     const std::function<void(const Row&)>& on_row) {
  DNC_ASSIGN(void* const prepared, Prepare(sql));
  sqlite3_stmt* statement = AsStatement(prepared);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const int index = static_cast<int>(i) + 1;
    if (const auto* number = std::get_if<std::int64_t>(&arguments[i])) {
      sqlite3_bind_int64(statement, index, *number);
    } else if (const auto* text = std::get_if<std::string>(&arguments[i])) {
      sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
    } else {
      const Bytes& bytes = std::get<Bytes>(arguments[i]);
      // A null pointer would bind NULL, not an empty blob.
      sqlite3_bind_blob64(statement, index,
                          bytes.empty() ? "" : static_cast<const void*>(bytes.data()), bytes.size(),
                          SQLITE_STATIC);
    }
  }
  int code = SQLITE_ROW;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    if (on_row) on_row(Row(statement));
  }
  Status status;
  if (code != SQLITE_DONE) status = MakeError(std::string(sql).substr(0, 60));
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return status;
}

std::int64_t Database::last_insert_id() const {
  return sqlite3_last_insert_rowid(AsConnection(connection_));
}

}  // namespace dnc::server
