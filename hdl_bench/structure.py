"""The canonical form of a design: equal for designs that differ in names, comments, white space and order alone.

Read off pyslang's syntax tree. Names become numbers, sized literals their width and value, and what has no order
(modules, the items of a module, ports, named connections) is sorted. Equal forms mean designs that are equal up to
renaming. The reverse can fail: a module that is spelled another way (`assign` for `always_comb`, a non-ANSI header) has
another form, and so may a design so symmetric that its items cannot be told apart by where their names stand.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pyslang import parsing, syntax

from verifiers.elaborate import parse

_RADIX = {"b": 2, "o": 8, "d": 10, "h": 16}
_NUM_ROUNDS = 3  # of telling names apart by where they stand
_MAX_CHARS = 200_000

_Name = tuple[str, str]  # (scope, identifier): the module's name, or "" for names of modules


@dataclass(slots=True)
class _Item:
    """Tokens in their order: texts, names, and groups of items that have no order."""

    parts: "list[str | _Name | list[_Item]]" = field(default_factory=list)


def canonical_form(text: str) -> str | None:
    """The hash of a design's canonical form; None for what does not parse, or is longer than 200,000 characters."""
    if len(text) > _MAX_CHARS:
        return None
    source = parse(text)
    if any(finding.isError() for finding in source.tree.diagnostics):
        return None
    design = _Reader(source.tree.root).design
    colours = _tell_names_apart(design)
    _sort(design, colours)
    return _digest(" ".join(_numbered(design)))


def expanded_text(text: str) -> str:
    """The tokens of a design when its macros and conditions are expanded, its names without what escapes them."""
    found, stack = [], [parse(text).tree.root]
    while stack:
        node = stack.pop()
        if not isinstance(node, parsing.Token):
            stack += reversed(list(node))
        elif node.kind is parsing.TokenKind.Identifier:
            found.append(re.sub(r"\W", "_", node.valueText))
        else:
            found.append(node.rawText)
    return " ".join(found)


class _Reader:
    """Turns a syntax tree into items. Walks with a stack of its own: a long sum nests deeper than Python does."""

    def __init__(self, root: syntax.SyntaxNode) -> None:
        self._has_ordered_connections = False  # then the order of ports matters
        self._has_wildcards = False  # `.*` binds by name across modules: then names have no scopes
        root.visit(self._look_for_connections)
        self.design = _Item(parts=[[self._item(module, "") for module in root if _is_node(module)]])

    def _look_for_connections(self, node: object) -> None:
        self._has_ordered_connections |= isinstance(node, syntax.OrderedPortConnectionSyntax)
        self._has_wildcards |= isinstance(node, syntax.WildcardPortConnectionSyntax)

    def _scope_of(self, module: str) -> str:
        return "" if self._has_wildcards else module

    def _item(self, root: syntax.SyntaxNode, scope: str) -> _Item:
        item = _Item()
        stack: list[tuple[object, str]] = [(root, scope)]
        while stack:
            node, scope = stack.pop()
            match node:
                case parsing.Token():
                    item.parts += _token_parts(node, scope)
                case syntax.ModuleDeclarationSyntax():
                    item.parts += self._module(node)
                case syntax.AnsiPortListSyntax() if not self._has_ordered_connections:
                    item.parts.append(self._ports(node, scope))
                case syntax.HierarchyInstantiationSyntax():
                    item.parts += self._instances(node, scope)
                case syntax.IntegerVectorExpressionSyntax():
                    item.parts.append(_number(node))
                case syntax.ScopedNameSyntax():  # what lies below another name is not renamed with ours
                    item.parts += [
                        ("." + token) if index else (scope, token) for index, token in enumerate(_words(node))
                    ]
                case _:
                    stack += [(child, scope) for child in reversed(list(node))]  # type: ignore[call-overload]
        return item

    def _module(self, node: syntax.ModuleDeclarationSyntax) -> list:
        scope = self._scope_of(node.header.name.valueText)
        header: list = []
        for child in node.header:
            if _is_node(child):
                header += self._item(child, scope).parts
            else:
                header += _token_parts(child, "" if child == node.header.name else scope)
        return [*header, [self._item(member, scope) for member in node.members]]

    def _ports(self, node: syntax.AnsiPortListSyntax, scope: str) -> list[_Item]:
        """The ports, each with the direction and type that it takes over from the one before."""
        ports, last = [], _Item()
        for port in node.ports:
            if not _is_node(port):
                continue
            if isinstance(port, syntax.ImplicitAnsiPortSyntax):
                header = self._item(port.header, scope)
                if not header.parts:
                    header = last
                elif header.parts[0] not in ("input", "output", "inout", "ref"):
                    header.parts[:0] = last.parts[:1]
                last = header
                ports.append(_Item(parts=[*header.parts, *self._item(port.declarator, scope).parts]))
            else:
                ports.append(self._item(port, scope))
        return ports

    def _instances(self, node: syntax.HierarchyInstantiationSyntax, scope: str) -> list:
        kind = node.type.valueText
        parts: list = [("", kind)]
        if node.parameters is not None:
            parts += self._connections(node.parameters.parameters, scope, self._scope_of(kind))
        for instance in node.instances:
            if _is_node(instance):
                parts += self._item(instance.decl, scope).parts if instance.decl is not None else []
                parts += self._connections(instance.connections, scope, self._scope_of(kind))
        return parts

    def _connections(self, connections: Iterable[object], scope: str, inner_scope: str) -> list:
        """Named connections as a group without order, their names in the scope of the instance's module."""
        named, others = [], []
        for child in connections:
            if isinstance(child, syntax.NamedPortConnectionSyntax | syntax.NamedParamAssignmentSyntax):
                value = self._item(child.expr, scope).parts if child.expr is not None else []
                if not value and isinstance(child, syntax.NamedPortConnectionSyntax) and not child.openParen.rawText:
                    value = [(scope, child.name.valueText)]  # .a stands for .a(a)
                named.append(_Item(parts=[".", (inner_scope, child.name.valueText), "(", *value, ")"]))
            elif _is_node(child):
                others += [",", *self._item(child, scope).parts]
        return ["(", named, *others, ")"]


