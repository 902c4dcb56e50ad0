"""Which settings tell one run from another."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifact import open_run
from pipeline.errors import Refused
from pipeline.settings import operational, result_settings


@dataclass
class Inner:
    """Settings within settings."""

    name: str = "a"
    connections: int | None = operational(None)
    addresses: list[str] = operational(list)


@dataclass
class Outer:
    """A stage's settings."""

    output_dir: str
    overwrite: bool = False
    seed: int = 0
    inner: Inner = field(default_factory=Inner)
    others: list[Inner] = field(default_factory=list)
    by_name: dict[str, Inner] = field(default_factory=dict)
    limit: float | None = operational(None)
    path: Path = Path("x")


def test_operational_fields_are_left_out_at_every_depth() -> None:
    made = Outer("here", inner=Inner("b", 3, ["u"]), others=[Inner("c", 4)], by_name={"k": Inner("d", 5)}, limit=2.0)
    assert result_settings(made) == {
        "seed": 0,
        "inner": {"name": "b"},
        "others": [{"name": "c"}],
        "by_name": {"k": {"name": "d"}},
        "path": "x",
    }


def test_defaults_of_operational_fields_are_not_shared() -> None:
    first = Inner()
    first.addresses.append("u")
    assert Inner().addresses == []


@pytest.mark.parametrize("change", [{"limit": 9.0}, {"inner": Inner("a", 7, ["u"])}])
def test_an_unfinished_run_is_continued_with_other_operational_settings(tmp_path: Path, change: dict[str, Any]) -> None:
    directory = str(tmp_path / "run")
    open_run("data_gen", Outer(directory), {})
    assert not open_run("data_gen", Outer(directory, **change), {}).is_complete


def test_another_result_is_still_refused(tmp_path: Path) -> None:
    directory = str(tmp_path / "run")
    open_run("data_gen", Outer(directory), {})
    with pytest.raises(Refused, match=r"inner\.name=a there and b now"):
        open_run("data_gen", Outer(directory, inner=Inner("b")), {})


def test_a_function_is_recorded_by_its_name_and_not_by_its_place_in_memory() -> None:
    @dataclass
    class WithFunction:
        answer: Any

    [recorded] = result_settings(WithFunction(test_another_result_is_still_refused)).values()
    assert recorded == f"{__name__}.test_another_result_is_still_refused"
