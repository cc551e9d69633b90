"""Mutants of a design: which mistakes are made where, that they are distinct, and that equal seeds make equal ones."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers.mutate import Mutant, mutants_of
from verifiers.static_check import static_check
from verifiers.types import Port


def port(name: str, width: int = 1, direction: str = "input") -> Port:
    return Port(name=name, direction=direction, width=width)


A, B, Y = port("a", 4), port("b", 4), port("y", 4, "output")
CLOCK, RESET, Q = port("clk"), port("rst"), port("q", 4, "output")


def mutants_header(*ports: Port) -> str:
    declared = (f"{p.direction}{' reg' if p.name == 'q' else ''} [{p.width - 1}:0] {p.name}" for p in ports)
    return f"module Top({', '.join(declared)});\n"


def mutants(body: str, ports: tuple[Port, ...] = (A, B, Y), *, seed: int = 0, limit: int = 1000) -> tuple[Mutant, ...]:
    return mutants_of(f"{mutants_header(*ports)}{body}\nendmodule\n", "Top", ports, seed=seed, limit=limit)


def changes(body: str, operator: str, ports: tuple[Port, ...] = (A, B, Y)) -> set[tuple[str, str]]:
    """(before, after) of the mutants of one kind of mistake."""
    return {(m.before, m.after) for m in mutants(body, ports) if m.operator == operator}


def test_an_operator_gives_way_to_its_neighbours():
    assert changes("assign y = a | b;", "operator") == {("a | b", "(a & b)"), ("a | b", "(a ^ b)")}
    assert changes("assign y = a < b;", "operator") == {("a < b", "(a <= b)"), ("a < b", "(a > b)")}
    assert changes("assign y = ~a;", "operator") == {("~a", "(a)")}


def test_a_swapped_operator_keeps_the_shape_of_the_tree():
    swapped = [
        m.text for m in mutants("assign y = a + b * 4'd3;") if m.before == "b * 4'd3" and m.operator == "operator"
    ]
    assert swapped == [
        "module Top(input [3:0] a, input [3:0] b, output [3:0] y);\nassign y = a + (b + 4'd3);\nendmodule\n"
    ]
    grouped = [m.after for m in mutants("assign y = a + b << 1;") if m.operator == "operator" and "<<" in m.before]
    assert grouped == ["((a + b) >> 1)"]


def test_operands_change_places_where_the_order_matters_and_one_may_be_missing():
    assert changes("assign y = a - b;", "operands") == {("a .. b", "b .. a"), ("a - b", "(a)"), ("a - b", "(b)")}
    assert ("a .. b", "b .. a") not in changes("assign y = a + b;", "operands")
    assert changes("assign y = {a[0], b[2:0]};", "operands") == {("a[0] .. b[2:0]", "b[2:0] .. a[0]")}


@pytest.mark.parametrize(
    ("literal", "neighbours"),
    [
        ("4'd0", {"4'd1", "4'd15"}),
        ("4'hf", {"4'h0", "4'he"}),
        ("4'b0111", {"4'b1000", "4'b0110"}),
        ("1'b1", {"1'b0"}),
        ("6", {"7", "5"}),
        ("0", {"1"}),
        ("'1", {"'0"}),
        ("4'sd7", {"4'sd8", "4'sd6"}),
    ],
)
def test_a_constant_moves_by_one_within_its_width(literal, neighbours):
    assert changes(f"assign y = a ^ {literal};", "constant") == {(literal, new) for new in neighbours}


def test_a_pattern_with_open_digits_gets_another_known_digit():
    body = "reg [3:0] r; assign y = r;\nalways @* casez (a) 4'b01??: r = b; default: r = a; endcase"
    assert changes(body, "constant") == {("4'b01??", "4'b11??")}


def test_bit_indices_and_ranges_move_by_one():
    assert changes("assign y = a[1] + b;", "bit index") == {("1", "2"), ("1", "0")}
    assert ("2 .. 1", "1 .. 0") in changes("assign y = a[2:1];", "bit index")


def test_inner_declarations_change_width_and_ports_do_not():
    found = changes("wire [4:0] t = a + b;\nassign y = t[4:1];", "width")
    assert found == {("4", "5"), ("4", "3")}


def test_conditions_are_negated_and_branches_swapped():
    assert changes("reg [3:0] r; assign y = r;\nalways @* if (a == b) r = 1; else r = 2;", "condition") == {
        ("a == b", "!(a == b)")
    }
    assert changes("assign y = a == b ? a : 4'd3;", "branches") == {("a .. 4'd3", "4'd3 .. a")}
    body = "reg [3:0] r; assign y = r;\nalways @* case (a) 0: r = 1; 1: r = 2; default: r = 3; endcase"
    assert changes(body, "branches") == {
        ("r = 1; .. r = 2;", "r = 2; .. r = 1;"),
        ("r = 2; .. r = 3;", "r = 3; .. r = 2;"),
    }


def test_statements_else_branches_and_case_items_are_dropped():
    body = "always @(posedge clk) if (rst) q <= 0; else q <= q + 1;"
    assert changes(body, "dropped", (CLOCK, RESET, Q)) == {
        ("q <= 0;", ";"),
        ("q <= q + 1;", ";"),
        ("else q <= q + 1;", "(nothing)"),
    }


def test_a_value_that_a_design_leaves_open_is_not_dropped():
    body = "reg [3:0] r; assign y = r;\nalways @* case (a) 0: r = 1; 1: r = 4'bx; default: r = 'X; endcase"
    assert changes(body, "dropped") == {("r = 1;", ";"), ("0: r = 1;", "(nothing)"), ("1: r = 4'bx;", "(nothing)")}


def test_edges_and_the_polarity_of_an_asynchronous_reset_are_wrong_in_turn():
    body = "always @(posedge clk or negedge rst) if (!rst) q <= 0; else q <= q + 1;"
    events = "posedge clk or negedge rst"
    assert changes(body, "edge", (CLOCK, RESET, Q)) == {
        ("posedge", "negedge"),
        ("negedge", "posedge"),
        (events, "posedge clk"),
        (events, "negedge rst"),
    }
    assert changes(body, "reset polarity", (CLOCK, RESET, Q)) == {("negedge .. !rst", "posedge .. !(!rst)")}


def test_the_kind_of_an_assignment_changes_only_where_its_target_is_read_later():
    read_later = "reg [3:0] t;\nalways @(posedge clk) begin t <= t + 1; q <= t; end"
    assert changes(read_later, "assignment kind", (CLOCK, Q)) == {("<=", "=")}
    assert changes("always @(posedge clk) q <= q + 1;", "assignment kind", (CLOCK, Q)) == set()
    body = "reg [3:0] t;\nalways @(posedge clk) begin if (q[0]) t <= 1; else t <= q; q <= t; end"
    assert changes(body, "assignment kind", (CLOCK, Q)) == {("<= .. <=", "= .. =")}  # both, or it does not compile


def test_a_signal_is_taken_for_another_of_its_width_but_never_for_a_clock():
    assert changes("assign y = a & b;", "signal") == {("a", "b"), ("b", "a")}  # y would close a loop
    one_bit = (CLOCK, port("d"), port("e"), port("q", 1, "output"))
    assert changes("always @(posedge clk) q <= d;", "signal", one_bit) == {("d", "e"), ("d", "q")}


def test_a_loop_is_neither_set_up_nor_stepped_otherwise():
    body = "integer i; reg [3:0] r; assign y = r;\nalways @* for (i = 0; i < 4; i = i + 1) r[i] = a[3 - i];"
    assert {m.before for m in mutants(body)}.isdisjoint({"i = 0", "i = i + 1", "i + 1"})
    assert ("i < 4", "(i <= 4)") in changes(body, "operator")


def test_what_a_macro_expands_to_is_left_alone():
    define = "`define SUM a + b\n`define ONE 4'd1\n"
    body = "reg [3:0] r; assign y = r;\nalways @* if ((a == `ONE)) r = ~(`SUM); else r = `ONE;"
    found = mutants_of(define + mutants_header(A, B, Y) + f"{body}\nendmodule\n", "Top", (A, B, Y), seed=0, limit=99)
    assert all(m.text.startswith(define) for m in found)
    assert {(m.before, m.after) for m in found if m.operator in ("operator", "condition", "constant")} == {
        ("(a == `ONE)", "!((a == `ONE))"),
        ("~(`SUM)", "((`SUM))"),
    }


def test_modules_that_nothing_instantiates_are_left_alone():
    other = "module Other(input c, output d); assign d = ~c; endmodule\n"
    source = f"module Top(input a, output y); assign y = ~a; endmodule\n{other}"
    found = mutants_of(source, "Top", (port("a"), port("y", 1, "output")), seed=0)
    assert {m.line for m in found} == {1}


def test_a_mutant_names_its_line_and_differs_nowhere_else():
    text = "module Top(input [3:0] a, input [3:0] b, output [3:0] y);\n// über\nassign y = a + b; // sum\nendmodule\n"
    for mutant in mutants_of(text, "Top", (A, B, Y), seed=0):
        assert (mutant.line, mutant.source_line) == (3, "assign y = a + b; // sum")
        different = [
            n for n, (old, new) in enumerate(zip(text.split("\n"), mutant.text.split("\n"), strict=True)) if old != new
        ]
        assert different == [2]


def test_few_mutants_are_drawn_evenly_over_the_kinds_of_mistake():
    body = (
        "reg [3:0] r; assign y = r;\nalways @* begin "
        + " ".join(f"r = r + 4'd{n};" for n in range(12))
        + " if (a > b) r = ~b; end"
    )
    few = mutants(body, limit=8)
    assert len(few) == 8
    kinds = {m.operator for m in mutants(body)}
    assert {m.operator for m in few} == kinds
    assert len(kinds) == 7


@given(seed=st.integers(0, 1 << 40), limit=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_mutants_are_distinct_valid_and_equal_at_equal_seed(seed, limit):
    body = "wire [4:0] t = {1'b0, a} + b;\nassign y = t > 5'd9 ? t[3:0] ^ a : ~b;"
    found = mutants(body, seed=seed, limit=limit)
    assert found == mutants(body, seed=seed, limit=limit)
    assert len({m.text for m in found}) == len(found) == min(limit, 23)  # all there are
    assert all(static_check(m.text, "Top", (A, B, Y)) is None for m in found)
