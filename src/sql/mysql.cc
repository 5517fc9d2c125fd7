#include <errmsg.h>
#include <mysql.h>
#include <mysqld_error.h>

#include <cstdlib>

#include "sql/driver.h"

namespace dnc::sql {
namespace {

constexpr char kLibrary[] = "libmariadb.so.3";
constexpr unsigned kConnectSeconds = 10;
constexpr unsigned kBinaryCharset = 63;

struct Functions {
  decltype(&mysql_init) init = nullptr;
  decltype(&mysql_close) close = nullptr;
  decltype(&mysql_options) options = nullptr;
  decltype(&mysql_real_connect) connect = nullptr;
  decltype(&mysql_errno) error_number = nullptr;
  decltype(&mysql_error) error = nullptr;
  decltype(&mysql_real_query) query = nullptr;
  decltype(&mysql_use_result) use_result = nullptr;
  decltype(&mysql_fetch_row) fetch_row = nullptr;
  decltype(&mysql_fetch_lengths) lengths = nullptr;
  decltype(&mysql_free_result) free_result = nullptr;
  decltype(&mysql_num_fields) field_count = nullptr;
  decltype(&mysql_fetch_fields) fields = nullptr;
  decltype(&mysql_stmt_init) statement_init = nullptr;
  decltype(&mysql_stmt_prepare) prepare = nullptr;
  decltype(&mysql_stmt_result_metadata) metadata = nullptr;
  decltype(&mysql_stmt_errno) statement_error_number = nullptr;
  decltype(&mysql_stmt_error) statement_error = nullptr;
  decltype(&mysql_stmt_close) statement_close = nullptr;
  decltype(&mariadb_cancel) cancel = nullptr;
};

Result<const Functions*> LoadFunctions() {
  static const Result<Driver> driver = Driver::Load(kLibrary, "libmariadb3");
  if (!driver.ok()) return driver.error();
  static const Functions functions = [] {
    Functions found;
    driver->Find("mysql_init", &found.init);
    driver->Find("mysql_close", &found.close);
    driver->Find("mysql_options", &found.options);
    driver->Find("mysql_real_connect", &found.connect);
    driver->Find("mysql_errno", &found.error_number);
    driver->Find("mysql_error", &found.error);
    driver->Find("mysql_real_query", &found.query);
    driver->Find("mysql_use_result", &found.use_result);
    driver->Find("mysql_fetch_row", &found.fetch_row);
    driver->Find("mysql_fetch_lengths", &found.lengths);
    driver->Find("mysql_free_result", &found.free_result);
    driver->Find("mysql_num_fields", &found.field_count);
    driver->Find("mysql_fetch_fields", &found.fields);
    driver->Find("mysql_stmt_init", &found.statement_init);
    driver->Find("mysql_stmt_prepare", &found.prepare);
    driver->Find("mysql_stmt_result_metadata", &found.metadata);
    driver->Find("mysql_stmt_errno", &found.statement_error_number);
    driver->Find("mysql_stmt_error", &found.statement_error);
    driver->Find("mysql_stmt_close", &found.statement_close);
    driver->Find("mariadb_cancel", &found.cancel);
    return found;
  }();
  return &functions;
}

ColumnType TypeOf(const MYSQL_FIELD& field) {
  switch (field.type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_FLOAT:
    case MYSQL_TYPE_DOUBLE:
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL:
    case MYSQL_TYPE_YEAR:
      return ColumnType::kNumber;
    case MYSQL_TYPE_DATE:
    case MYSQL_TYPE_NEWDATE:
    case MYSQL_TYPE_DATETIME:
    case MYSQL_TYPE_TIMESTAMP:
      return ColumnType::kDate;
    case MYSQL_TYPE_NULL:
      return ColumnType::kAny;
    default:
      return ColumnType::kText;
  }
}

bool HoldsBytes(const MYSQL_FIELD& field) {
  if (field.type == MYSQL_TYPE_BIT || field.type == MYSQL_TYPE_GEOMETRY) return true;
  const bool is_text = field.type >= MYSQL_TYPE_TINY_BLOB && field.type <= MYSQL_TYPE_STRING;
  return is_text && field.charsetnr == kBinaryCharset;
}

ErrorCode CodeOf(unsigned number) {
  switch (number) {
    case ER_ACCESS_DENIED_ERROR:
    case ER_DBACCESS_DENIED_ERROR:
      return ErrorCode::kUnauthenticated;
    case ER_BAD_DB_ERROR:
      return ErrorCode::kNotFound;
    case CR_OUT_OF_MEMORY:
      return ErrorCode::kResourceExhausted;
    default:
      // The client's own errors are those of the connection.
      return number >= CR_MIN_ERROR && number <= CR_MAX_ERROR ? ErrorCode::kUnavailable
                                                              : ErrorCode::kInvalidArgument;
  }
}

struct Session {
  const Functions* my = nullptr;
  MYSQL* connection = nullptr;
  Url url;

  ~Session() {
    if (connection != nullptr) my->close(connection);
  }
  Error Failure(const std::string& what, unsigned number, const std::string& message) const {
    return {CodeOf(number), url.shown + ": " + what + ": " + WithoutPassword(url, message)};
  }
  Error Failure(const std::string& what) const {
    return Failure(what, my->error_number(connection), my->error(connection));
  }
  Status Execute(const std::string& statement) const {
    if (my->query(connection, statement.data(), statement.size()) == 0) return {};
    return Failure("cannot begin to read");
  }
};

class MysqlRows final : public Rows {
 public:
  MysqlRows(std::shared_ptr<Session> session, MYSQL_RES* result)
      : session_(std::move(session)), result_(result) {}
  ~MysqlRows() override {
    // What is left would be read to its end otherwise. The connection ends with it.
    if (!has_ended_ && session_->my->cancel != nullptr) session_->my->cancel(session_->connection);
    session_->my->free_result(result_);
  }
  MysqlRows(const MysqlRows&) = delete;
  MysqlRows& operator=(const MysqlRows&) = delete;

