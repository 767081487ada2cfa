"""Walks the statements of a script; what is inside their words is the business of `words`.

What the walk does not reach stays unclaimed, and is refused in the end. To support another kind of command, add a
method to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prodigy.workflow.shell.arguments import Argument, Hit
from prodigy.workflow.shell.checks import CheckKind
from prodigy.workflow.shell.commands import Verdict, examine
from prodigy.workflow.shell.findings import Edit, Findings
from prodigy.workflow.shell.flow import ARITHMETIC_TESTS, Flows, declared_flags, yields_content
from prodigy.workflow.shell.heredocs import HEREDOCS, delimiter, misread
from prodigy.workflow.shell.rules import (
    BACKSLASH_IN_ARRAY,
    BINARY_TESTS,
    DANGEROUS_NAME,
    DECLARE_FLAGS,
    HEREDOC,
    PLACES,
    PROGRAM_INPUT,
    REDIRECTS,
    UNARY_TESTS,
    Target,
    is_dangerous,
)
from prodigy.workflow.shell.syntax import Node, children, descendants, end, kind, nodes, operator, start
from prodigy.workflow.shell.words import Words


class Statements:
    """One walk over one script. Everything it finds goes to `findings`."""

    def __init__(self, findings: Findings, flows: Flows) -> None:
        self.findings = findings
        self.flows = flows
        self.reader = findings.reader
        self.words = Words(findings, self._statements)
        self._commands: Mapping[str, Callable[[Node], None]] = {
            "CallExpr": self._call,
            "DeclClause": self._declaration,
            "IfClause": self._if,
            "WhileClause": self._while,
            "ForClause": self._for,
            "CaseClause": self._case,
            "BinaryCmd": self._binary,
            "Block": self._statements,
            "Subshell": self._statements,
            "FuncDecl": lambda node: self._statement(node["Body"]),
            "TimeClause": lambda node: self._statement(node.get("Stmt") or {}),
            "CoprocClause": lambda node: self.findings.refuse(node, "coprocess"),
            "ArithmCmd": lambda node: self.words.arithmetic(node["X"]),
            "LetClause": self._let,
            "TestClause": lambda node: self._test(node["X"]),
        }

    def walk(self, tree: Node) -> None:
        """Visit the whole script."""
        self._comments(tree)
        self._statements(tree)
        self._variables(tree)
        self._misread_arrays(tree)
        self._misread_heredocs(tree)

    def _comments(self, tree: Node) -> None:
        for node in descendants(tree):
            if "Hash" in node:
                self.findings.leave(start(node), end(node))

    def _statements(self, node: Node, field: str = "Stmts") -> None:
        for statement in nodes(node, field):
            self._statement(statement)

    def _statement(self, node: Node) -> None:
        command = node.get("Cmd")
        if command:
            visit = self._commands.get(kind(command))
            if visit:
                visit(command)
            inputs = [hit for r in nodes(node, "Redirs") if operator(r)[:1] == "<" for hit in self.reader.hits(r)]
            self._no_program(inputs, command)
        for redirect in nodes(node, "Redirs"):
            self._redirect(redirect)

    def _no_program(self, inputs: list[Hit], command: Node) -> None:
        """No command in here may read its program from these values."""
        for name in self._program_readers(command) if inputs else ():
            for hit in inputs:
                self.findings.object_to(hit, PROGRAM_INPUT, name=name)

    def _program_readers(self, command: Node) -> Iterator[str]:
        for node in descendants(command):
            if kind(node) == "CallExpr" and node.get("Args"):
                name = examine(self._arguments(node)).reads_program
                if name:
                    yield name

    def _arguments(self, call: Node) -> list[Argument]:
        return [self.reader.argument(word) for word in nodes(call, "Args")]

    def _call(self, node: Node) -> None:
        arguments = self._arguments(node)
        if any(argument.hits for argument in arguments):
            self._apply(examine(arguments))
        for assign in nodes(node, "Assigns"):
            self._assign(assign)
        for word in nodes(node, "Args"):
            self.words.word(word)

    def _apply(self, verdict: Verdict) -> None:
        for objection in verdict.objections:
            self.findings.object_to(objection.hit, objection.refusal, name=objection.name)
        for argument in verdict.no_dash.values():
            self.findings.check("leading_dash", argument.pieces)
        for argument in verdict.perl_files:
            self.findings.check("perl_file", argument.pieces)
            self.findings.check_copies(argument.word, "perl_file")

    def _assign(self, assign: Node) -> None:
        self._guard_name(
            assign["Name"]["Value"], [hit for _, child in children(assign) for hit in self.reader.hits(child)]
        )
        if assign.get("Index"):
            self.words.arithmetic(assign["Index"])
        if assign.get("Value"):
            self.words.word(assign["Value"])
        for element in nodes(assign.get("Array") or {}, "Elems"):
            if element.get("Index"):
                self.words.arithmetic(element["Index"])
            if element.get("Value"):
                self.words.word(element["Value"])

    def _guard_name(self, name: str, hits: list[Hit]) -> None:
        if is_dangerous(name):
            for hit in hits:
                self.findings.object_to(hit, DANGEROUS_NAME, name=name)

    def _declaration(self, node: Node) -> None:
        name = node["Variant"]["Value"]
        flags = declared_flags(node)
        for assign in nodes(node, "Args"):
            if assign.get("Naked"):
                for hit in self.reader.hits(assign):
                    self.findings.object_to(hit, PLACES["declared_word"], name=name)
                continue
            self.findings.refuse(assign.get("Array") or {}, "declared_array", name=name)
            hits = self.reader.hits(assign.get("Value") or {})
            if hits and not DECLARE_FLAGS.issuperset(flags):
                for hit in hits:
                    self.findings.object_to(hit, PLACES["declared_flag"], name=name, flags=f"-{flags}")
            elif hits:
                self.findings.check("leading_parenthesis", self.reader.pieces(assign["Value"]))
                self.findings.check_copies(assign["Value"], "leading_parenthesis")
            self._assign(assign)

    def _if(self, node: Node) -> None:
        self._statements(node, "Cond")
        self._statements(node, "Then")
        if node.get("Else"):
            self._if(node["Else"])

    def _while(self, node: Node) -> None:
        self._statements(node, "Cond")
        self._statements(node, "Do")

    def _for(self, node: Node) -> None:
        loop = node["Loop"]
        if node.get("Select"):
            self.findings.refuse(loop, "select")
        elif kind(loop) == "WordIter":
            for item in nodes(loop, "Items"):
                self._guard_name(loop["Name"]["Value"], self.reader.hits(item))
                self.words.word(item)
        elif kind(loop) == "CStyleLoop":
            for _, expression in children(loop):
                self.words.arithmetic(expression)
        self._statements(node, "Do")

    def _case(self, node: Node) -> None:
        self.words.word(node["Word"])
        for item in nodes(node, "Items"):
            for pattern in nodes(item, "Patterns"):
                self.findings.refuse(pattern, "case_pattern")
            self._statements(item)

    def _binary(self, node: Node) -> None:
        if operator(node) in ("|", "|&"):
            self._no_program(self.reader.hits(node["X"]), node["Y"])
        self._statement(node["X"])
        self._statement(node["Y"])

    def _let(self, node: Node) -> None:
        for expression in nodes(node, "Exprs"):
            self.words.arithmetic(expression, is_word=True)

    def _test(self, node: Node) -> None:
        """A part of `[[ ]]`, where the shell reads the operators before it expands anything."""
        match kind(node):
            case "Word":
                self.words.word(node)
            case "ParenTest":
                self._test(node["X"])
            case "UnaryTest":
                self._unary_test(node)
            case "BinaryTest":
                self._binary_test(node)

    def _unary_test(self, node: Node) -> None:
        op = operator(node)
        if op == "!" or op in UNARY_TESTS:
            self._test(node["X"])
            return
        place = "test_name" if op in ("-v", "-R") else "test_operator"
        for hit in self.reader.hits(node["X"]):
            self.findings.object_to(hit, PLACES[place], name=op)

    def _binary_test(self, node: Node) -> None:
        op = operator(node)
        if op in ARITHMETIC_TESTS:
            self.words.arithmetic(node["X"], is_word=True)
            self.words.arithmetic(node["Y"], is_word=True)
        elif op in ("&&", "||") or op in BINARY_TESTS:
            self._test(node["X"])
            self._test(node["Y"])
        elif op == "=~":
            self._test(node["X"])
            self.findings.refuse(node["Y"], "regex")
        else:
            self.findings.refuse(node, "test_operator", name=op)

    def _redirect(self, redirect: Node) -> None:
        op = operator(redirect)
        word = redirect.get("Word") or {}
        if op in HEREDOCS:
            self.findings.refuse(word, "heredoc_word")
            self._heredoc(redirect)
            return
        target = REDIRECTS.get(op)
        hits = self.reader.hits(word)
        if target is None:
            for hit in hits:
                self.findings.object_to(hit, PLACES["descriptor" if op in (">&", "<&") else "redirect"], name=op)
        elif target is not Target.TEXT:
            rule: CheckKind = "write_target" if target is Target.WRITE else "read_target"
            self.findings.check(rule, self.reader.pieces(word))
            self.findings.check_copies(word, rule)
        self.words.word(word)

    def _heredoc(self, redirect: Node) -> None:
        body, ends = redirect.get("Hdoc"), delimiter(redirect)
        if not body or not ends:
            return  # nothing in it, or refused by _misread_heredocs
        if not ends.is_quoted:
            self.words.inside_quotes(body)
            return
        markers = self.findings.source.within(start(body), end(body))
        if markers and any(start(body) <= raw.start < end(body) for raw in self.findings.source.raws):
            self.findings.refuse(body, "heredoc_raw")
        elif markers:
            self.findings.edits.append(Edit(start(redirect["Word"]), end(redirect["Word"]), ends.text))
            self.words.quoted_heredoc(body)

    def _misread_heredocs(self, tree: Node) -> None:
        for offset in misread(tree, self.findings.source.data):
            self.findings.object_to_text(offset, HEREDOC)

    def _variables(self, tree: Node) -> None:
        """Variables that hold values: whole numbers in arithmetic, no names of others, no name references."""
        markers = self.findings.source.markers
        for name in sorted(self.flows.arithmetic & self.flows.direct.keys()):
            for number in sorted(self.flows.direct[name]):
                self.findings.check_value("integer", markers[number])
        for numbers in self.flows.derived.values() if self.flows.name_references else ():
            self.findings.object_to(self.reader.hit(markers[min(numbers)]), PLACES["name_reference"])
        for node in filter(yields_content, descendants(tree)):
            place = "prompt" if _is_prompt(node.get("Exp") or {}) else "indirection" if node.get("Excl") else None
            if place:
                for hit in self.reader.held_by(node):
                    self.findings.object_to(hit, PLACES[place])

    def _misread_arrays(self, tree: Node) -> None:
        """bash up to 5.2 loses backslashes of `$(a=(\\"x))`, so that quotes after it are not those of the tree."""
        substitutions = [node for node in descendants(tree) if kind(node) in ("CmdSubst", "ProcSubst")]
        arrays = [node for part in substitutions for node in descendants(part) if "Elems" in node]
        for node in (node for array in arrays for node in descendants(array) if kind(node) != "DblQuoted"):
            if any(kind(part) == "Lit" and "\\" in part["Value"] for part in nodes(node, "Parts")):
                self.findings.object_to_text(start(node), BACKSLASH_IN_ARRAY)


def _is_prompt(operation: Node) -> bool:
    """`@P`, or an operator after the @ that only the shell knows."""
    parts = nodes(operation.get("Word") or {}, "Parts")
    return operation.get("Op") == "@" and any("P" in str(part.get("Value", "P")) for part in parts)
