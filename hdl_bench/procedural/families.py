"""The list of all procedural families, by name. A new family is one module and one line here."""

from hdl_bench.procedural import (
    accumulator_mac,
    adder_subtractor,
    arbiter,
    bcd_counter,
    bitwise,
    comparator,
    counter,
    edge_detect,
    flip_flop,
    fsm_next_state,
    fsm_table,
    gates,
    handshake_pipeline,
    lfsr,
    memory_lookup,
    mux,
    popcount_parity,
    ram_fifo,
    register_file,
    sequence_detect,
    shift_register,
    shifter,
    truth_table,
    vector_slice,
    waveform,
)
from hdl_bench.procedural.family import Family

_COMBINATIONAL = (
    accumulator_mac,
    adder_subtractor,
    arbiter,
    bcd_counter,
    bitwise,
    comparator,
    gates,
    handshake_pipeline,
    memory_lookup,
    mux,
    popcount_parity,
    ram_fifo,
    register_file,
    shifter,
    truth_table,
    vector_slice,
    waveform,
)
_SEQUENTIAL = (
    counter,
    edge_detect,
    flip_flop,
    fsm_next_state,
    fsm_table,
    lfsr,
    sequence_detect,
    shift_register,
)

FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in (*_COMBINATIONAL, *_SEQUENTIAL)}
