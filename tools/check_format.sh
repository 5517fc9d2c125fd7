#!/usr/bin/env bash
# Fails, naming the places, if a C++ file is not as clang-format would write it.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files --cached --others --exclude-standard '*.h' '*.cc' |
  xargs -P2 -n16 clang-format-14 --dry-run --Werror
