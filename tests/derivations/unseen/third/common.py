"""What the three files of cases share: a family is one correct implementation with switches."""
from dataclasses import dataclass, field
from typing import Any, Callable


def tensors(text):
    """'y x W' -> the names as the report prints them."""
    short = {"y": "output", "x": "input gradient", "J": "loss", "dJ": "loss gradient"}
    return frozenset(short.get(word, f"gradient of {word}") for word in text.split())


@dataclass(frozen=True)
class Case:
    name: str
    kind: str                      # layer, loss or rule
    family: str
    build: Callable[[frozenset], Any]
    make_twin: Callable[[], Any]
    kwargs: dict = field(hash=False)
    faults: frozenset
    differ: frozenset              # names as the report prints them; of a rule: {"theta"} and see first_step
    truth: str
    first_step: int = 0            # of a rule: the first step after which theta differs

    def ours(self):
        return self.build(self.faults)

    def right(self):
        return self.build(frozenset())

    def twin(self):
        return self.make_twin()


def registrar(kind, into):
    def family(make_twin, kwargs, *cases):
        """Each case: (switches, tensors that differ, truth) or, of a rule, (switches, first step, truth)."""
        def take(build):
            for switches, differ, truth in cases:
                name = f"{build.__name__}: {switches.replace(' ', ' + ')}"
                rule = kind == "rule"
                into.append(Case(name, kind, build.__name__, build, make_twin, kwargs, frozenset(switches.split()),
                                 frozenset({"theta"}) if rule else tensors(differ), truth, differ if rule else 0))
            return build
        return take
    return family
