"""Which operations share a loop nest, and what is kept in memory."""

import torch
import triton
import triton.language as tl

from minitorch_triton.cpu.codegen import compile_to_c
from minitorch_triton.cpu.parser import parse
from minitorch_triton.cpu.schedule import Group, ScalarStep, WholeStep, plan_block

SOFTMAX = """
module {
  tt.func public @softmax(%x: !tt.ptr<f32>, %o: !tt.ptr<f32>) {
    %r = tt.make_range {end = 4 : i32, start = 0 : i32} : tensor<4xi32>
    %r1 = tt.expand_dims %r {axis = 1 : i32} : tensor<4xi32> -> tensor<4x1xi32>
    %c = tt.make_range {end = 64 : i32, start = 0 : i32} : tensor<64xi32>
    %c1 = tt.expand_dims %c {axis = 0 : i32} : tensor<64xi32> -> tensor<1x64xi32>
    %w = arith.constant dense<64> : tensor<4x1xi32>
    %r2 = arith.muli %r1, %w : tensor<4x1xi32>
    %r3 = tt.broadcast %r2 : tensor<4x1xi32> -> tensor<4x64xi32>
    %c2 = tt.broadcast %c1 : tensor<1x64xi32> -> tensor<4x64xi32>
    %i = arith.addi %r3, %c2 : tensor<4x64xi32>
    %xs = tt.splat %x : !tt.ptr<f32> -> tensor<4x64x!tt.ptr<f32>>
    %xp = tt.addptr %xs, %i : tensor<4x64x!tt.ptr<f32>>, tensor<4x64xi32>
    %os = tt.splat %o : !tt.ptr<f32> -> tensor<4x64x!tt.ptr<f32>>
    %op = tt.addptr %os, %i : tensor<4x64x!tt.ptr<f32>>, tensor<4x64xi32>
    %v = tt.load %xp : tensor<4x64x!tt.ptr<f32>>
    %m = "tt.reduce"(%v) <{axis = AXIS : i32}> ({
    ^bb0(%a: f32, %b: f32):
      %5 = arith.maxnumf %a, %b : f32
      tt.reduce.return %5 : f32
    }) : (tensor<4x64xf32>) -> tensor<NxF>
    %m1 = tt.expand_dims %m {axis = AXIS : i32} : tensor<NxF> -> tensor<KEPTxF>
    %m2 = tt.broadcast %m1 : tensor<KEPTxF> -> tensor<4x64xf32>
    %d = arith.subf %v, %m2 : tensor<4x64xf32>
    %e = math.exp %d : tensor<4x64xf32>
    %s = "tt.reduce"(%e) <{axis = AXIS : i32}> ({
    ^bb0(%a: f32, %b: f32):
      %5 = arith.addf %a, %b : f32
      tt.reduce.return %5 : f32
    }) : (tensor<4x64xf32>) -> tensor<NxF>
    %s1 = tt.expand_dims %s {axis = AXIS : i32} : tensor<NxF> -> tensor<KEPTxF>
    %s2 = tt.broadcast %s1 : tensor<KEPTxF> -> tensor<4x64xf32>
    %q = arith.divf %e, %s2 : tensor<4x64xf32>
    tt.store %op, %q : tensor<4x64x!tt.ptr<f32>>
    tt.return
  }
}
""".replace("xF>", "xf32>")


def along(axis):
    text = SOFTMAX.replace("AXIS", str(axis))
    return text.replace("KEPT", ["1x64", "4x1"][axis]).replace("<Nx", f"<{[64, 4][axis]}x")


def plan(text):
    (function,) = parse(text)
    return plan_block(function.blocks[0], {}, {}, set())


def groups(plan):
    return [step for step in plan.steps if isinstance(step, Group)]


def names(group):
    return [
        [task.op.name if task.op else f"keep {task.target.name}" for task in stage.tasks]
        for stage in group.stages
    ]


def test_softmax_of_rows_is_one_loop_over_rows_with_three_stages():
    result = plan(along(1))
    (group,) = groups(result)
    assert group.outer == (4,)
    assert names(group) == [["tt.reduce"], ["keep e", "tt.reduce"], ["tt.store"]]
    kept = {value.name: row_only for value, row_only in result.arrays.items()}
    assert kept["e"], "one row of the exponentials is enough"


FACTOR = """
    %h = math.exp %m : tensor<32xf32>
    %h1 = tt.expand_dims %h {axis = 1 : i32} : tensor<32xf32> -> tensor<32x1xf32>
    %h2 = tt.broadcast %h1 : tensor<32x1xf32> -> tensor<32x64xf32>
    %eh = arith.mulf %e, %h2 : tensor<32x64xf32>
    %s = "tt.reduce"(%eh)"""


def test_a_function_of_each_row_has_a_loop_of_its_own_between_those_over_the_block():
    """The exponential of each row's maximum is computed for vectors of rows, before the one loop
    over the block that uses it."""
    text = along(1).replace("4x", "32x").replace("632x", "64x").replace("end = 4 ", "end = 32 ")
    text = text.replace('%s = "tt.reduce"(%e)', FACTOR).replace("divf %e, %s2", "divf %eh, %h2")
    found = groups(plan(text))
    assert [(group.outer, names(group)) for group in found] == [
        ((32,), [["tt.reduce"]]), ((), [["keep h"]]), ((32,), [["tt.reduce", "tt.store"]])
    ]  # fmt: skip


