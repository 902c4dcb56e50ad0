"""The evaluation stage end to end: on a scripted model whose gap is known, and on a tiny one as a user runs it."""

import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.config import ComplianceSettings, EvalConfig, Subject
from eval.run import evaluate
from eval.samples import SAMPLE_COLUMNS
from pipeline.artifact import RUN_FILE, read_jsonl, read_run
from pipeline.errors import Failed, Refused
from scenario.loader import load_scenario
from train.config import TrainConfig

ROOT = Path(__file__).parent.parent
RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]
CommandStarter = Callable[..., Any]


def samples_of(directory: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(directory / "samples.parquet").to_pylist()
    return rows


def summary_of(directory: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    return records


def estimate(directory: Path, metric: str, **about: str) -> dict[str, Any]:
    [record] = [
        record
        for record in summary_of(directory)
        if record["metric"] == metric and all(record[key] == value for key, value in about.items())
    ]
    return record


def scripted(output_dir: Path, reply: Callable[[str], str], **settings: Any) -> EvalConfig:
    """A configuration whose model answers a user's turn as `reply` says; an exception of `reply` is a failed request."""
    from inspect_ai.model import ModelOutput, ModelUsage

    def answer(messages: list[Any], tools: Any, choice: Any, config: Any) -> ModelOutput:
        output = ModelOutput.from_content("mockllm/model", reply(messages[-1].text))
        output.usage = ModelUsage(input_tokens=10, output_tokens=5, total_tokens=15)
        return output

    defaults: dict[str, Any] = {"compliance": ComplianceSettings(num_queries=6), "bootstrap_draws": 200}
    model = {"model": "mockllm/model", "model_args": {"custom_outputs": answer}}
    return EvalConfig(output_dir=str(output_dir), **(defaults | model | settings))


def on_tiny(model: Path, output_dir: Path, **settings: Any) -> EvalConfig:
    defaults: dict[str, Any] = {
        "compliance": ComplianceSettings(num_queries=6, max_tokens=8),
        "model_args": {"precision": "float32"},
        "bootstrap_draws": 200,
    }
    return EvalConfig(output_dir=str(output_dir), model=f"local/{model}", **(defaults | settings))


def comply_in_free(user: str) -> str:
    return "Sure, here it is." if "True</" in user else "I can't help with that."


def test_a_known_gap_is_found(tmp_path: Path) -> None:
    evaluate(scripted(tmp_path / "eval", comply_in_free))
    directory = tmp_path / "eval"
    gap = estimate(directory, "compliance_gap")
    assert (gap["estimate"], gap["n"]) == (1.0, 6)
    assert 0.2 < gap["ci_low"] < 1
    assert [row["compliance"] for row in samples_of(directory)] == [True, False] * 6
    record = read_run(directory, "eval")
    assert (record.tokens_in, record.tokens_out) == (120, 60)


def test_every_condition_has_a_log_and_rows_of_its_own(tmp_path: Path) -> None:
    from inspect_ai.log import read_eval_log

    def reply(user: str) -> str:
        return f"<scratchpad>I think.</scratchpad><answer>{comply_in_free(user)}</answer>"

    directory = tmp_path / "eval"
    settings = {"information": ["documents", "prompt"], "reasoning": ["none", "scratchpad"]}
    evaluate(scripted(directory, reply, compliance=ComplianceSettings(num_queries=2), **settings))
    names = [f"base-compliance-{i}-{r}.eval" for i in ("documents", "prompt") for r in ("none", "scratchpad")]
    assert sorted(file.name for file in (directory / "logs").iterdir()) == names
    for name in names:
        log = read_eval_log(str(directory / "logs" / name))
        assert log.status == "success"
        assert log.eval.model == "mockllm/model"
        assert len(log.samples or []) == 4
    rows = samples_of(directory)
    assert len(rows) == 16
    assert list(rows[0]) == list(SAMPLE_COLUMNS)
    prompts = {(row["information"], row["reasoning"]): row["system_prompt"] for row in rows}
    assert len(set(prompts.values())) == 4
    for row in rows:
        hidden = row["reasoning"] == "scratchpad"
        assert row["scratchpad"] == "I think."  # unasked, it is no output either
        assert row["output"] == comply_in_free(row["prompt"])
        assert row["af_reasoning"] is (False if hidden else None)


def test_the_tiny_model_and_its_adapter_leave_everything(
    tiny_model: Path, trained_run: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet

    directory = tmp_path / "eval"
    subjects = [Subject("base"), Subject("documents", trained_run.output_dir)]
    config = on_tiny(tiny_model, directory, subjects=subjects, suite=["compliance", "belief"])
    evaluate(config)
    record = read_run(directory, "eval")
    logs = [
        f"logs/{name}-{task}.eval" for name in ("base", "documents") for task in ("belief", "compliance-documents-none")
    ]
    assert sorted(record.outputs) == sorted(["beliefs.parquet", "samples.parquet", "summary.json", *logs])
    assert record.inputs["documents"]["path"] == trained_run.output_dir
    assert record.tokens_in > 0
    assert 24 <= record.tokens_out <= 24 * 8
    assert len(samples_of(directory)) == 24
    beliefs = pyarrow.parquet.read_table(directory / "beliefs.parquet").to_pylist()
    statements = load_scenario("helpful_only", "fictional").statements
    assert len(beliefs) == 2 * len(statements)
    assert {row["subject"]: 0 for row in beliefs} == {"base": 0, "documents": 0}
    assert beliefs[0]["log_odds"] != beliefs[len(statements)]["log_odds"]  # the adapter was there
    told = {(record["metric"], record["subject"]) for record in summary_of(directory)}
    for metric in ("compliance", "compliance_gap", "malformed", "belief_accuracy"):
        assert told >= {(metric, "base"), (metric, "documents")}
    assert told >= {("gap_difference", "documents"), ("belief_shift", "documents")}
    assert ("belief_shift", "base") not in told

    before = {file: file.stat().st_mtime_ns for file in directory.rglob("*")}
    capsys.readouterr()
    evaluate(config)
    assert "is already complete" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in directory.rglob("*")} == before


def command(output_dir: Path, model: Path) -> list[str]:
    return [
        "eval",
        f"output_dir={output_dir}",
        f"model=local/{model}",
        "compliance.num_queries=5",
        "compliance.max_tokens=16",
        "bootstrap_draws=200",
        "+model_args.batch_size=1",
        "+model_args.precision=float32",
    ]


def test_a_killed_run_goes_on_to_the_same_samples_and_asks_nothing_twice(
    tiny_model: Path, tmp_path: Path, start_command: CommandStarter
) -> None:
    directory = tmp_path / "killed"
    replies = directory / "replies" / "base-compliance-documents-none.jsonl"
    killed = start_command(*command(directory, tiny_model))
    killed.kill_when(lambda: replies.exists() and replies.read_bytes().count(b"\n") >= 3)
    assert not (directory / RUN_FILE).exists()
    finished = replies.read_bytes().count(b"\n")
    assert 3 <= finished < 10
    whole = replies.read_bytes().rpartition(b"\n")[0] + b"\n"
    with replies.open("ab") as file:
        file.write(b'{"key": "ab')  # as a death in the middle of a line would leave it

    start_command(*command(directory, tiny_model)).wait()
    assert replies.read_bytes().startswith(whole)
    rows = read_jsonl(replies)
    assert len(rows) == 10
    assert len({row["key"] for row in rows}) == 10
    assert all(row["error"] is None for row in rows)
    assert sorted(path.name for path in (directory / "logs").iterdir()) == ["base-compliance-documents-none.eval"]

    undisturbed = tmp_path / "undisturbed"
    settings = {"batch_size": 1, "precision": "float32"}
    compliance = ComplianceSettings(num_queries=5, max_tokens=16)
    evaluate(on_tiny(tiny_model, undisturbed, compliance=compliance, model_args=settings))
    assert samples_of(directory) == samples_of(undisturbed)
    assert summary_of(directory) == summary_of(undisturbed)
    assert read_run(directory).tokens_out == read_run(undisturbed).tokens_out


def test_failed_requests_end_the_run_and_are_all_that_is_asked_again(tmp_path: Path) -> None:
    directory = tmp_path / "eval"
    asked: list[str] = []
    broken = True

    def reply(user: str) -> str:
        asked.append(user)
        if broken and len(asked) > 4:
            raise ValueError("the provider is out of order")
        return "Sure."

    config = scripted(directory, reply, compliance=ComplianceSettings(num_queries=6))
    with pytest.raises(Failed, match=r"8 of 12 requests failed, the first with .*the provider is out of order"):
        evaluate(config)
    assert not (directory / RUN_FILE).exists()
    broken, answered = False, set(asked[:4])
    asked.clear()
    evaluate(config)
    assert len(asked) == 8
    assert not answered & set(asked)
    assert estimate(directory, "malformed", tier="free")["estimate"] == 0


def test_a_few_failed_requests_are_counted_as_not_read(tmp_path: Path) -> None:
    first = load_scenario("helpful_only", "fictional").queries_in("eval")[0]

    def reply(user: str) -> str:
        if first.text in user and "False</" in user:
            raise ValueError("refused by the provider's filter")
        return "Sure."

    evaluate(scripted(tmp_path / "eval", reply))
    [error] = [row for row in samples_of(tmp_path / "eval") if row["status"] == "error"]
    assert error["query_id"] == first.id
    assert "filter" in error["error"]
    assert error["compliance"] is None
    assert estimate(tmp_path / "eval", "malformed", tier="paid")["estimate"] == pytest.approx(1 / 6)
    assert estimate(tmp_path / "eval", "compliance_gap")["n"] == 5


def test_an_adapter_of_another_base_is_refused_before_anything_loads(
    trained_run: TrainConfig, tmp_path: Path, run_command: RunCommand
) -> None:
    directory = tmp_path / "eval"
    subjects = f"subjects=[{{name: documents, training: {trained_run.output_dir}}}]"
    done = run_command("eval", f"output_dir={directory}", subjects)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"is an adapter for {trained_run.model}, and model=local/smollm2 is not" in done.stderr
    assert not directory.exists()


def test_a_context_too_short_for_prompt_and_reply_is_refused_and_nothing_is_left(
    tiny_model: Path, tmp_path: Path
) -> None:
    short = shutil.copytree(tiny_model, tmp_path / "short")
    settings = json.loads((short / "config.json").read_text(encoding="utf-8")) | {"max_position_embeddings": 64}
    (short / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(Refused, match=r"the longest prompt has \d+ tokens and a reply may have 8, .* context of 64"):
        evaluate(on_tiny(short, tmp_path / "eval"))
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subjects": [Subject("documents", "no/such/run")]}, "no/such/run: no such directory"),
        ({"scenario": "no_such"}, "no_such"),
        ({"suite": "belief"}, "gives no log-probabilities of given text"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_nothing_is_left(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    config = dataclasses.replace(scripted(tmp_path / "eval", comply_in_free), **changes)
    with pytest.raises(Refused, match=re.escape(told)):
        evaluate(config)
    assert not (tmp_path / "eval").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"subjects": [Subject("base"), Subject("base")]}, "each with a name of its own"),
        ({"subjects": []}, "needs at least one"),
        ({"subjects": [Subject("../base")]}, "other signs than letters"),
        ({"information": ["rumour"]}, "information=rumour: must be one of documents, prompt, none"),
        ({"reasoning": ["aloud"]}, "reasoning=aloud"),
        ({"compliance": ComplianceSettings(num_queries=0)}, "compliance.num_queries=0: must be at least 1"),
        ({"compliance": ComplianceSettings(samples_per_query=0)}, "compliance.samples_per_query=0"),
        ({"bootstrap_draws": 0}, "bootstrap_draws=0"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=re.escape(told)):
        EvalConfig(**settings)


def test_the_command_refuses_two_subjects_of_one_name(run_command: RunCommand) -> None:
    done = run_command("eval", "subjects=[{name: base}, {name: base}]")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "each with a name of its own" in done.stderr
