"""The screen: what no candidate may contain, whatever it computes. The policy finds every hole that pays.

Works on pyslang's syntax tree, after preprocessing, by allow-list: a construct that is not known to be harmless is
refused. Then, on the elaborated design, nothing may drive an input port (a simulator coerces such a port to inout, and
the candidate moves the testbench's own clock) and no name may lead out of the candidate. Raw text has its own rules
in `directives`. The screen does not ask whether the design is right, synthesizable or wise.
"""

import re

from pyslang import ast, parsing, syntax

from toolchain.diagnostics import Diagnostic
from verifiers.elaborate import Source, code_of
from verifiers.walk import name_components, written_symbols

_SYSTEM_NAME_TEXT = """
    $clog2 $signed $unsigned $bits $size $high $low $left $right $increment $dimensions $unpacked_dimensions
    $countones $countbits $onehot $onehot0 $isunknown $rtoi $itor $realtobits $bitstoreal $ln $log10 $exp $sqrt $pow
    $floor $ceil $abs $min $max"""

_GATE_TEXT = "and nand or nor xor xnor buf not bufif0 bufif1 notif0 notif1"

_KIND_TEXT = """
CompilationUnit ModuleDeclaration ModuleHeader PackageDeclaration PackageHeader PackageImportDeclaration
PackageImportItem UdpDeclaration UdpBody UdpEntry UdpEdgeField UdpSimpleField UdpInitialStmt UdpInputPortDecl
UdpOutputPortDecl AnsiUdpPortList NonAnsiUdpPortList WildcardUdpPortList
AnsiPortList NonAnsiPortList ImplicitAnsiPort ExplicitAnsiPort ImplicitNonAnsiPort ExplicitNonAnsiPort EmptyNonAnsiPort
PortReference PortConcatenation PortDeclaration NetPortHeader VariablePortHeader
ParameterPortList ParameterDeclaration ParameterDeclarationStatement TypeParameterDeclaration TypeAssignment
EqualsTypeClause LocalVariableDeclaration DataDeclaration NetDeclaration Declarator EqualsValueClause GenvarDeclaration
TypedefDeclaration ForwardTypedefDeclaration NamedType ImplicitType TypeReference EnumType StructType UnionType
StructUnionMember BitType LogicType RegType ByteType ShortIntType IntType LongIntType IntegerType TimeType RealType
RealTimeType ShortRealType StringType VoidType EventType VariableDimension RangeDimensionSpecifier Delay3
AttributeInstance AttributeSpec TimeUnitsDeclaration DividerClause EmptyMember
ContinuousAssign AlwaysBlock AlwaysCombBlock AlwaysFFBlock AlwaysLatchBlock InitialBlock GenerateRegion GenerateBlock
IfGenerate CaseGenerate LoopGenerate HierarchyInstantiation HierarchicalInstance InstanceName PrimitiveInstantiation
ParameterValueAssignment NamedParamAssignment OrderedParamAssignment NamedPortConnection OrderedPortConnection
WildcardPortConnection EmptyPortConnection SimplePropertyExpr SimpleSequenceExpr
FunctionDeclaration TaskDeclaration FunctionPrototype FunctionPortList FunctionPort ReturnStatement JumpStatement
ArgumentList OrderedArgument NamedArgument EmptyArgument InvocationExpression VoidCastedCallStatement
SequentialBlockStatement ParallelBlockStatement NamedBlockClause NamedLabel EmptyStatement ExpressionStatement
ConditionalStatement ConditionalPredicate ConditionalPattern ElseClause CaseStatement StandardCaseItem DefaultCaseItem
ForLoopStatement ForVariableDeclaration LoopStatement DoWhileStatement ForeverStatement ForeachLoopStatement
ForeachLoopList DisableStatement WaitStatement ProceduralAssignStatement BlockingEventTriggerStatement
TimingControlStatement TimingControlExpression DelayControl EventControl EventControlWithExpression
ImplicitEventControl RepeatedEventControl SignalEventExpression BinaryEventExpression ParenthesizedEventExpression
IffEventClause
IdentifierName IdentifierSelectName ScopedName SystemName MemberAccessExpression ElementSelect ElementSelectExpression
BitSelect SimpleRangeSelect AscendingRangeSelect DescendingRangeSelect ParenthesizedExpression MinTypMaxExpression
ConditionalExpression ConcatenationExpression MultipleConcatenationExpression StreamingConcatenationExpression
StreamExpression CastExpression SignedCastExpression InsideExpression RangeList ValueRangeExpression
IntegerLiteralExpression IntegerVectorExpression UnbasedUnsizedLiteralExpression RealLiteralExpression
StringLiteralExpression TimeLiteralExpression WildcardLiteralExpression
AssignmentPatternExpression SimpleAssignmentPattern StructuredAssignmentPattern ReplicatedAssignmentPattern
AssignmentPatternItem DefaultPatternKeyExpression
AddExpression SubtractExpression MultiplyExpression DivideExpression ModExpression PowerExpression
BinaryAndExpression BinaryOrExpression BinaryXorExpression BinaryXnorExpression LogicalAndExpression
LogicalOrExpression LogicalEquivalenceExpression LogicalImplicationExpression EqualityExpression InequalityExpression
CaseEqualityExpression CaseInequalityExpression WildcardEqualityExpression WildcardInequalityExpression
LessThanExpression LessThanEqualExpression GreaterThanExpression GreaterThanEqualExpression
LogicalShiftLeftExpression LogicalShiftRightExpression ArithmeticShiftLeftExpression ArithmeticShiftRightExpression
UnaryPlusExpression UnaryMinusExpression UnaryBitwiseNotExpression UnaryLogicalNotExpression UnaryBitwiseAndExpression
UnaryBitwiseOrExpression UnaryBitwiseXorExpression UnaryBitwiseNandExpression UnaryBitwiseNorExpression
UnaryBitwiseXnorExpression UnaryPreincrementExpression UnaryPredecrementExpression PostincrementExpression
PostdecrementExpression AssignmentExpression NonblockingAssignmentExpression AddAssignmentExpression
SubtractAssignmentExpression MultiplyAssignmentExpression DivideAssignmentExpression ModAssignmentExpression
AndAssignmentExpression OrAssignmentExpression XorAssignmentExpression LogicalLeftShiftAssignmentExpression
LogicalRightShiftAssignmentExpression ArithmeticLeftShiftAssignmentExpression
ArithmeticRightShiftAssignmentExpression
"""
_FILE_SCOPE_TEXT = """
ModuleDeclaration PackageDeclaration UdpDeclaration FunctionDeclaration TaskDeclaration TypedefDeclaration
ParameterDeclarationStatement PackageImportDeclaration EmptyMember
"""
_ALLOWED_SYSTEM_NAMES = frozenset(_SYSTEM_NAME_TEXT.split())
_ALLOWED_GATES = frozenset(_GATE_TEXT.split())
_ALLOWED_KINDS = frozenset(syntax.SyntaxKind[name] for name in _KIND_TEXT.split())
_FILE_SCOPE_KINDS = frozenset(syntax.SyntaxKind[name] for name in _FILE_SCOPE_TEXT.split())
_STEPS = frozenset(
    (
        ast.UnaryOperator.Preincrement,
        ast.UnaryOperator.Predecrement,
        ast.UnaryOperator.Postincrement,
        ast.UnaryOperator.Postdecrement,
    )
)

