"""Text of Triton IR to the data model, for the syntax of every supported Triton."""

import pytest

from minitorch_triton.cpu.ir import Location, Pointer, Scalar, Tensor, UnsupportedOperation
from minitorch_triton.cpu.parser import ParseError, parse

ADD = """
#loc = loc("/tmp/kernels.py":3:1)
module {
  tt.func public @add(%x: !tt.ptr<f32> {tt.divisibility = 16 : i32} loc("x"(#loc)), %n: i32 loc("n"(#loc))) attributes {noinline = false} {
    %cst = arith.constant dense<0xFF800000> : tensor<8xf32> loc(#loc1)
    %c-1_i32 = arith.constant -1 : i32 loc(#loc1)
    %pid = tt.get_program_id x : i32 loc(#loc3)
    %i = tt.make_range {end = 8 : i32, start = 0 : i32} : tensor<8xi32> loc(#loc2)
    %m = tt.splat %n : i32 -> tensor<8xi32> loc(#loc2)
    %m_0 = arith.cmpi slt, %i, %m : tensor<8xi32> loc(#loc2)
    %p = tt.splat %x : !tt.ptr<f32> -> tensor<8x!tt.ptr<f32>> loc(#loc2)
    %p_1 = tt.addptr %p, %i : tensor<8x!tt.ptr<f32>>, tensor<8xi32> loc(#loc2)
    %v = tt.load %p_1, %m_0, %cst evictionPolicy = evict_last {isVolatile = true} : tensor<8x!tt.ptr<f32>> loc(#loc2)
    tt.store %p_1, %v, %m_0 : tensor<8x!tt.ptr<f32>> loc(#loc2)
    tt.return loc(#loc)
  } loc(#loc)
} loc(#loc)
#loc1 = loc(unknown)
#loc2 = loc("/tmp/kernels.py":5:9)
#loc3 = loc("pid"(callsite(#loc1 at #loc2)))
"""


def only_block(text):
    (function,) = parse(text)
    (block,) = function.blocks
    return function, block


def test_a_kernel_with_locations():
    function, block = only_block(ADD)
    assert function.name == "add" and function.public
    assert function.location == Location("/tmp/kernels.py", 3)
    assert [a.type for a in function.arguments] == [Pointer(Scalar("f32")), Scalar("i32")]
    by_name = {op.results[0].name: op for op in block.ops if op.results}
    assert by_name["cst"].attributes["value"] == "0xFF800000"
    assert by_name["i"].attributes == {"end": 8, "start": 0}
    assert by_name["m_0"].words == ["slt"]
    assert by_name["m_0"].result.type == Tensor((8,), Scalar("i1"))
    assert by_name["v"].result.type == Tensor((8,), Scalar("f32"))
    assert by_name["v"].attributes["isVolatile"] is True
    assert [v.name for v in by_name["v"].operands] == ["p_1", "m_0", "cst"]
    assert by_name["v"].location == Location("/tmp/kernels.py", 5)
    assert by_name["pid"].location == Location("/tmp/kernels.py", 5), "through the call"
    assert block.terminator.name == "tt.return"


CONTROL = """
module {
  tt.func public @loops(%n: i32, %x: f32) {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %t = arith.constant true
    %0:2 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x, %b = %c0) -> (f32, i32)  : i32 {
      %1 = arith.addf %a, %x : f32
      scf.yield %1, %i : f32, i32
    } {tt.num_stages = 2 : i32}
    scf.for %i = %c0 to %n step %c1  : i32 {
    }
    %2 = scf.if %t -> (f32) {
      scf.yield %0#0 : f32
    } else {
      %3 = arith.negf %x : f32
      scf.yield %3 : f32
    }
    %4:2 = scf.while (%a = %2, %b = %0#1) : (f32, i32) -> (f32, i32) {
      %5 = arith.cmpi sgt, %b, %c0 : i32
      scf.condition(%5) %a, %b : f32, i32
    } do {
    ^bb0(%a: f32, %b: i32):
      scf.yield %a, %b : f32, i32
    }
    tt.return
  }
}
"""


def test_structured_control_flow():
    _, block = only_block(CONTROL)
    loop, empty, branch, while_ = [op for op in block.ops if op.name.startswith("scf")]
    assert [v.name for v in loop.body.arguments] == ["i", "a", "b"]
    assert [v.type for v in loop.results] == [Scalar("f32"), Scalar("i32")]
    assert loop.body.terminator.operands[1] is loop.body.arguments[0]
    assert loop.attributes == {"tt.num_stages": 2}
    assert empty.body.terminator.name == "scf.yield", "added where it is not written"
    assert branch.regions[0][0].terminator.operands == [loop.results[0]]
    assert len(while_.regions) == 2 and while_.operands == [branch.result, loop.results[1]]


