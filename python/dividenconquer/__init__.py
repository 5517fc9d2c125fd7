"""Divide a dataset into small verifiable shards, and stream it in a fixed amount of memory.

    import dividenconquer as dnc

    dnc.upload("diabetes.csv", to="./shards", label="Outcome", batches=4)

    batch = dnc.download_first("./shards")          # batch.x, batch.y: NumPy arrays
    while batch is not None:
        model.partial_fit(batch.x, batch.y, classes=batch.classes)
        batch = dnc.download_next()                 # the next one was on its way already

    for x, y in dnc.stream("./shards", batch_size=256, memory="64MiB", epochs=3):
        ...

A LOCATION is a folder, the path of a manifest, or a URL: ``./shards``,
``https://host/path``, ``s3://bucket/prefix``, ``ipfs://CID``.

Errors are subclasses of `DncError` (module `dividenconquer.errors`). Adapters are in
`dividenconquer.torch`, `dividenconquer.keras` and `dividenconquer.sklearn`; they import
their framework when they are used. Importing this package imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._dataset import cid, fetch, inspect, verify
    from ._download import Batch, Download, download_first, download_next
    from ._images import hog
    from ._manifest import Column, ColumnStatistics, Feature, FeatureStep, Manifest, Shard, Split
    from ._standardise import Standardiser
    from ._stream import Forecast, Statistics, Stream, stream
    from ._upload import upload
    from .errors import (
        AlreadyExistsError,
        CancelledError,
        CorruptError,
        DncError,
        InternalError,
        InvalidArgumentError,
        IoError,
        NotFoundError,
        PermissionDeniedError,
        ResourceExhaustedError,
        StaleError,
        TooLargeError,
        UnauthenticatedError,
        UnavailableError,
        UnsupportedError,
    )

# Where each name is: its module is imported when the name is first used.
_MODULES = {
    "._dataset": ("cid", "fetch", "inspect", "verify"),
    "._download": ("Batch", "Download", "download_first", "download_next"),
    "._images": ("hog",),
    "._manifest": (
        "Column", "ColumnStatistics", "Feature", "FeatureStep", "Manifest", "Shard", "Split",
    ),
    "._standardise": ("Standardiser",),
    "._stream": ("Forecast", "Statistics", "Stream", "stream"),
    "._upload": ("upload",),
    ".errors": (
        "AlreadyExistsError", "CancelledError", "CorruptError", "DncError", "InternalError",
        "InvalidArgumentError", "IoError", "NotFoundError", "PermissionDeniedError",
        "ResourceExhaustedError", "StaleError", "TooLargeError", "UnauthenticatedError",
        "UnavailableError", "UnsupportedError",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ("errors", "keras", "sklearn", "torch")

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name], __name__), name)
    elif name in _SUBMODULES:
        value = importlib.import_module("." + name, __name__)
    elif name == "__version__":
        value = importlib.import_module("._native", __name__).__version__
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF, *_SUBMODULES, "__version__"])