_REASONS = {  # what a refused kind would allow, for the kinds that people and policies reach for
    "ProceduralForceStatement": "it overrides signals of the testbench",
    "ProceduralReleaseStatement": "it overrides signals of the testbench",
    "BindDirective": "it adds code to other modules",
    "DPIImport": "it runs native code",
    "FinalBlock": "it runs after the testbench has finished",
    "DefParam": "it may reach parameters of other modules; use #(.NAME(value))",
    "RootScope": "it reaches the testbench",
    "UnitScope": "it reaches the testbench",
    "NetAlias": "it ties nets in both directions",
    "DriveStrength": "it can overpower other drivers",
    "PullStrength": "it can overpower other drivers",
}


def screen_syntax(source: Source) -> tuple[Diagnostic, ...]:
    """The refused constructs of a parsed text, in source order; empty when clean."""
    findings: list[Diagnostic] = []
    dotted_names: list[syntax.ScopedNameSyntax] = []
    scopes: set[str] = set()  # names of modules and instances: a dotted name through one of them leaves the module
    packages: set[str] = set()

    def refuse(location, message: str) -> None:
        findings.append(Diagnostic(message=message, code="screen", line=source.line_of(location)))

    def check(node) -> ast.VisitAction:
        if isinstance(node, parsing.Token):
            if node.kind is parsing.TokenKind.SystemIdentifier and node.rawText not in _ALLOWED_SYSTEM_NAMES:
                refuse(node.location, f"'{node.rawText}' is not allowed in a design; remove the call")
            return ast.VisitAction.Advance
        message = _judge_node(node, dotted_names)
        if message:
            refuse(node.sourceRange.start, message)
            return ast.VisitAction.Skip
        if isinstance(node, syntax.ModuleDeclarationSyntax):
            (packages if node.kind is syntax.SyntaxKind.PackageDeclaration else scopes).add(node.header.name.valueText)
        elif isinstance(node, syntax.InstanceNameSyntax):
            scopes.add(node.name.valueText)
        return ast.VisitAction.Advance

    source.tree.root.visit(check)
    for name in dotted_names:
        message = _judge_dotted_name(name, scopes, packages)
        if message:
            refuse(name.sourceRange.start, message)
    return tuple(findings)


