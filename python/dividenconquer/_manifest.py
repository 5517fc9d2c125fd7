"""What a divided dataset is: its manifest as Python objects."""

from __future__ import annotations

import dataclasses
import html
import os
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from .errors import NotFoundError

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Feature:
    """What one element of a table's row means.

    kind: "number", "date" (seconds since 1970-01-01T00:00:00Z) or "category" (an index
    into `categories`).
    """

    name: str
    kind: str = "number"
    categories: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Column:
    """A named column; a sample has one element of each.

    kind: "array" of `dtype` and `shape` (of one sample: () is a scalar); or "bytes",
    "text" or "image" (a whole JPEG, PNG or WebP file), of any length each.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()

    @property
    def type_text(self) -> str:
        """ "uint8 (28, 28)", or the kind: "image"."""
        return f"{self.dtype} {self.shape}" if self.kind == "array" else self.kind


@dataclasses.dataclass(frozen=True)
class ColumnStatistics:
    """Exact statistics of a column over one split, computed while dividing.

    Of a column of arrays: over all finite elements. Of other kinds: of the lengths of
    the samples in bytes, and `count` is the number of samples. `element_mean` and
    `element_standard_deviation` are of shape (n,) for a column of shape (n,), else None.
    """

    count: int
    mean: float
    standard_deviation: float
    min: float
    max: float
    class_counts: Mapping[int, int]
    nonfinite_count: int
    _element_mean: Sequence[float] = dataclasses.field(default=(), repr=False)
    _element_standard_deviation: Sequence[float] = dataclasses.field(default=(), repr=False)

    @property
    def element_mean(self) -> np.ndarray | None:
        """Mean of each element over the samples: float64 of shape (n,), or None."""
        return _vector(self._element_mean)

    @property
    def element_standard_deviation(self) -> np.ndarray | None:
        """Standard deviation of each element, of the population: float64 (n,), or None."""
        return _vector(self._element_standard_deviation)


@dataclasses.dataclass(frozen=True)
class Split:
    """A part of the samples, such as "train"; `statistics` by the name of the column."""

    name: str
    samples: int
    statistics: Mapping[str, ColumnStatistics]


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of samples, named by its content id; `bytes` is its size."""

    cid: str
    split: str
    bytes: int
    samples: int
    urls: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FeatureStep:
    """What was done to a column while dividing; repeat it on new data to predict."""

    name: str
    column: str
    numbers: Mapping[str, Sequence[float]]
    texts: Mapping[str, str]


