"""Numbers in a study file: plain, a parameter's name, or a linear expression such as ``"2*J1 - J2/3"``."""

import ast
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LONGEST = 300
"""Characters an expression may have."""
LARGEST = 1e9
"""What no coefficient may exceed."""


def linear(expression: float | str, names: Sequence[str]) -> NDArray[np.float64]:
    """Coefficients of an expression in the named parameters, (n_names + 1,), the constant last.

    Raises
    ------
    ValueError
        If it is not linear, a name in it is not a parameter, or a number in it is out of all bounds.
    """
    if not isinstance(expression, str):
        return np.append(np.zeros(len(names)), float(expression))
    if len(expression) > LONGEST:
        raise ValueError(f"an expression of {len(expression)} characters is too long; {LONGEST} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f'"{expression}" is not an expression; write a number, a parameter or "2*J1 - J2"') from None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        out = _walk(tree, expression, list(names))
    if not np.all(np.abs(out) <= LARGEST):
        raise ValueError(f'"{expression}" holds a number that is not finite or above {LARGEST:g}')
    return out


def _walk(node: ast.expr, text: str, names: list[str]) -> NDArray[np.float64]:
    """Coefficients of one node of the expression."""
    out = np.zeros(len(names) + 1)
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            out[-1] = value if abs(value) <= LARGEST else np.inf
        case ast.Name(id=name):
            if name not in names:
                raise ValueError(f'"{name}" is not a parameter of this model; it has {", ".join(names)}')
            out[names.index(name)] = 1
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=inner):
            out = _walk(inner, text, names) * (1 if isinstance(op, ast.UAdd) else -1)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
            sign = 1 if isinstance(op, ast.Add) else -1
            out = _walk(left, text, names) + sign * _walk(right, text, names)
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as op, right=right):
            a, b = _walk(left, text, names), _walk(right, text, names)
            if isinstance(op, ast.Mult) and not a[:-1].any():
                a, b = b, a
            if b[:-1].any() or (isinstance(op, ast.Div) and b[-1] == 0):
                raise ValueError(f'"{text}" is not linear in the parameters')
            out = a * b[-1] if isinstance(op, ast.Mult) else a / b[-1]
        case _:
            raise ValueError(f'"{text}" is not a linear expression of numbers and parameters')
    return out
