"""Numbers as people mean them."""

from __future__ import annotations

from struct import Struct

_SINGLE = Struct("<f")


def shortest(number: float) -> float:
    """A number of single precision as the shortest decimal that stands for it: 0.1, not 0.10000000149.

    So a limit of 0.1 holds for what a device was told as 0.1. NaN and infinity stay what they are.
    """
    if number - number != 0:
        return number
    octets = _SINGLE.pack(number)
    for digits in (6, 7, 8):
        short = float(f"{number:.{digits}g}")
        try:
            if _SINGLE.pack(short) == octets:
                return short
        except OverflowError:  # rounded up, beyond the largest there is
            continue
    return float(f"{number:.9g}") if abs(number) < 3.4e38 else number
