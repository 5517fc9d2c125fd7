#include "source/sql_source.h"

#include <algorithm>

#include "source/table_source.h"
#include "source/text.h"
#include "sql/database.h"

namespace dnc::source {
namespace {

constexpr std::size_t kTablesShownMax = 20;

DeclaredType TypeOf(sql::ColumnType type) {
  switch (type) {
    case sql::ColumnType::kNumber:
      return DeclaredType::kNumber;
    case sql::ColumnType::kBoolean:
      return DeclaredType::kBoolean;
    case sql::ColumnType::kDate:
      return DeclaredType::kDate;
    case sql::ColumnType::kText:
      return DeclaredType::kText;
    case sql::ColumnType::kAny:
      break;
  }
  return DeclaredType::kAny;
}

class QueryRows final : public RowReader {
 public:
  QueryRows(std::shared_ptr<sql::Database> database, std::unique_ptr<sql::Rows> rows)
      : database_(std::move(database)), rows_(std::move(rows)) {}

  Result<bool> Next() override {
    ++number_;
    return rows_->Next();
  }
  std::span<const std::string_view> fields() const override { return rows_->fields(); }
  std::uint64_t number() const override { return number_; }
  std::uint64_t position() const override { return 0; }

 private:
  std::shared_ptr<sql::Database> database_;
  std::unique_ptr<sql::Rows> rows_;
  std::uint64_t number_ = 0;
};

Result<std::unique_ptr<SampleSource>> OpenQuery(const std::shared_ptr<sql::Database>& database,
                                                const std::string& name, const std::string& query,
                                                const SourceOptions& options) {
  if (query.size() > kQueryBytesMax) {
    return Error{ErrorCode::kTooLarge,
                 name + ": the query has " + std::to_string(query.size()) +
                     " bytes; at most 1 MiB are taken; make a view of it in the database"};
  }
  DNC_ASSIGN(const std::vector<sql::Column> columns, database->Describe(query));
  RowInput rows;
  rows.name = name;
  rows.kind = database->kind();
  rows.row_word = "row";
  rows.has_missing_texts = false;
  for (const sql::Column& column : columns) {
    if (!IsUtf8(column.name)) {
      return Error{ErrorCode::kInvalidArgument,
                   name + ": a column's name is not UTF-8 text; rename it with AS"};
    }
    rows.names.push_back(Printable(column.name, 200));
    rows.types.push_back(TypeOf(column.type));
  }
  rows.open = [database, query]() -> Result<std::unique_ptr<RowReader>> {
    DNC_ASSIGN(auto result, database->Run(query));
    return std::unique_ptr<RowReader>(std::make_unique<QueryRows>(database, std::move(result)));
  };
  rows.parameters = {{"query", query}};
  return OpenTable(std::move(rows), options);
}

std::string Quoted(const std::string& table) {
  std::string quoted = "\"";
  for (const char c : table) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

// All of the one table, in the order of its rows.
Result<std::string> TableQuery(sql::Database* database, const std::string& name,
                               const std::string& wanted) {
  const std::string list =
      "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE "
      "'sqlite\\_%' ESCAPE '\\' ORDER BY name";
  DNC_ASSIGN(const auto rows, database->Run(list));
  std::vector<std::string> tables;
  for (;;) {
    DNC_ASSIGN(const bool more, rows->Next());
    if (!more) break;
    tables.emplace_back(rows->fields()[0]);
  }
  const std::string bare = wanted.substr(wanted.starts_with('/') ? 1 : 0);
  std::string shown;
  for (std::size_t i = 0; i < std::min(tables.size(), kTablesShownMax); ++i) {
    shown += (shown.empty() ? "" : ", ") + Printable(tables[i], 60);
  }
  if (std::find(tables.begin(), tables.end(), bare) != tables.end()) {
    return "SELECT * FROM " + Quoted(bare);
  }
  if (bare.empty() && tables.size() == 1) return "SELECT * FROM " + Quoted(tables[0]);
  if (tables.size() > kTablesShownMax) shown += ", ...";
  if (tables.empty()) {
    return Error{ErrorCode::kInvalidArgument, name + ": a database without tables"};
  }
  return Error{ErrorCode::kInvalidArgument,
               name + ": " +
                   (bare.empty() ? "which table? Name it with --table, or give --query \"SELECT "
                                   "...\""
                                 : "has no table " + Printable(bare, 60)) +
                   "; its tables are " + shown};
}

Result<std::unique_ptr<SampleSource>> OpenSqlitePath(const std::string& path,
                                                     const std::string& query,
                                                     const SourceOptions& options) {
  if (!query.empty() && !options.variable.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 path + ": both a query and the table " + options.variable + "; give one of them"};
  }
  DNC_ASSIGN(const auto database, sql::OpenSqlite(path));
  if (!query.empty()) return OpenQuery(database, path, query, options);
  DNC_ASSIGN(const std::string all, TableQuery(database.get(), path, options.variable));
  return OpenQuery(database, path, all, options);
}

Result<std::string> QueryOf(const sql::Url& url, const SourceOptions& options) {
  const auto found = url.parameters.find("query");
  if (found == url.parameters.end()) return options.query;
  if (options.query.empty()) return found->second;
  return Error{ErrorCode::kInvalidArgument,
               url.shown + ": a query both in the URL and in --query; give one of them"};
}

}  // namespace

bool IsSqlite(ByteSpan start) {
  return AsText(start).starts_with(std::string_view("SQLite format 3\0", 16));
}

bool IsDatabaseUrl(const std::string& location) {
  for (const char* scheme :
       {"sqlite://", "postgresql://", "postgres://", "mysql://", "mariadb://"}) {
    if (location.starts_with(scheme)) return true;
  }
  return false;
}

Result<std::unique_ptr<SampleSource>> OpenSqliteFile(const Input& input,
                                                     const SourceOptions& options) {
  return OpenSqlitePath(input.name, options.query, options);
}

Result<std::unique_ptr<SampleSource>> OpenDatabase(const std::string& location,
                                                   const SourceOptions& options) {
  DNC_ASSIGN(const sql::Url url, sql::ParseUrl(location));
  DNC_ASSIGN(const std::string query, QueryOf(url, options));
  if (url.scheme == "sqlite") {
    if (!url.host.empty()) {
      return Error{ErrorCode::kInvalidArgument,
                   url.shown +
                       ": a path has three slashes: sqlite:///folder/file.db, or "
                       "sqlite:////folder/file.db from the root"};
    }
    return OpenSqlitePath(url.path, query, options);
  }
  if (query.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 url.shown + ": no query; give --query \"SELECT ... ORDER BY ...\", or ?query=..."};
  }
  if (!options.variable.empty()) {
    return Error{ErrorCode::kInvalidArgument,
                 url.shown + ": --table is for SQLite files; give --query \"SELECT * FROM " +
                     options.variable + "\""};
  }
  DNC_ASSIGN(const auto database, sql::OpenServer(url));
  return OpenQuery(database, url.shown, query, options);
}

}  // namespace dnc::source
