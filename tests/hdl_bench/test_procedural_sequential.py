"""The sequential families: traces worked out by hand, and parameters that name one behaviour each."""

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdl_bench.procedural import (
    accumulator_mac,
    arbiter,
    bcd_counter,
    counter,
    debouncer,
    divider_pwm,
    edge_detect,
    flip_flop,
    fsm_next_state,
    fsm_table,
    handshake_pipeline,
    lfsr,
    memory_lookup,
    ram_fifo,
    register_file,
    sequence_detect,
    serial,
    shift_register,
    timer_watchdog,
)
from hdl_bench.procedural.clocked import Clocking, case, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.machines import draw_table

_FAMILIES = [
    module.FAMILY
    for module in (
        *(accumulator_mac, arbiter, bcd_counter, counter, debouncer, divider_pwm, edge_detect, flip_flop),
        *(fsm_next_state, fsm_table, handshake_pipeline, lfsr, memory_lookup, ram_fifo, register_file),
        *(sequence_detect, serial, shift_register, timer_watchdog),
    )
]
_PLAIN = {"edge": "posedge", "reset": "sync_high"}


def _find(family: Family, level: int, wanted: dict[str, int | str]) -> Design:
    """The first draw with these parameters."""
    for seed in range(60_000):
        design = family.draw(random.Random(seed), level)
        if wanted.items() <= design.params.items():
            return design
    raise AssertionError(f"no draw of {family.name}, level {level}, with {wanted}")


def _play(tmp_path: Path, design: Design, rows: list[dict[str, int]]) -> list[dict[str, int]]:
    """The outputs after a clock edge under each row of inputs (0 where a row says nothing), a reset edge before all."""
    inputs = [port for port in design.ports if port.direction == "input" and port.name != "clk"]
    outputs = [port for port in design.ports if port.direction == "output"]
    lines = ["module tb;", "reg clk = 0;"]
    lines += [f"reg [{port.width - 1}:0] {port.name} = 0;" for port in inputs]
    lines += [f"wire [{port.width - 1}:0] {port.name};" for port in outputs]
    lines.append("TopModule dut (" + ", ".join(f".{port.name}({port.name})" for port in design.ports) + ");")
    lines.append("initial begin")
    for row in [{"reset": 1}, *rows]:
        lines += [f"{port.name} = {row.get(port.name, 0)};" for port in inputs]
        shown = ", ".join(port.name for port in outputs)
        lines.append(f'#1 clk = 1; #1 $display("{" ".join("%0d" for _ in outputs)}", {shown}); #1 clk = 0; #1;')
    (tmp_path / "design.v").write_text(design.golden + "\n".join([*lines, "end", "endmodule", ""]))
    subprocess.run(["iverilog", "-g2012", "-o", "design", "design.v"], cwd=tmp_path, check=True, timeout=30)
    run = subprocess.run(["vvp", "-n", "design"], cwd=tmp_path, check=True, timeout=30, capture_output=True, text=True)
    values = [[int(word) for word in line.split()] for line in run.stdout.splitlines()]
    assert len(values) == len(rows) + 1
    return [dict(zip((port.name for port in outputs), row, strict=True)) for row in values[1:]]


def _column(outputs: list[dict[str, int]], name: str) -> list[int]:
    return [row[name] for row in outputs]


@pytest.mark.parametrize("family", _FAMILIES, ids=lambda family: family.name)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_equal_params_mean_an_equal_design_and_other_params_another(family: Family, seed: int):
    level = family.levels[seed % len(family.levels)]
    first, again = (family.draw(random.Random(seed), level) for _ in range(2))
    other = family.draw(random.Random(seed + 1), level)
    assert first == again
    assert (first.params == other.params) == (first.golden == other.golden)


@pytest.mark.parametrize("family", _FAMILIES, ids=lambda family: family.name)
def test_every_level_has_hundreds_of_designs(family: Family):
    for level in family.levels:
        goldens = {family.draw(random.Random(seed), level).golden for seed in range(600)}
        assert len(goldens) >= 200, (family.name, level, len(goldens))


