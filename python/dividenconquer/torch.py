"""A divided dataset as a torch ``IterableDataset``.

    from dividenconquer.torch import IterableDataset
    from torch.utils.data import DataLoader

    dataset = IterableDataset("./shards", batch_size=256)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        for x, y in DataLoader(dataset, batch_size=None, num_workers=2):
            ...

Batches come whole, hence ``batch_size=None`` for the DataLoader. Its workers, and the
processes of torch.distributed, share each epoch: every sample goes to one of them. The
stream has threads of its own, so ``num_workers=0`` is usually the fastest.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping

import numpy as np

import torch

from ._dataset import Location
from ._manifest import location_of, store_options_of
from ._stream import Stream, stream

__all__ = ["IterableDataset"]


class IterableDataset(torch.utils.data.IterableDataset):
    """Batches of tensors that share the memory of the stream's arrays, without a copy.

    location, batch_size, ...: as for `dividenconquer.stream`. memory and disk are budgets
    of this process with all its DataLoader workers together.
    rank, world_size: of torch.distributed where it is initialised, unless given.
    """

    def __init__(self, location: Location, *, batch_size: int = 256, memory: int | str = "64MiB",
                 disk: int | str = "256MiB", rank: int | None = None,
                 world_size: int | None = None, store: Mapping[str, Any] | None = None,
                 **options: Any) -> None:
        super().__init__()
        # Plain values only: a worker gets a copy of this object, and opens its own stream.
        self._location = location_of(location)
        self._store = store_options_of(location, store)
        self._memory = _bytes(memory)
        self._disk = _bytes(disk)
        self._rank = rank
        self._world_size = world_size
        self._options = dict(options, batch_size=batch_size)
        self._epoch = 0
        self._resume: Mapping[str, Any] | None = None
        self._state: Mapping[str, Any] | None = None  # Of the iteration that runs.
        self._stream: Stream | None = None

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration gives, from 0; each has an order of its own.
        Without it an iteration in this process goes on to the next epoch."""
        self._epoch = epoch
        self._resume = self._state = None

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        workers = 1 if worker is None else worker.num_workers
        worker_id = 0 if worker is None else worker.id
        rank, world_size = self._process()
        self._stream = stream(
            self._location, store=self._store, memory=self._memory // workers,
            disk=self._disk // workers, rank=rank * workers + worker_id,
            world_size=world_size * workers, first_epoch=self._epoch, state=self._resume,
            **self._options)
        self._resume = None
        with self._stream as batches:
            for batch in batches:
                self._state = batches.state_dict()
                yield _tensors(batch)
        self._state = None
        self._epoch += 1

    def state_dict(self) -> dict[str, Any]:
        """Where the last iteration stands, for `load_state_dict`; of this process (and
        DataLoader worker) alone."""
        return {"epoch": self._epoch, "stream": self._state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The next iteration goes on from there."""
        self._epoch = state["epoch"]
        self._resume = self._state = state["stream"]

    def _process(self) -> tuple[int, int]:
        if self._rank is not None and self._world_size is not None:
            return self._rank, self._world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1


def _bytes(size: int | str) -> int:
    from . import _native

    return size if isinstance(size, int) else _native.parse_bytes(size)


def _tensors(batch: Any) -> Any:
    def tensor(part: Any) -> Any:
        return torch.from_numpy(part) if isinstance(part, np.ndarray) else part

    if isinstance(batch, dict):
        return {name: tensor(part) for name, part in batch.items()}
    return type(batch)(*map(tensor, batch))
