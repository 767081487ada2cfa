"""From the text of an expression or of a sort specification to its nodes, with the position of every mistake."""

from __future__ import annotations

import difflib
import math
import re
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from prodigy.workflow import expression_ast as ast
from prodigy.workflow.expression_ast import ExpressionError, Node

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

MAX_LENGTH = 10_000  # characters
MAX_DEPTH = 64  # parentheses, lists, calls and negations within each other
MAX_SHOWN = 40  # characters of a word in a message
MAX_DIGITS = 300  # of a number; a float has no more before its point

_WORD = re.compile(r"[\w.-]+|&+|\|+|.", re.DOTALL)
_COMPARISON = re.compile(r"[=!<>]|(?:in|not\s+in|contains|starts_?with|ends_?with|matches)\b", re.IGNORECASE)
_WHOLE = re.compile(r"^(\s*)\$\{([^{}]*(?:[=!<>]=|[<>]|&&|\|\|)[^{}]*)\}(\s*)$")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_UNICODE_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "/": "/"}
_BRACKET = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\[\]()]""", re.DOTALL)
_CONSTANTS = {"null": None, "true": True, "false": False}
_LONG_STEP = re.compile(rf"\d{{{MAX_DIGITS},}}")

_VARIABLE = "a variable is ${path}, without default or filter; what is missing compares as null"
_UNKNOWN: dict[str, tuple[str, str]] = {
    "'": ("a text begins here and does not end", "close it with '; a ' or \\ within it is written \\' or \\\\"),
    '"': ("a text begins here and does not end", 'close it with "; a " or \\ within it is written \\" or \\\\'),
    "$": ("this is not a variable", _VARIABLE),
    "&": ("a single & means nothing", "write && or `and`"),
    "|": ("a single | means nothing", "write || or `or`"),
    "+": ("there is no arithmetic", "compare with a number, or prepare the value when the items are made"),
    "*": ("there is no arithmetic", "compare with a number, or prepare the value when the items are made"),
    "/": ("there is no arithmetic", "a regex is a text: name matches '^a'"),
    "[": ("this is neither an index nor a key", "write [0], counted from the start, [*] or ['key']"),
}


class SortKey(NamedTuple):
    """One key of a sort specification."""

    path: ast.Path
    descending: bool
    nulls_first: bool


def parse_expression(text: str) -> Node:
    """The nodes of an expression. Raises ExpressionError."""
    # `${a == 1}` is read as `(a == 1)`, which is as long, so that places stay.
    return _node(_tree(_WHOLE.sub(r"\1 (\2)\3", text), "expression"), 0)


def parse_sort(text: str) -> tuple[SortKey, ...]:
    """The keys of a sort specification. Raises ExpressionError."""
    keys: list[Any] = _tree(text, "sort").children
    return tuple(map(_sort_key, keys))


@lru_cache(maxsize=1)
def _parser() -> Lark:
    from lark import Lark  # a tenth of the time that `prodigy --help` takes

    grammar = resources.files("prodigy.workflow").joinpath("expression.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", start=["expression", "sort"], maybe_placeholders=False)


def _tree(text: str, start: Literal["expression", "sort"]) -> Tree[Token]:
    from lark.exceptions import UnexpectedInput

    if not text.strip():
        raise ExpressionError("there is nothing here", 1, _usage(start))
    if len(text) > MAX_LENGTH:
        what = f"this is too long: {len(text):,} characters, at most {MAX_LENGTH:,}"
        raise ExpressionError(what, MAX_LENGTH + 1, "compare with a list, x in ['a', 'b'], or prepare a field to test")
    try:
        return _parser().parse(text, start=start)
    except UnexpectedInput as error:
        raise _syntax_error(text, error, start) from None


def _usage(start: str) -> str:
    if start == "sort":
        return "write keys as `path [ASC|DESC] [NULLS FIRST|LAST]`, with commas between them"
    return "write a condition such as `score >= 5 && status == 'open'`"


def _syntax_error(text: str, error: object, start: str) -> ExpressionError:
    """What lark found, in the words of our language."""
    expected: set[str] = set(getattr(error, "expected", None) or getattr(error, "allowed", None) or ())
    token = getattr(error, "token", None)
    at_end = token is not None and token.type == "$END"
    # The end as the lexer sees it may lie before trailing space.
    position = len(text.rstrip()) if at_end else _position(error)
    hint = _expectation(expected, start)
    if at_end:
        return ExpressionError("the text ends too early", position + 1, _unclosed(text, expected) or hint)
    match = _WORD.match(text, position)
    assert match
    word = match.group()
    if "NULLS" in expected and word.casefold() == "nulls":
        return ExpressionError("NULLS must be followed by FIRST or LAST", position + 1, _usage(start))
    # A quote that is closed is a text at the wrong place, and only after a path a bracket is a mistaken index.
    if word in _UNKNOWN and (word not in "'\"" or "STRING" in expected):
        return ExpressionError(_UNKNOWN[word][0], position + 1, _UNKNOWN[word][1])
    if _COMPARISON.match(text, position) and {"_AND", "_OR"} & expected:
        return ExpressionError("comparisons do not chain", position + 1, "join two of them: a < b && b < c")
    if "NUMBER" in expected and word[0].isdigit():
        return ExpressionError(f"`{_short(word)}` is not a number", position + 1, "a text stands in quotes")
    return ExpressionError(f"`{_short(word)}` is not expected here", position + 1, hint)


def _position(error: object) -> int:
    token = getattr(error, "token", None)
    position = token.start_pos if token is not None else getattr(error, "pos_in_stream", 0)
    return position if isinstance(position, int) else 0


def _expectation(expected: set[str], start: str) -> str:
    if "PATH" in expected:
        return (
            "a path is expected" if start == "sort" else "a value is expected: a path, 'text', a number, a list, a call"
        )
    if start == "sort":
        return _usage(start)
    return "an operator is expected (== != < <= > >= in contains matches && || ...), or the end of this value"


def _short(word: str) -> str:
    return word if len(word) <= MAX_SHOWN else f"{word[:MAX_SHOWN]}…"


def _unclosed(text: str, expected: set[str]) -> str | None:
    """Which bracket is open at the end of a text that lacks no value."""
    if "PATH" in expected:
        return None
    opened: list[int] = []
    for match in _BRACKET.finditer(text):
        if match.group() in "([":
            opened.append(match.start())
        elif match.group() in ")]" and opened:
            opened.pop()
    return f"the {text[opened[-1]]} at column {opened[-1] + 1} is not closed" if opened else None


def _node(tree: Tree[Token], depth: int) -> Node:
    """The node of a tree. Only groups, lists, calls and negations nest, and each begins with a token."""
    children: list[Any] = tree.children  # which of them are tokens, the rule says
    match tree.data:
        case "constant":
            return _literal(children[0])
        case "path":
            return _path(children[0])
        case "disjunction":
            return ast.Or(tuple(_node(child, depth) for child in children))
        case "conjunction":
            return ast.And(tuple(_node(child, depth) for child in children))
        case "compare":
            left, sign, right = children
            return _comparison(sign, _node(left, depth), _node(right, depth))
    first = children[0]
    if depth >= MAX_DEPTH:
        raise ExpressionError(
            f"this is nested more than {MAX_DEPTH} deep", _column(first), "use lists: x in ['a', 'b']"
        )
    parts = tuple(_node(child, depth + 1) for child in children[1:])
    match tree.data:
        case "negation":
            return ast.Not(parts[0])
        case "listing":
            return ast.Listing(parts)
        case "call":
            return _call(first, parts)
    return parts[0]


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _literal(token: Token) -> ast.Literal:
    column = _column(token)
    match token.type:
        case "STRING":
            return ast.Literal(_unescape(token[1:-1]), column)
        case "NUMBER":
            return ast.Literal(_number(token, column), column)
    return ast.Literal(_CONSTANTS[token.lower()], column)


def _unescape(text: str) -> str:
    r"""Escapes are \n \t \r \\ \' \" \/ and \uXXXX; others stay as they are, so that regexes read naturally."""
    if "\\" not in text:
        return str(text)
    plain = _ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else _PLAIN_ESCAPES.get(found[2], found.group()), text
    )
    return _UNICODE_PAIR.sub(lambda found: found.group().encode("utf-16", "surrogatepass").decode("utf-16"), plain)


