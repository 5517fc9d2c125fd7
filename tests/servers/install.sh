#!/usr/bin/env bash
# Builds the servers that Debian does not have, for the tests of stores, with the Go
# toolchain out of its module proxy: versitygw (S3 over a folder) and Kubo (IPFS). They go
# to $DNC_SERVERS, or ~/.cache/dnc-servers, where the tests look; a test whose server is
# not there is skipped and says so. Run again, it does nothing.
#
# A person runs one of them by hand, on loopback, like this:
#   mkdir -p /tmp/s3/bucket && ROOT_ACCESS_KEY=a ROOT_SECRET_KEY=b \
#     ~/.cache/dnc-servers/versitygw --port 127.0.0.1:7070 posix /tmp/s3
#   IPFS_PATH=/tmp/ipfs ~/.cache/dnc-servers/ipfs init --profile=unixfs-v1-2025,test
#   IPFS_PATH=/tmp/ipfs ~/.cache/dnc-servers/ipfs daemon --offline
set -euo pipefail
folder=${DNC_SERVERS:-$HOME/.cache/dnc-servers}

build() {  # name in the folder, name of the program, package@version
  if [ -x "$folder/$1" ]; then
    return
  fi
  command -v go >/dev/null || { echo "tests/servers: no Go toolchain to build $1 with" >&2; exit 1; }
  echo "tests/servers: building $3"
  local out
  out=$(mktemp -d)
  GOBIN="$out" go install "$3"
  mkdir -p "$folder"
  mv "$out/$2" "$folder/$1"
  rmdir "$out"
}

build versitygw versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0
build ipfs ipfs github.com/ipfs/kubo/cmd/ipfs@v0.40.1
