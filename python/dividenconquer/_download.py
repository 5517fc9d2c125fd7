"""A dataset batch by batch, each batch one shard, in the order in which it was divided."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

from ._dataset import Location, open_dataset
from ._manifest import Manifest, location_of, store_options_of
from ._stream import Statistics, Stream
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np

# Pieces in which a shard is gathered into its arrays.
_PIECE_SAMPLES = 1024


class Batch:
    """The samples of one shard, as `upload` made it with ``batches=``.

    x, y: the columns of that name. Arrays of shape (len(batch), *column.shape), which are
        the memory that was read into, writable, and the caller's to keep; or lists of
        bytes or str. None if there is no such column.
    index, count: this is batch `index` (from 0) of `count`.
    ``x, y = batch`` works too; ``batch["name"]`` is any column.
    """

    def __init__(self, columns: Mapping[str, Any], index: int, count: int,
                 manifest: Manifest, split: str) -> None:
        self.columns = columns
        self.index = index
        self.count = count
        self.manifest = manifest
        self.split = split

    @property
    def x(self) -> Any:
        return self.columns.get("x")

    @property
    def y(self) -> Any:
        return self.columns.get("y")

    @property
    def classes(self) -> np.ndarray | None:
        """All labels of the whole dataset, ascending: for ``partial_fit(classes=...)``."""
        return self.manifest.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels, where they have names."""
        return self.manifest.class_names

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.columns.values())

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __repr__(self) -> str:
        return f"<Batch {self.index} of {self.count}: {len(self):,} samples of {self.split!r}>"


class Download:
    """Takes a dataset's batches one after another, in memory that does not grow.

    While one batch is used, the next is on its way: fetched, checked and decoded ahead
    within `memory`. A batch that nobody holds any more is gone; the dataset at `location`
    is never touched.

        for batch in dnc.Download("s3://bucket/pima"):
            model.partial_fit(batch.x, batch.y, classes=batch.classes)

    location, split, columns, resize, store: as for `stream`.
    batch: index of the first batch to take, to go on where another process was.
    memory, disk: budgets of what is fetched ahead; the batch in hand comes on top.
    """

    def __init__(
        self, location: Location, *, batch: int = 0, split: str = "train",
        columns: Sequence[str] | None = None, memory: int | str = "64MiB",
        disk: int | str = 0, resize: tuple[int, int] | None = None,
        store: Mapping[str, Any] | None = None, **options: Any,
    ) -> None:
        if not isinstance(batch, int) or batch < 0:
            raise InvalidArgumentError(f"batch={batch!r}; expected the index of a batch, from 0")
        dataset = open_dataset(location, store)
        self.manifest = Manifest.from_dict(
            dataset.manifest(), location_of(location), store_options_of(location, store))
        self.split = split
        self._sizes = [s.samples for s in self.manifest.shards if s.split == split]
        self._index = batch
        self._statistics = Statistics()
        self._stream: Stream | None = None
        dataset = dataset.rest(split, batch)
        if batch < len(self._sizes):
            self._stream = Stream(
                location, dataset=dataset, batch_size=_PIECE_SAMPLES, columns=columns,
                split=split, memory=memory, disk=disk, resize=resize, shuffle=False,
                batches_held=1, **options)

    def next(self) -> Batch | None:
        """The next batch, or None after the last. Waits for it without the GIL.

        Raises CorruptError, UnavailableError, ...
        """
        if self._stream is None or self._index == len(self._sizes):
            self.close()
            return None
        columns = self._stream.next_columns(self._sizes[self._index]) or {}
        self._index += 1
        return Batch(columns, self._index - 1, len(self._sizes), self.manifest, self.split)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = self.next()
        if batch is None:
            raise StopIteration
        return batch

    def __len__(self) -> int:
        """Batches of the split."""
        return len(self._sizes)

    @property
    def statistics(self) -> Statistics:
        """What was done since the download began."""
        return self._statistics if self._stream is None else self._stream.statistics

    def close(self) -> None:
        """Stops fetching and gives the memory back; batches in hand stay valid."""
        if self._stream is not None:
            self._statistics = self._stream.statistics
            self._stream.close()
            self._stream = None

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_current: Download | None = None


def download_first(location: str | os.PathLike[str] | Manifest, batch: int = 0,
                   **options: Any) -> Batch | None:
    """The first batch of a dataset; the next is on its way when this returns.

    location: as for `stream`. batch: start with that one (from 0) instead.
    options: as for `Download`: split, columns, memory, disk, resize, store.

    One download is current at a time in a process, and `download_next` goes on with it;
    use `Download` for several.
    """
    global _current
    if _current is not None:
        _current.close()
    _current = Download(location, batch=batch, **options)
    return _current.next()


def download_next() -> Batch | None:
    """The next batch of the download that `download_first` began; None after the last.

    The memory of the batch before is used again once nothing refers to it.
    """
    if _current is None:
        raise InvalidArgumentError("there is no current download; call download_first() first")
    return _current.next()
