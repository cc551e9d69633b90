"""What the families with a clock share: the clock edge and reset style of a design, its always block and its words.

Not a family. A reset is named after its style (`reset`, `resetn`, `areset`, `aresetn`), so that names follow from
params; the words say the style in full all the same.
"""

import random
from dataclasses import dataclass

from hdl_bench.procedural.verilog import inputs
from verifiers.types import Clock, Port, Protocol, Reset

_RESET_NAMES = {"sync_high": "reset", "sync_low": "resetn", "async_high": "areset", "async_low": "aresetn"}
RESET_STYLES = tuple(_RESET_NAMES)
NUM_CLOCKINGS = 2 * len(RESET_STYLES)  # edges times reset styles


@dataclass(frozen=True, kw_only=True, slots=True)
class Clocking:
    """A clock edge and a reset style; `reset` "none" means power-up values instead."""

    edge: str = "posedge"  # "posedge" | "negedge"
    reset: str = "sync_high"  # a key of _RESET_NAMES | "none"

    @property
    def reset_name(self) -> str:
        return _RESET_NAMES[self.reset]

    @property
    def is_active_high(self) -> bool:
        return self.reset.endswith("high")

    @property
    def params(self) -> dict[str, int | str]:
        return {"edge": self.edge, "reset": self.reset}

    @property
    def ports(self) -> tuple[Port, ...]:
        """The clock input and, if there is one, the reset input."""
        return inputs(clk=1) if self.reset == "none" else inputs(clk=1, **{self.reset_name: 1})

    def protocol(
        self, *, min_cycles: int = 0, rare_high: tuple[str, ...] = (), rare_low: tuple[str, ...] = ()
    ) -> Protocol:
        """The stimulus protocol of a design with this clock and reset."""
        resets = ()
        if self.reset != "none":
            is_synchronous = self.reset.startswith("sync")
            resets = (Reset(name=self.reset_name, is_active_high=self.is_active_high, is_synchronous=is_synchronous),)
        return Protocol(
            clocks=(Clock(name="clk", edge=self.edge),),
            resets=resets,
            min_cycles=min_cycles,
            rare_high=rare_high,
            rare_low=rare_low,
        )

    def always(self, on_reset: str, otherwise: str) -> str:
        """An always block: statements `on_reset` under reset (or in an initial block), `otherwise` at other edges."""
        if self.reset == "none":
            initial = headed("initial", on_reset.replace("<=", "="))
            return f"{initial}\n\n{headed(f'always @({self.edge} clk)', otherwise)}"
        sensitivity = f"{self.edge} clk"
        if self.reset.startswith("async"):
            sensitivity += f" or {'posedge' if self.is_active_high else 'negedge'} {self.reset_name}"
        test = self.reset_name if self.is_active_high else "!" + self.reset_name
        return f"always @({sensitivity})\n" + indented(if_else((test, on_reset), otherwise=otherwise))

    def describe(self, effect: str, phrases: tuple[str, str, str]) -> tuple[str, str, str]:
        """Whole descriptions: the sentences about clock and reset, each before the phrase of the same manner."""
        formal, terse, narrative = zip(self.sentences(effect), phrases, strict=True)
        return " ".join(formal), " ".join(terse), " ".join(narrative)

    def sentences(self, effect: str) -> tuple[str, str, str]:
        """Formal, terse and narrative words for clock and reset; `effect` is what is set, e.g. "q to 0"."""
        edge = "rising" if self.edge == "posedge" else "falling"
        signed_edge = "positive" if self.edge == "posedge" else "negative"
        if self.reset == "none":
            return (
                f"All registers update on the {edge} edge of clk. There is no reset: an initial value at power-up "
                f"sets {effect}.",
                f"Clock: clk, {edge} edge. No reset; power-up sets {effect}.",
                f"The module works on the {signed_edge} edge of clk and has no reset, but before the first edge an "
                f"initial block sets {effect}.",
            )
        name, level = self.reset_name, "high" if self.is_active_high else "low"
        if self.reset.startswith("sync"):
            return (
                f"All registers update on the {edge} edge of clk. The synchronous active-{level} reset {name} has the "
                f"highest priority and sets {effect}.",
                f"Clock: clk, {edge} edge. Reset: {name}, synchronous, active {level}, overrides all, sets {effect}.",
                f"The module works on the {signed_edge} edge of clk. If {name} is {level} at such an edge, that edge "
                f"does nothing but reset the module, which sets {effect}.",
            )
        return (
            f"All registers update on the {edge} edge of clk. The asynchronous active-{level} reset {name} has the "
            f"highest priority and at once, without a clock edge, sets {effect}.",
            f"Clock: clk, {edge} edge. Reset: {name}, asynchronous, active {level}, overrides all, sets {effect}.",
            f"The module works on the {signed_edge} edge of clk. As long as {name} is {level}, from that moment on and "
            f"without waiting for the clock, the module is in reset, which sets {effect}.",
        )


def draw_clocking(rng: random.Random, *, has_both_edges: bool = False) -> Clocking:
    """A reset style and, if `has_both_edges`, a clock edge (mostly the rising one)."""
    edge = "negedge" if has_both_edges and rng.random() < 0.25 else "posedge"
    return Clocking(edge=edge, reset=rng.choice(RESET_STYLES))


def indented(text: str) -> str:
    """`text` with every line two columns further in."""
    return "\n".join("  " + line if line else line for line in text.split("\n"))


def headed(header: str, statements: str) -> str:
    """`header` over one statement, or over several between begin and end."""
    if _is_single(statements):
        return f"{header}\n{indented(statements)}"
    return f"{header} begin\n{indented(statements)}\nend"


def if_else(*branches: tuple[str, str], otherwise: str = "") -> str:
    """`if (test) statements else if ... else otherwise` in one layout."""
    parts = []
    for test, statements in branches:
        # An inner if without begin would take our else for its own.
        parts.append(f"if ({test}) " + (_block(statements) if statements.startswith("if (") else _branch(statements)))
    if otherwise:
        parts.append(_branch(otherwise))
    text = parts[0]
    for part in parts[1:]:
        text += (" else " if text.endswith("end") else "\nelse ") + part
    return text


def case(subject: str, rows: list[tuple[str, str]], *, default: str = "") -> str:
    """A case statement with one (label, statement) a row."""
    lines = [f"{label}: {_branch(statements)}" for label, statements in rows]
    if default:
        lines.append(f"default: {_branch(default)}")
    return f"case ({subject})\n" + indented("\n".join(lines)) + "\nendcase"


def _is_single(statements: str) -> bool:
    """Whether the text is one statement: no later line begins a new one at the first column."""
    return not any(line and not line.startswith((" ", "end", "else")) for line in statements.split("\n")[1:])


def _branch(statements: str) -> str:
    if "\n" not in statements or (statements.startswith("if (") and _is_single(statements)):
        return statements
    return _block(statements)


def _block(statements: str) -> str:
    return f"begin\n{indented(statements)}\nend"
