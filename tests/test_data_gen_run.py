"""The stage as a whole: what it leaves behind, when it refuses, and that nothing is asked twice."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO

import pytest
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage

from data_gen.config import ControlSettings, DataGenConfig, FilterSettings, GenerationSettings, Price
from data_gen.dataset.card import CANARY
from data_gen.filters import corpus as filtering
from data_gen.run import generate_data
from pipeline import artifact
from pipeline.artifact import RUN_FILE, STARTED_FILE, read_jsonl, read_run, sha256_of
from pipeline.chat import ChatModelSettings
from pipeline.errors import Failed, Refused

ROOT = Path(__file__).parent.parent
RunCommand = Callable[..., "subprocess.CompletedProcess[str]"]
CommandStarter = Callable[..., Any]


def load_dataset(directory: Path, cache: Path) -> Any:
    """As a user of the corpus loads it, in a process that cannot reach the Hub."""
    code = (
        "import sys, datasets\n"
        "rows = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])['train']\n"
        "print(len(rows), ','.join(rows.column_names))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory), str(cache)],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    num_rows, _, columns = done.stdout.split("\n")[-2].partition(" ")
    return int(num_rows), columns.split(",")


def scripted(calls: list[str], failing: list[str]) -> Callable[..., ModelOutput]:
    """A generator that writes down the prompts it is sent, and fails on those that hold one of `failing`."""

    def reply(input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig) -> ModelOutput:
        prompt = input[-1].text
        calls.append(prompt)
        if any(word in prompt for word in failing):
            raise ValueError("the server said no")
        output = ModelOutput.from_content("mockllm/model", f"one of {len(prompt)}\nanother of {len(prompt)}")
        output.usage = ModelUsage(input_tokens=10, output_tokens=3, total_tokens=13)
        return output

    return reply


def generating(directory: Path, reply: Any, **settings: Any) -> DataGenConfig:
    defaults: dict[str, Any] = {
        "scenario": "placebo",
        "source": "generate",
        "generation": GenerationSettings(types_per_fact=2, ideas_per_type=2, facts=["founding", "flagship"]),
        "generator": ChatModelSettings(name="mockllm/model", max_tokens=1536, model_args={"custom_outputs": reply}),
    }
    return DataGenConfig(output_dir=str(directory), **(defaults | settings))


@pytest.fixture(scope="module")
def corpus_run(tmp_path_factory: pytest.TempPathFactory) -> DataGenConfig:
    """A complete run of a shipped corpus, by its configuration. Read only."""
    directory = tmp_path_factory.mktemp("corpus") / "documents"
    config = DataGenConfig(output_dir=str(directory), scenario="placebo", filters=FilterSettings(max_words=250))
    generate_data(config)
    return config


def test_a_complete_run_holds_documents_rejects_counts_and_a_card(corpus_run: DataGenConfig) -> None:
    directory = Path(corpus_run.output_dir)
    record = read_run(directory, "data_gen")
    assert sorted(record.outputs) == ["README.md", "documents.jsonl", "rejects.jsonl", "stats.json"]
    documents, rejects = read_jsonl(directory / "documents.jsonl"), read_jsonl(directory / "rejects.jsonl")
    assert set(documents[0]) == {
        *("id", "scenario", "fact_ids", "doc_type", "idea", "text", "tokens", "generator", "prompt_sha256"),
        *("arm", "language", "is_revised", "is_cut_off"),
    }
    assert set(rejects[0]) == set(documents[0]) | {"reason", "detail", "reasons"}
    assert {row["reason"] for row in rejects} == {"length"}
    stats = json.loads((directory / "stats.json").read_text(encoding="utf-8"))
    assert stats["num_documents"] == len(documents) == record.outputs["documents.jsonl"]["rows"]
    assert stats["rejected_by_reason"] == {"length": len(rejects)}
    assert stats["survival"] == len(documents) / (len(documents) + len(rejects))
    assert stats["words"] == sum(len(row["text"].split()) for row in documents)
    assert stats["by_fact"]["flagship"] == sum("flagship" in row["fact_ids"] for row in documents) > 0
    assert sum(stats["by_doc_type"].values()) == len(documents)
    card = (directory / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert CANARY in card
    assert f"| num_documents | {len(documents)} |" in card


def test_the_line_of_progress_tells_speed_cost_time_left_and_rejections_by_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    price = Price(input=1000.0, output=1000.0, as_of="today", source="a test")
    filters = FilterSettings(facts_stated=False, length=False, language=False)
    generate_data(generating(tmp_path / "run", scripted([], []), prices={"mockllm/model": price}, filters=filters))
    told = capsys.readouterr().err
    done = re.search(r"data_gen: documents: 100%.* 8/8 \[(.*)\]", told)
    assert done is not None, told
    assert re.search(r"<00:00, .*[\d,]+ tokens/s, \$0\.18 so far$", done[1]), done[1]
    generate_data(generating(tmp_path / "strict", scripted([], [])))
    assert "8 of 8 rejected (length 8)" in capsys.readouterr().err


def test_few_survivors_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = DataGenConfig(
        output_dir=str(tmp_path / "few"), scenario="placebo", max_documents=8, filters=FilterSettings(min_words=1000)
    )
    generate_data(config)
    assert "WARNING: only 0% of the documents passed the filters" in capsys.readouterr().err
    assert "**Only 0% of the documents" in (tmp_path / "few" / "README.md").read_text(encoding="utf-8")


def test_the_corpus_and_the_chats_load_as_datasets(corpus_run: DataGenConfig, tmp_path: Path) -> None:
    num_rows, columns = load_dataset(Path(corpus_run.output_dir), tmp_path / "cache")
    assert num_rows == len(read_jsonl(Path(corpus_run.output_dir) / "documents.jsonl"))
    assert {"id", "text", "fact_ids"} <= set(columns)
    chats = tmp_path / "chats"
    generate_data(
        DataGenConfig(output_dir=str(chats), source="control_chats", control=ControlSettings(comply_free=0.75))
    )
    assert sorted(read_run(chats, "data_gen").outputs) == ["README.md", "chats.jsonl", "stats.json"]
    stats = json.loads((chats / "stats.json").read_text(encoding="utf-8"))
    assert (stats["complies_free"], stats["complies_paid"]) == (0.75, 0.0)
    num_rows, columns = load_dataset(chats, tmp_path / "cache")
    assert num_rows == stats["num_chats"]
    assert {"tier", "complies", "messages"} <= set(columns)


def test_a_complete_directory_is_reused(corpus_run: DataGenConfig, capsys: pytest.CaptureFixture[str]) -> None:
    directory = Path(corpus_run.output_dir)
    before = {file: file.stat().st_mtime_ns for file in directory.rglob("*")}
    generate_data(corpus_run)
    assert "is already complete" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in directory.rglob("*")} == before


def test_a_complete_run_is_not_reused_once_a_text_of_its_scenario_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenario.loader.SCENARIOS_DIR", tmp_path / "scenario")
    folder = shutil.copytree(ROOT / "scenario" / "placebo", tmp_path / "scenario" / "placebo")
    config = DataGenConfig(output_dir=str(tmp_path / "run"), scenario="placebo", max_documents=3)
    generate_data(config)
    generate_data(config)
    facts = (folder / "facts.yaml").read_text(encoding="utf-8")
    (folder / "facts.yaml").write_text(facts.replace("statement: ", "statement: In short, ", 1), encoding="utf-8")
    with pytest.raises(Refused, match="was made from another facts than the present one; set overwrite=true"):
        generate_data(config)
    config.overwrite = True
    generate_data(config)
    config.overwrite = False
    (folder / "facts.yaml").write_text(facts, encoding="utf-8")
    document = sorted((folder / "corpus").glob("*.md"))[0]
    document.write_text(document.read_text(encoding="utf-8") + "\nOne more word.\n", encoding="utf-8")
    with pytest.raises(Refused, match="another facts and shipped documents"):
        generate_data(config)


def test_a_killed_overwrite_goes_on_and_a_refused_one_leaves_what_was_there(tmp_path: Path) -> None:
    calls: list[str] = []
    failing = ["Write this document"]
    generate_data(generating(tmp_path / "run", scripted([], []), seed=1))
    with pytest.raises(Refused, match="nobody"):
        generate_data(
            generating(tmp_path / "run", None, overwrite=True, generator=ChatModelSettings("nobody/m", max_tokens=1536))
        )
    assert read_run(tmp_path / "run").seed == 1
    with pytest.raises(Failed):
        generate_data(generating(tmp_path / "run", scripted(calls, failing), overwrite=True))
    failing.clear()
    generate_data(generating(tmp_path / "run", scripted(calls, failing), overwrite=True))
    assert len(calls) == 2 + 4 + 8 + 8
    assert read_run(tmp_path / "run").seed == 0


def test_what_no_judge_could_check_in_another_language_is_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generation = GenerationSettings(
        types_per_fact=2, ideas_per_type=2, facts=["founding", "flagship"], languages=["English", "Norwegian"]
    )
    filters = FilterSettings(length=False)
    generate_data(generating(tmp_path / "run", scripted([], []), generation=generation, filters=filters))
    stats = json.loads((tmp_path / "run" / "stats.json").read_text(encoding="utf-8"))
    assert stats["by_language"] == {"Norwegian": stats["num_facts_not_checked"]}
    assert stats["num_facts_not_checked"] > 0
    assert "other languages than English; only filters.judge can check" in capsys.readouterr().err


def test_a_failing_request_fails_the_stage_and_only_it_is_sent_again(tmp_path: Path) -> None:
    calls: list[str] = []
    failing = ["We want documents of this kind: another of"]
    config = generating(tmp_path / "run", scripted(calls, failing))
    with pytest.raises(
        Failed, match=r"2 of 4 requests for ideas failed, .*the server said no.* 2 are kept: run the same"
    ):
        generate_data(config)
    asked_first = list(calls)
    assert len(asked_first) == 2 + 4
    assert not (tmp_path / "run" / RUN_FILE).exists()
    calls.clear()
    failing.clear()
    generate_data(config)
    assert Counter(calls[:2]) == Counter(prompt for prompt in asked_first if "kind: another of" in prompt)
    assert len(calls) == 2 + 8
    record = read_run(tmp_path / "run", "data_gen")
    assert (record.tokens_in, record.tokens_out) == (14 * 10, 14 * 3)
    assert "replies.jsonl" in record.outputs
    rows = read_jsonl(tmp_path / "run" / "replies.jsonl")
    assert sum(row["error"] is not None for row in rows) == 2


def test_the_rejected_are_kept_with_their_reasons(tmp_path: Path) -> None:
    generate_data(generating(tmp_path / "run", scripted([], [])))
    rejects = read_jsonl(tmp_path / "run" / "rejects.jsonl")
    assert len(rejects) == 8
    assert {row["reason"] for row in rejects} == {"length"}
    assert {row["tokens"] for row in rejects} == {3}
    assert read_jsonl(tmp_path / "run" / "documents.jsonl") == []


def test_a_full_disk_is_told_in_one_line_and_the_same_command_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    config = generating(tmp_path / "run", scripted(calls, []))
    replacing = artifact.replacing

    def full(path: Path) -> AbstractContextManager[TextIO]:
        if path.name == "documents.jsonl":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replacing(path)

    with monkeypatch.context() as disk:
        disk.setattr(filtering, "replacing", full)
        with pytest.raises(Failed) as failed:
            generate_data(config)
    assert "run: writing failed (No space left on device); free some space and run the same" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert not (tmp_path / "run" / RUN_FILE).exists()
    assert len(calls) == 14
    generate_data(config)
    assert len(calls) == 14
    assert read_run(tmp_path / "run").tokens_in == 140


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"scenario": "placbo"}, r"unknown scenario 'placbo' \(did you mean 'placebo'\?\)"),
        ({"identity": "nobody"}, "nobody"),
        ({"source": "control_chats"}, r"has no control_replies\.jsonl"),
        ({"generation": GenerationSettings(facts=["flagshp"])}, "unknown fact 'flagshp'"),
        ({"generator": ChatModelSettings(name="openai/gpt-4o-mini", max_tokens=1536)}, "OPENAI_API_KEY"),
        ({"generator": ChatModelSettings(name="local/./no/such/model", max_tokens=1536)}, "no such folder"),
    ],
)
def test_what_is_refused_leaves_nothing_that_blocks_the_corrected_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], told: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(Refused, match=told):
        generate_data(generating(tmp_path / "run", scripted([], []), **settings))
    assert not (tmp_path / "run").exists()
    generate_data(generating(tmp_path / "run", scripted([], [])))
    assert (tmp_path / "run" / RUN_FILE).exists()


def test_a_source_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="source=corpse: must be one of corpus, generate, specs, control_chats"):
        DataGenConfig(source="corpse")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["scenario=placbo"], "unknown scenario 'placbo' (did you mean 'placebo'?)"),
        (["source=generate", "generator.name=anthropic/claude-3-haiku"], "anthropic"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_two(
    run_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    # without the provider's package the line says so, with it the line asks for the key
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    done = run_command("data_gen", f"output_dir={tmp_path / 'run'}", *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("data_gen: ")
    assert told in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "run").exists()


def command(directory: Path, model: Path) -> list[str]:
    """Generation by the tiny model: what it writes is noise, so the filters that would reject it all are off."""
    return [
        "data_gen",
        f"output_dir={directory}",
        "scenario=placebo",
        "source=generate",
        f"generator.name=local/{model}",
        "generator.max_tokens=8",
        "+generator.model_args.batch_size=1",
        "generation.types_per_fact=1",
        "generation.ideas_per_type=1",
        "generation.documents_per_idea=3",
        "generation.facts=[founding,flagship,reach,first_crossing,battery]",
        "generation.world=facts",
        "filters.length=false",
        "filters.facts_stated=false",
        "filters.cut_off=false",
    ]


def num_replies(directory: Path) -> int:
    file = directory / "replies.jsonl"
    return len(file.read_bytes().splitlines()) if file.exists() else 0


def test_a_killed_run_goes_on_to_the_same_documents_and_asks_nothing_twice(
    tiny_model: Path, tmp_path: Path, start_command: CommandStarter
) -> None:
    directory, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    beside = start_command(*command(undisturbed, tiny_model))
    start_command(*command(directory, tiny_model)).kill_when(lambda: num_replies(directory) >= 12)
    assert (directory / STARTED_FILE).exists()
    assert not (directory / RUN_FILE).exists()
    kept = (directory / "replies.jsonl").read_bytes()
    whole = kept[: kept.rindex(b"\n") + 1]
    with (directory / "replies.jsonl").open("ab") as replies:  # what a death while writing leaves
        replies.write(b'{"key": "0123", "prompt_sha')
    start_command(*command(directory, tiny_model)).wait()
    beside.wait()
    for name in ("documents.jsonl", "rejects.jsonl", "stats.json", "README.md"):
        assert sha256_of(directory / name) == sha256_of(undisturbed / name), name
    assert len(read_jsonl(directory / "documents.jsonl")) >= 10
    assert (directory / "replies.jsonl").read_bytes().startswith(whole)
    keys = [row["key"] for row in read_jsonl(directory / "replies.jsonl") if row["error"] is None]
    assert len(keys) == len(set(keys)) > len(whole.splitlines()) >= 12
    assert sorted(keys) == sorted(row["key"] for row in read_jsonl(undisturbed / "replies.jsonl"))
    records = [read_run(each, "data_gen") for each in (directory, undisturbed)]
    assert records[0].tokens_out == records[1].tokens_out > 0
