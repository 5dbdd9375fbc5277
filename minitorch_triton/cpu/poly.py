"""Polynomials with integer coefficients over C variables: what an index or an address is.

An index of a block is nearly always affine in the loop variables, with run-time strides as
coefficients: ``base + i*stride + j``. Keeping it as a polynomial rather than as C text lets later
stages ask for the stride along a loop, prove two addresses equal, and turn a mask into the bounds
of a loop. Whatever is not a polynomial (a quotient, a loaded number) becomes a symbol of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

Monomial = tuple[str, ...]


@dataclass(frozen=True)
class Poly:
    """Sum of ``coefficient * product of symbols``; a symbol is an atom of C (name or call)."""

    terms: tuple[tuple[Monomial, int], ...]

    @staticmethod
    def of(terms: Mapping[Monomial, int]) -> Poly:
        return Poly(tuple(sorted((m, c) for m, c in terms.items() if c)))

    @staticmethod
    def constant(value: int) -> Poly:
        return Poly.of({(): value})

    @staticmethod
    def symbol(name: str) -> Poly:
        return Poly.of({(name,): 1})

    def __add__(self, other: Poly) -> Poly:
        terms = dict(self.terms)
        for monomial, coefficient in other.terms:
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return Poly.of(terms)

    def __neg__(self) -> Poly:
        return Poly(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Poly) -> Poly:
        return self + -other

    def __mul__(self, other: Poly) -> Poly:
        terms: dict[Monomial, int] = {}
        for m, c in self.terms:
            for n, d in other.terms:
                product = tuple(sorted(m + n))
                terms[product] = terms.get(product, 0) + c * d
        return Poly.of(terms)

    def scaled(self, factor: int) -> Poly:
        return Poly.of({m: c * factor for m, c in self.terms})

    @cached_property
    def symbols(self) -> frozenset[str]:
        return frozenset(s for m, _ in self.terms for s in m)

    @property
    def value(self) -> int | None:
        """The number that a constant polynomial is, else None."""
        if not self.terms:
            return 0
        return self.terms[0][1] if self.terms[0][0] == () and len(self.terms) == 1 else None

    def slope(self, symbol: str) -> Poly | None:
        """The coefficient of ``symbol``; None where the polynomial is not affine in it."""
        terms: dict[Monomial, int] = {}
        for monomial, coefficient in self.terms:
            if symbol in monomial:
                rest = list(monomial)
                rest.remove(symbol)
                if symbol in rest:
                    return None
                terms[tuple(rest)] = coefficient
        return Poly.of(terms)

    def without(self, symbol: str) -> Poly:
        """The part that does not contain ``symbol``."""
        return Poly(tuple((m, c) for m, c in self.terms if symbol not in m))

    def range(self, extents: Mapping[str, int]) -> tuple[int, int] | None:
        """Least and greatest value where ``0 <= symbol < extents[symbol]``; None if unbounded."""
        low = high = 0
        for monomial, coefficient in self.terms:
            if any(symbol not in extents for symbol in monomial):
                return None
            greatest = coefficient * math.prod(extents[symbol] - 1 for symbol in monomial)
            least = 0 if monomial else greatest
            low, high = low + min(least, greatest), high + max(least, greatest)
        return low, high

    def divmod(self, divisor: int, extents: Mapping[str, int]) -> tuple[Poly, Poly]:
        """Quotient and remainder by a positive constant, for a polynomial that is not negative.

        ``(64*i + j) / 64`` is ``i`` when ``j < 64`` is known; where nothing is known the results
        are C expressions taken as symbols.
        """
        if self.value is not None:
            return Poly.constant(self.value // divisor), Poly.constant(self.value % divisor)
        whole = Poly.of({m: c // divisor for m, c in self.terms if c % divisor == 0})
        rest = self - whole.scaled(divisor)
        bounds = rest.range(extents)
        if bounds and bounds[0] >= 0 and bounds[1] < divisor:
            return whole, rest
        text = self.text()
        return Poly.symbol(f"(({text})/{divisor})"), Poly.symbol(f"(({text})%{divisor})")

    def text(self, type_: str = "int64_t") -> str:
        """The polynomial in C, computed in ``type_``."""
        if not self.terms:
            return "0"
        text = ""
        for monomial, coefficient in self.terms:
            sign = "-" if coefficient < 0 else "+"
            product = _product_text(monomial, abs(coefficient), type_)
            text += f" {sign} {product}" if text else f"{sign.strip('+')}{product}"
        return text

    def is_negative_text(self) -> str:
        """A test in C that is true where the polynomial is negative; it subtracts nothing, so
        that the two sides of a comparison may be any numbers."""
        constant = dict(self.terms).get((), 0)
        left = Poly.of({m: c for m, c in self.terms if m and c > 0})
        right = Poly.of({m: -c for m, c in self.terms if m and c < 0})
        if constant == -1:
            return f"{left.text()} <= {right.text()}"
        left += Poly.constant(max(constant, 0))
        right += Poly.constant(max(-constant, 0))
        return f"{left.text()} < {right.text()}"


def _product_text(monomial: Monomial, coefficient: int, type_: str) -> str:
    factors = [f"({type_}){symbol}" for symbol in monomial]
    if coefficient != 1 or not factors:
        factors.append(literal(coefficient))
    return "*".join(factors)


def literal(value: int) -> str:
    """An integer literal of C for any 64-bit value."""
    if value == -(2**63):
        return "INT64_MIN"
    if value >= 2**63:
        return f"UINT64_C({value})"
    return str(value) if -(2**31) < value < 2**31 else f"INT64_C({value})"
