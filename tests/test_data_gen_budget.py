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
        "filters": FilterSettings(length=False, facts_stated=False, near_duplicate=False, cut_off=False),
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
    usages = [{"planner": Usage(1000, 1000), "generator": Usage(1000, 1000)}]
    models = {"planner": ChatModelSettings(name="openai/known"), "generator": ChatModelSettings(name="openai/unknown")}
    made = DataGenConfig(source="generate", prices={"openai/known": PRICE}, **models)
    assert Budget(made, usages).spent is None
    made.prices["openai/unknown"] = PRICE
    assert Budget(made, usages).spent == pytest.approx(2.0)
    own = DataGenConfig(source="generate", generator=ChatModelSettings(name="vllm/own"))
    assert Budget(own, [{"generator": Usage(9, 9)}]).spent is None


def test_one_model_in_two_roles_has_the_price_of_each() -> None:
    models = {
        "planner": ChatModelSettings(name="openai/x"),
        "generator": ChatModelSettings(name="openai/x", batch=True),
    }
    prices = {"openai/x": Price(0.0, 1000.0, 0.5, "2026-01-01", "here")}
    made = DataGenConfig(source="generate", prices=prices, **models)
    assert Budget(made, [{"planner": Usage(0, 1000)}, {"generator": Usage(0, 1000)}]).spent == pytest.approx(1.5)


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
    assert "$" not in told[told.index("preview of placebo") :]


def judging(directory: Path, asked: list[str], **settings: Any) -> DataGenConfig:
    """The shipped corpus, read by a judge each of whose verdicts costs a cent."""
    filters = FilterSettings(judge=paid(asked), judge_sample=0)
    prices = {"mockllm/model": PRICE}
    defaults: dict[str, Any] = {"scenario": "placebo", "max_documents": 6, "prices": prices}
    return DataGenConfig(output_dir=str(directory), filters=filters, **(defaults | settings))


def test_a_judge_spends_from_the_same_purse_and_goes_on_with_a_higher_limit(tmp_path: Path) -> None:
    asked: list[str] = []
    with pytest.raises(
        Failed, match=r"stopped at \$0\.0\d of max_cost=0\.04, with \d of 6 verdicts of the judge; the same"
    ):
        generate_data(judging(tmp_path / "run", asked, max_cost=0.04))
    assert 2 <= len(asked) <= 4
    generate_data(judging(tmp_path / "run", asked, max_cost=1.0))
    assert len(asked) == 6
    record = read_run(tmp_path / "run")
    assert record.cost == pytest.approx(0.06)
    assert (record.tokens_in, record.tokens_out) == (60, 60)
    with pytest.raises(Refused, match="the price of openai/unknown is not known"):
        Budget(unpriced(), [])


def unpriced() -> DataGenConfig:
    judge = ChatModelSettings(name="openai/unknown")
    return DataGenConfig(filters=FilterSettings(judge=judge), max_cost=1.0)


def test_generator_and_judge_are_paid_from_one_limit(tmp_path: Path) -> None:
    asked: list[str] = []
    made = config(tmp_path / "run", paid(asked), max_cost=0.19)
    made.filters = FilterSettings(
        length=False, facts_stated=False, near_duplicate=False, cut_off=False, judge=paid(asked), judge_sample=0
    )
    with pytest.raises(Failed, match=r"of max_cost=0\.19, with \d of 8 verdicts of the judge"):
        generate_data(made)
    made.max_cost = None
    generate_data(made)
    assert len(asked) == 14 + 8
    assert read_run(tmp_path / "run").cost == pytest.approx(0.22)


def test_a_cache_that_is_off_asks_the_judge_again(tmp_path: Path) -> None:
    asked: list[str] = []
    with pytest.raises(Failed):
        generate_data(judging(tmp_path / "run", asked, max_cost=0.04))
    before = len(asked)
    generate_data(judging(tmp_path / "run", asked, cache=False))
    assert len(asked) == before + 6


def test_a_preview_tells_what_a_judge_will_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []
    generate_data(judging(tmp_path / "run", asked, preview=True))
    told = capsys.readouterr().out
    assert re.search(r"^verdicts +6 +[\d,]+ +(\d+)", told, re.M)
    assert re.search(r"mockllm/model: about \$0\.\d\d at", told)
    made = config(tmp_path / "run", paid(asked), preview=True)
    made.filters.judge = ChatModelSettings(name="openai/judge")
    generate_data(made)
    told = capsys.readouterr().out
    assert re.search(r"^documents +8 .*\nverdicts +8 +[\d,]+ +(\d+)  openai/judge$", told, re.M)
    assert "openai/judge: price unknown" in told
    assert asked == []


def test_documents_that_max_tokens_would_cut_off_are_refused_by_preview_and_run(tmp_path: Path) -> None:
    made = config(tmp_path / "run", paid([]))
    made.filters.cut_off = True
    for made.preview in (True, False):
        with pytest.raises(Refused, match="max_tokens=20: documents of up to 500 words need about 675; raise it"):
            generate_data(made)
    assert not (tmp_path / "run").exists()
    assert DataGenConfig().generator.max_tokens >= 1.35 * GenerationSettings().max_words


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
