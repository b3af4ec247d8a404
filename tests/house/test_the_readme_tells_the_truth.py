"""What README.md and CONTRIBUTING.md say of commands, files, settings, counts and words is so.

What was measured is not measured here; the programs that print it are there and answer --help.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from handgrad import check
from handgrad.compare.commands import main as cli
from handgrad.compare.commands.lessons import lessons
from handgrad.compare.commands.parser import parser
from handgrad.compare.foundation.exit_codes import MEANINGS
from handgrad.compare.judge import agreement
from handgrad.compare.run.checkpoint.keeper import EVERY
from handgrad.compare.run.experiment import CHOICES, Experiment
from handgrad.compare.run.recipes import RECIPES
from handgrad.data.choices import LIMITS
from tests import ROOT

TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md", "data/README.md")}
README = TEXTS["README.md"]
WORDS = re.sub(r"\s+", " ", README)
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
          "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty")  # fmt: skip


def code_of(text: str) -> list[str]:
    """Every line of the text's code blocks, and every word or line in backticks."""
    lines = [line for _, block in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines += re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


CODE = [line for text in TEXTS.values() for line in code_of(text)]
COMMANDS = sorted({m[1] for line in CODE if (m := re.match(r"(?:\$ )?(?:[A-Z]+=\S+ )?(handgrad .*)", line))})
PROGRAMS = sorted({m[1] for line in CODE if (m := re.match(r"python (?:-m )?([\w./]+)", line))} - {"build"})


def shown_by(command: str) -> list[str]:
    """The lines that the README shows below `$ command`."""
    (block,) = (block for _, block in BLOCKS if block.startswith(f"$ {command}\n"))
    return block.splitlines()[1:]


def without_numbers(lines: list[str]) -> list[str]:
    """The same lines with # for each number: its last digits are the machine's."""
    return [re.sub(r"[ -]*\d[\d.,]*(e[+-]\d+)?", "#", line).rstrip() for line in lines]


# --- what is named is there -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TEXTS)
def test_every_linked_file_exists(name: str) -> None:
    links = re.findall(r"\]\(([^)#\s]+)\)", TEXTS[name])
    assert links
    folder = (ROOT / name).parent
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []


def test_every_named_file_exists() -> None:
    rooms = "tests|benchmarks|examples|compare|manual|torch_ref|docs"
    named = {path for line in CODE for path in re.findall(rf"(?<![\w/])(?:{rooms})/[\w./*-]*\w", line)}
    assert len(named) > 5
    assert [path for path in named if not list(ROOT.glob(path))] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one(command: str) -> None:
    words = shlex.split(command.partition("#")[0].replace("…", "mnist"))
    if "--help" in words:
        with pytest.raises(SystemExit, match="0"):
            parser().parse_args(words[1:])
    else:
        assert parser().parse_args(words[1:]).command == next(word for word in words[1:] if word[0] != "-")


def test_each_command_answers_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["mnist"], ["check"], ["board"], ["lessons"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*words, "--help"])
        assert stopped.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: {' '.join(['handgrad', *words])} ")


def _program(name: str) -> Path:
    """The file that a command of the README runs: a script by its path, a module by its name."""
    path = ROOT / (name if name.endswith(".py") else name.replace(".", "/"))
    return path if path.is_file() else path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


def test_every_program_answers_help() -> None:
    paths = [_program(name) for name in PROGRAMS]
    assert len(paths) > 8
    assert [path for path in paths if not path.is_file()] == []
    code = """
import runpy, sys
for path in sys.argv[1:]:
    sys.argv = [path, "--help"]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as stopped:
        print("ANSWERED", path, stopped.code)
"""
    result = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, cwd=ROOT)
    answered = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("ANSWERED")]
    assert answered == [[str(path), "0"] for path in paths], result.stderr


def test_every_target_of_make_and_every_extra_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {m[1] for line in CODE if (m := re.match(r"make ([a-z]+)", line))}
    assert {"mnist", "test"} < targets <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {extra for line in CODE for extra in re.findall(r"pip install [^\[]*\[(\w+)\]", line)}
    assert {"lessons", "bench"} <= extras <= set(project["optional-dependencies"])
    assert f"Python ≥ {project['requires-python'].removeprefix('>=')}" in WORDS


