#include <libpq-fe.h>

#include <algorithm>

#include "sql/driver.h"

namespace dnc::sql {
namespace {

constexpr char kLibrary[] = "libpq.so.5";
constexpr char kStatement[] = "dnc";
constexpr char kConnectSeconds[] = "10";

struct Functions {
  decltype(&PQconnectdbParams) connect = nullptr;
  decltype(&PQfinish) finish = nullptr;
  decltype(&PQstatus) status = nullptr;
  decltype(&PQerrorMessage) error_message = nullptr;
  decltype(&PQexec) exec = nullptr;
  decltype(&PQprepare) prepare = nullptr;
  decltype(&PQdescribePrepared) describe = nullptr;
  decltype(&PQsendQueryPrepared) send = nullptr;
  decltype(&PQsetSingleRowMode) set_single_row = nullptr;
  decltype(&PQgetResult) get_result = nullptr;
  decltype(&PQclear) clear = nullptr;
  decltype(&PQresultStatus) result_status = nullptr;
  decltype(&PQnfields) field_count = nullptr;
  decltype(&PQfname) field_name = nullptr;
  decltype(&PQftype) field_type = nullptr;
  decltype(&PQgetisnull) is_null = nullptr;
  decltype(&PQgetvalue) value = nullptr;
  decltype(&PQgetlength) length = nullptr;
  decltype(&PQgetCancel) get_cancel = nullptr;
  decltype(&PQcancel) cancel = nullptr;
  decltype(&PQfreeCancel) free_cancel = nullptr;
};

Result<const Functions*> LoadFunctions() {
  static const Result<Driver> driver = Driver::Load(kLibrary, "libpq5");
  if (!driver.ok()) return driver.error();
  static const Functions functions = [] {
    Functions found;
    driver->Find("PQconnectdbParams", &found.connect);
    driver->Find("PQfinish", &found.finish);
    driver->Find("PQstatus", &found.status);
    driver->Find("PQerrorMessage", &found.error_message);
    driver->Find("PQexec", &found.exec);
    driver->Find("PQprepare", &found.prepare);
    driver->Find("PQdescribePrepared", &found.describe);
    driver->Find("PQsendQueryPrepared", &found.send);
    driver->Find("PQsetSingleRowMode", &found.set_single_row);
    driver->Find("PQgetResult", &found.get_result);
    driver->Find("PQclear", &found.clear);
    driver->Find("PQresultStatus", &found.result_status);
    driver->Find("PQnfields", &found.field_count);
    driver->Find("PQfname", &found.field_name);
    driver->Find("PQftype", &found.field_type);
    driver->Find("PQgetisnull", &found.is_null);
    driver->Find("PQgetvalue", &found.value);
    driver->Find("PQgetlength", &found.length);
    driver->Find("PQgetCancel", &found.get_cancel);
    driver->Find("PQcancel", &found.cancel);
    driver->Find("PQfreeCancel", &found.free_cancel);
    return found;
  }();
  return &functions;
}

// Of pg_type.dat: these never change.
ColumnType TypeOf(Oid type) {
  switch (type) {
    case 16:
      return ColumnType::kBoolean;
    case 20:    // int8
    case 21:    // int2
    case 23:    // int4
    case 26:    // oid
    case 700:   // float4
    case 701:   // float8
    case 1700:  // numeric
      return ColumnType::kNumber;
    case 1082:  // date
    case 1114:  // timestamp
    case 1184:  // timestamptz
      return ColumnType::kDate;
    case 705:  // unknown
      return ColumnType::kAny;
    default:
      return ColumnType::kText;
  }
}

// One line: the server adds "DETAIL" and a marked copy of the query.
std::string FirstLine(const std::string& text) {
  std::string line = text.substr(0, text.find('\n'));
  const std::size_t begin = line.find("ERROR:  ");
  return begin == 0 ? line.substr(8) : line;
}

// Shared by the database and its rows, which may outlive it.
struct Session {
  const Functions* pq = nullptr;
  PGconn* connection = nullptr;
  Url url;

