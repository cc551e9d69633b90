"""Writes what surrounds a design in Verilator: a wrapper module, and a C++ program that plays rows on it.

The program's lines are those of `verifiers.testbench`'s player, one for each row, so that `verifiers.trace` reads both.
Values have two states: what is x or z in Icarus is some 0 or 1 here.
"""

import hashlib
from collections.abc import Collection, Sequence

from verifiers.testbench import ROW_TIME
from verifiers.types import Port

ROWS_MAIN = "rows_main.cpp"

_MAIN = """// Plays rows: argv[1] is the row file, argv[2] begins each line that is printed.
#include "Vtop.h"
#include <cstdio>
#include <fstream>
#include <string>

template <class T> void put(T& port, const char* bits, int width) {
    T value = 0;
    for (int i = 0; i < width; ++i) value = (value << 1) | T(bits[i] == '1');
    port = value;
}
template <std::size_t N> void put(VlWide<N>& port, const char* bits, int width) {
    for (std::size_t word = 0; word < N; ++word) port[word] = 0;
    for (int i = 0; i < width; ++i)
        if (bits[i] == '1') port[(width - 1 - i) / 32] |= 1u << ((width - 1 - i) % 32);
}
template <class T> void print(const T& port, int width) {
    for (int i = width - 1; i >= 0; --i) std::putchar(port >> i & 1 ? '1' : '0');
}
template <std::size_t N> void print(const VlWide<N>& port, int width) {
    for (int i = width - 1; i >= 0; --i) std::putchar(port[i / 32] >> (i % 32) & 1 ? '1' : '0');
}

// The bits of the next line's hexadecimal digits, without those before the first input's.
bool read_row(std::ifstream& rows, std::string& bits) {
    std::string digits;
    if (!std::getline(rows, digits) || digits.size() != (@width@ + 3) / 4) return false;
    bits.clear();
    for (char digit : digits) {
        const int value = digit <= '9' ? digit - '0' : digit - 'a' + 10;
        for (int place = 3; place >= 0; --place) bits += char('0' + (value >> place & 1));
    }
    bits.erase(0, bits.size() - @width@);
    return true;
}

int main(int argc, char** argv) {
    VerilatedContext context;
    context.commandArgs(argc, argv);
    Vtop top{&context};
    std::uint64_t row_time = @row_time@;
    for (int power = context.timeprecision(); power < -9; ++power) row_time *= 10;
    const auto run_until = [&](std::uint64_t end) {
        top.eval();
        while (top.eventsPending() && top.nextTimeSlot() < end) {
            context.time(top.nextTimeSlot());
            top.eval();
        }
        context.time(end);
    };
    std::ifstream rows(argv[1]);
    std::string row, start;
    if (!read_row(rows, start)) return 3;
    for (char& bit : start) bit = bit == '1' ? '0' : '1';
@idle@
@start@
    run_until(row_time);
    rows.clear();
    rows.seekg(0);
    long index = 0;
    for (; read_row(rows, row); ++index) {
@apply@
        run_until((index + 2) * row_time);
        std::printf("%s %ld", argv[2], index);
@print@
        std::putchar('\\n');
    }
    if (!rows.eof()) return 3;
    std::printf("%s end %ld %ld\\n", argv[2], index, index);
    top.final();
    return 0;
}
"""


def wrapper_module(text: str, top: str, ports: Sequence[Port]) -> tuple[str, str]:
    """The name and text of a module around `top` whose ports have names of ours, good for C++.

    The name is drawn from the design's text, so that no module in there can have it.
    """
    name = f"rows_{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"
    header = ", ".join(f"{port.direction} [{port.width - 1}:0] p{index}" for index, port in enumerate(ports))
    pins = ", ".join(f".{port.name}(p{index})" for index, port in enumerate(ports))
    return name, f"module {name}({header});\n  {top} dut({pins});\nendmodule\n"


def rows_program(ports: Sequence[Port], clocks: Collection[str]) -> str:
    """The C++ program for a wrapper of these ports.

    Before the first row the inputs named in `clocks` are 0 and all others the opposite of that row, so that the row is
    an event for them, as it is in Icarus, where they start at x.
    """
    outputs = [(index, port.width) for index, port in enumerate(ports) if port.direction == "output"]
    apply, start, idle, offset = [], [], [], 0
    for index, port in enumerate(ports):
        if port.direction == "input":
            apply.append(f"        put(top.p{index}, row.data() + {offset}, {port.width});")
            start.append(f"    put(top.p{index}, start.data() + {offset}, {port.width});")
            if port.name in clocks:
                idle.append(f"    start[{offset}] = '0';")
            offset += port.width
    show = [f"        std::putchar(' ');\n        print(top.p{index}, {width});" for index, width in outputs]
    parts = {
        "row_time": str(ROW_TIME),
        "width": str(max(offset, 1)),  # a design without inputs has rows of one digit
        "idle": "\n".join(idle),
        "start": "\n".join(start),
        "apply": "\n".join(apply),
        "print": "\n".join(show),
    }
    text = _MAIN
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text
