"""Streaming a dataset in a fixed amount of memory and disk."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import os
from typing import TYPE_CHECKING, Any, Iterator, Mapping, NamedTuple, Sequence

from ._dataset import Location, open_dataset
from ._manifest import Column, Manifest, location_of, store_options_of
from ._progress import make_bar
from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from . import _native

_STATE_FORMAT = "dividenconquer stream"


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What a stream did so far. Sizes in bytes, times in seconds."""

    samples: int = 0  #: Handed out, repeated ones included.
    samples_repeated: int = 0  #: Because the next were not there (``reuse``).
    fetched_bytes: int = 0  #: Read from the store.
    cache_bytes: int = 0  #: Read from the disk cache.
    decoded_bytes: int = 0  #: Of samples, decoded.
    leaves_rejected: int = 0  #: Pieces of 1 MiB that were wrong or missing at one mirror.
    memory_peak_bytes: int = 0
    disk_bytes: int = 0  #: Of the cache, now.
    waited_seconds: float = 0.0  #: Time that the consumer waited for data.
    elapsed_seconds: float = 0.0

    @property
    def samples_per_second(self) -> float:
        return self.samples / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0

    @property
    def waiting_share(self) -> float:
        """Of the time since the stream was opened, 0 to 1."""
        return self.waited_seconds / self.elapsed_seconds if self.elapsed_seconds > 0 else 0.0


class Forecast(NamedTuple):
    """What an epoch will cost. Sizes in bytes, times in seconds."""

    epoch_bytes: int
    later_epoch_bytes: int
    link_bytes_per_second: float
    link_samples_per_second: float
    epoch_download_seconds: float
    waiting_share: float
    text: str


def stream(
    location: Location,
    *,
    batch_size: int = 256,
    columns: Sequence[str] | None = None,
    split: str = "train",
    epochs: int | None = 1,
    shuffle: bool = True,
    seed: int = 0,
    memory: int | str = "64MiB",
    disk: int | str = "256MiB",
    cache: str | os.PathLike[str] | None = None,
    rank: int = 0,
    world_size: int = 1,
    resize: tuple[int, int] | None = None,
    drop_last: bool = False,
    state: Mapping[str, Any] | None = None,
    store: Mapping[str, Any] | None = None,
    progress: bool = False,
    **options: Any,
) -> Stream:
    """Opens a stream of batches: ``for x, y in dnc.stream("./shards", batch_size=256): ...``

    Shards are fetched ahead, checked against the manifest's hashes and decoded by threads
    of their own; the order is a function of (data, split, seed, epoch, memory) alone, and
    the same for any number of workers.

    location: a folder, the path of a manifest, a URL, or a `Manifest`.
    batch_size: samples of a batch; the last one of an epoch may be shorter (drop_last
        leaves it out).
    columns: names of the columns to give, in this order; all by default. Each batch is a
        named tuple with a field a column: an array of shape (samples, *column.shape) for
        a column of arrays; a list of bytes (or str, of texts) for others. It is a dict
        where a name is no identifier.
    epochs: passes over the split; None: without end. Batches do not cross epochs.
    shuffle: False gives the order in which the samples were divided.
    memory, disk: budgets in bytes, or as text. What is in them: two windows of samples,
        pieces under way, two batches; and the cache on disk of what was downloaded.
    cache: folder where the cache stays from one run to the next; gone with the process
        by default.
    rank, world_size: this is worker `rank` of `world_size` that share each epoch.
    resize: (width, height): images become uint8 arrays (height, width, 3).
    state: go on from a `Stream.state_dict()`; split, shuffle and seed are taken from it.
    store: options of the store, see `upload`.
    progress: show a bar of samples, with their rate and the time left (tqdm's, also in
        notebooks, where it is installed).
    options: further ones: first_epoch (0), window_samples, lanes, connections,
        decode_threads, reuse.

    Raises NotFoundError, InvalidArgumentError (a budget below the minimum, with the
    arithmetic), StaleError (`state` is of other data), UnavailableError.
    """
    return Stream(
        location, batch_size=batch_size, columns=columns, split=split, epochs=epochs,
        shuffle=shuffle, seed=seed, memory=memory, disk=disk, cache=cache, rank=rank,
        world_size=world_size, resize=resize, drop_last=drop_last, state=state, store=store,
        progress=progress, **options)


