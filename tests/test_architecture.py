"""The laws of layout, held by machine: who imports whom, who knows Hydra, what loads when, how long things are."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STAGES = ("data_gen", "train", "eval")
PACKAGES = ("scenario", "pipeline", *STAGES)
MAY_IMPORT = {
    "scenario": {"scenario", "pipeline"},
    "pipeline": {"pipeline"},
    **{stage: {"scenario", "pipeline", stage} for stage in STAGES},
}
HEAVY = ("torch", "transformers", "vllm", "trl", "inspect_ai", "peft")
KNOW_HYDRA = ("__main__.py", "config.py")
MOST_LINES, MOST_FUNCTION_LINES = 400, 60
DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common"}
TEXT_SUFFIXES = {".py", ".md", ".yaml", ".toml", ".sh", ".cff", ".txt", ".j2", ".css", ".js", ".html"}


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if path.is_file())


CODE = python_files(*PACKAGES)
ALL_PYTHON = python_files(*PACKAGES, "scripts", "tests")


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The top-level name of every import in a file, wherever in the file it stands, and its line."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield str(node.module).partition(".")[0], node.lineno


def told(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_every_package_has_code() -> None:
    assert {package for package in PACKAGES if not python_files(package)} == set()


def test_imports_point_one_way() -> None:
    wrong = [
        f"{told(path, line)} imports {name}"
        for path in CODE
        for name, line in imported(path)
        if name in PACKAGES and name not in MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    ]
    assert wrong == []


def test_only_entry_points_and_configurations_know_hydra() -> None:
    wrong = [
        f"{told(path, line)} imports {name}"
        for path in CODE
        for name, line in imported(path)
        if name in ("hydra", "omegaconf") and path.name not in KNOW_HYDRA and path != ROOT / "pipeline" / "command.py"
    ]
    assert wrong == []


ENTRY_POINTS = [".".join(path.relative_to(ROOT).parent.parts) for path in CODE if path.name == "__main__.py"]


def test_entry_points_are_found() -> None:
    assert {"data_gen", "train", "eval", "eval.deals"} <= set(ENTRY_POINTS)


@pytest.mark.parametrize("package", ENTRY_POINTS)
def test_an_entry_point_loads_nothing_heavy(package: str) -> None:
    modules = [f"{package}.__main__"]
    if (ROOT / package.replace(".", "/") / "config.py").exists():
        modules.append(f"{package}.config")
    code = f"import sys, {', '.join(modules)};print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", ENTRY_POINTS)
def test_an_entry_point_is_short(package: str) -> None:
    lines = (ROOT / package.replace(".", "/") / "__main__.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 30


def test_files_stay_small() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL_PYTHON}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}


def test_functions_stay_small() -> None:
    long = {
        f"{told(path, node.lineno)} {node.name}": node.end_lineno - node.lineno + 1
        for path in ALL_PYTHON
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
        if node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES
    }
    assert long == {}


def test_no_module_is_a_drawer_for_everything() -> None:
    names = {part for path in ALL_PYTHON for part in path.relative_to(ROOT).with_suffix("").parts}
    assert names & DRAWERS == set()


def test_modules_of_packages_say_what_they_are_for() -> None:
    silent = [told(path, 1) for path in CODE if not ast.get_docstring(parsed(path))]
    assert silent == []


def test_tests_are_flat_and_named_after_a_package() -> None:
    owners = (*PACKAGES, "architecture", "conf", "scripts")
    names = [path.relative_to(ROOT / "tests") for path in python_files("tests") if path.name != "conftest.py"]
    wrong = [str(name) for name in names if not name.as_posix().startswith(tuple(f"test_{owner}" for owner in owners))]
    assert wrong == []


def test_nothing_names_a_path_of_one_machine() -> None:
    machine_path = re.compile(r"(?<![\w.~}])/(?:work|root|home|Users)/\w")
    folders = (*PACKAGES, "conf", "scripts", ".ci")
    texts = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in TEXT_SUFFIXES]
    texts += [path for path in ROOT.iterdir() if path.suffix in TEXT_SUFFIXES or path.name == "Makefile"]
    assert len(texts) > 100
    wrong = [
        f"{told(path, number)}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if machine_path.search(line)
    ]
    assert wrong == []
