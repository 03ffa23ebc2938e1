"""How numbers are printed: a value and its spread with the same decimals, powers of ten only where they must be."""

from collections.abc import Sequence
from decimal import Decimal

from kit.schemas import Comparison

DECIMALS = 5  # more are printed only where a number would else vanish
NEGLIGIBLE = 1e-7  # a spread so much smaller than its value is the noise of floating point


def digits(values: Sequence[float], step: float) -> tuple[list[str], int]:
    """The values with the same decimals, and the power of ten they are to be multiplied with.

    Two digits of `step` are shown, one where two would take more than DECIMALS decimals.
    """
    size = max(abs(value) for value in values)
    if size == 0:
        return ["0" for _ in values], 0
    decimals = 1 - _order(step)
    decimals = max(0, decimals if decimals <= DECIMALS else max(DECIMALS, decimals - 1))
    exponent = 0
    if size >= 1e6 or (size < 1e-4 and decimals > DECIMALS + 1):
        exponent = _order(size)
        decimals = min(DECIMALS, max(0, 1 - _order(step) + exponent))
    return [_fixed(value, decimals, exponent) for value in values], exponent


def show_number(value: float, spread: float | None = None) -> str:
    """A number as a paper prints it: with the decimals of its spread, else four digits in all."""
    [text], exponent = ([f"{int(value)}"], 0) if _whole(value, spread) else digits([value], _step(value, spread))
    return _times(_signed(text) if not exponent else text, exponent)


def show_count(value: float) -> str:
    """A count, or what is expected of one: no more digits than it has."""
    return f"{int(value)}" if value == int(value) else f"{value:g}"


def show_measured(value: float, spread: float | None) -> str:
    """Mean and standard error, for a table."""
    if spread is None:
        return show_number(value)
    if not _counts(value, spread):  # none, or too small to share its decimals
        return rf"{show_number(value)}\,$\pm$\,{show_number(spread, spread)}"
    [mean, error], exponent = digits([value, spread], spread)
    text = rf"{_signed(mean)}\,$\pm$\,{error}"
    return _times(text, exponent, "(")


def show_comparison(c: Comparison) -> str:
    """Difference and interval, as text."""
    if c.low is None or c.high is None or c.difference is None:
        return "not comparable"
    size, width = max(abs(c.low), abs(c.high)), c.high - c.low
    spread = width / 4
    if c.low * c.high > 0:  # an end that is near zero, and not zero, is to be seen on its side of it
        spread = max(min(spread, abs(c.low), abs(c.high)), width / 1000)
    (middle, low, high), exponent = digits([c.difference, c.low, c.high], _step(size, spread))
    return _times(f"{_signed(middle)} [{_signed(low)}, {_signed(high)}]", exponent, "(")


def show_effect(effect: float) -> str:
    """An effect size, to one decimal."""
    return show_number(effect, max(1.0, abs(effect) / 100))


def plain(value: float, spread: float | None) -> str:
    """Mean and standard error without LaTeX, for a cell of a notebook."""
    if _whole(value, spread):
        return f"{int(value)}".replace("-", "−")
    numbers = [value, spread] if spread and _counts(value, spread) else [value]
    texts, exponent = digits(numbers, _step(value, spread))
    text = " ± ".join(texts)
    return f"({text})·10^{exponent}".replace("-", "−") if exponent else text.replace("-", "−")


def _whole(value: float, spread: float | None) -> bool:
    return not _counts(value, spread) and abs(value) < 1e6 and value == int(value)


def _counts(value: float, spread: float | None) -> bool:
    """Whether a spread says how many digits of a value are worth printing."""
    return spread is not None and spread > NEGLIGIBLE * abs(value)


def _step(value: float, spread: float | None) -> float:
    return spread if spread is not None and _counts(value, spread) else abs(value) / 100


def _order(value: float) -> int:
    """The power of ten of the first digit, after rounding to four."""
    return int(f"{abs(value):.3e}".partition("e")[2])


def _fixed(value: float, decimals: int, exponent: int) -> str:
    text = f"{Decimal(value).scaleb(-exponent):.{decimals}f}"
    return text if text.strip("-0.") else text.lstrip("-")  # no minus zero


def _signed(text: str) -> str:
    return rf"\ensuremath{{{text}}}" if text.startswith("-") else text


def _times(text: str, exponent: int, bracket: str = "") -> str:
    """Text times a power of ten: one number in one formula, several in brackets."""
    if not exponent:
        return text
    power = rf"\times 10^{{{exponent}}}"
    return rf"({text})\,\ensuremath{{{power}}}" if bracket else rf"\ensuremath{{{text}{power}}}"
