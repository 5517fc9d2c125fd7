#!/usr/bin/env python3
"""House rules that a compiler does not check; runs as a test.

    tools/tidy.py              check every file that git tracks (or would track)
    tools/tidy.py FILE...      check these

Prints one line a finding, `file:line: what`, and exits with 1 if there is any.
The rules: columns, lengths of functions and files, which room includes which
(tools/layers.toml), calls that are not used here, left-overs, large blobs.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLUMNS_MAX = 100
FILE_LINES_MAX = 700
FUNCTION_LINES_MAX = 90
BLOB_BYTES_MAX = 256 * 1024

# Rooms whose result must repeat: (pattern, what to use instead).
PURE_ROOMS = {"sched", "agent"}
BANNED_IN_PURE = [
    (r"\bunordered_(map|set)\b", "std::map or a sorted vector"),
    (r"\b(float|double)\b", "integers"),
    (r"\b(WallNow|MonotonicNow)\b|<chrono>", "the `now` that is passed in"),
    (r"\bgetenv\b|<thread>|<mutex>|<fstream>", "nothing: pure code has no environment"),
]
BANNED = [
    (r"\bstd::(uniform|normal|bernoulli)\w*_distribution\b", "base/prng.h"),
    (r"\bstd::(rand|srand|random_device|mt19937(_64)?)\b", "base/prng.h"),
    (r"\b(strcpy|strcat|sprintf|gets|atoi|atof|strtok|tmpnam|alloca)\s*\(", "a bounded call"),
    (r"^\s*(#include <cassert>|assert\()", "DNC_ASSERT"),
    (r"\busing namespace (?!.*literals)", "names, or a namespace alias"),
    (r"^\s*throw\b", "Result and Status"),
    (r"\bstd::endl\b", r"'\\n'"),
]
LEFTOVER = re.compile("FIX" + r"ME|\bXX" + r"X\b|\bHA" + r"CK\b|\bTO" + r"DO\b|not implem" + "ented")


def layers():
    table = {}
    with open(os.path.join(ROOT, "tools", "layers.toml")) as file:
        for line in file:
            match = re.match(r'([a-z_]+)\s*=\s*\[(.*)\]', line)
            if match:
                table[match.group(1)] = set(re.findall(r'"([a-z_]+)"', match.group(2)))
    return table


def tracked_files():
    out = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True).stdout
    return sorted({name for name in out.decode().split("\0") if name})


def strip_code(line):
    """The line without strings and // comments, so that braces and names count."""
    line = re.sub(r"\"(\\.|[^\"\\])*\"|'(\\.|[^'\\])'", '""', line)
    return line.split("//", 1)[0]


def function_lengths(lines):
    """(first line, length) of each block that opens at namespace level and is a function.

    clang-format keeps such a block's closing brace in column 0 (or, in a class, indented as
    its head), so a head that ends in `{` and holds `(` is enough to find it.
    """
    head = None
    for number, line in enumerate(lines, 1):
        if head is None:
            opens = re.match(r"(\s*)\S.*[)\w>]\s*(const|noexcept|override|final|\s)*\{$", line)
            code = strip_code(line)
            if opens and "(" in code or (opens and re.match(r"\s*[^=]*\)\s.*\{$", code)):
                if not re.match(r"\s*(namespace|class|struct|enum|union|extern|if|for|while|"
                                r"switch|else|do|return|case|\})\b", line):
                    head = (number, len(opens.group(1)))
        elif re.match(r"\s{%d}\}" % head[1], line):
            yield head[0], number - head[0] + 1
            head = None


def check_source(name, text, table, report):
    lines = text.split("\n")
    if len(lines) > FILE_LINES_MAX + 1:
        report(name, len(lines), f"{len(lines)} lines; at most {FILE_LINES_MAX}")
    room = name.split("/")[1] if name.startswith("src/") else None
    # Headers of test data say so in their names: shard_test_data.h, trainers_for_test.h.
    is_test = name.endswith("_test.cc") or "_test_" in name or "_for_test" in name
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            report(name, number, f"{len(line)} columns; at most {COLUMNS_MAX}")
        code = line.split("//", 1)[0]
        rules = BANNED + (BANNED_IN_PURE if room in PURE_ROOMS and not is_test else [])
        for pattern, instead in rules:
            if re.search(pattern, code):
                report(name, number, f"`{code.strip()[:50]}` is not used here; use {instead}")
        include = re.match(r'#include "([a-z_0-9]+)/', line)
        if include and room:
            target = include.group(1)
            allowed = table.get(room, set()) | {room} | ({"testing"} if is_test else set())
            if target not in table:
                report(name, number, f"{target} is not a room of tools/layers.toml")
            elif target not in allowed:
                report(name, number, f"{room} may not include {target} (tools/layers.toml)")
    for first, length in function_lengths(lines):
        if length > FUNCTION_LINES_MAX:
            report(name, first, f"a function of {length} lines; at most {FUNCTION_LINES_MAX}")
    if name.endswith(".h") and "#pragma once" not in text:
        report(name, 1, "no #pragma once")


def main(arguments):
    table = layers()
    findings = []

    def report(name, line, what):
        findings.append(f"{name}:{line}: {what}")

    for room in table:
        for dependency in table[room]:
            if list(table).index(dependency) >= list(table).index(room):
                report("tools/layers.toml", 1, f"{room} lists {dependency}, which is not lower")
    names = arguments or tracked_files()
    for name in names:
        path = os.path.join(ROOT, name)
        if not os.path.isfile(path):
            continue
        if os.path.getsize(path) > BLOB_BYTES_MAX:
            report(name, 1, f"{os.path.getsize(path)} bytes; at most {BLOB_BYTES_MAX}")
            continue
        with open(path, "rb") as file:
            data = file.read()
        if b"\0" in data:
            continue
        text = data.decode("utf-8", errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            if LEFTOVER.search(line):
                report(name, number, f"left over: {line.strip()[:60]}")
        if name.startswith(("src/", "bench/", "fuzz/")) and name.endswith((".h", ".cc")):
            check_source(name, text, table, report)
    for finding in findings:
        print(finding)
    print(f"tidy: {len(names)} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
