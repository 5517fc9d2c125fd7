"""Arrays, tables and generators as columns that the extension reads block by block."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Sequence

import numpy as np

from .errors import InvalidArgumentError, TooLargeError

_DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
           "float16", "float32", "float64")
_CLASSES_MAX = 4096

# A column's reader: (begin, end) -> a C-contiguous array, or a list of bytes.
_Reader = Callable[[int, int], Any]


class ObjectSource:
    """What the extension asks: the columns, and read(count) -> one part a column."""

    def __init__(self, columns: list[dict[str, Any]], read: Callable[[int], list[Any]],
                 sample_count: int | None, description: str) -> None:
        self.columns = columns
        self.read = read
        self.sample_count = sample_count
        self.description = description


def source_of(source: Any, label: str | int | None) -> ObjectSource:
    """Any source that is no path. Raises InvalidArgumentError if it is none of the known."""
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return _frame_source(source, label)
    if isinstance(source, Iterator):
        return _iterator_source(source, label)
    return _columns_source(_split_label(source, label))


def _split_label(source: Any, label: str | int | None) -> dict[str, Any]:
    """The columns of arrays, pairs and dicts by name."""
    if isinstance(source, dict):
        columns = dict(source)
        if label is not None:
            if label not in columns:
                raise InvalidArgumentError(
                    f"label={label!r} is no column of the source; it has {', '.join(columns)}")
            columns["y"] = columns.pop(label)
        return columns
    if isinstance(source, tuple) and len(source) == 2:
        if label is not None:
            raise InvalidArgumentError("a pair (X, y) has its labels already; leave label out")
        return {"x": source[0], "y": source[1]}
    if not hasattr(source, "shape") and not isinstance(source, list):
        raise InvalidArgumentError(
            f"cannot divide a {type(source).__name__}; expected a path, an array, a pair (X, y), "
            "a dict of columns, a DataFrame, or an iterator over batches")
    if label is None:
        return {"x": source}
    array = np.asarray(source)
    if array.ndim != 2 or not isinstance(label, int) or not -array.shape[1] <= label < array.shape[1]:
        raise InvalidArgumentError(
            f"label={label!r} is no column of an array of shape {array.shape}; "
            "give the index of a column of a table, or a pair (X, y)")
    return {"x": np.delete(array, label, axis=1), "y": array[:, label]}


def _columns_source(columns: dict[str, Any]) -> ObjectSource:
    if not columns:
        raise InvalidArgumentError("the source has no columns")
    specs, readers, lengths = [], [], {}
    for name, values in columns.items():
        spec, reader, length = _column(str(name), values)
        specs.append(spec)
        readers.append(reader)
        lengths[name] = length
    if len(set(lengths.values())) != 1:
        text = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
        raise InvalidArgumentError(f"columns of different numbers of samples: {text}")
    total = next(iter(lengths.values()))
    position = 0

    def read(count: int) -> list[Any]:
        nonlocal position
        begin, position = position, min(position + count, total)
        return [reader(begin, position) for reader in readers]

    types = ", ".join(f"{spec['name']} {_type_text(spec)}" for spec in specs)
    return ObjectSource(specs, read, total, f"arrays {types}")


def _type_text(spec: dict[str, Any]) -> str:
    if spec["kind"] != "array":
        return str(spec["kind"])
    return f"{spec['dtype']} {tuple(spec['shape'])}"


def _spec(name: str, kind: str = "array", dtype: str = "uint8", shape: Sequence[int] = (),
          class_names: Sequence[str] = (), features: Sequence[dict[str, Any]] = ()
          ) -> dict[str, Any]:
    return {"name": name, "kind": kind, "dtype": dtype, "shape": list(shape),
            "class_names": list(class_names), "features": list(features)}


def _column(name: str, values: Any) -> tuple[dict[str, Any], _Reader, int]:
    if not hasattr(values, "shape") or not hasattr(values, "dtype"):
        if isinstance(values, (list, tuple)) and values and isinstance(values[0], bytes):
            return _variable(name, "bytes", values)
        values = np.asarray(values)
    if values.ndim == 0 if hasattr(values, "ndim") else len(values.shape) == 0:
        raise InvalidArgumentError(f"column {name}: a single value; expected one a sample")
    dtype = np.dtype(values.dtype)
    if dtype.kind in "USO":
        return _texts(name, values)
    plain = dtype.newbyteorder("=")
    if plain.name not in _DTYPES:
        raise InvalidArgumentError(
            f"column {name} is of dtype {dtype}; expected one of {', '.join(_DTYPES)}, "
            "or texts")

    def read(begin: int, end: int) -> Any:
        return np.ascontiguousarray(values[begin:end], dtype=plain)

    return _spec(name, dtype=plain.name, shape=values.shape[1:]), read, int(values.shape[0])


def _texts(name: str, values: Any) -> tuple[dict[str, Any], _Reader, int]:
    """A column of texts or bytes: labels become classes."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise InvalidArgumentError(
            f"column {name}: texts of shape {array.shape}; expected one a sample")
    items = array.tolist()
    kinds = {type(item) for item in items}
    if kinds == {bytes}:
        return _variable(name, "bytes", items)
    if kinds != {str}:
        found = ", ".join(sorted(kind.__name__ for kind in kinds)) or "nothing"
        raise InvalidArgumentError(
            f"column {name}: objects of {found}; expected numbers, str or bytes alone")
    if name != "y":
        return _variable(name, "text", items)
    names, codes = np.unique(array.astype(str), return_inverse=True)
    if len(names) > _CLASSES_MAX:
        raise TooLargeError(f"column {name} has {len(names):,} classes; at most {_CLASSES_MAX}")
    codes = codes.reshape(-1).astype(np.uint8 if len(names) <= 256 else np.int64)

    def read(begin: int, end: int) -> Any:
        return codes[begin:end]

    return _spec(name, dtype=codes.dtype.name, class_names=names.tolist()), read, len(codes)


