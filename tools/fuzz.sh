#!/usr/bin/env bash
# Builds the libFuzzer targets and runs each for a while:
#
#     tools/fuzz.sh [SECONDS_PER_TARGET] [TARGET...]     # 20 seconds, every target
#
# What a target learns stays in build/fuzz/corpus/<target>; it starts from
# fuzz/corpus/<target>. A finding is kept in build/fuzz/findings, printed, and makes
# this exit with 1 once all targets have run.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
shift || true

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for file in fuzz/*_fuzz.cc; do
    targets+=("$(basename "$file" .cc)")
  done
fi

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target "${targets[@]}"

mkdir -p build/fuzz/findings
failed=()
for target in "${targets[@]}"; do
  corpus=build/fuzz/corpus/$target
  mkdir -p "$corpus"
  seeds=()
  if [ -d "fuzz/corpus/$target" ]; then
    seeds=("fuzz/corpus/$target")
  fi
  log=build/fuzz/findings/$target.log
  # Memory and time a run are limits of the target, so that exceeding them is a finding.
  if build/fuzz/targets/"$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
      -max_len=65536 -artifact_prefix=build/fuzz/findings/"$target"- -print_final_stats=1 \
      "$corpus" "${seeds[@]}" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$target: no finding in $runs runs"
  else
    failed+=("$target")
    echo "$target: a finding; the end of $log:"
    tail -n 40 "$log"
  fi
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "findings in: ${failed[*]}"
  exit 1
fi
