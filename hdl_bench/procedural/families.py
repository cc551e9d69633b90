"""The list of all procedural families, by name. A new family is one module and one line here."""

from hdl_bench.procedural import (
    bitwise,
    counter,
    edge_detect,
    flip_flop,
    gates,
    mux,
    shift_register,
    truth_table,
    vector_slice,
    waveform,
)
from hdl_bench.procedural.family import Family

_COMBINATIONAL = (bitwise, gates, mux, truth_table, vector_slice, waveform)
_SEQUENTIAL = (counter, edge_detect, flip_flop, shift_register)

FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in (*_COMBINATIONAL, *_SEQUENTIAL)}