def _is_node(value: object) -> bool:
    return isinstance(value, syntax.SyntaxNode)


def _token_parts(token: parsing.Token, scope: str) -> list:
    if token.kind is parsing.TokenKind.Identifier:
        return [(scope, token.valueText)]
    text = token.rawText
    return [text.replace("_", "").lower() if text[:1].isdigit() else text] if text else []


def _words(node: syntax.ScopedNameSyntax) -> list[str]:
    """The tokens of a dotted name but for the dots, its indices included."""
    found, stack = [], [node]
    while stack:
        part = stack.pop()
        if isinstance(part, parsing.Token):
            if part.rawText not in ("", "."):
                found.append(part.rawText.strip("\\ "))
        else:
            stack += reversed(list(part))
    return found


def _number(node: syntax.IntegerVectorExpressionSyntax) -> str:
    size, base, digits = node.size.rawText, node.base.rawText.lower().strip("'"), node.value.rawText
    digits = digits.replace("_", "").lower()
    sign, base = ("s", base[-1]) if base.startswith("s") else ("", base[-1])
    if all(digit in "0123456789abcdef" for digit in digits):
        return f"{size}'{sign}{int(digits, _RADIX[base])}"
    return f"{size}'{sign}{base}{digits}"


def _groups(item: _Item) -> Iterator[list[_Item]]:
    return (part for part in item.parts if isinstance(part, list))


def _all_items(item: _Item) -> Iterator[_Item]:
    """The item and all below it, the inner ones first."""
    for group in _groups(item):
        for child in group:
            yield from _all_items(child)
    yield item


def _tell_names_apart(design: _Item) -> dict[_Name, str]:
    """A colour for each name, by the items it stands in and its places there; equal places give equal colours."""
    colours: dict[_Name, str] = defaultdict(str)
    for _ in range(_NUM_ROUNDS):
        rendered: dict[int, str] = {}
        places: dict[_Name, list[str]] = defaultdict(list)
        for item in _all_items(design):
            rendered[id(item)] = _digest(_rendered(item, colours, rendered))
            for index, part in enumerate(item.parts):
                if isinstance(part, tuple):
                    places[part].append(f"{rendered[id(item)]}/{index}")
        colours = defaultdict(str, {name: _digest(colours[name], *sorted(found)) for name, found in places.items()})
    return colours


def _rendered(item: _Item, colours: dict[_Name, str], rendered: dict[int, str]) -> str:
    """An item as text: its names by colour and by their order in it, groups by what they hold."""
    order: dict[_Name, int] = {}
    words = []
    for part in item.parts:
        if isinstance(part, list):
            words.append(f"{{{' '.join(sorted(rendered[id(child)] for child in part))}}}")
        elif isinstance(part, tuple):
            words.append(f"#{order.setdefault(part, len(order))}{colours[part]}")
        else:
            words.append(part)
    return " ".join(words)


def _sort(design: _Item, colours: dict[_Name, str]) -> None:
    """Put every group into the order of its items' renderings; equal ones keep the order of the source."""
    rendered: dict[int, str] = {}
    for item in _all_items(design):
        for group in _groups(item):
            group.sort(key=lambda child: rendered[id(child)])
        rendered[id(item)] = _rendered(item, colours, rendered)


def _numbered(design: _Item) -> Iterator[str]:
    """The tokens of a sorted design, its names numbered as they come."""
    numbers: dict[_Name, int] = {}
    stack: list = [design]
    while stack:
        part = stack.pop()
        if isinstance(part, _Item):
            stack += reversed(part.parts)
        elif isinstance(part, list):
            stack.append("}")
            for child in reversed(part):
                stack += [child, ";;"]
            stack.append("{")
        elif isinstance(part, tuple):
            yield f"#{numbers.setdefault(part, len(numbers))}"
        else:
            yield part


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()