def _number(text: str, column: int) -> float:
    if len(text) > MAX_DIGITS:
        raise ExpressionError("this number is too long", column, f"write at most {MAX_DIGITS} digits")
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if math.isinf(number):
        raise ExpressionError("this number is too large", column, "numbers end at about 1.8e308")
    return number


def _path(token: Token) -> ast.Path:
    column = _column(token)
    if _LONG_STEP.search(token):
        raise ExpressionError("a number in this path is too long", column, f"write fewer than {MAX_DIGITS} digits")
    if token.type != "VARIABLE":
        return ast.Path(str(token), False, column)
    return ast.Path(token[2:-1].replace("env:", "env.", 1) if token.startswith("${env:") else token[2:-1], True, column)


def _comparison(sign: Token, left: Node, right: Node) -> ast.Compare:
    operator = " ".join(sign.lower().split())
    return ast.Compare(ast.SYNONYMS.get(operator, operator), left, right)


def _call(token: Token, arguments: tuple[Node, ...]) -> Node:
    name = ast.SYNONYMS.get(token.lower(), token.lower())
    signature = ast.FUNCTIONS.get(name)
    if signature is None:
        near = difflib.get_close_matches(name.replace("-", "_"), ast.FUNCTIONS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"functions are {', '.join(ast.FUNCTIONS)}"
        raise ExpressionError(f"there is no function {_short(token)}", _column(token), hint)
    if not signature.least <= len(arguments) <= signature.most:
        number = f"{len(arguments)} argument{'s' if len(arguments) != 1 else ''}"
        raise ExpressionError(f"{name} does not take {number}", _column(token), f"write {signature.usage}")
    if name == "exists" and not isinstance(arguments[0], ast.Path):
        raise ExpressionError("exists takes a path", _column(token), "write exists(x) or exists(item.x)")
    if name in ast.OPTIONS and len(arguments) > 1:
        _check_option(name, arguments[1], _column(token))
    return ast.Compare(name, *arguments) if name in ast.INFIX else ast.Call(name, arguments)


def _check_option(name: str, option: Node, column: int) -> None:
    """The second argument of a function of lists says how it works, so it is known when the expression is read."""
    usage = f"write {ast.FUNCTIONS[name].usage}"
    if not isinstance(option, ast.Literal) or not isinstance(option.value, str):
        raise ExpressionError(f"the second argument of {name} is a text in quotes", column, usage)
    kind, text = ast.OPTIONS[name], option.value
    if kind == "direction" and text.lower() not in ("asc", "ascending", "desc", "descending"):
        raise ExpressionError("the direction is 'asc' or 'desc'", option.column, usage)
    if kind not in ("condition", "path"):
        return
    try:
        inner = parse_expression(text)
    except ExpressionError as error:
        # Behind the quote; escapes before the mistake shift it.
        raise ExpressionError(error.message, option.column + error.column, error.hint) from None
    if kind == "path" and not isinstance(inner, ast.Path):
        raise ExpressionError(f"{name} takes a path in quotes", option.column, usage)


def _sort_key(tree: Tree[Token]) -> SortKey:
    path: ast.Path | None = None
    minus = descending = nulls_first = False
    children: list[Any] = tree.children
    for child in children:
        if not hasattr(child, "type"):
            path = _path(child.children[0])
        elif child.type == "MINUS":
            minus = descending = True
        elif child.type == "DIRECTION":
            descending = child.lower().startswith("desc")
            if minus and not descending:
                raise ExpressionError("`-` means DESC, and ASC the opposite", _column(child), "leave out one of them")
        else:
            nulls_first = child.lower().endswith("first")
    assert path is not None
    return SortKey(path, descending, nulls_first)
