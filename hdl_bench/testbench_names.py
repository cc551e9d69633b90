"""What a testbench and a golden say of the design under test, read off their syntax trees. Runs and judges nothing."""

from dataclasses import dataclass

from pyslang import ast, syntax

from verifiers.elaborate import parse
from verifiers.walk import name_components


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceNames:
    """Names of a Verilog text, in the order of their first appearance.

    `instances` are (module, instance). `paths` are the dotted names that are read or written.
    """

    modules: tuple[str, ...]
    instances: tuple[tuple[str, str], ...]
    paths: tuple[tuple[str, ...], ...]

    @property
    def undefined(self) -> tuple[str, ...]:
        """The modules that are instantiated and not defined."""
        return tuple(dict.fromkeys(module for module, _ in self.instances if module not in self.modules))

    @property
    def roots(self) -> tuple[str, ...]:
        """The modules that no other one instantiates."""
        inner = {module for module, _ in self.instances}
        return tuple(module for module in self.modules if module not in inner)

    def paths_into(self, module: str) -> tuple[str, ...]:
        """The dotted names that lead into an instance of a module."""
        instances = {name for of, name in self.instances if of == module}
        return tuple(dict.fromkeys(".".join(path) for path in self.paths if instances & set(path[:-1])))


def names_of(text: str) -> SourceNames:
    """The names of a text, whatever its faults."""
    modules: list[str] = []
    instances: list[tuple[str, str]] = []
    paths: list[tuple[str, ...]] = []

    def visit(node) -> ast.VisitAction:
        match node:
            case syntax.ModuleDeclarationSyntax():
                modules.append(node.header.name.valueText)
            case syntax.HierarchyInstantiationSyntax():
                found = [item.decl.name.valueText for item in node.instances if item.decl is not None]
                instances.extend((node.type.valueText, name) for name in found)
            case syntax.ScopedNameSyntax():
                paths.append(tuple(name_components(node)))
        return ast.VisitAction.Advance

    parse(text).tree.root.visit(visit)
    return SourceNames(modules=tuple(dict.fromkeys(modules)), instances=tuple(instances), paths=tuple(paths))