REGIONS = """
module {
  tt.func public @regions(%v: tensor<4x8xf32>, %w: tensor<4x8xi32>, %p: tensor<4x!tt.ptr<f32>>, %u: tensor<4xf32>, %m: tensor<4xi1>) {
    %0:2 = "tt.reduce"(%v, %w) <{axis = 1 : i32}> ({
    ^bb0(%a: f32, %b: i32, %c: f32, %d: i32):
      %5 = arith.cmpf ogt, %a, %c : f32
      %6 = arith.select %5, %a, %c : f32
      tt.reduce.return %6, %b : f32, i32
    }) : (tensor<4x8xf32>, tensor<4x8xi32>) -> (tensor<4xf32>, tensor<4xi32>)
    %1 = tt.atomic_rmw fadd, acq_rel, gpu, %p, %u, %m : (tensor<4x!tt.ptr<f32>>, tensor<4xf32>, tensor<4xi1>) -> tensor<4xf32>
    %2 = tt.trans %v {order = array<i32: 1, 0>} : tensor<4x8xf32> -> tensor<8x4xf32>
    %3 = tt.dot %v, %2, %cst, inputPrecision = tf32 : tensor<4x8xf32> * tensor<8x4xf32> -> tensor<4x4xf32>
    tt.print " v: " {hex = false, isSigned = array<i32: 0>} : %u : tensor<4xf32>
    tt.assert %m, "say \\"no\\"" : tensor<4xi1>
    tt.return
  }
}
""".replace("%3 = tt.dot", "%cst = arith.constant dense<0.0> : tensor<4x4xf32>\n    %3 = tt.dot")


def test_operations_with_regions_words_and_strings():
    _, block = only_block(REGIONS)
    reduce, atomic, trans, _, dot, print_, assert_, _ = block.ops
    assert reduce.attributes["axis"] == 1 and len(reduce.results) == 2
    assert [op.name for op in reduce.body.ops][-1] == "tt.reduce.return"
    assert atomic.words == ["fadd", "acq_rel", "gpu"] and len(atomic.operands) == 3
    assert trans.attributes["order"] == [1, 0]
    assert dot.attributes["inputPrecision"] == "tf32"
    assert dot.result.type == Tensor((4, 4), Scalar("f32"))
    assert [v.name for v in print_.operands] == ["u"] and print_.attributes["string"] == " v: "
    assert assert_.operands[0].name == "m"


BRANCHES = """
module {
  tt.func public @early(%n: i32) {
    %c0 = arith.constant 0 : i32
    %0 = arith.cmpi eq, %n, %c0 : i32
    cf.cond_br %0, ^bb1, ^bb2(%n : i32)
  ^bb1:  // pred: ^bb0
    tt.return
  ^bb2(%1: i32):  // pred: ^bb0
    tt.return
  }
}
"""


def test_basic_blocks():
    (function,) = parse(BRANCHES)
    assert [b.label for b in function.blocks] == ["", "bb1", "bb2"]
    successors = function.blocks[0].terminator.attributes["successors"]
    assert [label for label, _ in successors] == ["bb1", "bb2"]
    assert successors[1][1] == [function.arguments[0]]


def test_names_repeat_in_sibling_regions():
    _, block = only_block(CONTROL.replace("%3 =", "%1 =").replace("%3 :", "%1 :"))
    loop, _, branch, _ = [op for op in block.ops if op.name.startswith("scf")]
    assert loop.body.terminator.operands[0] is not branch.regions[1][0].terminator.operands[0]


def test_what_is_not_triton_ir_is_an_error_with_its_line():
    with pytest.raises(ParseError, match="line 3"):
        parse("module {\n  tt.func public @f() {\n    %0 = arith.addf %1, %1 : f32\n  }\n}")


def test_a_type_that_is_unknown_is_named():
    text = "module { tt.func public @f(%d: !tt.tensordesc<tensor<8x8xf32>>) { tt.return } }"
    with pytest.raises(UnsupportedOperation, match="tensordesc"):
        parse(text)


def test_an_error_names_the_kernel_s_line():
    text = ADD.replace("tt.get_program_id x", "tt.get_program_id ?")
    with pytest.raises(ParseError, match=r"^/tmp/kernels\.py:5: Triton IR, line 7: .*'\?"):
        parse(text)
    text = ADD.replace("start = 0 : i32} : tensor<8xi32>", "start = 0 : i32} : tensor<8xf99x>")
    with pytest.raises(UnsupportedOperation, match=r"^/tmp/kernels\.py:5: .*f99x"):
        parse(text)
