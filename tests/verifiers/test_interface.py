"""Ports: read from a text, and compared by name, direction and width with messages that say both sides."""

import pytest

from toolchain.errors import UsageError
from verifiers.interface import ports_of
from verifiers.static_check import static_check
from verifiers.types import Outcome, Port

PORTS = (Port(name="a", direction="input", width=4), Port(name="y", direction="output", width=2))


def messages(header: str) -> list[str]:
    finding = static_check(f"module m({header});\nendmodule\n", "m", PORTS)
    assert finding.outcome is Outcome.INTERFACE_ERROR
    return [diagnostic.message for diagnostic in finding.diagnostics]


def test_ports_are_read_in_order_with_direction_and_width():
    text = "module m #(parameter W = 3)(input clk, output reg [W-1:0] q, inout [1:0] p); endmodule"
    assert ports_of(text, "m") == (
        Port(name="clk", direction="input", width=1),
        Port(name="q", direction="output", width=3),
        Port(name="p", direction="inout", width=2),
    )


def test_ports_of_a_missing_module_are_the_users_error():
    with pytest.raises(UsageError, match="no such module"):
        ports_of("module other; endmodule", "m")


def test_ports_that_do_not_parse_or_are_no_vectors_are_the_users_error():
    with pytest.raises(UsageError, match="expected"):
        ports_of("module m(input a; endmodule", "m")
    with pytest.raises(UsageError, match="not a plain vector"):
        ports_of("module m(input real a); endmodule", "m")


def test_old_headers_and_macros_give_the_same_ports():
    text = "`define W 4\nmodule m(a, y,); input [`W-1:0] a; output y; reg [1:0] y; wire [1:0] y2; endmodule"
    assert ports_of(text, "m")[0] == PORTS[0]
    assert [port.name for port in ports_of(text, "m")] == ["a", "y"]


def test_order_and_signedness_do_not_matter():
    assert static_check("module m(output signed [1:0] y, input signed [0:3] a); endmodule", "m", PORTS) is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("input [3:0] a", "port 'y' is missing: expected output of 2 bits; add it to the header"),
        ("input [3:0] a, output y", "port 'y' differs: expected output of 2 bits, got output of 1 bit"),
        ("input [3:0] a, inout [1:0] y", "port 'y' differs: expected output of 2 bits, got inout of 2 bits"),
        ("output [3:0] a, output [1:0] y", "port 'a' differs: expected input of 4 bits, got output of 4 bits"),
        ("input [3:0] a, output [1:0] y, input z", "port 'z' is not asked for: got an extra port; remove it"),
        ("input [3:0] a, output real y", "port 'y' is not a plain vector: expected output of 2 bits"),
        ("input [3:0] a, output y [1:0]", "port 'y' is not a plain vector: expected output of 2 bits"),
    ],
)
def test_a_wrong_port_is_named_with_both_sides(header, message):
    assert messages(header) == [message]


def test_a_missing_top_lists_the_modules_that_are_there():
    finding = static_check("module x; endmodule module z; endmodule", "m", PORTS)
    assert finding.outcome is Outcome.INTERFACE_ERROR
    assert finding.diagnostics[0].message == "the module 'm' is missing: got x, z; name the top module 'm'"
