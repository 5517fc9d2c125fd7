#!/usr/bin/env bash
# Makes a virtual environment with the loaders that the benchmarks compare with, from the
# Python registry, in ~/.cache/dnc-peers (or $DNC_PEERS). PyTorch is Debian's (CPU
# only). Nothing of the product uses it. Run again, it does nothing.
#
# `setup.sh newest` makes the one of the newest PyTorch instead, in ~/.cache/dnc-peers-newest
# (or $DNC_PEERS_NEWEST), for the comparison of training speed. The registry has it with CUDA
# only, 5 GB, which is not used.
set -euo pipefail
if [ "${1:-}" = newest ]; then
  venv=${DNC_PEERS_NEWEST:-$HOME/.cache/dnc-peers-newest}
  if "$venv/bin/python" -c 'import torch' 2>/dev/null; then exit 0; fi
  /usr/bin/python3 -m venv "$venv"
  "$venv/bin/python" -m pip --quiet --disable-pip-version-check install torch numpy
  exit 0
fi
venv=${DNC_PEERS:-$HOME/.cache/dnc-peers}
python=/usr/bin/python3

if "$venv/bin/python" -c 'import streaming, webdataset, datasets, torch' 2>/dev/null; then
  exit 0
fi
if ! "$python" -c 'import torch, torchvision' 2>/dev/null; then
  echo "bench/peers: no PyTorch for $python: apt-get install --no-install-recommends python3-torch python3-torchvision" >&2
  exit 1
fi
"$python" -m venv --system-site-packages "$venv"
pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check install "$@"; }
# Without its dependencies, which are PyTorch with CUDA and clients of clouds.
pip --no-deps mosaicml-streaming==0.13.0
pip 'numpy<2' 'webdataset==1.0.2' 'datasets<5' 'pyarrow<20' 'transformers<5' 'xxhash<4' 'Brotli>=1.0.9' \
  'python-snappy<1' 'zstd<2' 'boto3<2' 'catalogue>=2,<3' aiohttp
"$venv/bin/python" -c 'import streaming, webdataset, datasets, torch'
