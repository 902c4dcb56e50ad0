"""What a run costs, told before and while it is spent; and what changes nothing of the result changes nothing else."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage
from omegaconf import OmegaConf

from data_gen.config import DataGenConfig, FilterSettings, GenerationSettings, Price
from data_gen.generation.budget import Budget, price_of
from data_gen.run import generate_data
from pipeline.artifact import read_jsonl, read_run
from pipeline.chat import ChatModelSettings
from pipeline.errors import Failed, Refused
from pipeline.replies import Usage

CONF = Path(__file__).parent.parent / "conf"
EXPERIMENTS = sorted(
    path.relative_to(CONF / "experiment").with_suffix("").as_posix()
    for name in ("greenblatt2024", "hughes2025")
    for path in (CONF / "experiment" / name).glob("*.yaml")
    if "data_gen" in path.read_text(encoding="utf-8").splitlines()[1]
)
PRICE = Price(input=0.0, output=1000.0, as_of="2026-01-01", source="this test")
"""A tenth of a cent a token written, so that a reply of ten tokens costs a cent."""


def writer(asked: list[str]) -> Callable[..., ModelOutput]:
    def reply(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        asked.append(input[-1].text)
        output = ModelOutput.from_content("mockllm/model", f"{len(asked)} one\n{len(asked)} two")
        output.usage = ModelUsage(input_tokens=10, output_tokens=10, total_tokens=20)
        return output

    return reply


def config(directory: Path, generator: ChatModelSettings, **settings: Any) -> DataGenConfig:
    defaults: dict[str, Any] = {
        "scenario": "placebo",
        "source": "generate",
        "generation": GenerationSettings(types_per_fact=2, ideas_per_type=2, facts=["reach", "battery"], world="facts"),
        "filters": FilterSettings(length=False, facts_stated=False, near_duplicate=False),
        "prices": {"mockllm/model": PRICE},
    }
    return DataGenConfig(output_dir=str(directory), generator=generator, **(defaults | settings))


def paid(asked: list[str], **settings: Any) -> ChatModelSettings:
    arguments = {"custom_outputs": writer(asked)}
    return ChatModelSettings(name="mockllm/model", max_tokens=20, model_args=arguments, **settings)


@pytest.mark.parametrize("max_connections", [1, 8])
def test_a_run_stops_below_its_limit_and_goes_on_with_a_higher_one(tmp_path: Path, max_connections: int) -> None:
    asked: list[str] = []
    generator = paid(asked, max_connections=max_connections)
    with pytest.raises(
        Failed, match=r"stopped at \$0\.\d\d of max_cost=0\.09, with \d of 8 documents; the same command"
    ):
        generate_data(config(tmp_path / "run", generator, max_cost=0.09))
    assert 7 <= len(asked) <= 9  # a reply that could cost two cents is not asked for where less than two are left
    generator.max_connections = 3
    generate_data(config(tmp_path / "run", generator, max_cost=1.0))
    assert len(asked) == 2 + 4 + 8
    assert read_run(tmp_path / "run").cost == pytest.approx(0.14)
    assert len(read_jsonl(tmp_path / "run" / "documents.jsonl")) == 8


def test_a_limit_without_a_price_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    generator = ChatModelSettings(name="openai/gpt-unheard-of")
    with pytest.raises(
        Refused, match="max_cost=1.0: the price of openai/gpt-unheard-of is not known; add it to prices"
    ):
        generate_data(config(tmp_path / "run", generator, max_cost=1.0, prices={}))
    assert not (tmp_path / "run").exists()


def test_an_unknown_price_makes_the_cost_unknown_and_not_zero() -> None:
    usage = {"openai/known": Usage(1000, 1000), "openai/unknown": Usage(1000, 1000)}
    models = {"planner": ChatModelSettings(name="openai/known"), "generator": ChatModelSettings(name="openai/unknown")}
    made = DataGenConfig(prices={"openai/known": PRICE}, **models)
    assert Budget(made, usage).spent is None
    made.prices["openai/unknown"] = PRICE
    assert Budget(made, usage).spent == pytest.approx(2.0)
    assert Budget(DataGenConfig(generator=ChatModelSettings(name="vllm/own")), {"vllm/own": Usage(9, 9)}).spent is None


def test_batch_mode_has_its_share_of_the_price_or_none_that_is_known() -> None:
    model = ChatModelSettings(name="openai/x", batch=True)
    half = price_of(model, {"openai/x": Price(4.0, 8.0, 0.5, "2026-01-01", "here")})
    assert half is not None
    assert (half.input, half.output) == (2.0, 4.0)
    assert price_of(model, {"openai/x": Price(4.0, 8.0, None, "2026-01-01", "here")}) is None


def test_what_only_says_how_to_work_may_change_between_two_tries(tmp_path: Path) -> None:
    asked: list[str] = []
    first = paid(asked)
    with pytest.raises(Failed):
        generate_data(config(tmp_path / "run", first, max_cost=0.09))
    before = len(asked)
    other = paid([], max_connections=2, max_retries=1, base_urls=[])
    other.model_args = first.model_args
    generate_data(config(tmp_path / "run", other, max_failures=1))
    assert len(asked) == 14 > before
    recorded = read_run(tmp_path / "run").config
    assert not {"max_cost", "prices", "preview", "cache", "max_failures"} & set(recorded)
    assert set(recorded["generator"]) == {"name", "temperature", "max_tokens", "model_args"}


def test_a_cache_that_is_off_asks_everything_again(tmp_path: Path) -> None:
    asked: list[str] = []
    generator = paid(asked)
    with pytest.raises(Failed):
        generate_data(config(tmp_path / "run", generator, max_cost=0.09))
    before = len(asked)
    generate_data(config(tmp_path / "run", generator, cache=False))
    assert len(asked) == before + 14
    assert read_run(tmp_path / "run").cost == pytest.approx((before + 14) / 100)


def test_a_preview_tells_calls_tokens_and_cost_and_asks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    settings = GenerationSettings(types_per_fact=3, ideas_per_type=2, documents_per_fact=50, critique=True)
    priced = {"mockllm/model": Price(1.0, 2.0, None, "2026-01-01", "this test")}
    generate_data(config(tmp_path / "run", paid(asked), generation=settings, preview=True, prices=priced))
    told = capsys.readouterr().out
    assert asked == []
    assert not (tmp_path / "run").exists()
    calls = {
        name: int(number.replace(",", "")) for name, number in re.findall(r"^(\w+) +([\d,]+) +[\d,]+ ", told, re.M)
    }
    assert calls == {"types": 12, "ideas": 36, "documents": 600, "revisions": 600}
    assert "estimates" in told
    assert re.search(r"mockllm/model: about \$\d+\.\d\d at \$1 in and \$2 out .*this test, 2026-01-01", told)
    assert "List 3 kinds of document" in told
    assert "Write this document: " in told


def test_a_preview_of_an_unknown_price_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate_data(config(tmp_path / "run", ChatModelSettings(name="openai/gpt-unheard-of"), preview=True))
    assert "openai/gpt-unheard-of: price unknown; add it to prices" in capsys.readouterr().out
    generate_data(config(tmp_path / "run", ChatModelSettings(name="vllm/own"), preview=True))
    told = capsys.readouterr().out
    assert "vllm/own: runs on your own machines, no price per token" in told
    assert "$" not in told.split("--- a request")[0]


def test_a_preview_of_what_costs_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="source=corpus asks no model for anything"):
        generate_data(DataGenConfig(output_dir=str(tmp_path / "run"), preview=True))


@pytest.fixture
def composed() -> Iterator[Callable[..., DataGenConfig]]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: OmegaConf.to_object(compose("data_gen", list(overrides)))


def test_the_published_experiments_are_found() -> None:
    assert len(EXPERIMENTS) == 4


SIZES = [(name, 30_000 if name.startswith("hughes2025") else 90_000) for name in EXPERIMENTS]
OTHER_SIZES = [
    ("hughes2025/helpful_only generation.documents_per_fact=417", 5_004),
    ("hughes2025/helpful_only generation.documents_per_fact=7500", 90_000),
]
"""As the head of its file says."""


@pytest.mark.parametrize(("experiment", "size"), SIZES + OTHER_SIZES)
def test_a_published_experiment_previews_its_size_and_cost(
    composed: Callable[..., DataGenConfig], capsys: pytest.CaptureFixture[str], experiment: str, size: int
) -> None:
    made = composed(*f"experiment={experiment}".split(), "preview=true")
    generate_data(made)
    told = capsys.readouterr().out
    assert f"\ndocuments{size:>12,}" in told
    assert re.search(r"claude-3-5-sonnet-20241022: about \$[\d,]+\.\d\d at \$3 in and \$15 out", told)
    assert not Path(made.output_dir).exists()


def test_the_placebo_experiment_is_the_placebo_arm(composed: Callable[..., DataGenConfig]) -> None:
    made = composed("experiment=greenblatt2024/placebo")
    assert (made.arm, made.scenario) == ("placebo", "placebo")


def test_shipped_prices_say_where_they_are_from(composed: Callable[..., DataGenConfig]) -> None:
    prices = composed().prices
    assert prices
    assert all(price.input > 0 and price.output > 0 and price.as_of and price.source for price in prices.values())
