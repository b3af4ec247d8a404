"""handgrad lives beside a stranger's own data/, compare.py, manual/ and torch_ref.py, however Python is started.

Both from the wheel and from an editable install; under pytest, a root conftest.py imports the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from textwrap import indent

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from tests.house.environments import Environment, clean_environ, run

# What a project has, and how it imports that.
THEIRS = {
    "data.py": "import data",
    "data/__init__.py": "import data",
    "data/loader.py": "from data import loader",  # without __init__.py
    "compare.py": "import compare",
    "compare/__init__.py": "import compare",
    "compare/notes.py": "from compare import notes",
    "manual.py": "import manual",
    "manual/__init__.py": "import manual",
    "manual/pages.py": "from manual import pages",
    "torch_ref.py": "import torch_ref",
}
TOGETHER = (  # in each of the three forms that a module has
    ("data.py", "compare.py", "manual.py", "torch_ref.py"),
    ("data/__init__.py", "data/loader.py", "compare/__init__.py", "manual/__init__.py", "manual/pages.py"),
    ("data/loader.py", "compare/notes.py", "manual/pages.py", "torch_ref.py"),
)
WAYS = ("script", "python -c", "pytest", "python -m pytest")


def program(environment: Environment, files: Iterable[str]) -> str:
    """Import their modules and ours, look where each comes from, and run a check."""
    theirs = [(THEIRS[file], THEIRS[file].split()[-1]) for file in files]
    return "\n".join(
        [
            *(line for line, _ in theirs),
            *(f"assert {name}.WHOSE == 'theirs', {name}" for _, name in theirs),
            "import handgrad",
            f"assert handgrad.__file__ == {str(environment.handgrad)!r}, handgrad.__file__",
            "import torch",
            "from handgrad import check, manual as ours",
            "assert check(ours.Tanh(), torch.nn.Tanh(), x=(2, 3)).agrees",
        ]
    )


def make_project(folder: Path, environment: Environment, files: Iterable[str]) -> Path:
    """A stranger's project: a script, a test, and a root conftest.py that imports the same."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("WHOSE = 'theirs'\n", encoding="utf-8")
    text = program(environment, files)
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "script.py").write_text(text, encoding="utf-8")
    (folder / "conftest.py").write_text(text, encoding="utf-8")
    (folder / "test_it.py").write_text(f"def test_it():\n{indent(text, '    ')}\n", encoding="utf-8")
    return folder


# Importing torch takes seconds, so that this happens once; each way in each project is a fork of its own.
FORKS = """
import gc, json, os, runpy, sys, tempfile, traceback
import hypothesis, numpy.random, pytest, sympy, torch, torch._decomp, torch.fx.experimental.symbolic_shapes

def start(folder, way):
    sys.path[0] = {"script": folder, "python -c": "", "pytest": os.path.dirname(sys.executable)}.get(way, folder)
    os.chdir(folder)
    if way == "script":
        runpy.run_path("script.py", run_name="__main__")
    elif way == "python -c":
        exec(open("script.py").read(), {"__name__": "__main__"})
    else:
        code = pytest.main(["-p", "no:cacheprovider"])
        assert code == 0, code

assert not {"handgrad", "data", "compare", "manual", "torch_ref"} & set(sys.modules)
gc.freeze()  # at its end each session collects what is garbage; all that torch has made is none
said = {}
for folder, way in json.load(open(sys.argv[1])):
    with tempfile.TemporaryFile("w+") as file:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                start(folder, way)
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        _, status = os.waitpid(child, 0)
        file.seek(0)
        if status:
            said[f"{way} in {folder}"] = file.read()
print(json.dumps(said))
"""


def test_beside_each_of_their_modules(environment: Environment, tmp_path: Path) -> None:
    jobs = []
    for number, files in enumerate([*((file,) for file in THEIRS), *TOGETHER[1:]]):
        folder = make_project(tmp_path / str(number), environment, files)
        jobs += [(str(folder), way) for way in WAYS]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    (tmp_path / "forks.py").write_text(FORKS, encoding="utf-8")
    result = run(environment.python, "-W", "ignore", "forks.py", "jobs.json", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    failed = json.loads(result.stdout.splitlines()[-1])
    assert not failed, "\n".join(f"{job}\n{said}" for job, said in failed.items())


@pytest.mark.parametrize("way", WAYS)
def test_beside_all_of_their_modules(environment: Environment, way: str, tmp_path: Path) -> None:
    folder = make_project(tmp_path, environment, TOGETHER[0])
    command = {
        "script": (environment.python, "script.py"),
        "python -c": (environment.python, "-c", program(environment, TOGETHER[0])),
        "pytest": (environment.pytest,),
        "python -m pytest": (environment.python, "-m", "pytest"),
    }[way]
    result = run(*command, cwd=folder)
    assert result.returncode == 0, result.stdout
    assert "pytest" not in way or "1 passed" in result.stdout


def test_in_a_notebook(environment: Environment, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project", environment, TOGETHER[0])
    spec = {
        "argv": [str(environment.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "theirs",
        "language": "python",
    }
    (tmp_path / "kernels" / "theirs").mkdir(parents=True)
    (tmp_path / "kernels" / "theirs" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    kernels = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")], ensure_native_kernel=False)
    manager = KernelManager(kernel_name="theirs", kernel_spec_manager=kernels)
    manager.start_kernel(cwd=str(folder), env=clean_environ(IPYTHONDIR=str(tmp_path / "ipython")))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=120)
        reply = client.execute_interactive(program(environment, TOGETHER[0]), timeout=120, stop_on_error=False)
        assert reply["content"]["status"] == "ok", reply["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_project_that_takes_our_place_is_noticed(wheel_environment: Environment, tmp_path: Path) -> None:
    """The checks above can fail: where handgrad is somebody else's, they do."""
    folder = make_project(tmp_path / "project", wheel_environment, ["data.py"])
    (folder / "handgrad.py").write_text("check = manual = None\n", encoding="utf-8")
    result = run(wheel_environment.python, "script.py", cwd=folder)
    assert result.returncode == 1
    assert f"AssertionError: {folder / 'handgrad.py'}" in result.stdout


def test_no_other_name_is_installed(environment: Environment) -> None:
    """All that pip wrote down, but setuptools' own finder, by the first part of its path."""
    (info,) = environment.site.glob("handgrad-*.dist-info")
    record = (info / "RECORD").read_text("utf-8").splitlines()
    names = {line.split(",")[0].split("/")[0] for line in record} - {info.name, "..", "__pycache__"}
    ours = {name for name in names if not name.startswith("__editable__")}
    assert ours == ({"handgrad"} if environment.handgrad.is_relative_to(environment.site) else set())
    assert (info / "top_level.txt").read_text("utf-8").split() == ["handgrad"]
