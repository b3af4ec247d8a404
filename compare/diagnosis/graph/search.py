"""Which one step of the true derivation, or which two, must be wrong to give the manual numbers?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from handgrad.compare.diagnosis.cause import Explanation
from handgrad.compare.diagnosis.graph.another_function import OtherReference, another_function, as_the_output
from handgrad.compare.diagnosis.graph.carried import carried
from handgrad.compare.diagnosis.graph.draw import Draw, most_telling
from handgrad.compare.diagnosis.graph.factors import factors, of_windows, own_factors
from handgrad.compare.diagnosis.graph.hypotheses import Budget, Projected, exchanges, nested, pairs, singles
from handgrad.compare.diagnosis.graph.hypothesis import Hypothesis
from handgrad.compare.diagnosis.graph.loops import loops
from handgrad.compare.diagnosis.graph.mixtures import mixtures
from handgrad.compare.diagnosis.graph.proof import prove
from handgrad.compare.diagnosis.graph.record.operations import MOVES
from handgrad.compare.diagnosis.graph.record.reference import Traces
from handgrad.compare.diagnosis.graph.record.trace import Trace
from handgrad.compare.diagnosis.graph.sentences import factor_in_words
from handgrad.compare.diagnosis.graph.whole import whole_gradients
from handgrad.compare.diagnosis.likelihood import DEEPER, MOVED, Tier
from handgrad.compare.diagnosis.whole.factors import Labelled
from handgrad.compare.judge.case import Case
from handgrad.compare.judge.names import is_forward
from handgrad.compare.judge.sides import LossSides, Sides

BUDGET = 1000  # edits that are made anew below another one
PATHS = 8000  # paths that are left out, or get a factor, below another edit
LIKELIEST = Tier.KNOWN  # no edit of the reference is likelier
FORWARD = 250  # edits of the forward pass whose values are put into the derivative, over all outputs of a check
LOOPED = 600  # edits that are made in all turns of a loop at once, over all outputs of a check
MOST = 16  # hypotheses that are worked out in full
TOO_OFTEN = {"own misplaced", "window divided twice"}  # kinds of factors
Source = Callable[[Draw, Projected], Iterator[Hypothesis]]


def target_of(sides: Sides, output: str) -> str:
    """Which input of the trace a gradient is with respect to; empty where it is no gradient."""
    if output == "input gradient":
        return "x"
    if output == "loss gradient" and isinstance(sides, LossSides):
        return "ŷ"
    return output.removeprefix("gradient of ") if output.startswith("gradient of ") else ""


@dataclass
class Clues:
    """What has been found for the outputs of a check so far, and the work that is left: for the outputs to come."""

    hypotheses: list[tuple[int, Hypothesis]] = field(default_factory=list)  # and how far the reference is taken apart
    loops: Budget = field(default_factory=lambda: Budget(LOOPED))
    change: OtherReference | None = None  # that explains the output
    forward: Budget = field(default_factory=lambda: Budget(FORWARD))
    traces: Traces = field(default_factory=Traces)

    def add(self, depth: int, hypothesis: Hypothesis) -> None:
        """An edit, at the same edge of the same operation, may be seen in several gradients: first all of it."""
        for one in dict.fromkeys((hypothesis, *(Hypothesis((edit,)) for edit in hypothesis.edits))):
            if (depth, one) not in self.hypotheses and not one.is_fitted:
                self.hypotheses.append((depth, one))


class TheReference:
    """The reference taken apart on every case, and what can be wrong with one or two of its steps."""

    def __init__(
        self, sides: Sides, cases: Sequence[Case], agreeing: Sequence[Case] = (), clues: Clues | None = None
    ) -> None:
        self.budget = Budget(BUDGET)
        self.clues = Clues() if clues is None else clues
        self.cases = [*cases, *agreeing]
        self.target = target_of(sides, cases[0].output)
        fits = all(c.manual.shape == c.torch.shape for c in cases)
        self.traces: list[list[Trace]] = []
        if fits and (self.target or is_forward(cases[0].output)):
            self.traces = self.clues.traces.of(sides, [case.inputs for case in self.cases], cases[0].output)
            if not self.traces and len(agreeing):  # the reference does something else there
                self.cases = list(cases)
                self.traces = self.clues.traces.of(sides, [case.inputs for case in cases], cases[0].output)
        self._draws: list[list[Draw]] | None = None
        self._projected: dict[int, Projected | None] = {}

    @property
    def stopped_early(self) -> bool:
        """Whether edits were left untried."""
        return self.budget.left <= 0

    def own(self) -> list[list[Labelled]]:
        """The reference's own constant factors, for every case."""
        return [_own([many[k] for many in self.traces], self.target) for k in range(len(self.cases))]

    def draws(self) -> list[list[Draw]]:
        """Every way of taking it apart that gives torch's own gradient."""
        if self._draws is None:
            self._draws = []
            for many in self.traces if self.target else ():
                both = zip(self.cases, many, strict=True)
                draws = [Draw(case, trace, self.target, factors(case, trace)) for case, trace in both]
                if all(draw.is_sound() for draw in draws):
                    self._draws.append(draws)
        return self._draws

    def one_edit(self) -> list[Explanation]:
        """Single edits of the derivation, and other functions, that explain every case."""
        found = self._as_elsewhere() or self._as_the_output()
        if found:
            return found
        found = self._found([singles, exchanges, mixtures, partial(loops, budget=self.clues.loops)], whole=True)
        if min((f.complexity for f in found), default=99) > LIKELIEST:
            others, likeliest = another_function(self.cases, self.traces, self.target)
            found += others
            if likeliest is not None and not self.target:
                self.clues.change = likeliest
        return found

    def _as_the_output(self) -> list[Explanation]:
        """The edit of the reference that explains the output, if this is the gradient of that function."""
        if not self.target or self.clues.change is None:
            return []
        found = as_the_output(self.cases, self.traces, self.target, self.clues.change)
        return [] if found is None else [found]

    def _as_elsewhere(self) -> list[Explanation]:
        """What explains another output of the same check, if it explains this one too."""
        draws = self.draws()
        for depth, hypothesis in self.clues.hypotheses:
            if depth < len(draws) and (found := prove(draws[depth], hypothesis)) is not None:
                return [found]
        return []

    def wrong_values(self) -> list[Explanation]:
        """An edit of the forward pass whose values the gradient is worked out with."""
        if not self.target:
            return []
        return carried(self.cases, self.traces, self.target, self.clues.forward, self.clues.change)

    def two_edits(self) -> list[Explanation]:
        """Two edits of the derivation together."""
        on_paths = partial(nested, budget=Budget(PATHS), paths=True)
        return self._found([pairs, on_paths, partial(nested, budget=self.budget)])

    def _found(self, sources: Sequence[Source], whole: bool = False) -> list[Explanation]:
        """What the sources' hypotheses explain, and with `whole` what is wrong with a gradient as a whole."""
        proven: list[tuple[Explanation, int, Hypothesis | None]] = []
        kinds: set[Any] = set()  # what was found in a reference that is taken apart less is only said again
        for depth, draws in enumerate(self.draws()):  # what is taken apart the least is likelier
            if min((f.complexity for f, _, _ in proven), default=99) <= LIKELIEST:
                break  # nothing that is likelier can come
            here: list[tuple[Explanation, Hypothesis | None]] = []
            if whole:
                here += [(f, None) for f in whole_gradients(draws)]
            for source in sources:
                hypotheses = [h for h in self._likeliest(depth, source) if h.kinds not in kinds]
                here += [(f, h) for h in hypotheses if (f := prove(draws, h)) is not None]
                if here:
                    break
            proven += [(f._replace(complexity=f.complexity + DEEPER * depth), depth, h) for f, h in here]
            kinds |= {h.kinds for _, h in here if h is not None}
        simplest: dict[tuple[str, ...], Explanation] = {}
        for k, (f, depth, hypothesis) in enumerate(sorted(proven, key=lambda p: p[0].complexity)):
            simplest.setdefault(f.phrases, f)
            if k == 0 and hypothesis is not None:
                self.clues.add(depth, hypothesis)
        return list(simplest.values())

    def _likeliest(self, depth: int, source: Source) -> list[Hypothesis]:
        """The likeliest of a source's hypotheses on the draw that tells the most.

        Of edges left out, or with a factor, one of a kind: along an unbranched path all are the same.
        """
        draw = most_telling(self.draws()[depth])
        if depth not in self._projected:
            self._projected[depth] = Projected.of(draw, draw.flows)
        made = self._projected[depth]
        seen, chosen = set(), []
        found = [] if made is None else [_said_plainly(draw, h) for h in source(draw, made)]
        for hypothesis in sorted(found, key=lambda h: h.complexity):
            path = len(hypothesis.edits) == 1 and hypothesis.edits[0].is_path
            if not path or hypothesis.kinds not in seen:
                chosen.append(hypothesis)
            seen.add(hypothesis.kinds)
        return chosen[:MOST]


def _said_plainly(draw: Draw, hypothesis: Hypothesis) -> Hypothesis:
    """Less likely where the operation only moves numbers about: it is said better elsewhere."""
    moves = sum(draw.trace.nodes[edit.edges[0][0]].operation in MOVES for edit in hypothesis.edits)
    return hypothesis._replace(more=hypothesis.more + MOVED * moves)


def _own(traces: Sequence[Trace], target: str) -> list[Labelled]:
    """The reference's own constant factors on one draw, each number once; what is put in too often comes last."""
    found: dict[str, tuple[bool, Labelled]] = {}
    for trace in traces:
        for name, factor in of_windows(trace):
            sentence = factor_in_words(trace, name)
            found.setdefault(sentence, (name.kind in TOO_OFTEN, Labelled(factor.complexity, (sentence,), factor.value)))
        for name, factor in own_factors(trace, target):
            if all(abs(factor.value - known.value) > 1e-9 * abs(factor.value) for _, known in found.values()):
                sentence = factor_in_words(trace, name)
                found[sentence] = name.kind in TOO_OFTEN, Labelled(factor.complexity, (sentence,), factor.value)
    return [labelled for _, labelled in sorted(found.values(), key=lambda f: f[0])]
