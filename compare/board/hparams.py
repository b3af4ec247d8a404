"""One row of TensorBoard's HParams table for each run: its settings, and how it ended.

Written into the run's own events. SummaryWriter.add_hparams would make another run, named after the time, for it.
TensorBoard's own helper `hparams_config_pb` cannot say which settings come first, nor the type of one that has no
limits; `hparams_pb` adds an empty tensor, which is a series of its own, and `session_end_pb` imports TensorFlow.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.struct_pb2 import Struct
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.plugins.hparams.summary_v2 import Metric

from handgrad.compare.board.scalars import EQUAL, log10
from handgrad.compare.pairs.table import OPTIMIZERS
from handgrad.compare.run.experiment import Experiment

# The page shows five settings at first, those that are said to differ before all others.
FIRST = ("sizes", "activation", "loss", "optimizer", "learning rate")
# The tags of the numbers in the table, and what is said of them.
METRICS = {
    "result/accuracy of manual": "the part of the tested digits that are right",
    "result/accuracy of torch_ref": "the part of the tested digits that are right",
    "result/closest call": "the largest |Δ| ÷ what rounding explains, of all steps; above 1 the sides disagree",
    "result/log10 of the drift": "log10 of max |θ_manual − θ_torch|; −20: equal bit for bit",
    "result/tensors that disagree": "of all stages",
    "result/kinks": "units whose input has a different sign on the two sides",
    "result/steps": "made so far",
}


def metrics(report: dict[str, Any]) -> dict[str, float]:
    """The numbers of the table, by tag, from what report.json says. NaN where a number is not finite."""
    accuracy, closest, drift = report["accuracy"], report["closest_call"], report["drift"]
    values = (
        accuracy.get("manual"),
        accuracy.get("torch_ref"),
        float("inf") if closest is None else closest,
        float("nan") if drift is None else log10(drift, EQUAL),
        len(report["disagreements"]),
        report["kinks"],
        report["steps"],
    )
    return {tag: float(value) for tag, value in zip(METRICS, values, strict=True) if value is not None}


def settings(e: Experiment) -> dict[str, str | float | bool]:
    """The settings of a run as the table can hold them; one that is not set is left out."""
    found: dict[str, str | float | bool] = {}
    for name, value in {**e.as_json(), **e.optimizer_options}.items():
        if name == "optimizer_options" or value is None:
            continue
        if name == "sizes":
            value = "-".join(map(str, value))
        found[name.replace("_", " ")] = value if isinstance(value, (str, bool)) else float(value)
    return found


def begin(e: Experiment, started: float) -> list[Summary]:
    """What makes the run a row: the columns, which are the same for every run, and this run's settings.

    `started` is in seconds since 1970.
    """
    experiment = api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=kind, differs=name in FIRST) for name, kind in columns().items()
        ],
        metric_infos=[
            Metric(tag, display_name=tag.removeprefix("result/"), description=text).as_proto()
            for tag, text in METRICS.items()
        ],
    )
    values = Struct()
    values.update(settings(e))
    session = SessionStartInfo(hparams=values.fields, start_time_secs=started)
    return [
        _summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment)),
        _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=session)),
    ]


def end(ended: float, well: bool) -> Summary:
    """That the run has ended, at so many seconds since 1970, and whether it came to its end and agreed."""
    status = api_pb2.STATUS_SUCCESS if well else api_pb2.STATUS_FAILURE
    session = SessionEndInfo(status=status, end_time_secs=ended)
    return _summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=session))


def columns() -> dict[str, int]:
    """The type of every setting that a run may have."""
    options = {name: value for rule in OPTIMIZERS.values() for name, value in rule.options.items()}
    example = {**settings(Experiment(max_steps=1)), **{name.replace("_", " "): v for name, v in options.items()}}
    kinds = {str: api_pb2.DATA_TYPE_STRING, bool: api_pb2.DATA_TYPE_BOOL}
    return {name: kinds.get(type(value), api_pb2.DATA_TYPE_FLOAT64) for name, value in example.items()}


def _summary(tag: str, content: HParamsPluginData) -> Summary:
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content))])
