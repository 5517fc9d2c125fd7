"""Features of images, computed by the same code as the feature steps of dividing."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import InvalidArgumentError


def hog(images: Any, *, orientations: int = 9, pixels_per_cell: tuple[int, int] = (8, 8),
        cells_per_block: tuple[int, int] = (3, 3), block_norm: str = "L2-Hys",
        transform_sqrt: bool = False) -> np.ndarray:
    """Histograms of oriented gradients, as scikit-image's ``hog`` gives them, within 1e-4.

    images: of shape (samples, height, width) or (samples, height, width, channels), of any
        numbers; uint8 is the fastest. Of several channels the strongest gradient counts.
    orientations, pixels_per_cell, cells_per_block (both rows first), block_norm ("L1",
        "L1-sqrt", "L2", "L2-Hys"), transform_sqrt: as for scikit-image.

    Returns float32 of shape (samples, features). Runs without the interpreter's lock.
    Raises InvalidArgumentError: images smaller than a block, values that are not finite.
    """
    from . import _native

    array = np.asarray(images)
    if array.dtype.kind not in "biuf":
        raise InvalidArgumentError(f"images of dtype {array.dtype}; expected numbers")
    features: np.ndarray = _native.hog(array, {
        "orientations": orientations, "pixels_per_cell": pixels_per_cell,
        "cells_per_block": cells_per_block, "block_norm": block_norm,
        "transform_sqrt": transform_sqrt})
    return features
