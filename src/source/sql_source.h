// The rows of a query on a database, as a table (table_source.h): columns have the
// database's names and types, NULL is the missing value.
//
// A query without ORDER BY gives rows in any order that the database likes: for the
// same shards each time, it must have one.

#pragma once

#include <memory>
#include <string>

#include "source/input.h"
#include "source/sample_source.h"

namespace dnc::source {

inline constexpr std::size_t kQueryBytesMax = 1 << 20;

bool IsSqlite(ByteSpan start);
bool IsDatabaseUrl(const std::string& location);

// A SQLite file: options.query, or all of the table options.variable, or of the only
// table there is. The file is opened by its name.
// Errors: kInvalidArgument, no query and several tables (all are listed); those of
// sql::Database and OpenTable.
Result<std::unique_ptr<SampleSource>> OpenSqliteFile(const Input& input,
                                                     const SourceOptions& options);

// sqlite:///path?query=..., postgresql://..., mysql://..., mariadb://...; the query
// is in the URL or in options.query.
// Errors: as above; kInvalidArgument, no query, or two.
Result<std::unique_ptr<SampleSource>> OpenDatabase(const std::string& location,
                                                   const SourceOptions& options);

}  // namespace dnc::source
