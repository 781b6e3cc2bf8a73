"""Print csrc/tables.h: the constant tables of docs/arithmetic.md, computed with 60 decimal digits.

python tools/make_tables.py > csrc/tables.h
"""

from __future__ import annotations

from decimal import Decimal, getcontext

getcontext().prec = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def sine(x: Decimal) -> Decimal:
    """Taylor series; |x| <= 2 pi."""
    term, total, n = x, x, 1
    while abs(term) > Decimal(10) ** -55:
        term *= -x * x / ((n + 1) * (n + 2))
        total += term
        n += 2
    return total


def nearest(x: Decimal) -> int:
    """Half away from zero (no entry is a tie but the exact ones)."""
    return int(x.to_integral_value(rounding="ROUND_HALF_UP"))


def sine_table() -> list[int]:
    """sin(2 pi i / 1024) in 2^-15, 0 <= i <= 1024, at most 32767 in size."""
    return [max(-32767, min(32767, nearest(sine(2 * PI * i / 1024) * 32768))) for i in range(1025)]


def rsqrt_table() -> list[int]:
    """floor(sqrt(2^61 / (2 i + 1))) * 16 for 64 <= i < 256: 2^46 / sqrt(y) in the middle of i * 2^24 <= y."""
    return [int((Decimal(2**61) / (2 * i + 1)).sqrt()) * 16 for i in range(64, 256)]


def show(name: str, kind: str, values: list[int]) -> None:
    """One C array."""
    print(f"static const {kind} {name}[{len(values)}] = {{")
    for i in range(0, len(values), 12):
        print("    " + ", ".join(f"{v}" + ("u" if kind.startswith("u") else "") for v in values[i : i + 12]) + ",")
    print("};\n")


if __name__ == "__main__":
    print("/* Made by tools/make_tables.py; docs/arithmetic.md defines every entry. */\n#include <stdint.h>\n")
    show("SINE", "int16_t", sine_table())
    show("RSQRT", "uint32_t", rsqrt_table())