def test_every_option_is_one_of_some_program() -> None:
    sources = [*ROOT.glob("benchmarks/**/*.py"), *ROOT.glob("compare/commands/*.py"), *ROOT.glob("docs/*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources) + parser().format_help()
    (commands,) = (action.choices for action in parser()._actions if action.dest == "command")
    text += "".join(sub.format_help() for sub in commands.values())  # type: ignore[union-attr]
    options = {option for line in CODE for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
    assert len(options) > 15
    assert [option for option in options if not re.search(rf"{option}\b", text)] == []


def test_the_examples_of_python_import_and_call_what_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")  # as for whoever runs the reproducer there
    trees = [ast.parse(block) for language, block in BLOCKS if language == "python"]
    trees += [ast.parse(line) for line in CODE if re.match(r"(from [\w.]+ )?import \w", line)]
    calls = 0
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check":
            calls += 1
            assert {keyword.arg for keyword in node.keywords} <= set(inspect.signature(check).parameters)
    assert calls > 5
    assert re.search(r"^from handgrad import check$", README, re.MULTILINE)


# --- what is counted and chosen ---------------------------------------------------------------------------------------


def test_the_lessons_are_those_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lessons"]) == 0
    assert capsys.readouterr().out.splitlines() == shown_by("handgrad lessons")
    assert f"`handgrad lessons` lists {COUNTS[len(lessons())]} scripts in [examples/lessons]" in WORDS


def test_the_number_of_tests_of_bad_input() -> None:
    (number, files) = re.findall(r"\*\*Bad input\*\*: (\d+) tests of getting it wrong.*?\(([^)]*)\)", WORDS)[0]
    paths = [path for pattern in re.findall(r"`([^`]+)`", files) for path in sorted(ROOT.glob(pattern))]
    assert paths
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *map(str, paths)]
    collected = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
    assert f"{number} tests collected" in collected


def test_the_exit_codes_are_listed() -> None:
    listed = WORDS[WORDS.index("Exit codes: ") :]
    assert [f"{code} {meaning}" for code, meaning in MEANINGS.items() if f"{code} {meaning}" not in listed] == []


def test_the_recipe_is_described_as_it_is() -> None:
    best, limits = RECIPES["best"], LIMITS[RECIPES["best"]["augmentation"]]
    (sentence,) = re.findall(r"`handgrad mnist --recipe best` is (.*?)\. ", WORDS)
    spoken = sentence.lower().replace("-", " ")
    for name in ("activation", "optimizer", "schedule", "augmentation"):
        assert best[name].replace("-", " ") in spoken
    numbers = {float(number) for number in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", sentence)}
    options = best["optimizer_options"].values()
    assert numbers == {best["learning_rate"], best["batch_size"], best["epochs"], *options,
                       limits["degrees"], 100 * limits["scaling"]}  # fmt: skip
    assert limits["pixels"] == 1
    assert "by up to a pixel" in sentence


def test_the_defaults_of_help_are_those_of_a_run() -> None:
    (commands,) = (action.choices for action in parser()._actions if action.dest == "command")
    help_of = {action.dest: action.help or "" for action in commands["mnist"]._actions}  # type: ignore[index]
    default = Experiment()
    for name in (*CHOICES, "learning_rate", "batch_size", "epochs", "seed", "judge_every", "device", "validation"):
        assert help_of[name].endswith(f"({getattr(default, name)})"), name
    assert help_of["sizes"].endswith(f"({'-'.join(map(str, default.sizes))})")
    assert help_of["checkpoint_every"].endswith(f"({EVERY})")
    for name, choices in CHOICES.items():
        assert f"{', '.join(choices)} (" in help_of[name]
    assert ", ".join(RECIPES) in help_of["recipe"]
    assert f"every {EVERY} steps (`--checkpoint-every`)" in WORDS
    assert f"{'-'.join(map(str, default.sizes))}, 13,002 parameters" in README


# --- what is shown and what it is called ------------------------------------------------------------------------------


def test_a_run_prints_the_stages_that_are_shown(handgrad: Any, few_digits: Path, tmp_path: Path) -> None:
    outcome = handgrad("mnist", "--max-steps", 2, "--no-log", "--data-dir", few_digits, "--logdir", tmp_path)
    lines = outcome.out.splitlines()
    assert lines[0] in README
    start = next(i for i, line in enumerate(lines) if line.startswith("stage "))
    columns = [re.split(r"  +", line)[0] for line in lines[start : start + 17]]
    assert columns[-1] == "the whole step, as it ran"
    assert re.search(r"\n".join(rf"{re.escape(name)} .*" for name in columns), README)


def test_the_example_with_its_faults_says_what_is_shown(handgrad: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULT", "1")
    monkeypatch.chdir(ROOT)
    outcome = handgrad("check", "examples/your_own_layer.py")
    shown = shown_by("FAULT=1 handgrad check examples/your_own_layer.py")
    said = outcome.out.replace(str(ROOT), "…")  # the script says where the checkout lies
    assert without_numbers(said.splitlines()) == without_numbers(shown)


def test_the_lesson_says_what_is_shown(handgrad: Any, tmp_path: Path) -> None:
    outcome = handgrad("lessons", "converging_is_not_right", "--out", tmp_path)
    shown = shown_by("handgrad lessons converging_is_not_right")
    assert [line for line in shown if line != "…" and line not in outcome.out.splitlines()] == []


def test_every_rule_of_a_verdict_is_explained() -> None:
    for rule in (agreement.EXACT, agreement.BOUND, agreement.TWO_PRECISION, agreement.WITHIN_REFERENCE):
        assert f"**{rule}**" in WORDS


@pytest.mark.parametrize("word", ["twin", "ladder", "rung", "excused", "slip", "mutant", "told as such"])
@pytest.mark.parametrize("name", TEXTS)
def test_one_word_for_one_thing(name: str, word: str) -> None:
    assert re.findall(rf"\b{word}s?\b", re.sub(r"`[^`]*`", "", TEXTS[name])) == []