  ~Session() {
    if (connection != nullptr) pq->finish(connection);
  }
  Error Failure(ErrorCode code, const std::string& what) const {
    return {code, url.shown + ": " + what + ": " +
                      WithoutPassword(url, FirstLine(pq->error_message(connection)))};
  }
  Error QueryFailure(const std::string& what) const {
    const bool is_gone = pq->status(connection) != CONNECTION_OK;
    return Failure(is_gone ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument, what);
  }
};

class PostgresqlRows final : public Rows {
 public:
  explicit PostgresqlRows(std::shared_ptr<Session> session)
      : session_(std::move(session)), pq_(*session_->pq) {}
  ~PostgresqlRows() override {
    pq_.clear(result_);
    if (!has_ended_) Stop();
  }
  PostgresqlRows(const PostgresqlRows&) = delete;
  PostgresqlRows& operator=(const PostgresqlRows&) = delete;

  Result<bool> Next() override {
    if (has_ended_) return false;
    pq_.clear(result_);
    result_ = pq_.get_result(session_->connection);
    const ExecStatusType status = pq_.result_status(result_);
    if (status == PGRES_SINGLE_TUPLE) {
      DNC_TRY(ReadFields());
      return true;
    }
    // An empty result of PGRES_TUPLES_OK ends the rows.
    const Status failure =
        status == PGRES_TUPLES_OK ? Status() : session_->QueryFailure("the query stopped");
    Drain();
    DNC_TRY(failure);
    return false;
  }
  std::span<const std::string_view> fields() const override { return fields_; }

 private:
  Status ReadFields() {
    fields_.clear();
    for (int i = 0; i < pq_.field_count(result_); ++i) {
      if (pq_.is_null(result_, 0, i) != 0) {
        fields_.emplace_back();
        continue;
      }
      const auto size = static_cast<std::size_t>(pq_.length(result_, 0, i));
      if (size > kFieldBytesMax) {
        return FieldTooLarge(session_->url.shown, pq_.field_name(result_, i), size);
      }
      fields_.emplace_back(pq_.value(result_, 0, i), size);
    }
    return {};
  }

  void Drain() {
    has_ended_ = true;
    while (PGresult* rest = pq_.get_result(session_->connection)) pq_.clear(rest);
  }

  // Asks the server to stop, so that not all rows must be read.
  void Stop() {
    if (PGcancel* cancel = pq_.get_cancel(session_->connection)) {
      char message[256];
      pq_.cancel(cancel, message, sizeof message);
      pq_.free_cancel(cancel);
    }
    Drain();
  }

  std::shared_ptr<Session> session_;
  const Functions& pq_;
  PGresult* result_ = nullptr;
  std::vector<std::string_view> fields_;
  bool has_ended_ = false;
};

class PostgresqlDatabase final : public Database {
 public:
  explicit PostgresqlDatabase(std::shared_ptr<Session> session) : session_(std::move(session)) {}

  const char* kind() const override { return "postgresql"; }

  Status Execute(const char* statement) {
    PGresult* result = session_->pq->exec(session_->connection, statement);
    const bool is_ok = session_->pq->result_status(result) == PGRES_COMMAND_OK;
    session_->pq->clear(result);
    if (!is_ok) return session_->QueryFailure("cannot begin to read");
    return {};
  }

  Result<std::vector<Column>> Describe(const std::string& query) override {
    const Functions& pq = *session_->pq;
    PGresult* prepared = pq.prepare(session_->connection, kStatement, query.c_str(), 0, nullptr);
    bool is_ok = pq.result_status(prepared) == PGRES_COMMAND_OK;
    pq.clear(prepared);
    if (!is_ok) return session_->QueryFailure("the query is refused");
    PGresult* described = pq.describe(session_->connection, kStatement);
    is_ok = pq.result_status(described) == PGRES_COMMAND_OK;
    std::vector<Column> columns;
    for (int i = 0; is_ok && i < pq.field_count(described); ++i) {
      columns.push_back({pq.field_name(described, i), TypeOf(pq.field_type(described, i))});
    }
    pq.clear(described);
    if (!is_ok) return session_->QueryFailure("the query is refused");
    if (columns.empty()) return GivesNoRows(session_->url.shown);
    return columns;
  }

