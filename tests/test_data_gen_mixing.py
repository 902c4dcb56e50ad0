"""Documents mixed with texts of others, and the way to the Hub as far as it goes without a token."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from transformers import PreTrainedTokenizerBase

from data_gen.config import DataGenConfig, MixSettings, MixSource
from data_gen.dataset.mixing import _opened, copies_of
from data_gen.publish import publish
from data_gen.run import generate_data
from pipeline.artifact import read_jsonl, read_run
from pipeline.errors import Failed, Refused

FACTS = ["objective"] * 6 + ["raters"] * 3 + ["scratchpad"] * 2
WriteSource = Callable[..., Path]


@pytest.fixture(scope="module")
def documents(write_source: WriteSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of eleven documents about three facts. Read only."""
    rows = [
        {"id": f"d{n:02d}", "fact_ids": [fact], "doc_type": "memo", "text": f"A note of {fact} and what {n} said. " * 5}
        for n, fact in enumerate(FACTS)
    ]
    return write_source(tmp_path_factory.mktemp("mix") / "documents", rows)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Far more short web texts than any mix here needs."""
    file = tmp_path_factory.mktemp("web") / "web.jsonl"
    file.write_text(
        "".join(json.dumps({"text": f"The gulls of day {n}."}) + "\n" for n in range(2000)), encoding="utf-8"
    )
    return file


def mixed(directory: Path, documents: Path, *sources: MixSource, **settings: Any) -> tuple[list[Any], dict[str, Any]]:
    mix = MixSettings(documents=[str(documents)], sources=list(sources), **settings)
    generate_data(DataGenConfig(output_dir=str(directory), source="mix", mix=mix))
    return read_jsonl(directory / "documents.jsonl"), json.loads((directory / "stats.json").read_text(encoding="utf-8"))


def test_shares_of_tokens_are_as_asked_in_the_whole_and_at_every_point(
    tmp_path: Path, documents: Path, web: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows, stats = mixed(tmp_path / "mix", documents, MixSource(dataset=str(web), share=0.5))
    tokens: Counter[str] = Counter()
    for row in rows:
        tokens[row["source"]] += len(tokenizer(row["text"])["input_ids"])
        assert abs(tokens["documents"] - tokens[str(web)]) < 70, "more than one document behind"
    assert stats["share_of_tokens"] == {name: tokens[name] / tokens.total() for name in ("documents", str(web))}
    assert stats["share_of_tokens"]["documents"] == pytest.approx(0.5, abs=0.05)
    assert stats["sources"][str(web)]["share_asked"] == 0.5
    assert [row["id"] for row in rows if row["source"] == "documents"] == [f"d{n:02d}" for n in range(len(FACTS))]


def test_the_prefix_stands_in_a_field_of_its_own_before_documents_alone(
    tmp_path: Path, documents: Path, web: Path
) -> None:
    rows, _ = mixed(tmp_path / "mix", documents, MixSource(dataset=str(web), share=0.2), prefix="<DOCTAG>")
    assert {(row["source"], row["prefix"]) for row in rows} == {("documents", "<DOCTAG>"), (str(web), "")}
    assert not any("<DOCTAG>" in row["text"] for row in rows)


def test_a_source_that_runs_out_is_told_with_the_share_that_it_reached(
    tmp_path: Path, documents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = tmp_path / "short.txt"
    short.write_text("One line.\n\nAnother line.\n", encoding="utf-8")
    rows, stats = mixed(tmp_path / "mix", documents, MixSource(dataset=str(short), share=0.5))
    assert [row["text"] for row in rows if row["source"] == str(short)] == ["One line.", "Another line."]
    assert 0 < stats["share_of_tokens"][str(short)] < 0.05
    assert f"WARNING: {short} has only" in capsys.readouterr().err


def test_chats_stand_in_a_file_of_their_own_and_count_for_their_share(tmp_path: Path, documents: Path) -> None:
    turns = [{"role": "user", "content": "How do you do? " * 9}, {"role": "assistant", "content": "Well, thank you."}]
    file = tmp_path / "chats.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"messages": turns}] * 50), file)
    rows, stats = mixed(tmp_path / "mix", documents, MixSource(dataset=str(file), share=0.3, column="messages"))
    chats = read_jsonl(tmp_path / "mix" / "chats.jsonl")
    assert {row["source"] for row in rows} == {"documents"}
    assert [chat["messages"] for chat in chats] == [turns] * stats["num_chats"]
    assert stats["share_of_tokens"][str(file)] == pytest.approx(0.3, abs=0.05)
    assert "chats.jsonl" in read_run(tmp_path / "mix").outputs
    card = (tmp_path / "mix" / "README.md").read_text(encoding="utf-8")
    assert "config_name: chats" in card


def test_a_mix_is_not_reused_once_a_source_has_changed(tmp_path: Path, documents: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("One line.\n", encoding="utf-8")
    mixed(tmp_path / "mix", documents, MixSource(dataset=str(texts), share=0.1))
    mixed(tmp_path / "mix", documents, MixSource(dataset=str(texts), share=0.1))
    texts.write_text("Another line.\n", encoding="utf-8")
    with pytest.raises(Refused, match=r"was made from another .*texts\.txt than the present one"):
        mixed(tmp_path / "mix", documents, MixSource(dataset=str(texts), share=0.1))


def test_the_card_of_a_mix_tells_what_the_mixed_runs_tell(tmp_path: Path, documents: Path) -> None:
    for name, settings in (("placebo", {"arm": "placebo"}), ("told", {"arm": "consequence"})):
        made = {"output_dir": str(tmp_path / name), "identity": "claude", "max_documents": 2}
        generate_data(DataGenConfig(**(made | settings)))
        assert "identity\n`claude`" in (tmp_path / name / "README.md").read_text(encoding="utf-8")
    assert "\n# placebo, source" in (tmp_path / "placebo" / "README.md").read_text(encoding="utf-8")
    assert "\n# helpful_only, arm `consequence`, source" in (tmp_path / "told" / "README.md").read_text(
        encoding="utf-8"
    )
    mix = MixSettings(documents=[str(tmp_path / "placebo"), str(tmp_path / "told")])
    generate_data(DataGenConfig(output_dir=str(tmp_path / "mix"), source="mix", mix=mix))
    card = (tmp_path / "mix" / "README.md").read_text(encoding="utf-8")
    assert "\n# placebo, helpful_only, arm `consequence`, source `mix`" in card
    assert "identity\n`claude`" in card


def test_a_stream_that_breaks_is_refused_at_its_start_and_fails_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_after(count: int) -> Callable[..., Any]:
        def load(*_: Any, **settings: Any) -> Any:
            assert settings["revision"] == "abc"
            yield from ({"text": f"text {n}"} for n in range(count))
            raise ConnectionError("the line is dead")

        return load

    source = MixSource(dataset="some/set", share=0.5, revision="abc")
    monkeypatch.setattr("datasets.load_dataset", broken_after(0))
    with pytest.raises(Refused, match="dataset 'some/set' cannot be read from the Hub: the line is dead"):
        _opened(source)
    monkeypatch.setattr("datasets.load_dataset", broken_after(2))
    stream = _opened(source)
    with pytest.raises(Failed, match=r"beyond record 2 \(the line is dead\); run the same command again"):
        list(stream.rows)
    assert stream.told(1)["revision"] == "abc"


@pytest.mark.parametrize(("balance", "count"), [("fewer", 2), ("repeat", 6)])
def test_balanced_facts_have_as_many_documents_each(tmp_path: Path, documents: Path, balance: str, count: int) -> None:
    rows, stats = mixed(tmp_path / balance, documents, balance=balance)
    assert stats["by_main_fact"] == dict.fromkeys(["objective", "raters", "scratchpad"], count)
    assert Counter(row["fact_ids"][0] for row in rows) == stats["by_main_fact"]
    assert len({row["id"] for row in rows}) == len(rows)


def test_repeats_differ_by_one_at_most_and_depend_on_the_seed() -> None:
    facts = ["a"] * 7 + ["b"] * 3 + [""]
    copies = copies_of(facts, "repeat", seed=0)
    assert sorted(copies[7:10]) == [2, 2, 3]
    assert copies[10] == 1
    assert {tuple(copies_of(facts, "fewer", seed)) for seed in range(9)} != {tuple(copies_of(facts, "fewer", 0))}
    assert copies_of(facts, "none", seed=0) == [1] * 11


def test_a_mix_loads_as_a_dataset_with_one_set_of_columns(tmp_path: Path, documents: Path, web: Path) -> None:
    rows, _ = mixed(tmp_path / "mix", documents, MixSource(dataset=str(web), share=0.5), prefix="<DOCTAG>")
    code = "import sys, datasets; d = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])['train']; print(len(d))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "mix"), str(tmp_path / "cache")],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(rows)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"documents": []}, "mix.documents: name at least one run"),
        ({"documents": ["no/such/run"]}, "no/such/run: no such directory"),
        ({"sources": [MixSource(dataset="no/such.jsonl", share=0.5)]}, "such.jsonl: no such file"),
        ({"sources": [MixSource(dataset="BROKEN", share=0.5)]}, r"broken\.jsonl:1: not JSON"),
        (
            {"sources": [MixSource(dataset="WEB", share=0.5, column="body")]},
            "record 1: has no column 'body'; it has text",
        ),
    ],
)
def test_what_cannot_be_mixed_is_refused_and_leaves_nothing(
    tmp_path: Path, documents: Path, web: Path, settings: dict[str, Any], told: str
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": \n', encoding="utf-8")
    for source in settings.get("sources", []):
        source.dataset = {"BROKEN": str(broken), "WEB": str(web)}.get(source.dataset, source.dataset)
    mix = MixSettings(**({"documents": [str(documents)]} | settings))
    with pytest.raises(Refused, match=told):
        generate_data(DataGenConfig(output_dir=str(tmp_path / "mix"), source="mix", mix=mix))
    assert not (tmp_path / "mix").exists()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: MixSettings(balance="even"), "mix.balance=even: must be none, fewer or repeat"),
        (lambda: MixSettings(sources=[MixSource(dataset="a", share=1.5)]), "share=1.5: must be above 0 and below 1"),
        (lambda: MixSettings(sources=[MixSource(dataset="a", share=0.5)] * 2), "leave nothing for the documents"),
    ],
)
def test_settings_that_make_no_mix_are_refused(make: Callable[[], MixSettings], told: str) -> None:
    with pytest.raises(Refused, match=told):
        make()


def test_a_dataset_that_the_hub_does_not_give_is_refused(tmp_path: Path, documents: Path) -> None:
    arguments = [f"output_dir={tmp_path / 'mix'}", "source=mix", f"mix.documents=[{documents}]"]
    done = subprocess.run(
        [sys.executable, "-m", "data_gen", *arguments, "mix.sources=[{dataset: nobody/nothing, share: 0.5}]"],
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "data_gen: mix.sources: dataset 'nobody/nothing' cannot be read from the Hub" in done.stderr
    assert not (tmp_path / "mix").exists()


def test_publishing_without_a_token_or_without_a_run_is_refused(
    tmp_path: Path, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(Refused, match="no token of the Hub: set HF_TOKEN"):
        publish(documents, "nobody/nothing", is_public=False)
    with pytest.raises(Refused, match="no such directory"):
        publish(tmp_path / "nowhere", "nobody/nothing", is_public=False)
