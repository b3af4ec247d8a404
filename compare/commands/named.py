"""A check of something that is named on the command line: MODULE:NAME beside a reference, with no file to write."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import re
import sys
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import optim

from handgrad.compare.foundation.debug import swallowed
from handgrad.compare.foundation.errors import UsageError
from handgrad.compare.foundation.signatures import required

NAMED = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*(,[^\W\d][\w.]*)?")
OWN = ("reference", "reference_arguments", "input", "param", "output", "target", "theta", "dtype", "seed", "explain")


def is_named(text: str) -> bool:
    """Whether this is MODULE:NAME or MODULE:FORWARD,BACKWARD, and no file."""
    return NAMED.fullmatch(text) is not None and not Path(text).exists()


def require_no_options(args: argparse.Namespace) -> None:
    """UsageError where an option is given that only a check of MODULE:NAME has."""
    for option in OWN:
        if getattr(args, option) is not None:
            raise UsageError(
                f"--{option.replace('_', '-')} goes with MODULE:NAME, got it beside {args.file or '--all'}: leave it "
                "out, or name what to check"
            )


def arguments(args: argparse.Namespace) -> dict[str, Any]:
    """What `check` is called with for these options. UsageError where something does not fit."""
    if args.reference is None:
        raise UsageError(
            f"{args.file} is checked beside a reference, got none: give --reference, such as torch.nn.functional.gelu"
        )
    own = {"inputs": dict(args.input) if args.input else None, "params": dict(args.param) if args.param else None}
    given = own | {k: getattr(args, k) for k in ("output", "target", "theta", "dtype", "seed", "explain")}
    if all(given[k] is None for k in ("inputs", "output", "theta")):
        raise UsageError(
            f"{args.file} is checked on inputs, got none: give --input x:4,8 for a layer, --output 4,8 and --target "
            "for a loss, or --theta 1000 for an update rule"
        )
    return {
        "ours": _ours(str(args.file)),
        "reference": _reference(args.reference, args.reference_arguments, of_rule=args.theta is not None),
        "name": f"{args.file} beside {args.reference}"
        + (f"({args.reference_arguments})" if args.reference_arguments else ""),
        **{k: v for k, v in given.items() if v is not None},
    }


def _ours(text: str) -> Any:
    """The pair, layer, loss or rule that MODULE:NAME is, or that it makes when it is called without arguments."""
    module_name, _, names = text.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as under `python -m`
    module = _imported(module_name)
    things = [_attribute(module, module_name, name) for name in names.split(",")]
    if len(things) == 2:
        for name, thing in zip(names.split(","), things, strict=True):
            if not callable(thing):
                raise UsageError(f"{name} of {module_name} must be a function, got {_kind(thing)}: name another")
        return tuple(things)
    (thing,) = things
    is_function = callable(thing) and not any(hasattr(thing, method) for method in ("forward", "update"))
    if isinstance(thing, type) or (is_function and not required(thing)):
        return _made(text, thing)
    return thing


def _made(text: str, make: Any) -> Any:
    try:
        return make()
    except Exception as problem:
        swallowed(problem, text)
        raise UsageError(
            f"{text} is called without arguments, but that raises {_words(problem)}: name a function without "
            "arguments that makes the thing, or a pair as MODULE:FORWARD,BACKWARD"
        ) from problem


def _reference(text: str, given: str | None, of_rule: bool) -> Any:
    """The function, module or optimizer of a dotted name; a class is made with the arguments, a function keeps them."""
    thing = _dotted(text)
    if not callable(thing):
        raise UsageError(f"--reference must be a function or a class, got {_kind(thing)} for {text}: name another")
    positional, named = _literals(given)
    if of_rule and isinstance(thing, type) and issubclass(thing, optim.Optimizer):
        return thing if given is None else lambda parameters, lr: thing(parameters, lr, *positional, **named)
    if not isinstance(thing, type):
        return functools.partial(thing, *positional, **named) if given else thing
    try:
        return thing(*positional, **named)
    except Exception as problem:
        swallowed(problem, text)
        raise UsageError(
            f"--reference {text} is made with the arguments ({given or ''}), but that raises {_words(problem)}: give "
            "others in --reference-arguments, such as '8, eps=1e-6'"
        ) from problem


def _literals(given: str | None) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments as they are written in a call. Literals alone: nothing is evaluated."""
    try:
        call = ast.parse(f"f({given or ''})", mode="eval").body
        if (
            not isinstance(call, ast.Call)
            or not isinstance(call.func, ast.Name)
            or None in (k.arg for k in call.keywords)
        ):
            raise ValueError("these are no arguments of one call")
        return (
            [ast.literal_eval(value) for value in call.args],
            {str(word.arg): ast.literal_eval(word.value) for word in call.keywords},
        )
    except (ValueError, SyntaxError):
        raise UsageError(
            f"--reference-arguments must be literals such as '8, eps=1e-6', got {given!r}: write numbers, strings, "
            "tuples, True, False or None"
        ) from None


def _dotted(text: str) -> Any:
    """What a dotted name stands for: the longest part of it that is a module, and then attributes."""
    parts = text.split(".")
    if not all(part.isidentifier() for part in parts):
        raise UsageError(f"--reference must be a dotted name such as torch.nn.functional.gelu, got {text!r}: give one")
    thing, known = _imported(parts[0]), parts[0]
    for part in parts[1:]:
        within = f"{known}.{part}"
        is_module = not hasattr(thing, part) and hasattr(thing, "__path__") and find_spec(within) is not None
        thing, known = _imported(within) if is_module else _attribute(thing, known, part), within
    return thing


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if name.endswith(".py"):
            raise UsageError(f"a module is named without .py, got {name}: write {name.removesuffix('.py')}") from None
        if problem.name is None or not (name == problem.name or name.startswith(f"{problem.name}.")):
            raise UsageError(f"{name} must import, but it raises {_words(problem)}: install what it needs") from None
        raise UsageError(
            f"there must be a module {name}, but none is found from {Path.cwd()}: mind the spelling, or start in its "
            "folder"
        ) from None
    except Exception as problem:
        swallowed(problem, name)
        raise UsageError(f"{name} must import, but it raises {_words(problem)}: mend it") from problem


def _attribute(thing: Any, known: str, name: str) -> Any:
    for part in name.split("."):
        if not hasattr(thing, part):
            near = get_close_matches(part, [own for own in dir(thing) if not own.startswith("_")])
            has = f"it has {', '.join(near)}" if near else "mind the spelling"
            raise UsageError(f"{known} must have a {part}, but it has none: {has}")
        thing = getattr(thing, part)
    return thing


def _kind(thing: Any) -> str:
    return f"the {type(thing).__name__} {str(thing)[:40]!r}"


def _words(problem: BaseException) -> str:
    return " ".join(f"{type(problem).__name__}: {problem}".split())