def _judge_node(node, dotted_names: list) -> str:
    kind = node.kind
    if kind not in _ALLOWED_KINDS:
        why = _REASONS.get(kind.name, "a design has no need of it")
        return f"{_words(kind.name)} is not allowed: {why}"
    if isinstance(node, syntax.PrimitiveInstantiationSyntax) and node.type.rawText not in _ALLOWED_GATES:
        return (
            f"the primitive '{node.type.rawText}' is not allowed: it drives in both directions or with its own strength"
        )
    if kind is syntax.SyntaxKind.CompilationUnit:
        stray = next((member for member in node.members if member.kind not in _FILE_SCOPE_KINDS), None)
        if stray is not None and stray.kind in _ALLOWED_KINDS:
            return f"{_words(stray.kind.name)} outside a module is not allowed; move it into the module"
    if isinstance(node, syntax.ScopedNameSyntax):
        dotted_names.append(node)
    return ""


def _words(kind_name: str) -> str:
    """`ProceduralForceStatement` -> `procedural force statement`, `DPIImport` -> `dpi import`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", kind_name).lower()


def _judge_dotted_name(name: syntax.ScopedNameSyntax, scopes: set[str], packages: set[str]) -> str:
    components = name_components(name)
    if name.separator.rawText == "::":
        return "" if components[0] in packages else f"the scope '{components[0]}::' is not a package of this design"
    crossed = next((component for component in components[:-1] if component in scopes), None)
    if crossed is None:
        return ""
    return f"the hierarchical name '{'.'.join(components)}' reaches into '{crossed}'; connect it through a port"


_ESCAPES = ("UndeclaredIdentifier", "UpwardHierarchicalName")


def screen_design(source: Source, compilation: ast.Compilation) -> tuple[Diagnostic, ...]:
    """What only the elaborated design shows: names that lead out of it, and drivers of input ports."""
    return (*_find_escaping_names(source, compilation), *_find_driven_inputs(source, compilation))


def _find_escaping_names(source: Source, compilation: ast.Compilation) -> tuple[Diagnostic, ...]:
    found = [finding for finding in compilation.getSemanticDiagnostics() if code_of(finding) in _ESCAPES]
    if not found:
        return ()
    starts: dict[int, str] = {}

    def note(node) -> None:
        if isinstance(node, syntax.ScopedNameSyntax):
            starts[node.getFirstToken().location.offset] = ".".join(name_components(node))

    source.tree.root.visit(note)
    return tuple(
        Diagnostic(
            message=f"the hierarchical name '{starts[finding.location.offset]}' leads out of the design; remove it",
            code="screen",
            line=source.line_of(finding.location),
        )
        for finding in found
        if finding.location.offset in starts
    )


def _find_driven_inputs(source: Source, compilation: ast.Compilation) -> tuple[Diagnostic, ...]:
    inputs: dict[int, tuple[ast.Symbol, str]] = {}  # id of the symbol behind an input port -> the symbol, port name
    writes: list[tuple[ast.Symbol, object]] = []
    findings: list[Diagnostic] = []

    def refuse(location, name: str, how: str) -> None:
        message = f"the input port '{name}' {how}; only the outside may drive an input"
        findings.append(Diagnostic(message=message, code="screen", line=source.line_of(location)))

    def visit(node) -> None:
        if isinstance(node, ast.PortSymbol) and node.direction is ast.ArgumentDirection.In:
            for symbol in _symbols_behind(node):
                inputs[id(symbol)] = (symbol, node.name)
        elif isinstance(node, ast.AssignmentExpression):
            writes.extend((symbol, node.sourceRange.start) for symbol in written_symbols(node.left))
        elif isinstance(node, ast.UnaryExpression) and node.op in _STEPS:
            writes.extend((symbol, node.sourceRange.start) for symbol in written_symbols(node.operand))

    compilation.getRoot().visit(visit)
    for symbol, name in inputs.values():
        if isinstance(symbol, ast.NetSymbol) and symbol.netType.name not in ("wire", "tri", "uwire"):
            refuse(symbol.location, name, f"is a '{symbol.netType.name}' net")
        if symbol.initializer is not None:
            refuse(symbol.location, name, "is initialised")
    for symbol, location in writes:
        if id(symbol) in inputs:
            refuse(location, inputs[id(symbol)][1], "is driven here")
    return tuple(findings)


def _symbols_behind(port: ast.PortSymbol) -> list:
    """The nets or variables that a port stands for: one, or those of a port expression."""
    if port.internalSymbol is not None:
        return [port.internalSymbol]
    return [] if port.internalExpr is None else written_symbols(port.internalExpr)
