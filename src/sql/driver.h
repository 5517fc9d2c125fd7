// What the readers of several databases share. Only this room includes it.

#pragma once

#include <dlfcn.h>

#include <string>

#include "base/result.h"
#include "sql/database.h"

namespace dnc::sql {

// A shared library that stays loaded until the process ends.
class Driver {
 public:
  // Errors: kUnsupported, it is not installed; `package` is Debian's.
  static Result<Driver> Load(const char* file, const char* package) {
    void* library = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library != nullptr) return Driver(library);
    return Error{ErrorCode::kUnsupported, std::string("the client library ") + file +
                                              " cannot be loaded; install it (apt install " +
                                              package + ")"};
  }
  // Sets `function` to the library's function of that name; null if there is none.
  template <typename Function>
  void Find(const char* name, Function* function) const {
    *function = reinterpret_cast<Function>(::dlsym(library_, name));
  }

 private:
  explicit Driver(void* library) : library_(library) {}
  void* library_;
};

inline Error GivesNoRows(const std::string& name) {
  return {ErrorCode::kInvalidArgument, name + ": the query gives no rows; give one SELECT"};
}

inline Error FieldTooLarge(const std::string& name, const std::string& column, std::size_t bytes) {
  return {ErrorCode::kTooLarge, name + ": column \"" + column + "\" has a value of " +
                                    std::to_string(bytes) + " bytes; at most 16 MiB are taken"};
}

Result<std::shared_ptr<Database>> OpenPostgresql(const Url& url);
Result<std::shared_ptr<Database>> OpenMysql(const Url& url);

}  // namespace dnc::sql
