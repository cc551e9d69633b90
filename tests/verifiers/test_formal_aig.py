"""The graph by hand: hashing, simulation, its AIGER text, and registers merged by structure."""

from hypothesis import given
from hypothesis import strategies as st

from verifiers.formal_aig import FALSE, TRUE, Aig, aiger
from verifiers.formal_merge import merge_latches


def test_equal_gates_are_one_node_and_constants_fold():
    aig = Aig(max_nodes=100)
    a, b = aig.variable(), aig.variable()
    assert aig.land(a, b) == aig.land(b, a)
    assert aig.land(a, a ^ 1) == FALSE
    assert aig.land(a, TRUE) == a
    assert aig.lor(a, a ^ 1) == TRUE
    assert aig.lmux(a, b, b) == b


@given(a=st.integers(0, 255), b=st.integers(0, 255), c=st.integers(0, 255))
def test_simulation_does_all_patterns_at_once(a, b, c):
    aig = Aig(max_nodes=100)
    x, y, z = aig.variable(), aig.variable(), aig.variable()
    literals = [aig.lxor(x, y), aig.lmux(x, y, z), aig.any_of((x, y, z)), aig.all_of((x, y ^ 1))]
    words = aig.simulate({x: a, y: b, z: c}, 255)
    found = [words[literal >> 1] ^ (255 if literal & 1 else 0) for literal in literals]
    assert found == [a ^ b, (a & b) | (~a & c & 255), a | b | c, a & ~b & 255]


def test_a_toggling_latch_is_written_as_the_format_says():
    aig = Aig(max_nodes=100)
    enable, latch = aig.variable(), aig.variable()
    text = aiger(aig, inputs=[enable], latches=[(latch, aig.land(enable, latch ^ 1))], bad=latch)
    # Header: 3 variables, 1 input, 1 latch, 1 output, 1 gate. Gate 6 = 5 & 2: deltas 6-5 and 5-2.
    assert text == b"aig 3 1 1 1 1\n6\n4\n" + bytes((1, 3))


def machine_of_two_counters(*, second_carry_in: int) -> tuple[Aig, tuple[tuple[int, int], ...], int]:
    """Two two-bit counters, and whether their upper bits differ."""
    aig = Aig(max_nodes=1000)
    latches = [aig.variable() for _ in range(4)]
    following = [latches[0] ^ 1, aig.lxor(latches[1], latches[0]), latches[2] ^ 1]
    following.append(aig.lxor(latches[3], aig.land(latches[2], second_carry_in)))
    return aig, tuple(zip(latches, following, strict=True)), aig.lxor(latches[1], latches[3])


def test_equal_registers_are_merged_and_the_difference_vanishes():
    aig, latches, bad = machine_of_two_counters(second_carry_in=TRUE)
    merged = merge_latches(aig, latches, bad, {variable: "alike" for variable, _ in latches})
    assert merged.bad == FALSE
    assert len(merged.latches) == 2


def test_registers_that_only_look_equal_are_kept_apart():
    aig, latches, bad = machine_of_two_counters(second_carry_in=FALSE)
    alike = {variable: "alike" for variable, _ in latches}
    never_one = {variable: None for variable, _ in latches}
    for signatures in (alike, never_one):
        merged = merge_latches(aig, latches, bad, signatures)
        assert merged.bad != FALSE
    assert len(merged.latches) == 2  # the lower bits are one, the last bit stays 0: that much is proved
