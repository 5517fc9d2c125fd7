"""A divided dataset for Keras (2 or 3): ``model.fit(Sequence("./shards"), shuffle=False)``.

    from dividenconquer.keras import Sequence

    model.fit(Sequence("./shards", batch_size=128), epochs=5, shuffle=False)

The stream shuffles by itself, anew in every epoch. Keras asks for batches by number, in
order; that is what ``shuffle=False`` is for.
"""

from __future__ import annotations

import threading
from typing import Any

try:
    import keras as _keras
except ImportError:  # Keras 2 inside TensorFlow.
    from tensorflow import keras as _keras

from ._dataset import Location
from ._stream import Stream, stream
from .errors import InvalidArgumentError

__all__ = ["Sequence"]

_Base: Any = getattr(_keras.utils, "PyDataset", None) or _keras.utils.Sequence

# Batches asked for before those in front of them, by Keras's threads.
_AHEAD_MAX = 64
# Batches that may be asked for again: Keras looks at the first two before it begins.
_KEPT = 3


class Sequence(_Base):
    """Batches (x, y) as Keras's PyDataset (a Sequence in Keras 2).

    location, batch_size, ...: as for `dividenconquer.stream`, which has no epochs here:
    Keras says how many.
    """

    def __init__(self, location: Location, *, batch_size: int = 32, **options: Any) -> None:
        super().__init__()
        self._stream: Stream = stream(location, batch_size=batch_size, epochs=None, **options)
        self._lock = threading.Lock()
        self._next = 0  # Index of the stream's next batch.
        self._ahead: dict[int, Any] = {}
        self._kept: dict[int, Any] = {}  # The last ones, in the order of their use.

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._stream.batches_per_epoch

    def __getitem__(self, index: int) -> Any:
        with self._lock:
            if index in self._kept:
                return self._kept[index]
            if index == 0 and self._next == len(self):
                self._next = 0  # The next epoch.
                self._kept.clear()
            if index < self._next and index not in self._ahead or len(self._ahead) > _AHEAD_MAX:
                raise InvalidArgumentError(
                    f"batch {index} was asked for after batch {self._next - 1}; a stream gives "
                    "batches in order: fit(..., shuffle=False)")
            while self._next <= index:
                self._ahead[self._next] = tuple(next(self._stream))
                self._next += 1
            batch = self._ahead.pop(index)
            self._kept[index] = batch
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
            return batch

    def on_epoch_end(self) -> None:
        """Called by Keras; the next batch 0 is that of the next epoch."""
        with self._lock:
            self._next = 0
            self._ahead.clear()
            self._kept.clear()

    @property
    def stream(self) -> Stream:
        """Of the batches: its statistics and state_dict()."""
        return self._stream