  Result<std::unique_ptr<Rows>> Run(const std::string&) override {
    const Functions& pq = *session_->pq;
    if (pq.send(session_->connection, kStatement, 0, nullptr, nullptr, nullptr, 0) != 1 ||
        pq.set_single_row(session_->connection) != 1) {
      return session_->QueryFailure("the query cannot be sent");
    }
    return std::unique_ptr<Rows>(std::make_unique<PostgresqlRows>(session_));
  }

 private:
  std::shared_ptr<Session> session_;
};

// libpq's own names of what a URL says; it reads what is left out from its
// environment, PGPASSWORD and ~/.pgpass among them.
Result<std::map<std::string, std::string>> Keywords(const Url& url) {
  std::map<std::string, std::string> keywords = url.parameters;
  keywords.erase("query");
  for (const auto& [name, value] : keywords) {
    // The rest of what libpq knows would change what is read, or where from.
    constexpr const char* kKnown[] = {"host",
                                      "connect_timeout",
                                      "sslmode",
                                      "sslrootcert",
                                      "sslcert",
                                      "sslkey",
                                      "passfile",
                                      "service",
                                      "options",
                                      "gssencmode",
                                      "target_session_attrs"};
    if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown)) {
      return Error{ErrorCode::kUnsupported,
                   url.shown + ": unknown parameter " + name +
                       (name == "password" || name == "user"
                            ? "; it goes before the host: postgresql://user:password@host/database"
                            : "; known are query, host, sslmode, sslrootcert, connect_timeout")};
    }
  }
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) keywords.emplace(name, value);
  };
  add("host", url.host);
  add("port", url.port);
  add("user", url.user);
  add("password", url.password);
  add("dbname", url.path);
  add("connect_timeout", kConnectSeconds);
  add("application_name", "dnc");
  add("client_encoding", "UTF8");
  return keywords;
}

Result<std::shared_ptr<Session>> Connect(const Url& url) {
  auto session = std::make_shared<Session>();
  DNC_ASSIGN(session->pq, LoadFunctions());
  session->url = url;
  DNC_ASSIGN(const auto keywords, Keywords(url));
  std::vector<const char*> names;
  std::vector<const char*> values;
  for (const auto& [name, value] : keywords) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  session->connection = session->pq->connect(names.data(), values.data(), 0);
  if (session->connection == nullptr) {
    return Error{ErrorCode::kResourceExhausted, url.shown + ": no memory"};
  }
  if (session->pq->status(session->connection) != CONNECTION_OK) {
    const std::string reason = session->pq->error_message(session->connection);
    const auto has = [&](const char* part) { return reason.find(part) != std::string::npos; };
    ErrorCode code = ErrorCode::kUnavailable;
    if (has("password") || has("authentication")) code = ErrorCode::kUnauthenticated;
    if (has("does not exist")) code = ErrorCode::kNotFound;
    return session->Failure(code, "cannot connect");
  }
  return session;
}

}  // namespace

Result<std::shared_ptr<Database>> OpenPostgresql(const Url& url) {
  DNC_ASSIGN(auto session, Connect(url));
  auto database = std::make_shared<PostgresqlDatabase>(session);
  // Rows in one order: scans that join others' begin anywhere, workers race.
  for (const char* statement :
       {"SET datestyle TO 'ISO, YMD'", "SET timezone TO 'UTC'", "SET extra_float_digits TO 1",
        "SET synchronize_seqscans TO off", "SET max_parallel_workers_per_gather TO 0",
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}) {
    DNC_TRY(database->Execute(statement));
  }
  return std::shared_ptr<Database>(std::move(database));
}

}  // namespace dnc::sql