def _variable(name: str, kind: str, items: Sequence[Any]) -> tuple[dict[str, Any], _Reader, int]:
    def read(begin: int, end: int) -> Any:
        return [item.encode() if isinstance(item, str) else item for item in items[begin:end]]

    return _spec(name, kind=kind), read, len(items)


def _frame_source(frame: Any, label: str | int | None) -> ObjectSource:
    """A pandas DataFrame: numbers, dates and categories as float32 features."""
    names = [str(name) for name in frame.columns]
    if isinstance(label, int) and label not in frame.columns:
        label = frame.columns[label]
    if label is not None and label not in frame.columns:
        raise InvalidArgumentError(
            f"label={label!r} is no column of the table; it has {', '.join(names)}")
    features = [name for name in frame.columns if name != label]
    if not features:
        raise InvalidArgumentError("the table has no column beside the label")
    parts = [_feature(str(name), frame[name]) for name in features]
    # Seconds since 1970 do not fit into the 24 bits of a float32.
    wide = any(spec["kind"] == "date" for spec, _ in parts)
    dtype = np.dtype("float64" if wide else "float32")

    def read_x(begin: int, end: int) -> Any:
        x = np.empty((end - begin, len(parts)), dtype)
        for i, (_, values) in enumerate(parts):
            x[:, i] = values(begin, end)
        return x

    specs = [_spec("x", dtype=dtype.name, shape=(len(parts),), features=[s for s, _ in parts])]
    readers: list[_Reader] = [read_x]
    if label is not None:
        column = frame[label]
        codes = getattr(column, "cat", None)
        spec, reader, _ = _column("y", np.asarray(column.astype(str) if codes else column))
        specs.append(spec)
        readers.append(reader)
    total, position = len(frame), 0

    def read(count: int) -> list[Any]:
        nonlocal position
        begin, position = position, min(position + count, total)
        return [reader(begin, position) for reader in readers]

    return ObjectSource(specs, read, total, f"table of {len(names)} columns")


def _feature(name: str, column: Any) -> tuple[dict[str, Any], _Reader]:
    """One column of a table as (what it means, its values as numbers)."""
    if bool(column.isna().any()):
        raise InvalidArgumentError(
            f"column {name} has missing values; fill or drop them first "
            "(table.fillna(...), table.dropna())")
    kind = getattr(column.dtype, "kind", "O")
    if kind in "biuf":
        values = column.to_numpy()
        return {"name": name, "kind": "number", "categories": []}, lambda b, e: values[b:e]
    if kind == "M":
        seconds = column.to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
        return {"name": name, "kind": "date", "categories": []}, lambda b, e: seconds[b:e]
    categories, codes = np.unique(column.astype(str).to_numpy().astype(str), return_inverse=True)
    if len(categories) > _CLASSES_MAX:
        raise TooLargeError(
            f"column {name} has {len(categories):,} different texts; at most {_CLASSES_MAX} are "
            "taken for categories; drop the column")
    codes = codes.reshape(-1)
    return ({"name": name, "kind": "category", "categories": categories.tolist()},
            lambda b, e: codes[b:e])


def _iterator_source(batches: Iterator[Any], label: str | int | None) -> ObjectSource:
    """Batches of any sizes, one after another; all must have the columns of the first."""
    first = next(batches, None)
    if first is None:
        raise InvalidArgumentError("the iterator gave no batch")
    current = _columns_source(_split_label(first, label))
    specs = current.columns
    if any(spec["class_names"] for spec in specs):
        raise InvalidArgumentError(
            "labels in batches must be numbers: the classes of texts are not known before the end")

    def read(count: int) -> list[Any]:
        nonlocal current
        while True:
            parts = current.read(count)
            if len(parts[0]) > 0:
                return parts
            batch = next(batches, None)
            if batch is None:
                return parts
            current = _columns_source(_split_label(batch, label))
            if current.columns != specs:
                raise InvalidArgumentError(
                    f"a batch of {current.description}, but the first one was of "
                    + ", ".join(f"{spec['name']} {_type_text(spec)}" for spec in specs))

    return ObjectSource(specs, read, None, "batches of "
                        + ", ".join(f"{spec['name']} {_type_text(spec)}" for spec in specs))
