"""An experiment is a list of commands: what is typed for each stage, and what happens when one of them ends badly."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

from pipeline.artifact import RUN_FILE, read_run
from pipeline.config import PipelineConfig, StageSettings
from pipeline.errors import Failed, Refused
from pipeline.run import override_value, overrides, run_pipeline, stage_command

ROOT = Path(__file__).parent.parent


def unquoted(value: Any) -> Any:
    """A parsed override as plain values."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    if isinstance(value, dict):
        return {unquoted(key): unquoted(item) for key, item in value.items()}
    return value


def parsed(override: str) -> tuple[str, Any]:
    """Key and value as Hydra reads an override."""
    found = OverridesParser.create().parse_override(override)
    return found.key_or_group, unquoted(found.value())


def typed(value: Any) -> Any:
    """The value beside its type, so that 0, 0.0 and False differ."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return (type(value).__name__, value)


@pytest.mark.parametrize(
    "value",
    [
        "word",
        "two words",
        " padded ",
        "",
        'Does it "fake"?',
        "the lab's",
        "a,b",
        "a=b",
        "[a]",
        "{a: b}",
        "a: b",
        "# no comment",
        "choice(1,2)",
        "-x",
        "~x",
        "100%",
        "outputs/demo/documents",
        "../sibling",
        "outputs/über",
        "back\\slash",
        "at the end\\",
        '\\"',
        "two\nlines\tand a tab",
        "true",
        "False",
        "null",
        "NaN",
        "inf",
        "12",
        "1e3",
        0,
        7,
        -3,
        0.0,
        1.0,
        0.25,
        1.5e-3,
        1e-05,
        True,
        False,
        None,
        [],
        [1, 2.0, None, "a b", True],
        [[1, 2], ["x,y"]],
        {},
        [{"name": "base"}, {"name": "documents", "training": "out put/train", "rates": [0.0, 1.0], "adapter": None}],
    ],
)
def test_a_value_means_the_same_to_hydra(value: Any) -> None:
    key, read = parsed(f"some.key={override_value(value)}")
    assert key == "some.key"
    assert typed(read) == typed(value)


def test_nested_settings_become_dotted_keys() -> None:
    settings = {"seed": 1, "lora": {"rank": 8, "layers": {"first": 2}}, "generator": {"model_args": {"batch_size": 4}}}
    assert overrides(settings) == [
        "seed=1",
        "lora.rank=8",
        "lora.layers.first=2",
        "+generator.model_args.batch_size=4",
    ]


def experiment(root: Path, *stages: StageSettings, **settings: Any) -> PipelineConfig:
    return PipelineConfig(name="trial", root=str(root), stages=list(stages), **settings)


def corpus(name: str, **settings: Any) -> StageSettings:
    return StageSettings(name, "data_gen", {"scenario": "placebo", "max_documents": 6} | settings)


def test_a_stage_is_a_command_that_names_its_directory_and_its_settings(tmp_path: Path) -> None:
    config = experiment(tmp_path, corpus("documents"))
    assert stage_command(config, config.stages[0]) == [
        sys.executable,
        "-m",
        "data_gen",
        f"output_dir={tmp_path}/trial/documents",
        "overwrite=false",
        "scenario=placebo",
        "max_documents=6",
    ]


def test_a_name_stands_for_the_directory_of_an_earlier_stage_at_any_depth(tmp_path: Path) -> None:
    config = experiment(
        tmp_path,
        corpus("documents"),
        StageSettings("adapter", "train", {"data": ["@documents"]}),
        StageSettings("answers", "eval", {"subjects": [{"name": "base"}, {"name": "a", "training": "@adapter"}]}),
    )
    train, evaluate = (stage_command(config, stage) for stage in config.stages[1:])
    assert parsed(train[-1]) == ("data", [f"{tmp_path}/trial/documents"])
    subjects = [{"name": "base"}, {"name": "a", "training": f"{tmp_path}/trial/adapter"}]
    assert parsed(evaluate[-1]) == ("subjects", subjects)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("@documnts", r"stages\.adapter: '@documnts' names no earlier stage \(did you mean 'documents'\?\)"),
        ("@adapter", r"'@adapter' names no earlier stage"),
        ("@later", r"'@later' names no earlier stage"),
    ],
)
def test_a_name_of_no_earlier_stage_is_refused_before_anything_runs(tmp_path: Path, data: str, told: str) -> None:
    config = experiment(
        tmp_path, corpus("documents"), StageSettings("adapter", "train", {"data": [data]}), corpus("later")
    )
    with pytest.raises(Refused, match=told):
        run_pipeline(config)
    assert not (tmp_path / "trial").exists()


def test_an_at_sign_within_a_text_is_text(tmp_path: Path) -> None:
    config = experiment(tmp_path, StageSettings("report", "eval.report", {"title": "mail to a@b", "evals": []}))
    assert parsed(stage_command(config, config.stages[0])[-2]) == ("title", "mail to a@b")


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([], "no stages: name an experiment"),
        ([corpus("a"), corpus("b"), corpus("a")], "the name a is used twice"),
        ([StageSettings("a", "data_gne")], r"stages\.a: command=data_gne must be one of data_gen, train, eval"),
    ],
)
def test_a_list_of_stages_that_makes_no_sense_is_refused(tmp_path: Path, stages: list[Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        experiment(tmp_path, *stages)


def test_an_experiment_runs_its_stages_in_order_and_reuses_what_is_complete(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    root = tmp_path / "out, put"  # a directory that has to be quoted all the way
    config = experiment(root, corpus("documents"), corpus("more", filters={"near_duplicate": False}))
    run_pipeline(config)
    told = capfd.readouterr().out
    assert told.index("[1/2] documents: python -m data_gen") < told.index("[2/2] more: python -m data_gen")
    records = [read_run(root / "trial" / name, "data_gen") for name in ("documents", "more")]
    assert [record.config["filters"]["near_duplicate"] for record in records] == [True, False]
    printed = next(line for line in told.splitlines() if line.startswith("[2/2]")).partition(": ")[2]
    assert shlex.split(printed)[1:] == stage_command(config, config.stages[1])[1:]

    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    run_pipeline(config)
    assert capfd.readouterr().out.count("is already complete") == 2
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before


def test_a_refused_stage_ends_the_experiment(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    config = experiment(tmp_path, corpus("documents", scenario="placbo"), corpus("more"))
    with pytest.raises(Refused, match="stage 'documents' was refused"):
        run_pipeline(config)
    assert "did you mean 'placebo'" in capfd.readouterr().err
    assert not (tmp_path / "trial").exists()


def test_a_stage_that_fails_ends_the_experiment_and_what_is_done_stays(
    tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = {"model": str(tiny_model), "data": ["@documents"], "lr": 1e30, "max_steps": 3, "precision": "float32"}
    failing = StageSettings("adapter", "train", settings | {"batch_size": 1, "lora": {"rank": 2, "alpha": 4}})
    with pytest.raises(Failed, match="stage 'adapter' ended with exit code 1; the same command continues from here"):
        run_pipeline(experiment(tmp_path, corpus("documents"), failing, corpus("more")))
    assert "train: the loss is" in capfd.readouterr().err
    assert (tmp_path / "trial" / "documents" / RUN_FILE).exists()
    assert not (tmp_path / "trial" / "adapter" / RUN_FILE).exists()
    assert not (tmp_path / "trial" / "more").exists()
