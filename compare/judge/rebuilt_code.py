"""A person's code over again, in which some functions are others.

Each function is made anew from its own code object, over globals in which some functions are exchanged for others. The
functions and classes that it finds there are rebuilt when they are looked up, objects are copied with a class of
rebuilt methods, and closures get new cells. Nothing that exists is changed, neither a module nor an object of the
person's, so that other threads see nothing of it.

What cannot be rebuilt (extension types, metaclasses, what is in site-packages) is used as it is.
"""

from __future__ import annotations

import abc
import builtins
import functools
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Protocol

import numpy as np

from handgrad.compare.foundation.debug import swallowed

EXCHANGED = (np.__name__, math.__name__)  # the packages of which functions are exchanged
HANDGRAD = __name__.partition(".")[0]
OF_A_MODULE = ("__name__", "__package__", "__spec__", "__loader__", "__file__", "__path__")  # what an import reads
OF_A_CLASS = ("__dict__", "__weakref__", "_abc_impl", "__abstractmethods__")  # what making a class makes again
OF_PYTHON = ("builtins", "typing", "abc")
METACLASSES = (type, abc.ABCMeta, type(Protocol))


class Translator:
    """Rebuilds functions, classes, objects and containers of them; the same thing is rebuilt once.

    `exchanged` has, by function, what is to be used in its place; `code` is what is done to a function's code, and
    `more` are names that rebuilt code finds beside the builtins.
    """

    def __init__(
        self,
        exchanged: Mapping[Callable[..., Any], Any],
        code: Callable[[CodeType], CodeType] = lambda code: code,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.code = code
        self.exchanged = {id(old): (old, new) for old, new in exchanged.items()}
        self.made: dict[int, tuple[Any, Any]] = dict(self.exchanged)  # by id; the old one is kept, and with it its id
        self.namespaces: dict[int, Globals] = {}
        self.depth = 0
        self.open_cells: list[tuple[CellType, CellType]] = []
        self.builtins = {name: self._of(x) if id(x) in self.made else x for name, x in vars(builtins).items()}
        self.builtins |= {"__import__": self._import, **(more or {})}

    def __call__(self, x: Any) -> Any:
        """What stands for x in the rebuilt code; x itself where there is nothing to rebuild."""
        self.depth += 1
        try:
            new = self._of(x)
            while self.depth == 1 and self.open_cells:  # not while something that a cell may hold is being made
                cell, old = self.open_cells.pop()
                try:
                    cell.cell_contents = self._of(old.cell_contents)
                except ValueError:  # not filled yet
                    continue
            return new
        finally:
            self.depth -= 1

    def _of(self, x: Any) -> Any:
        if (known := self.made.get(id(x))) is not None:
            return known[1]
        rebuild = self._rebuilder(x)
        if rebuild is None:
            return x
        self.made[id(x)] = x, x  # what refers to itself
        try:
            new = rebuild(x)
        except Exception as problem:  # of a metaclass, a descriptor, a class that cannot be copied: it runs as it is
            swallowed(problem, "the rebuilding of code")
            new = x
        self.made[id(x)] = x, new
        return new

    def _rebuilder(self, x: Any) -> Callable[[Any], Any] | None:
        kind = type(x)
        if kind is FunctionType:
            return self._function if is_own(x.__module__, x.__globals__) else None
        if kind is MethodType:
            return lambda x: MethodType(self._of(x.__func__), self._of(x.__self__))
        if kind is functools.partial:
            return lambda x: functools.partial(self._of(x.func), *map(self._of, x.args), **self._values(x.keywords))
        if kind in (list, tuple):
            return lambda x: kind(map(self._of, x))
        if kind is dict:
            return self._values
        if kind is np.vectorize:
            return lambda x: self._of(np.vectorize)(
                self._of(x.pyfunc), x.otypes, x.__doc__, x.excluded, x.cache, x.signature
            )
        if isinstance(x, ModuleType):
            exchanged = x.__name__.partition(".")[0] in EXCHANGED
            return self._module if exchanged or is_own(x.__name__, vars(x)) else None
        if isinstance(x, type):
            return self._class if can_be_made_again(x) else None
        return self._object if can_be_made_again(kind) else None

    def _values(self, x: Mapping[Any, Any]) -> dict[Any, Any]:
        return {key: self._of(value) for key, value in x.items()}

    def _function(self, f: FunctionType) -> FunctionType:
        cells = tuple(self._cell(c) for c in f.__closure__ or ())
        namespace = self._namespace(f.__globals__)
        # the code is copied, because the interpreter adapts it to the kind of globals that it meets
        new = FunctionType(self.code(f.__code__).replace(), namespace, f.__name__, None, cells)
        self.made[id(f)] = f, new
        namespace.prepare(f.__code__)
        new.__defaults__ = None if f.__defaults__ is None else tuple(map(self._of, f.__defaults__))
        new.__kwdefaults__ = None if f.__kwdefaults__ is None else self._values(f.__kwdefaults__)
        new.__qualname__, new.__module__, new.__doc__ = f.__qualname__, f.__module__, f.__doc__
        vars(new).update(self._values(vars(f)))
        return new

    def _cell(self, old: CellType) -> CellType:
        """A new cell, to be filled when the classes and functions that it may refer to are made."""
        if (known := self.made.get(id(old))) is not None:
            return known[1]
        new = CellType()
        self.made[id(old)] = old, new
        self.open_cells.append((new, old))
        return new

    def _namespace(self, real: dict[str, Any]) -> Globals:
        if id(real) not in self.namespaces:
            self.namespaces[id(real)] = Globals(real, self)
        return self.namespaces[id(real)]

    def _module(self, module: ModuleType) -> ModuleType:
        return Module(module, self._namespace(vars(module)))

    def _import(self, *args: Any, **kwargs: Any) -> Any:
        return self(builtins.__import__(*args, **kwargs))

    def _class(self, old: type) -> type:
        items = {
            name: self._descriptor(value)
            for name, value in vars(old).items()
            if name not in OF_A_CLASS and not isinstance(value, MemberDescriptorType)
        }
        return type(old)(old.__name__, tuple(map(self._of, old.__bases__)), items)

    def _descriptor(self, x: Any) -> Any:
        """What a class holds: a method of any kind, or anything else."""
        if isinstance(x, (staticmethod, classmethod)):
            return type(x)(self._descriptor(x.__func__))
        if type(x) is property:
            return property(self._of(x.fget), self._of(x.fset), self._of(x.fdel), x.__doc__)
        if type(x) is functools.cached_property:
            return functools.cached_property(self._of(x.func))
        return self._of(x)

    def _object(self, x: Any) -> Any:
        kind = self._of(type(x))
        if kind is type(x):
            return x
        new = object.__new__(kind)
        self.made[id(x)] = x, new
        for name, value in _held(x):
            object.__setattr__(new, name, self._of(value))
        return new


def _held(x: Any) -> list[tuple[str, Any]]:
    """The attributes of an object, in its dictionary and its slots."""
    slots = [n for kind in type(x).__mro__ for n, d in vars(kind).items() if isinstance(d, MemberDescriptorType)]
    nothing = object()
    held = [(n, value) for n in slots if (value := getattr(x, n, nothing)) is not nothing]
    return [*held, *getattr(x, "__dict__", {}).items()]


class Globals(dict[str, Any]):
    """The globals of rebuilt functions: what is looked up is rebuilt then, and what they set stays here.

    A function's globals may be of a subclass of dict, whose lookups the interpreter then leaves to that class.
    """

    def __init__(self, real: dict[str, Any], translate: Translator) -> None:
        super().__init__({name: real[name] for name in OF_A_MODULE if name in real})
        self["__builtins__"] = translate.builtins  # which is not looked up, but read
        self.real, self.translate = real, translate

    def __missing__(self, name: str) -> Any:
        self[name] = new = self.translate(self.real[name])  # KeyError: a builtin
        return new

    def prepare(self, code: CodeType) -> None:
        """Look up now what the bodies of classes inside the code read, which the interpreter does not ask for."""
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                if not inner.co_flags & inspect.CO_OPTIMIZED:
                    for name in inner.co_names:
                        if name in self.real and name not in self:
                            self[name] = self.translate(self.real[name])
                self.prepare(inner)


class Module(ModuleType):
    """A module whose attributes are those of rebuilt globals."""

    def __init__(self, module: ModuleType, namespace: Globals) -> None:
        super().__init__(module.__name__)
        vars(self).update(_real=module, _namespace=namespace)

    def __getattr__(self, name: str) -> Any:
        namespace = vars(self)["_namespace"]
        try:
            return namespace[name]
        except KeyError:  # what the module makes when it is asked for
            return namespace.translate(getattr(vars(self)["_real"], name))

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)["_namespace"][name] = value


def is_own(module: str | None, namespace: Mapping[str, Any]) -> bool:
    """Whether code is the person's: of no installed package, nor of Python or handgrad itself."""
    if isinstance(namespace, Globals) or module is None:
        return False
    name = str(namespace.get("__name__", module)).partition(".")[0]
    if name == HANDGRAD or name in sys.stdlib_module_names:
        return False
    return not {"site-packages", "dist-packages"} & set(Path(str(namespace.get("__file__") or "")).parts)


def can_be_made_again(kind: type) -> bool:
    """Whether a class is the person's, and making another like it does nothing else."""
    if type(kind) not in METACLASSES or kind.__flags__ & (1 << 8) or not is_own_class(kind):  # 1 << 8: immutable
        return False
    hooks = ("__init_subclass__", "__del__", "__class_getitem__")
    return not any(name in vars(k) for k in kind.__mro__ if k.__module__ not in OF_PYTHON for name in hooks)


def is_own_class(kind: type) -> bool:
    """Whether a class is of the person's own code."""
    module = sys.modules.get(kind.__module__)
    return kind.__module__ != "builtins" and is_own(kind.__module__, vars(module) if module is not None else {})
