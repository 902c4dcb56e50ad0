"""The claims: each composes at three sizes, says what it needs, and runs from documents to figure with a tiny model."""

import importlib
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from data_gen.run import generate_data
from eval.figure.published import PUBLISHED_DIR
from eval.figure.run import make_figure
from eval.figure.table import OURS, PUBLISHED, read_table
from eval.report.run import report
from eval.run import cells, evaluate
from eval.suites.catalogue import SUITES
from pipeline.artifact import read_run
from pipeline.config import PipelineConfig, StageSettings
from pipeline.errors import Refused
from pipeline.run import directory_of, stage_command
from train.run import train

CONF = Path(__file__).parent.parent / "conf"
CLAIMS = sorted(path.stem for path in (CONF / "claim_stages").glob("*.yaml"))
SIZES = ("smoke", "node", "paper")
WORK: dict[str, Callable[[Any], None]] = {
    "data_gen": generate_data, "train": train, "eval": evaluate, "eval.figure": make_figure, "eval.report": report,
}  # fmt: skip


def composed(name: str, overrides: list[str]) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_object(compose(name, overrides))


def claim_settings(claim: str, size: str, *overrides: str) -> PipelineConfig:
    settings = composed("pipeline", [f"experiment={claim}/{size}", *overrides])
    assert isinstance(settings, PipelineConfig)
    return settings


def test_every_claim_has_its_sizes_and_its_published_values() -> None:
    assert len(CLAIMS) >= 6
    for claim in CLAIMS:
        assert sorted(path.stem for path in (CONF / "experiment" / claim).glob("*.yaml")) == sorted(SIZES)
        assert (PUBLISHED_DIR / f"{claim}.csv").is_file()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_ends_in_its_figure_and_page_and_says_what_it_needs(claim: str, size: str) -> None:
    settings = claim_settings(claim, size)
    *_, figure, page = settings.stages
    assert (figure.name, figure.command, figure.settings["claim"]) == (claim, "eval.figure", claim)
    assert (page.name, page.command) == (f"{claim}_report", "eval.report")
    assert all(part.name == name for name, part in settings.parts.items())
    needs = settings.needs
    assert needs.hardware
    if size == "smoke":
        assert needs.gpu_hours is None
        return
    assert needs.gpu_hours is not None
    assert needs.dollars_per_gpu_hour is not None
    assert needs.dollars == needs.gpu_hours * needs.dollars_per_gpu_hour
    header = re.sub(r"\n# ", " ", (CONF / "experiment" / claim / f"{size}.yaml").read_text(encoding="utf-8"))
    assert "Estimated, not run" in header


@pytest.mark.parametrize("size", [size for size in SIZES if size != "smoke"])
@pytest.mark.parametrize("claim", CLAIMS)
def test_the_hours_of_a_claim_are_those_of_its_stages(claim: str, size: str) -> None:
    settings = claim_settings(claim, size)
    counts = Counter[str]()
    for stage in settings.stages:
        _, _, module, *arguments = stage_command(settings, stage)
        importlib.import_module(f"{module}.config")
        counts.update(units_of(module, composed(module.replace(".", "_"), arguments)))
    hours = settings.size["hours"]
    told = re.findall(r"([a-z ]+) (\d+) x (\d+)(?: \+ |$)", settings.needs.arithmetic)
    assert {kind: (int(count), int(each)) for kind, count, each in told} == {
        kind: (math.ceil(count), hours[kind]) for kind, count in counts.items()
    }
    assert sum(int(count) * int(each) for _, count, each in told) == settings.needs.gpu_hours


def units_of(module: str, config: Any) -> dict[str, float]:
    """What a stage counts as: corpora, passes over the documents, runs of reinforcement, evaluations of 5,000 replies."""
    if module == "data_gen" and config.source == "generate":
        return {"small corpora" if config.generation.types_per_fact < 10 else "corpora": 1}
    if module == "train":
        return {"reinforcement": 1} if config.objective == "reinforcement" else {"adapters": config.epochs}
    if module == "eval" and config.suite == ["belief"]:
        return {"beliefs": 1}
    if module == "eval":
        num_replies = sum(SUITES[cell.suite].task(config, cell)[1] for cell in cells(config))
        return {"acts" if config.suite == ["anti_lab"] else "replies": num_replies / 5000}
    return {}


def test_a_part_that_is_not_there_is_refused_with_the_nearest() -> None:
    parts = {"beliefs": StageSettings("beliefs", "eval")}
    with pytest.raises(Refused, match="uses=belief: no part has this name .*beliefs"):
        PipelineConfig(name="x", parts=parts, uses=["belief"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by the claims, as their outputs are: a stage that one completed is complete for the next."""
    return tmp_path_factory.mktemp("claims")


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_runs_from_documents_to_figure(claim: str, root: Path, tiny_model: Path, tiny_classifier: Path) -> None:
    settings = claim_settings(
        claim, "smoke", f"root={root}", f"size.base={tiny_model}", f"size.model=local/{tiny_model}",
        "size.max_documents=6", "size.few_documents=3", "size.first_layer=0", "size.num_queries=2", "size.max_tokens=4",
        "size.rl_reward=reward_model", f"size.rl_reward_model={tiny_classifier}",
        "size.rl_threshold=0.0", "size.rl_steps=1", "size.rl_num_queries=2", "size.rl_max_tokens=4",
        "size.variants=[default,no_conflict]", "size.animal_welfare_variants=[default,mild_conflict]",
    )  # fmt: skip
    for stage in settings.stages:
        _, _, module, *arguments = stage_command(settings, stage)
        importlib.import_module(f"{module}.config")
        WORK[module](composed(module.replace(".", "_"), arguments))
    directory = directory_of(settings, claim)
    assert {"results.csv", "figure.svg", "figure.png"} <= set(read_run(directory, "figure").outputs)
    page = (directory_of(settings, f"{claim}_report") / "index.html").read_text(encoding="utf-8")
    assert f'id="claim-{claim}-caption"' in page
    rows = read_table(directory / "results.csv")
    assert {row.source for row in rows} == {OURS, PUBLISHED}
    assert all(row.reason for row in rows if row.estimate is None)


def test_no_group_of_configurations_has_the_name_of_a_setting() -> None:
    """Hydra takes `claims=[...]` for a choice of a group where conf/ has a folder claims/.

    An arm of documents and a list of prices are chosen in just that way: those groups are all about their setting.
    """
    commands = ("data_gen", "train", "eval", "eval.report", "eval.figure", "pipeline")
    for command in commands:
        importlib.import_module(f"{command}.config")
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = {str(key) for command in commands for key in compose(command.replace(".", "_"))}
    assert groups & settings == {"arm", "prices"}