@dataclasses.dataclass(frozen=True, repr=False)
class Manifest:
    """A divided dataset's description. `location` is where it was read from."""

    location: str
    name: str
    description: str
    columns: tuple[Column, ...]
    splits: Mapping[str, Split]
    shards: tuple[Shard, ...]
    steps: tuple[FeatureStep, ...]
    parameters: Mapping[str, str]
    mirrors: tuple[str, ...]
    store_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, fields: dict[str, Any], location: str,
                  store_options: Mapping[str, Any] | None = None) -> Manifest:
        """Of the dictionary that the extension makes; not for use from outside."""
        columns = tuple(_column(column) for column in fields["columns"])
        splits = {}
        for split in fields["splits"]:
            statistics = {
                column.name: _statistics(numbers)
                for column, numbers in zip(columns, split["statistics"])
            }
            splits[split["name"]] = Split(split["name"], split["samples"], statistics)
        return cls(
            location=location,
            name=fields["name"],
            description=fields["description"],
            columns=columns,
            splits=splits,
            shards=tuple(
                Shard(shard["cid"], shard["split"], shard["bytes"], shard["samples"],
                      tuple(shard["urls"]))
                for shard in fields["shards"]),
            steps=tuple(FeatureStep(**step) for step in fields["steps"]),
            parameters=fields["parameters"],
            mirrors=tuple(fields["mirrors"]),
            store_options=dict(store_options or {}),
        )

    def column(self, name: str) -> Column:
        """The column of that name. Raises NotFoundError, naming those that there are."""
        for column in self.columns:
            if column.name == name:
                return column
        names = ", ".join(column.name for column in self.columns)
        raise NotFoundError(f"{self.location} has no column {name!r}; it has {names}")

    def split(self, name: str) -> Split:
        """The split of that name. Raises NotFoundError, naming those that there are."""
        if name in self.splits:
            return self.splits[name]
        names = ", ".join(self.splits)
        raise NotFoundError(f"{self.location} has no split {name!r}; it has {names}")

    @property
    def samples(self) -> int:
        """Of all splits together."""
        return sum(split.samples for split in self.splits.values())

    @property
    def bytes(self) -> int:
        """Of all shards together, as they are stored."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels in "y", where they have names."""
        return next((c.class_names for c in self.columns if c.name == "y"), ())

    @property
    def classes(self) -> np.ndarray | None:
        """All values of "y" over all splits, ascending, in the dtype of "y": what
        ``partial_fit(classes=...)`` wants. None if "y" is no column of classes."""
        return self.classes_of("y")

    def classes_of(self, name: str) -> np.ndarray | None:
        """As `classes`, of any column."""
        import numpy as np

        column = next((c for c in self.columns if c.name == name), None)
        if column is None:
            return None
        values: set[int] = set(range(len(column.class_names)))
        for split in self.splits.values():
            counts = split.statistics[name].class_counts
            if not counts:
                return None
            values.update(counts)
        return np.array(sorted(values), dtype=column.dtype)

    def __fspath__(self) -> str:
        return self.location

    def __repr__(self) -> str:
        columns = ", ".join(f"{column.name}: {column.type_text}" for column in self.columns)
        splits = ", ".join(f"{split.name} {split.samples:,}" for split in self.splits.values())
        return (f"<Manifest {self.name!r} at {self.location}: {columns}; {splits}; "
                f"{len(self.shards)} shards, {self.bytes:,} bytes>")

    def _repr_html_(self) -> str:
        rows = []
        for split in self.splits.values():
            for column in self.columns:
                numbers = split.statistics.get(column.name)
                if numbers is None:
                    continue
                cells = (split.name, f"{split.samples:,}", column.name, column.type_text,
                         f"{numbers.mean:.6g}", f"{numbers.standard_deviation:.6g}",
                         f"{numbers.min:.6g}", f"{numbers.max:.6g}")
                rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        heads = ("split", "samples", "column", "type", "mean", "deviation", "min", "max")
        head = "".join(f"<th>{name}</th>" for name in heads)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return (f"<p><b>{html.escape(self.name)}</b>: {len(self.shards)} shards, "
                f"{self.bytes:,} bytes</p><table><tr>{head}</tr>{body}</table>")


def _vector(values: Sequence[float]) -> np.ndarray | None:
    if not values:
        return None
    import numpy as np

    return np.array(values, dtype=np.float64)


def _column(fields: dict[str, Any]) -> Column:
    features = tuple(
        Feature(feature["name"], feature["kind"], tuple(feature["categories"]))
        for feature in fields["features"])
    return Column(fields["name"], fields["kind"], fields["dtype"], fields["shape"],
                  tuple(fields["class_names"]), features)


def _statistics(fields: dict[str, Any]) -> ColumnStatistics:
    fields = dict(fields)
    return ColumnStatistics(
        _element_mean=tuple(fields.pop("element_mean")),
        _element_standard_deviation=tuple(fields.pop("element_standard_deviation")),
        **fields)


def location_of(location: str | os.PathLike[str] | Manifest) -> str:
    """The text of a location: of a path, a URL, or a Manifest that came from there."""
    return os.fspath(location)


def store_options_of(location: object, store: Mapping[str, Any] | None) -> dict[str, Any]:
    """The store's options: those given, or those with which a Manifest was opened."""
    if store is None and isinstance(location, Manifest):
        return dict(location.store_options)
    return dict(store or {})
