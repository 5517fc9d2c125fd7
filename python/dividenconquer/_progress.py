"""Progress of long jobs: a tqdm bar where tqdm is there (also in notebooks), else a
plain line now and then on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from typing import Any, Callable, Iterator, Optional

#: Called with (done, total or None, a note); None where progress is off.
Report = Optional[Callable[..., None]]

_PLAIN_SECONDS = 2.0


class _PlainBar:
    """As much of tqdm's interface as is used here; a line every two seconds."""

    def __init__(self, total: int | None, desc: str, unit: str, initial: int = 0,
                 **_: Any) -> None:
        self.total = total
        self.n = self._initial = initial
        self._desc = desc
        self._unit = unit
        self._note = ""
        self._begin = self._shown = time.monotonic()

    def set_postfix_str(self, note: str, refresh: bool = True) -> None:
        self._note = note

    def update(self, n: int) -> None:
        self.n += n
        self.refresh()

    def refresh(self) -> None:
        now = time.monotonic()
        if now - self._shown < _PLAIN_SECONDS:
            return
        self._shown = now
        rate = (self.n - self._initial) / (now - self._begin)
        of = f"/{self.total:,}" if self.total else ""
        left = f", {(self.total - self.n) / rate:.0f} s left" if self.total and rate > 0 else ""
        note = f", {self._note}" if self._note else ""
        print(f"{self._desc}: {self.n:,}{of} {self._unit}, {rate:,.0f}/s{left}{note}",
              file=sys.stderr, flush=True)

    def close(self) -> None:
        pass


def make_bar(total: int | None, desc: str, unit: str, **options: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # In a notebook without widgets it is plain text.
            from tqdm.auto import tqdm
    except ImportError:
        return _PlainBar(total, desc, unit, **options)
    return tqdm(total=total, desc=desc, unit=unit, **options)


@contextlib.contextmanager
def _progress(desc: str, unit: str, enabled: bool, **options: Any) -> Iterator[Report]:
    if not enabled:
        yield None
        return
    bar: Any = None  # Made at the first report: a quick job shows nothing.
    begin = time.time()

    def report(done: int, total: int | None = None, note: str = "") -> None:
        nonlocal bar
        if bar is None:
            bar = make_bar(total, desc, unit, **options)
            bar.start_t = begin  # As tqdm calls it.
        bar.total = total
        bar.n = done
        if note:
            bar.set_postfix_str(note, refresh=False)
        bar.refresh()

    try:
        yield report
        if bar is not None and bar.total:
            report(bar.total, bar.total)
    finally:
        if bar is not None:
            bar.close()


def bytes_progress(desc: str, enabled: bool) -> contextlib.AbstractContextManager[Report]:
    """report(bytes_done, bytes_total)"""
    return _progress(desc, "B", enabled, unit_scale=True, unit_divisor=1024)


@contextlib.contextmanager
def divide_progress(desc: str, enabled: bool) -> Iterator[Report]:
    """report(samples_done, samples_total, bytes_in, bytes_out)"""
    with _progress(desc, "samples", enabled) as report:
        if report is None:
            yield None
            return
        show: Callable[..., None] = report
        from . import _native

        def report_division(done: int, total: int | None, bytes_in: int, bytes_out: int) -> None:
            note = ""
            if bytes_in:
                note = f"{_native.format_bytes(bytes_in)} -> {_native.format_bytes(bytes_out)}"
            show(done, total, note)

        yield report_division
