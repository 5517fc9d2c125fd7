"""Standardising by the manifest's exact statistics: no pass over the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._dataset import Location, inspect
from ._manifest import Manifest
from .errors import InvalidArgumentError


class Standardiser:
    """(x - mean) / standard deviation, element by element.

    For a column of shape (n,) each of the n elements has its own mean and deviation, as
    scikit-learn's StandardScaler computes them over the whole split; for others (images)
    one mean and one deviation hold for all. An element that never varies is only shifted.
    """

    def __init__(self, mean: Any, scale: Any) -> None:
        self.mean = np.asarray(mean, dtype=np.float64)
        self.scale = np.asarray(scale, dtype=np.float64)

    @classmethod
    def from_manifest(cls, manifest: Manifest | Location, *, split: str = "train",
                      column: str = "x") -> Standardiser:
        """Of a column's statistics in a split. Raises NotFoundError; InvalidArgumentError
        for a column that is not of arrays."""
        if not isinstance(manifest, Manifest):
            manifest = inspect(manifest)
        if manifest.column(column).kind != "array":
            raise InvalidArgumentError(
                f"column {column} of {manifest.location} is of kind "
                f"{manifest.column(column).kind}; only arrays can be standardised")
        numbers = manifest.split(split).statistics[column]
        mean: Any = numbers.element_mean
        deviation: Any = numbers.element_standard_deviation
        if mean is None or deviation is None:
            mean, deviation = np.float64(numbers.mean), np.float64(numbers.standard_deviation)
        return cls(mean, np.where(deviation > 0, deviation, 1.0))

    def transform(self, x: Any) -> np.ndarray:
        """x of shape (samples, *shape) as floats of the same shape: float64 if x is, else
        float32."""
        x = np.asarray(x)
        dtype = np.float64 if x.dtype == np.float64 else np.float32
        out: np.ndarray = np.subtract(x, self.mean.astype(dtype), dtype=dtype)
        out /= self.scale.astype(dtype)
        return out

    __call__ = transform
