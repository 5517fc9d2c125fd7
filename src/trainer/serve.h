// The child's side of the protocol: answers one parent's messages with an Engine
// until the socket closes.

#pragma once

#include <functional>

#include "trainer/engine.h"
#include "trainer/protocol.h"

namespace dnc::trainer {

struct ServeOptions {
  // Called once, after the parent's hello and before anything that a stranger wrote
  // is read: sets up threads and the box. Null: nothing to do.
  std::function<Status(const Hello& hello)> prepare;
};

// Prepares a process that serves: it ignores SIGINT, since the parent decides when
// work ends, and dies with its parent.
void BecomeTrainerChild();

// Serves until the other end closes. Returns OK then.
// Errors: kUnsupported, another version of the protocol; kCorrupt, a message that
// breaks it; those of `prepare`. The parent is told before it returns.
Status ServeEngine(UniqueFd socket, Engine* engine, const ServeOptions& options);

}  // namespace dnc::trainer
