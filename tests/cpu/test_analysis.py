"""Polynomials, index maps of views, and facts about values."""

from hypothesis import given
from hypothesis import strategies as st

from minitorch_triton.cpu import analysis
from minitorch_triton.cpu.parser import parse
from minitorch_triton.cpu.poly import Poly, literal
from minitorch_triton.cpu.views import flatten, source_index, unflatten

I, J, S = Poly.symbol("i"), Poly.symbol("j"), Poly.symbol("s")
number = Poly.constant

polynomials = st.lists(
    st.tuples(st.lists(st.sampled_from("ijs"), max_size=2), st.integers(-9, 9)), max_size=4
).map(lambda terms: sum((product(m).scaled(c) for m, c in terms), number(0)))


def product(symbols):
    result = number(1)
    for symbol in symbols:
        result *= Poly.symbol(symbol)
    return result


def value(poly, **values):
    """The polynomial's value, by evaluating its C text."""
    return eval(poly.text("").replace("()", ""), {}, values)


@given(polynomials, polynomials, st.integers(-5, 5), st.integers(-5, 5), st.integers(-5, 5))
def test_arithmetic_of_polynomials(a, b, i, j, s):
    at = {"i": i, "j": j, "s": s}
    assert value(a + b, **at) == value(a, **at) + value(b, **at)
    assert value(a - b, **at) == value(a, **at) - value(b, **at)
    assert value(a * b, **at) == value(a, **at) * value(b, **at)
    assert (a == b) == ((a - b).value == 0)


def test_slope_and_rest():
    address = I * S + J + number(7)
    assert address.slope("j") == number(1)
    assert address.slope("i") == S
    assert address.without("i") == J + number(7)
    assert (J * J).slope("j") is None


def test_division_uses_the_extents_of_loops():
    extents = {"i": 8, "j": 64}
    assert (I.scaled(64) + J).divmod(64, extents) == (I, J)
    assert J.divmod(128, extents) == (number(0), J)
    quotient, remainder = J.divmod(16, extents)
    assert quotient.slope("j") == number(0) and remainder.slope("j") == number(0)


def test_literals_of_c():
    assert literal(-1) == "-1"
    assert literal(2**31) == "INT64_C(2147483648)"
    assert literal(-(2**63)) == "INT64_MIN"


@given(st.integers(0, 3), st.integers(0, 7), st.integers(0, 15))
def test_flat_positions(a, b, c):
    shape, index = (4, 8, 16), (number(a), number(b), number(c))
    position = flatten(index, shape)
    assert position.value == (a * 8 + b) * 16 + c
    assert unflatten(position, (16, 32), {})[0].value == position.value // 32


VIEWS = """
module {
  tt.func public @views(%x: tensor<4x8xf32>, %p: !tt.ptr<f32>, %n: i32) {
    %t = tt.trans %x {order = array<i32: 1, 0>} : tensor<4x8xf32> -> tensor<8x4xf32>
    %e = tt.expand_dims %t {axis = 1 : i32} : tensor<8x4xf32> -> tensor<8x1x4xf32>
    %b = tt.broadcast %e : tensor<8x1x4xf32> -> tensor<8x2x4xf32>
    %r = tt.reshape %x : tensor<4x8xf32> -> tensor<32xf32>
    %f = math.exp %r : tensor<32xf32>
    %i = tt.make_range {end = 32 : i32, start = 0 : i32} : tensor<32xi32>
    %s = tt.splat %p : !tt.ptr<f32> -> tensor<32x!tt.ptr<f32>>
    %a = tt.addptr %s, %i : tensor<32x!tt.ptr<f32>>, tensor<32xi32>
    %v = tt.load %a : tensor<32x!tt.ptr<f32>>
    tt.return
  }
}
"""


def operations():
    (function,) = parse(VIEWS)
    return {op.results[0].name: op for op in function.blocks[0].ops if op.results}, function


def test_index_maps():
    ops, _ = operations()
    assert source_index(ops["t"], (I, J), {}) == (J, I)
    assert source_index(ops["e"], (I, S, J), {}) == (I, J)
    assert source_index(ops["b"], (I, S, J), {}) == (I, number(0), J)
    assert source_index(ops["r"], (I.scaled(8) + J,), {"i": 4, "j": 8}) == (I, J)


def test_roots_and_costs():
    ops, function = operations()
    assert analysis.root(ops["a"].result, {}) is function.arguments[1]
    assert analysis.is_address(ops["a"].result) and not analysis.is_address(ops["v"].result)
    assert analysis.own_cost(ops["a"]) == 0 < analysis.own_cost(ops["v"])
    assert analysis.own_cost(ops["f"]) > analysis.own_cost(ops["v"])
    assert analysis.is_matrix_load(ops["v"].result)
