"""How numbers are written and where axes have their ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

MINUS = "\u2212"
DASH = "\u2013"
TIMES = "\u00d7"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SCALED_UNITS = ("bytes", "seconds", "share")
_BYTE_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))


def is_number(value: object) -> bool:
    """True for integers and finite or infinite reals, numpy's included; False for booleans and NaN."""
    if isinstance(value, Integral):
        return not isinstance(value, bool)
    return isinstance(value, Real) and not math.isnan(value)


def number(value: float, decimals: int) -> str:
    """Fixed decimals, commas between thousands, a true minus sign."""
    text = f"{value:,.{decimals}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def scientific(value: float, decimals: int = 2) -> str:
    """Mantissa and power of ten, the exponent raised; a mantissa of exactly 1 is left out when ``decimals`` is 0."""
    mantissa, exponent = f"{value:.{decimals}e}".split("e")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    return power if mantissa == "1" else f"{mantissa.replace('-', MINUS)}{TIMES}{power}"


def decimals_for(values: Iterable[float]) -> int | None:
    """Decimals that suit a column of reals: at least four figures of the largest; None for scientific notation."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    if largest == 0.0:
        return 0
    if not 1e-3 <= largest < 1e12:
        return None
    return max(0, min(4, 4 - math.floor(math.log10(largest))))


def written(value: object, unit: str = "", decimals: int | None = -1) -> str:
    """A value as a reader wants it. ``decimals`` as from `decimals_for`; -1 decides from the value itself."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, Real) and not is_number(value)):
        return DASH
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {written(inner)}" for key, inner in value.items()) or DASH
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return (
            ", ".join(written(inner) for inner in (sorted(value, key=str) if isinstance(value, set) else value)) or DASH
        )
    if not isinstance(value, Real):
        return str(value)
    return _written_number(value, unit, decimals)


def _written_number(value: Real, unit: str, decimals: int | None) -> str:
    if isinstance(value, Integral) and (unit not in _SCALED_UNITS or abs(int(value)) >= 10**18):
        text = f"{int(value):,}".replace("-", MINUS)
        return f"{text} {unit}" if unit else text
    plain = float(value)
    if math.isinf(plain):
        return "∞" if plain > 0 else MINUS + "∞"
    if unit == "bytes":
        return bytes_text(plain)
    if unit == "seconds":
        return seconds_text(plain)
    if unit == "share":
        return number(100 * plain, 1) + " %"
    places = decimals_for([plain]) if decimals == -1 else decimals
    text = scientific(plain) if places is None and plain else number(plain, places or 0)
    return f"{text} {unit}" if unit else text


def byte_unit(largest: float) -> tuple[str, float]:
    """Name and size of the decimal unit in which ``largest`` bytes are best written."""
    return next(((name, size) for name, size in _BYTE_UNITS if largest >= size), _BYTE_UNITS[-1])


def bytes_text(value: float) -> str:
    """1.31 MB; decimal units, three figures."""
    name, size = byte_unit(abs(value) * 1.0005)  # 999,999 bytes are 1.00 MB, not 1,000 kB
    scaled = value / size
    decimals = 0 if size == 1.0 else max(0, 2 - math.floor(math.log10(max(1.0, abs(scaled)))))
    return f"{number(scaled, decimals)} {name}"


def seconds_text(value: float) -> str:
    """0.42 s, 12.5 s, 5 min 12 s, 3 h 05 min."""
    if abs(value) < 120:
        return f"{number(value, 2 if abs(value) < 10 else 1)} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high`` with labelled ``ticks``; positions are linear unless ``log``."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    log: bool = False

    def share(self, value: float) -> float:
        """Where ``value`` lies between low (0) and high (1)."""
        if self.log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)


def linear_axis(low: float, high: float, *, wanted: int = 5, loose: bool = True, whole: bool = False) -> Axis:
    """Ticks at 1, 2 or 5 times a power of ten; a loose axis is widened to whole ticks, a tight one keeps its ends."""
    if low == high:
        pad = abs(low) / 10 or 0.5
        low, high = low - pad, high + pad
    if whole:
        wanted *= 2
    exponent, factor = _nice_step((high - low) / wanted)
    if whole and exponent < 0:
        exponent, factor = 0, 1
    first = math.floor(_scaled(low, exponent) / factor)
    last = math.ceil(_scaled(high, exponent) / factor)
    ticks = [_scaled(k * factor, -exponent) for k in range(first, last + 1)]
    if loose:
        low, high = ticks[0], ticks[-1]
    slack = (high - low) * 1e-9
    ticks = [tick for tick in ticks if low - slack <= tick <= high + slack]
    return Axis(low, high, tuple(ticks), tuple(_tick_labels(ticks, exponent)))


def log_axis(low: float, high: float) -> Axis:
    """Decades, thinned to at most eight labels; 2 and 5 times a decade too when the values span less than two."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    step = math.ceil((last - first) / 8)
    ticks = [10.0**e for e in range(first, last + 1, step)]
    if last - first <= 2:
        ticks = sorted({t * m for t in ticks for m in (1, 2, 5) if t * m <= 10.0**last})
    plain = ticks[0] >= 1e-3 and ticks[-1] < 1e5
    labels = (number(t, max(0, -math.floor(math.log10(t) + 1e-9))) if plain else scientific(t, 0) for t in ticks)
    return Axis(10.0**first, 10.0**last, tuple(ticks), tuple(labels), log=True)


def _nice_step(raw: float) -> tuple[int, int]:
    exponent = math.floor(math.log10(raw))
    rest = raw / 10.0**exponent
    for factor in (1, 2, 5):
        if rest <= factor * 1.0001:
            return exponent, factor
    return exponent + 1, 1


def _scaled(value: float, exponent: int) -> float:
    """value / 10^exponent, with an exact power of ten."""
    return value / 10.0**exponent if exponent >= 0 else value * 10.0**-exponent


def _tick_labels(ticks: Sequence[float], exponent: int) -> list[str]:
    largest = max((abs(tick) for tick in ticks), default=0.0)
    if largest >= 1e7 or 0 < largest < 1e-3:
        return [scientific(tick, 1) if tick else "0" for tick in ticks]
    return [number(tick, max(0, -exponent)) for tick in ticks]