class Stream:
    """An iterator over batches; see `stream` for its arguments.

    When it is at its end, the next ``for`` loop over it goes on with as many epochs
    again, in other orders: ``for epoch in range(3): for x, y in batches: ...`` with the
    default epochs=1 is the same as epochs=3.

    An array of a batch shows the memory that the batch was gathered into; no copy is
    made. Memory is used again only when nothing refers to it any more, so batches may
    be kept for as long as they are wanted.
    """

    def __init__(
        self, location: Location, *, batch_size: int = 256, columns: Sequence[str] | None = None,
        epochs: int | None = 1, drop_last: bool = False, state: Mapping[str, Any] | None = None,
        store: Mapping[str, Any] | None = None, cache: str | os.PathLike[str] | None = None,
        first_epoch: int = 0, progress: bool = False, dataset: _native.Dataset | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InvalidArgumentError(f"batch_size={batch_size!r}; expected at least 1")
        if epochs is not None and (not isinstance(epochs, int) or epochs < 1):
            raise InvalidArgumentError(
                f"epochs={epochs!r}; expected at least 1, or None for a stream without end")
        self.batch_size = batch_size
        self.location = location_of(location)
        self._dataset = dataset or open_dataset(location, store)
        self._store_options = store_options_of(location, store)
        self._names = list(columns or ())
        self._epochs = epochs
        # Where it ends: after the loops before, too.
        self._epochs_total = None if epochs is None else first_epoch + epochs
        self._drop_last = drop_last
        self._options = {"batches_held": 2, **options, "batch_size": batch_size,
                         "first_epoch": first_epoch,
                         "cache": None if cache is None else os.fspath(cache)}
        self._manifest: Manifest | None = None
        if options.get("resize") is not None:
            self._check_resize(options["resize"])
        self._native: _native.BatchStream | None = None
        self._ended = False
        self._progress = progress
        self._bar: Any = None
        if state is None:
            self._open(None)
        else:
            self.load_state_dict(state)

    def _check_resize(self, resize: Any) -> None:
        columns = self.manifest.columns
        if not any(column.kind == "image" for column in columns):
            have = ", ".join(f"{column.name} {column.type_text}" for column in columns)
            raise InvalidArgumentError(
                f"resize={resize}: {self.location} has no column of images; it has {have}")

    def _open(self, position: str | None) -> None:
        from . import _native

        options = dict(self._options, epochs=self._epochs_total or 0, position=position)
        if self._native is not None:
            self._native.close()  # Two at a time would be above the budget.
        self._native = _native.BatchStream(self._dataset, options, self._names)
        self._columns = tuple(Column(**column) for column in self._native.columns())
        self._make = _batch_maker([column.name for column in self._columns])
        self._plan = self._native.plan()
        self._ended = False

    def __iter__(self) -> Stream:
        if self._ended and self._epochs is not None:
            self._epochs_total = self.epoch + self._epochs
            self._open(self._open_native().position())
        if self._progress and self._bar is None:
            self._bar = self._make_bar()
        return self

    def __next__(self) -> Any:
        """The next batch. Waits for data without the interpreter's lock (GIL), so other
        threads go on; Ctrl-C ends the wait."""
        native = self._open_native()
        while True:
            parts = native.next(self.batch_size)
            if parts is None:
                self._ended = True
                self._close_bar()
                raise StopIteration
            if self._bar is not None:
                self._bar.update(len(parts[0]))
            if not self._drop_last or len(parts[0]) == self.batch_size:
                return self._make(parts)

    def next_columns(self, samples: int) -> dict[str, Any] | None:
        """The next `samples` samples (fewer only at the end of an epoch) by the names of
        their columns, whatever the batch size; None at the end."""
        parts = self._open_native().next(samples)
        if parts is None:
            self._ended = True
            return None
        return dict(zip((column.name for column in self._columns), parts))

    def __len__(self) -> int:
        """Batches of one loop: batches_per_epoch times epochs. TypeError if it has no end."""
        if self._epochs is None:
            raise TypeError("a stream with epochs=None has no end, and so no len()")
        return self.batches_per_epoch * self._epochs

    @property
    def samples_per_epoch(self) -> int:
        """Of this worker."""
        return self._plan["worker_samples"]

    @property
    def batches_per_epoch(self) -> int:
        """Of this worker."""
        full, rest = divmod(self.samples_per_epoch, self.batch_size)
        return full + (1 if rest and not self._drop_last else 0)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a batch, in their order."""
        return self._columns

    @property
    def manifest(self) -> Manifest:
        """The dataset's manifest."""
        if self._manifest is None:
            self._manifest = Manifest.from_dict(
                self._dataset.manifest(), self.location, self._store_options)
        return self._manifest

    @property
    def plan(self) -> dict[str, Any]:
        """How the budget is used: window_samples, memory_needed_bytes, memory_text (the
        arithmetic), epoch_samples (of all workers), worker_samples, lanes."""
        return dict(self._plan)

    @property
    def epoch(self) -> int:
        """The epoch of the next sample, from 0."""
        position = self._position()
        at_end = position["samples_consumed"] >= self._plan["epoch_samples"]
        return int(position["epoch"]) + (1 if at_end else 0)

    @property
    def statistics(self) -> Statistics:
        """What was done since the stream was opened or resumed."""
        return Statistics(**self._open_native().statistics())

    def forecast(self, samples_per_second: float = 0.0) -> Forecast:
        """Measures the link by the first bytes, and says what an epoch will cost if
        training takes that many samples a second (0: as measured so far)."""
        return Forecast(**self._open_native().foresee(samples_per_second))

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: after the last sample of the last batch. It is a small
        dict that JSON can hold; any process with the same data can go on from it, with
        another budget, batch size or number of workers."""
        return {"format": _STATE_FORMAT, "version": 1, "position": self._position()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state_dict()`: the next sample is the one that came next there.

        Raises InvalidArgumentError if it is none; StaleError if it is of other data.
        """
        if not isinstance(state, Mapping) or state.get("format") != _STATE_FORMAT:
            raise InvalidArgumentError("the state is none that Stream.state_dict() gave")
        self._open(json.dumps(state["position"]))

    def close(self) -> None:
        """Stops fetching and gives memory and disk back; batches stay valid."""
        self._close_bar()
        if self._native is not None:
            self._native.close()
            self._native = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        what = ", ".join(f"{column.name}: {column.type_text}" for column in self._columns)
        return f"<Stream of {self.location}: {what}; batches of {self.batch_size:,}>"

    def _make_bar(self) -> Any:
        position = self._position()
        epoch = self.samples_per_epoch
        workers = self._plan["epoch_samples"] / max(epoch, 1)
        done = epoch * int(position["epoch"]) + int(position["samples_consumed"] / workers)
        total = None if self._epochs_total is None else epoch * self._epochs_total
        return make_bar(total, "stream", "samples", initial=done)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _open_native(self) -> _native.BatchStream:
        if self._native is None:
            raise InvalidArgumentError("the stream is closed")
        return self._native

    def _position(self) -> dict[str, Any]:
        return json.loads(self._open_native().position())


@functools.lru_cache(maxsize=None)
def _batch_class(names: tuple[str, ...]) -> Any:
    """A named tuple that can be pickled though it has no name in a module: processes
    (torch's DataLoader workers) hand batches to each other."""
    plain = collections.namedtuple("Batch", names)  # type: ignore[misc]
    return type("Batch", (plain,), {
        "__slots__": (), "__module__": __name__,
        "__reduce__": lambda batch: (_restored_batch, (names, tuple(batch)))})


def _restored_batch(names: tuple[str, ...], parts: tuple[Any, ...]) -> Any:
    return _batch_class(names)._make(parts)


def _batch_maker(names: list[str]) -> Any:
    """parts -> a named tuple, or a dict where a name cannot be a field."""
    try:
        return _batch_class(tuple(names))._make
    except ValueError:
        return lambda parts: dict(zip(names, parts))