def test_softmax_of_columns_completes_each_reduction_before_it_is_used():
    result = plan(along(0))
    assert [names(group) for group in groups(result)] == [
        [["tt.reduce"]],
        [["keep e", "tt.reduce"]],
        [["tt.store"]],
    ]
    kept = {value.name: row_only for value, row_only in result.arrays.items()}
    assert not kept["e"] and not kept["m"]


TWO_SUMS = """
module {
  tt.func public @sums(%x: !tt.ptr<f32>, %o: !tt.ptr<f32>) {
    %two = arith.constant 2.0 : f32
    %i = tt.make_range {end = 64 : i32, start = 0 : i32} : tensor<64xi32>
    %xs = tt.splat %x : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
    %p = tt.addptr %xs, %i : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
    %v = tt.load %p : tensor<64x!tt.ptr<f32>>
    %s = "tt.reduce"(%v) <{axis = 0 : i32}> ({
    ^bb0(%a: f32, %b: f32):
      %5 = arith.addf %a, %b : f32
      tt.reduce.return %5 : f32
    }) : (tensor<64xf32>) -> f32
    %h = arith.divf %s, %two : f32
    %k = arith.divf %h, %two : f32
    %ks = tt.splat %k : f32 -> tensor<64xf32>
    %w = arith.mulf %v, OPERAND : tensor<64xf32>
    %t = "tt.reduce"(%w) <{axis = 0 : i32}> ({
    ^bb0(%a: f32, %b: f32):
      %5 = arith.addf %a, %b : f32
      tt.reduce.return %5 : f32
    }) : (tensor<64xf32>) -> f32
    %z = arith.addf %h, %t : f32
    tt.store %o, %z : !tt.ptr<f32>
    tt.return
  }
}
"""


def test_sums_share_a_loop_although_one_is_divided_before_the_other_is_made():
    (group,) = groups(plan(TWO_SUMS.replace("OPERAND", "%v")))
    assert names(group)[-1] == ["tt.reduce", "tt.reduce"]


def test_a_sum_that_needs_what_is_computed_from_another_waits():
    result = plan(TWO_SUMS.replace("OPERAND", "%ks"))
    first, second = groups(result)
    kinds = [step if step in (first, second) else step.op.name for step in result.steps]
    divisions = [n for n, kind in enumerate(kinds) if kind == "arith.divf"]
    assert kinds.index(first) < min(divisions) and max(divisions) < kinds.index(second)


IN_PLACE = """
module {
  tt.func public @shift(%x: !tt.ptr<f32>) {
    %i = tt.make_range {end = 64 : i32, start = 0 : i32} : tensor<64xi32>
    %k = tt.make_range {end = 65 : i32, start = 1 : i32} : tensor<64xi32>
    %xs = tt.splat %x : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
    %p = tt.addptr %xs, %i : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
    %q = tt.addptr %xs, %k : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
    %v = tt.load %p : tensor<64x!tt.ptr<f32>>
    tt.store TARGET, %v : tensor<64x!tt.ptr<f32>>
    tt.return
  }
}
"""


def test_a_store_to_what_is_still_to_be_loaded_waits():
    (group,) = groups(plan(IN_PLACE.replace("TARGET", "%q")))
    assert names(group) == [["keep v"], ["tt.store"]]


def test_a_store_to_the_very_elements_that_were_loaded_does_not_wait():
    (group,) = groups(plan(IN_PLACE.replace("TARGET", "%p")))
    assert names(group) == [["tt.store"]]


def test_steps_keep_the_order_of_scalars_and_control_flow():
    result = plan(
        """
module {
  tt.func public @order(%p: !tt.ptr<f32>, %n: i32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    scf.for %i = %c0 to %n step %c1  : i32 {
    }
    %v = tt.load %p : !tt.ptr<f32>
    tt.store %p, %v : !tt.ptr<f32>
    tt.return
  }
}
"""
    )
    kinds = [(type(step), step.op.name) for step in result.steps]
    assert kinds[2:] == [
        (WholeStep, "scf.for"),
        (ScalarStep, "tt.load"),
        (ScalarStep, "tt.store"),
        (WholeStep, "tt.return"),
    ]


def test_a_mask_becomes_the_bound_of_the_loop():
    text = IN_PLACE.replace("TARGET, %v", "%p, %v, %m").replace(
        "%v = tt.load %p", "%v = tt.load %p, %m"
    )
    text = text.replace("(%x: !tt.ptr<f32>)", "(%x: !tt.ptr<f32>, %n: i32)").replace(
        "%v =",
        "%n1 = tt.splat %n : i32 -> tensor<64xi32>\n"
        "    %m = arith.cmpi slt, %i, %n1 : tensor<64xi32>\n    %v =",
    )
    c = compile_to_c(text).text
    assert "for (int j = 0; j < high; ++j)" in c
    assert "?" not in c[c.index("for (int j") :], "no test per element"


@triton.jit
def double_listed(table, BLOCK: tl.constexpr):
    x = tl.load(table).to(tl.pointer_type(tl.float32)) + tl.arange(0, BLOCK)
    mask = tl.arange(0, BLOCK) < tl.load(table + 1)
    tl.store(x, 2 * tl.load(x, mask=mask), mask=mask)


def test_a_length_read_from_memory_bounds_the_loop():
    x = torch.ones(10)
    compiled = double_listed[(1,)](torch.tensor([x.data_ptr(), 7]), BLOCK=16)
    assert x.tolist() == [2] * 7 + [1] * 3
    assert "j < high" in compiled.asm["c"] and " ? " not in compiled.asm["c"].split("body")[1]