def test_a_single_statement_needs_no_begin_and_two_do():
    clocking = Clocking(reset="async_low")
    assert clocking.always("q <= 0;", "q <= d;") == (
        "always @(posedge clk or negedge aresetn)\n  if (!aresetn) q <= 0;\n  else q <= d;"
    )
    assert "else begin\n    a <= d;\n    b <= a;\n  end" in clocking.always("a <= 0;", "a <= d;\nb <= a;")


def test_an_inner_if_does_not_take_the_outer_else():
    text = if_else(("a", "if (b) q <= 1;"), otherwise="q <= 0;")
    assert text == "if (a) begin\n  if (b) q <= 1;\nend else q <= 0;"
    assert case("s", [("1'b0", "q <= 0;")]) == "case (s)\n  1'b0: q <= 0;\nendcase"


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_state_tables_are_numbered_breadth_first_and_every_state_is_told_apart(seed: int):
    table = draw_table(random.Random(seed), num_states=4, input_bits=1, output_bits=1, is_moore=False)
    seen = [0]
    for row in table.following:
        for state in row:
            if state not in seen:
                seen.append(state)
    assert seen == [0, 1, 2, 3]
    for one in range(4):
        for two in range(one):
            assert _differ(table.following, table.outputs, one, two), (one, two)


def _differ(following: tuple, outputs: tuple, one: int, two: int) -> bool:
    """Whether some input word of at most six letters gives two states different outputs."""
    pairs = {(one, two)}
    for _ in range(6):
        if any(outputs[a] != outputs[b] for a, b in pairs):
            return True
        pairs |= {(following[a][x], following[b][x]) for a, b in pairs for x in (0, 1)}
    return False


@pytest.mark.tool
def test_a_disabled_register_ignores_set_where_the_enable_comes_first(tmp_path: Path):
    wanted = _PLAIN | {"first": "enable", "enable": 1, "width": 4}
    design = _find(flip_flop.FAMILY, 3, wanted)
    constant, value = design.params["constant"], design.params["value"]
    rows = [{"set": 1}, {"en": 1, "d": 6}, {"set": 1, "d": 9}, {"en": 1, "set": 1, "d": 9}]
    assert _column(_play(tmp_path, design, rows), "q") == [value, 6, 6, constant]


@pytest.mark.tool
def test_a_range_counter_goes_round_and_flags_its_end(tmp_path: Path):
    design = _find(counter.FAMILY, 3, _PLAIN | {"direction": "down", "enable": 1, "gated": 0, "low": 3})
    high = design.params["high"]
    rows = [{"en": 1}] * (high - 3) + [{}] + [{"en": 1}]
    outputs = _play(tmp_path, design, rows)
    assert _column(outputs, "q") == [*range(high - 1, 2, -1), 3, high]
    assert _column(outputs, "last") == [0] * (high - 4) + [1, 1, 0]


@pytest.mark.tool
def test_a_right_shift_takes_its_bit_at_the_top(tmp_path: Path):
    design = _find(shift_register.FAMILY, 1, _PLAIN | {"direction": "right", "data": "d", "width": 4, "value": 0})
    outputs = _play(tmp_path, design, [{"d": 1}, {"d": 0}, {"d": 1}, {"d": 1}, {"d": 0}])
    assert _column(outputs, "q") == [0b1000, 0b0100, 0b1010, 0b1101, 0b0110]


@pytest.mark.tool
def test_a_falling_edge_gives_a_registered_pulse_of_one_cycle(tmp_path: Path):
    design = _find(edge_detect.FAMILY, 1, _PLAIN | {"kind": "fall", "registered": 1, "before": 1, "width": 2})
    outputs = _play(tmp_path, design, [{"d": 0b10}, {"d": 0b10}, {"d": 0b01}, {"d": 0b01}, {"d": 0b00}])
    assert _column(outputs, "pulse") == [0b01, 0b00, 0b10, 0b00, 0b01]


@pytest.mark.tool
@pytest.mark.parametrize(("overlapping", "found"), [(1, [0, 0, 1, 0, 1, 0]), (0, [0, 0, 1, 0, 0, 0])])
def test_a_shared_bit_counts_twice_only_where_patterns_may_overlap(tmp_path: Path, overlapping: int, found: list[int]):
    wanted = _PLAIN | {"pattern": "101", "registered": 1, "overlapping": overlapping}
    design = _find(sequence_detect.FAMILY, 3, wanted)
    rows = [{"d": bit} for bit in (1, 0, 1, 0, 1, 1)]
    assert _column(_play(tmp_path, design, rows), "found") == found


