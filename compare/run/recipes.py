"""Named settings for `handgrad mnist --recipe NAME`; whatever else is asked for overrides them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handgrad.compare.run.experiment import Experiment

# The settings of Experiment by name. Those of `best` were chosen on 6,000 held-out training digits and never on the
# test digits; benchmarks.accuracy.recipe_choice prints that table.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "best": {
        "activation": "leaky-relu",
        "optimizer": "adamw",
        "optimizer_options": {"weight_decay": 0.01},
        "learning_rate": 8e-3,
        "schedule": "one-cycle",
        "batch_size": 128,
        "augmentation": "medium",
        "epochs": 100,
    },
}


def experiment(recipe: str | None, **given: Any) -> Experiment:
    """The recipe's settings, overridden by the given ones; without a recipe the defaults of Experiment.

    `optimizer_options` are overridden one by one. The recipe's own are dropped where another optimizer is given: they
    were chosen for the recipe's. Raises UsageError for an unknown recipe, and as Experiment does.
    """
    # Imported here, because `handgrad --help` lists the recipes and must not wait for torch.
    from handgrad.compare.foundation.validation import choose
    from handgrad.compare.run.experiment import Experiment

    settings = dict(choose("recipe", recipe, RECIPES)) if recipe is not None else {}
    of_recipe = settings.pop("optimizer_options", {})
    if given.get("optimizer", settings.get("optimizer")) != settings.get("optimizer"):
        of_recipe = {}
    options = {**of_recipe, **given.pop("optimizer_options", {})}
    return Experiment(**{**settings, **given}, optimizer_options=options)
