"""Dividing: files, arrays, tables and generators become shards at a location."""

from __future__ import annotations

import os
from typing import Any, Mapping, Union

from ._arrays import ObjectSource, source_of
from ._manifest import Manifest, location_of
from ._progress import divide_progress
from .errors import InvalidArgumentError


def upload(
    source: Any,
    to: Union[str, os.PathLike[str]],
    *,
    label: str | int | None = None,
    batches: int | None = None,
    name: str | None = None,
    split: str | Mapping[str, float] | None = None,
    progress: bool = True,
    store: Mapping[str, Any] | None = None,
    **options: Any,
) -> Manifest:
    """Divides `source` into shards at `to`, with a manifest of exact statistics.

    Memory stays bounded by a few blocks of 1 MiB, whatever the size of the source; what
    is stored is whole or not there at all.

    source: one of
        a path: npy, npz, csv, idx, a folder of images, ... (all that `dnc divide` takes);
        a NumPy array, or anything that has a shape and a dtype and can be sliced (a memory
        map, an HDF5 dataset): the samples along its first axis become column "x";
        a pair (X, y): columns "x" and "y"; texts in y become classes;
        a dict of columns: arrays, or lists of str or bytes, of one length;
        a pandas DataFrame: its columns become the features of "x" but for `label`;
        an iterator over batches, each a pair (X, y), an array or a dict as above.
    to: a location to write to: a folder, or s3://bucket/prefix, ipfs://.
    label: the column that is the label, by name; or by index from 0 (for a csv "#0").
    batches: so many shards of equal numbers of samples in each split, for
        `download_first`; else shards have `shard_bytes`.
    split: {"train": 0.9, "test": 0.1} or "train=0.9,test=0.1"; all is "train" by default.
    progress: show a progress bar.
    store: options of the store: up and down (bytes a second), connections, proxy,
        s3_endpoint, s3_region, s3_anonymous, s3_path_style, ipfs_gateways, ipfs_api.
    options: further options of `dnc divide`, with _ for -: labels (a file), description,
        shard_bytes ("16MiB"), seed, compression ("balanced", "smallest", "fast", "none"),
        level (of zstd, 1 to 19), threads, overwrite; and for a path: resize and crop
        ((width, height)), grayscale, features ("hog", or "hog:orientations=9,..."),
        standardise (x has mean 0 and deviation 1 over the first split), raw (any file or
        folder as bytes, see `fetch`), part ("2/8"), skip_bad, and so on.

    Returns the manifest.
    Raises InvalidArgumentError, NotFoundError (no such file), AlreadyExistsError (`to`
    holds a dataset; overwrite=True replaces it), ResourceExhaustedError (the disk is full).
    """
    from . import _native

    location = location_of(to)
    if batches is not None and (not isinstance(batches, int) or batches < 1):
        raise InvalidArgumentError(f"batches={batches!r}; expected a number of at least 1")
    options.update(batches=batches, split=_split_text(split))
    store_options = dict(store or {})
    with divide_progress("upload", progress) as report:
        if isinstance(source, (str, os.PathLike)):
            path = os.fspath(source)
            options.setdefault("parameters", {"source": os.path.basename(path.rstrip("/"))})
            options["name"] = name or _name_of(path)
            options["label"] = f"#{label}" if isinstance(label, int) else label
            done = _native.divide_path(path, location, options, store_options, report)
        else:
            objects: ObjectSource = source_of(source, label)
            options["name"] = name or "dataset"
            done = _native.divide_objects(
                objects.columns, objects.read, objects.sample_count, objects.description,
                location, options, store_options, report)
    return Manifest.from_dict(done["manifest"], location, store_options)


def _split_text(split: str | Mapping[str, float] | None) -> str | None:
    if split is None or isinstance(split, str):
        return split
    return ",".join(f"{name}={fraction!r}" for name, fraction in split.items())


def _name_of(path: str) -> str:
    base = os.path.basename(os.path.normpath(path))
    stem = base[: base.find(".", 1)] if base.find(".", 1) > 0 else base
    return stem if stem not in ("", ".", "..") else "dataset"
