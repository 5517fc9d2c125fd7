#!/usr/bin/env bash
# Counts over models that Keras saved: those in ../shared/data/keras, or in keras/ of the
# folder that DNC_SHARED_DATA names (with models/ and reference/ in it).
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --build --preset release --target model_test trainer_torch_test >/dev/null
failed=0
for room in model trainer_torch; do
  # Every line is shown if a test fails.
  if output=$("build/release/tests/${room}_test" --gtest_filter='KerasFilesTest.*' 2>&1); then
    grep -E '^conformance:|SKIPPED' <<<"$output" || true
  else
    failed=1
    echo "$output"
  fi
done
exit "$failed"
