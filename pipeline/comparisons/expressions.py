"""What is declared as text and computed with later: a name of Keras, a call, an activation of x."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.base import InputError

MOST_LETTERS = 500


def _power(base: Any, exponent: Any) -> Any:
    # Of integers it could have more digits than there is memory for.
    return (
        float(base) if isinstance(exponent, int) and isinstance(base, int) else base
    ) ** exponent


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def check_expression(subject: str, text: str) -> None:
    """Refuse what is no name, call or arithmetic; which names there are is not looked at."""
    try:
        # A method or an attribute would reach further than the functions that are meant.
        refused = [ast.unparse(one) for one in ast.walk(_parsed(text)) if not _is_allowed(one)][:1]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        refused = [""]
    if refused:
        raise InputError(
            subject,
            expected="a name, a call such as sgd(momentum=0.9), or arithmetic such as x ** 2",
            received=repr(text[:100]) + (f", {refused[0]!r} in it" if refused[0] else ""),
            action="Names, numbers, calls, + - * / and ** are understood.",
        )


def called_name(text: str) -> str:
    """The name that a text consists of, or of what it calls."""
    node = _parsed(text)
    name = node.func if isinstance(node, ast.Call) else node
    return name.id if isinstance(name, ast.Name) else ""


def mentions(text: str, name: str) -> bool:
    """Whether a name stands in a text."""
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(_parsed(text)))


def evaluated(text: str, *, value: Callable[[str], Any], function: Callable[[str], Any]) -> Any:
    """What a text comes to, as `check_expression` lets it pass.

    Args:
        text: a name, a call, or arithmetic of these.
        value: what a name stands for.
        function: what the name of something that is called stands for.
    """

    def of(node: ast.AST) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return value(node.id)
        if isinstance(node, ast.UnaryOp):
            return _OPERATORS[type(node.op)](of(node.operand))
        if isinstance(node, ast.BinOp):
            return _OPERATORS[type(node.op)](of(node.left), of(node.right))
        assert isinstance(node, ast.Call)
        assert isinstance(node.func, ast.Name)
        named = {str(one.arg): of(one.value) for one in node.keywords}
        return function(node.func.id)(*map(of, node.args), **named)

    return of(_parsed(text))


def _parsed(text: str) -> ast.expr:
    if len(text) > MOST_LETTERS:
        raise ValueError(f"more than {MOST_LETTERS} letters")
    return ast.parse(text.strip(), mode="eval").body


def _is_allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float, bool, type(None))
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name)
    if isinstance(node, ast.keyword):
        return node.arg is not None
    known = (ast.Name, ast.Load, ast.BinOp, ast.UnaryOp, *_OPERATORS)
    return isinstance(node, known)