@pytest.mark.tool
def test_a_fibonacci_register_shifts_in_the_xor_of_its_taps(tmp_path: Path):
    design = _find(lfsr.FAMILY, 1, _PLAIN | {"width": 4, "taps": "3,2", "seed": 1})
    assert _column(_play(tmp_path, design, [{}] * 5), "q") == [0b0010, 0b0100, 0b1001, 0b0011, 0b0110]


@pytest.mark.tool
def test_a_drawn_moore_machine_follows_its_table(tmp_path: Path):
    design = _find(fsm_table.FAMILY, 3, _PLAIN | {"input_bits": 1, "output_bits": 2})
    following = [[int(word) for word in row.split(",")] for row in design.params["following"].split(";")]
    outputs = [[int(word) for word in row.split(",")] for row in design.params["outputs"].split(";")]
    state, expected, inputs = 0, [], [random.Random(1).getrandbits(1) for _ in range(40)]
    for x in inputs:
        state = following[state][x]
        expected.append(outputs[state][0])
    assert _column(_play(tmp_path, design, [{"x": x} for x in inputs]), "z") == expected


@pytest.mark.tool
def test_a_saturating_sum_stops_at_its_limit_and_says_so(tmp_path: Path):
    design = _find(accumulator_mac.FAMILY, 4, _PLAIN | {"width": 4, "total": 5, "sticky": 0, "gated": 1})
    high = design.params["high"]  # 4 to 15
    outputs = _play(tmp_path, design, [{"en": 1, "d": 7}] * 3 + [{"d": 1}, {"en": 1, "d": 15}])
    assert _column(outputs, "acc")[2:] == [min(high, 15), min(high, 15), min(high, 15) - 1]
    assert _column(outputs, "limited")[2:] == [1, 1, 0]


@pytest.mark.tool
def test_a_ready_stage_takes_a_word_and_a_stalled_one_keeps_it(tmp_path: Path):
    design = _find(handshake_pipeline.FAMILY, 4, _PLAIN | {"bubble_free": 0, "operation": "+", "width": 8})
    constant = design.params["constant"]
    rows = [{"in_valid": 1, "in_data": 5}, {"in_valid": 1, "in_data": 6}, {"in_valid": 1, "in_data": 7, "out_ready": 1}]
    outputs = _play(tmp_path, design, rows)
    assert _column(outputs, "out_valid") == [1, 1, 0]
    assert _column(outputs, "in_ready") == [0, 0, 1]
    assert _column(outputs, "out_data") == [5 + constant] * 3


@pytest.mark.tool
def test_an_overwriting_fifo_loses_its_oldest_word(tmp_path: Path):
    design = _find(ram_fifo.FAMILY, 5, _PLAIN | {"policy": "overwrite", "depth": 3, "width": 8})
    rows = [{"push": 1, "d": word} for word in (1, 2, 3, 4)] + [{"pop": 1}] * 4
    outputs = _play(tmp_path, design, rows)
    idle = design.params["idle"]
    assert _column(outputs, "q") == [1, 1, 1, 2, 3, 4, idle, idle]
    assert _column(outputs, "count") == [1, 2, 3, 3, 2, 1, 0, 0]


@pytest.mark.tool
def test_a_round_robin_serves_the_next_one_and_comes_back(tmp_path: Path):
    design = _find(arbiter.FAMILY, 4, _PLAIN | {"size": 4, "step": 1, "first": 3, "enable": 0})
    rows = [{"req": 0b1011}] * 4 + [{"req": 0}, {"req": 0b0001}, {"req": 0b0001}]
    assert _column(_play(tmp_path, design, rows), "grant") == [1, 2, 8, 1, 0, 1, 1]


