#include <sqlite3.h>

#include <charconv>
#include <filesystem>

#include "sql/driver.h"

namespace dnc::sql {
namespace {

using Connection = std::shared_ptr<sqlite3>;

struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

Error Failure(sqlite3* connection, const std::string& name, const std::string& what) {
  const int code = sqlite3_errcode(connection);
  ErrorCode kind = ErrorCode::kInvalidArgument;
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) kind = ErrorCode::kCorrupt;
  if (code == SQLITE_IOERR || code == SQLITE_CANTOPEN) kind = ErrorCode::kIo;
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED) kind = ErrorCode::kUnavailable;
  if (code == SQLITE_NOMEM) kind = ErrorCode::kResourceExhausted;
  return {kind, name + ": " + what + ": " + sqlite3_errmsg(connection)};
}

// SQLite's own rule (datatype3.html, 3.1), where the declaration binds the values;
// elsewhere the values tell: "DATE" and "BOOLEAN" mean nothing to it.
ColumnType TypeOf(const char* declared) {
  std::string text;
  for (const char* c = declared; c != nullptr && *c != '\0'; ++c) {
    text += *c >= 'a' && *c <= 'z' ? static_cast<char>(*c - 32) : *c;
  }
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (has("INT") || has("REAL") || has("FLOA") || has("DOUB")) return ColumnType::kNumber;
  if (has("CHAR") || has("CLOB") || has("TEXT")) return ColumnType::kText;
  return ColumnType::kAny;
}

class SqliteRows final : public Rows {
 public:
  SqliteRows(Connection connection, Statement statement, std::string name)
      : connection_(std::move(connection)),
        statement_(std::move(statement)),
        name_(std::move(name)),
        column_count_(sqlite3_column_count(statement_.get())),
        numbers_(static_cast<std::size_t>(column_count_)) {}

  Result<bool> Next() override {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_DONE) return false;
    if (code != SQLITE_ROW) return Failure(connection_.get(), name_, "cannot be read further");
    fields_.clear();
    for (int column = 0; column < column_count_; ++column) DNC_TRY(AddField(column));
    return true;
  }
  std::span<const std::string_view> fields() const override { return fields_; }

 private:
  struct Number {
    char text[32];
  };

  Status AddField(int column) {
    sqlite3_stmt* statement = statement_.get();
    const int type = sqlite3_column_type(statement, column);
    if (type == SQLITE_NULL) {
      fields_.emplace_back();
      return {};
    }
    if (type == SQLITE_BLOB) {
      return Error{ErrorCode::kUnsupported,
                   name_ + ": column \"" + sqlite3_column_name(statement, column) +
                       "\" holds bytes (a BLOB), not a number or text; leave it out of the query"};
    }
    if (type == SQLITE_FLOAT) {
      // SQLite's own text has 15 digits: too few.
      char* begin = numbers_[static_cast<std::size_t>(column)].text;
      const auto end =
          std::to_chars(begin, begin + sizeof(Number), sqlite3_column_double(statement, column));
      fields_.emplace_back(begin, static_cast<std::size_t>(end.ptr - begin));
      return {};
    }
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
    if (text == nullptr) return Error{ErrorCode::kResourceExhausted, name_ + ": no memory"};
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
    if (size > kFieldBytesMax) {
      return FieldTooLarge(name_, sqlite3_column_name(statement, column), size);
    }
    fields_.emplace_back(text, size);
    return {};
  }

  Connection connection_;
  Statement statement_;
  std::string name_;
  int column_count_;
  std::vector<Number> numbers_;
  std::vector<std::string_view> fields_;
};

class SqliteDatabase final : public Database {
 public:
  SqliteDatabase(Connection connection, std::string name)
      : connection_(std::move(connection)), name_(std::move(name)) {}

  const char* kind() const override { return "sqlite"; }

  Result<std::vector<Column>> Describe(const std::string& query) override {
    DNC_ASSIGN(const Statement statement, Prepare(query));
    std::vector<Column> columns;
    for (int i = 0; i < sqlite3_column_count(statement.get()); ++i) {
      columns.push_back({sqlite3_column_name(statement.get(), i),
                         TypeOf(sqlite3_column_decltype(statement.get(), i))});
    }
    return columns;
  }

  Result<std::unique_ptr<Rows>> Run(const std::string& query) override {
    DNC_ASSIGN(Statement statement, Prepare(query));
    return std::unique_ptr<Rows>(
        std::make_unique<SqliteRows>(connection_, std::move(statement), name_));
  }

 private:
  Result<Statement> Prepare(const std::string& query) {
    sqlite3_stmt* prepared = nullptr;
    const char* tail = nullptr;
    const int code = sqlite3_prepare_v2(connection_.get(), query.data(),
                                        static_cast<int>(query.size()), &prepared, &tail);
    Statement statement(prepared);
    if (code != SQLITE_OK) return Failure(connection_.get(), name_, "the query is refused");
    const std::string_view rest(tail, static_cast<std::size_t>(query.data() + query.size() - tail));
    if (rest.find_first_not_of(" \t\r\n;") != std::string_view::npos) {
      return Error{ErrorCode::kInvalidArgument,
                   name_ + ": the query is several statements; give one SELECT"};
    }
    if (statement == nullptr || sqlite3_column_count(statement.get()) == 0) {
      return GivesNoRows(name_);
    }
    return statement;
  }

  Connection connection_;
  std::string name_;
};

}  // namespace

Result<std::shared_ptr<Database>> OpenSqlite(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    return Error{ErrorCode::kNotFound, path + ": no such file"};
  }
  sqlite3* opened = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READONLY, nullptr);
  const Connection connection(opened, [](sqlite3* closing) { sqlite3_close_v2(closing); });
  if (code != SQLITE_OK) return Failure(opened, path, "cannot be opened");
  constexpr int kBusyMs = 5000;
  sqlite3_busy_timeout(opened, kBusyMs);
  // The transaction begins with the first read, and sees that state to its end.
  if (sqlite3_exec(opened, "BEGIN; SELECT count(*) FROM sqlite_master", nullptr, nullptr,
                   nullptr) != SQLITE_OK) {
    return Failure(opened, path, "cannot be read");
  }
  return std::shared_ptr<Database>(std::make_shared<SqliteDatabase>(connection, path));
}

}  // namespace dnc::sql