  Result<bool> Next() override {
    if (has_ended_) return false;
    const Functions& my = *session_->my;
    const MYSQL_ROW row = my.fetch_row(result_);
    if (row == nullptr) {
      has_ended_ = true;
      if (my.error_number(session_->connection) != 0) return session_->Failure("the query stopped");
      return false;
    }
    const unsigned long* lengths = my.lengths(result_);
    fields_.clear();
    for (unsigned i = 0; i < my.field_count(result_); ++i) {
      if (row[i] == nullptr) {
        fields_.emplace_back();
        continue;
      }
      if (lengths[i] > kFieldBytesMax) {
        return FieldTooLarge(session_->url.shown, my.fields(result_)[i].name, lengths[i]);
      }
      fields_.emplace_back(row[i], lengths[i]);
    }
    return true;
  }
  std::span<const std::string_view> fields() const override { return fields_; }

 private:
  std::shared_ptr<Session> session_;
  MYSQL_RES* result_;
  std::vector<std::string_view> fields_;
  bool has_ended_ = false;
};

class MysqlDatabase final : public Database {
 public:
  explicit MysqlDatabase(std::shared_ptr<Session> session) : session_(std::move(session)) {}

  const char* kind() const override {
    return session_->url.scheme == "mariadb" ? "mariadb" : "mysql";
  }

  Result<std::vector<Column>> Describe(const std::string& query) override {
    const Functions& my = *session_->my;
    const std::unique_ptr<MYSQL_STMT, decltype(my.statement_close)> statement(
        my.statement_init(session_->connection), my.statement_close);
    if (statement == nullptr) return session_->Failure("the query is refused");
    if (my.prepare(statement.get(), query.data(), query.size()) != 0) {
      return session_->Failure("the query is refused", my.statement_error_number(statement.get()),
                               my.statement_error(statement.get()));
    }
    const std::unique_ptr<MYSQL_RES, decltype(my.free_result)> metadata(
        my.metadata(statement.get()), my.free_result);
    if (metadata == nullptr) return GivesNoRows(session_->url.shown);
    std::vector<Column> columns;
    for (unsigned i = 0; i < my.field_count(metadata.get()); ++i) {
      const MYSQL_FIELD& field = my.fields(metadata.get())[i];
      if (HoldsBytes(field)) {
        return Error{ErrorCode::kUnsupported,
                     session_->url.shown + ": column \"" + field.name +
                         "\" holds bytes, not a number or text; leave it out of the query, or "
                         "cast it (bit + 0 is a number)"};
      }
      columns.push_back({field.name, TypeOf(field)});
    }
    return columns;
  }

  Result<std::unique_ptr<Rows>> Run(const std::string& query) override {
    const Functions& my = *session_->my;
    if (my.query(session_->connection, query.data(), query.size()) != 0) {
      return session_->Failure("the query is refused");
    }
    MYSQL_RES* result = my.use_result(session_->connection);
    if (result == nullptr) return session_->Failure("the query gives no rows");
    return std::unique_ptr<Rows>(std::make_unique<MysqlRows>(session_, result));
  }

 private:
  std::shared_ptr<Session> session_;
};

const char* TextOrNull(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

Status CheckParameters(const Url& url) {
  for (const auto& [name, value] : url.parameters) {
    if (name == "query" || name == "socket" || name == "ssl_ca") continue;
    return Error{ErrorCode::kUnsupported, url.shown + ": unknown parameter " + name +
                                              "; known are query, socket and ssl_ca"};
  }
  return {};
}

Result<std::shared_ptr<Session>> Connect(const Url& url) {
  DNC_TRY(CheckParameters(url));
  auto session = std::make_shared<Session>();
  DNC_ASSIGN(session->my, LoadFunctions());
  session->url = url;
  const Functions& my = *session->my;
  session->connection = my.init(nullptr);
  if (session->connection == nullptr) {
    return Error{ErrorCode::kResourceExhausted, url.shown + ": no memory"};
  }
  MYSQL* connection = session->connection;
  my.options(connection, MYSQL_OPT_CONNECT_TIMEOUT, &kConnectSeconds);
  my.options(connection, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  my.options(connection, MYSQL_READ_DEFAULT_GROUP, "client");  // ~/.my.cnf
  const auto parameter = [&](const char* name) {
    const auto found = url.parameters.find(name);
    return found == url.parameters.end() ? nullptr : found->second.c_str();
  };
  if (const char* authority = parameter("ssl_ca")) {
    const my_bool verifies = 1;
    my.options(connection, MYSQL_OPT_SSL_CA, authority);
    my.options(connection, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verifies);
  }
  const char* password = TextOrNull(url.password);
  if (password == nullptr) password = std::getenv("MYSQL_PWD");
  const unsigned port = url.port.empty() ? 0 : static_cast<unsigned>(std::stoi(url.port));
  if (my.connect(connection, TextOrNull(url.host), TextOrNull(url.user), password,
                 TextOrNull(url.path), port, parameter("socket"), 0) == nullptr) {
    return session->Failure("cannot connect");
  }
  return session;
}

}  // namespace

Result<std::shared_ptr<Database>> OpenMysql(const Url& url) {
  DNC_ASSIGN(auto session, Connect(url));
  for (const char* statement :
       {"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET time_zone = '+00:00'",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"}) {
    DNC_TRY(session->Execute(statement));
  }
  return std::shared_ptr<Database>(std::make_shared<MysqlDatabase>(std::move(session)));
}

}  // namespace dnc::sql