@pytest.mark.tool
def test_a_framed_byte_leaves_with_start_parity_and_stop(tmp_path: Path):
    wanted = _PLAIN | {"width": 5, "order": "lsb", "cycles": 2, "parity": "even", "stops": 1}
    design = _find(serial.FAMILY, 4, wanted)
    outputs = _play(tmp_path, design, [{"start": 1, "d": 0b00111}] + [{"start": 1}] * 16)
    bits = [0, 1, 1, 1, 0, 0, 1, 1]  # start, five data bits, three ones make the parity 1, stop
    assert _column(outputs, "tx") == [bit for bit in bits for _ in range(2)] + [1]
    assert _column(outputs, "busy") == [1] * 16 + [0]


@pytest.mark.tool
def test_a_receiver_gets_the_word_that_was_sent(tmp_path: Path):
    wanted = _PLAIN | {"kind": "receiver", "width": 4, "order": "lsb", "cycles": 2, "wait": 1, "parity": "odd"}
    design = _find(serial.FAMILY, 5, wanted)
    bits = [0, 0, 1, 1, 0, 1, 1]  # start, 0110 from its lowest bit, two ones make the parity 1, stop
    rows = [{"rx": bit} for bit in bits for _ in range(2)] + [{"rx": 1}] * 2
    outputs = _play(tmp_path, design, rows)
    assert _column(outputs, "valid") == [0] * 13 + [1, 0, 0]
    assert outputs[-1]["data"] == 0b0110
    assert not any(_column(outputs, "error"))


@pytest.mark.tool
def test_decimal_digits_carry_at_nine(tmp_path: Path):
    design = _find(bcd_counter.FAMILY, 2, _PLAIN | {"direction": "up", "enable": 1, "first": 0, "start": 0, "last": 12})
    shown = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11, 0x12, 0x00]
    assert _column(_play(tmp_path, design, [{"en": 1}] * 13), "q") == shown


@pytest.mark.tool
def test_a_debounced_output_waits_for_a_row_of_samples(tmp_path: Path):
    design = _find(debouncer.FAMILY, 3, _PLAIN | {"rise": 3, "fall": 2, "start": 0})
    rows = [{"d": bit} for bit in (1, 1, 0, 1, 1, 1, 0, 1, 0, 0)]
    assert _column(_play(tmp_path, design, rows), "q") == [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]


@pytest.mark.tool
def test_a_divider_toggles_at_its_first_full_phase(tmp_path: Path):
    design = _find(divider_pwm.FAMILY, 2, _PLAIN | {"half": 3, "start": 0})
    assert _column(_play(tmp_path, design, [{}] * 9), "q") == [0, 0, 1, 1, 1, 0, 0, 0, 1]


@pytest.mark.tool
def test_a_window_watchdog_tells_early_from_late(tmp_path: Path):
    design = _find(timer_watchdog.FAMILY, 5, _PLAIN | {"opens": 2, "closes": 5, "late": "restart"})
    kicks = (0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)  # finds a count of 1 (early), then of 2 (good), then none
    outputs = _play(tmp_path, design, [{"kick": kick} for kick in kicks])
    assert _column(outputs, "early") == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert _column(outputs, "late") == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert outputs[-1]["faults"] == 2


@pytest.mark.tool
def test_a_register_file_forwards_the_word_being_written_only_where_it_says_so(tmp_path: Path):
    design = _find(register_file.FAMILY, 4, _PLAIN | {"new_at_b": 1, "new_at_a": 0, "fixed": 0, "lane": 8})
    rows = [{"we": 1, "waddr": 2, "wdata": 77, "raddr_a": 2, "raddr_b": 2}, {"raddr_a": 0, "raddr_b": 2}]
    outputs = _play(tmp_path, design, rows)
    assert _column(outputs, "qb") == [77, 77]
    assert _column(outputs, "qa") == [77, design.params["constant"]]


@pytest.mark.tool
def test_a_table_with_latency_two_answers_at_the_second_edge(tmp_path: Path):
    design = _find(memory_lookup.FAMILY, 4, _PLAIN | {"latency": 2, "enable": 1})
    entries = [int(word) for word in design.params["entries"].split(",")]
    rows = [{"en": 1, "addr": 3}, {"en": 1, "addr": 6}, {"addr": 1}, {"en": 1, "addr": 1}]
    assert _column(_play(tmp_path, design, rows), "q") == [design.params["start"], entries[3], entries[3], entries[6]]
