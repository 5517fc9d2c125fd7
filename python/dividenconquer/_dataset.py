"""Looking at divided datasets, and checking and copying them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Mapping, Union

from ._manifest import Manifest, location_of, store_options_of
from ._progress import bytes_progress

if TYPE_CHECKING:
    from . import _native

Location = Union[str, "os.PathLike[str]", Manifest]


def open_dataset(location: Location, store: Mapping[str, Any] | None) -> _native.Dataset:
    """The extension's handle of a dataset: its manifest and the store of its shards."""
    from . import _native

    return _native.Dataset(location_of(location), store_options_of(location, store))


def inspect(location: Location, *, store: Mapping[str, Any] | None = None) -> Manifest:
    """Reads a dataset's manifest: columns, splits, exact statistics, shards, steps.

    location: a folder, the path of a manifest, or a URL.
    store: options of the store, see `upload`.

    Raises NotFoundError, CorruptError, UnavailableError.
    """
    dataset = open_dataset(location, store)
    return Manifest.from_dict(dataset.manifest(), location_of(location),
                              store_options_of(location, store))


def verify(location: Location, *, statistics: bool = True, progress: bool = True,
           store: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Checks a dataset from end to end: every hash, every block, every count, and (unless
    `statistics` is False) the statistics by computing them again.

    Returns what was checked: {"shards": ..., "samples": ..., "bytes": ...}.
    Raises CorruptError, naming the shard and what in it differs; NotFoundError.
    """
    dataset = open_dataset(location, store)
    with bytes_progress("verify", progress) as report:
        return dataset.verify(statistics, report)


def fetch(location: Location, to: str | os.PathLike[str], *, outside_links: bool = False,
          progress: bool = True, store: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Brings a dataset to the folder `to`, every byte checked: the files of one that was
    divided with ``raw=True``, else its shards and manifest. Called again, it goes on.

    outside_links: write symbolic links too that lead out of the folder.

    Returns what is there: {"shards": ..., "bytes": ..., "bytes_kept": ..., "files": ...};
    bytes_kept were there already.
    Raises AlreadyExistsError (`to` holds other files), CorruptError, UnavailableError.
    """
    dataset = open_dataset(location, store)
    with bytes_progress("fetch", progress) as report:
        return dataset.fetch(os.fspath(to), outside_links, report)


def cid(path: str | os.PathLike[str]) -> str:
    """The IPFS content id of a file (profile unixfs-v1-2025), as `ipfs add` computes it."""
    from . import _native

    return _native.cid(os.fspath(path))
