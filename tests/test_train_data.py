import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Refused
from train.config import TrainConfig
from train.corpus import IGNORED, Example
from train.data import collate, deal, epoch_order, load_dataset, micro_batches, step_examples

MakeConfig = Callable[..., TrainConfig]


def examples_of_lengths(*lengths: int) -> list[Example]:
    return [Example(f"e{i:02d}", [i] * length, [i] * length) for i, length in enumerate(lengths)]


def test_micro_batches_keep_the_budget_and_lose_nothing() -> None:
    examples = examples_of_lengths(5, 90, 17, 40, 33, 40, 8, 61, 100, 3)
    groups = micro_batches(examples, 120)
    assert sorted(e.id for group in groups for e in group) == sorted(e.id for e in examples)
    assert all(len(group) * max(len(e.tokens) for e in group) <= 120 for group in groups)
    assert len(groups) < len(examples)


def test_an_example_beyond_the_budget_goes_alone() -> None:
    groups = micro_batches(examples_of_lengths(300, 10, 10), 100)
    assert [[len(e.tokens) for e in group] for group in groups] == [[300], [10, 10]]


def test_long_examples_are_not_padded_much() -> None:
    groups = micro_batches(examples_of_lengths(700, 690, 400, 398, 30, 20), 2048)
    assert [[len(e.tokens) for e in group] for group in groups] == [[700, 690], [400, 398], [30, 20]]


def test_micro_batches_do_not_depend_on_the_order_of_a_step() -> None:
    examples = examples_of_lengths(5, 40, 40, 33, 40)
    assert micro_batches(examples, 80) == micro_batches(examples[::-1], 80)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 25])
def test_each_epoch_takes_each_example_once(batch_size: int) -> None:
    dataset = examples_of_lengths(*range(1, 11))
    stream = [e.id for step in range(30) for e in step_examples(dataset, step, batch_size, seed=3)]
    epochs = [stream[start : start + 10] for start in range(0, len(stream) // 10 * 10, 10)]
    assert len(epochs) >= 3
    assert all(sorted(epoch) == sorted(e.id for e in dataset) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert epoch_order(50, seed=1, epoch=2) == epoch_order(50, seed=1, epoch=2)
    assert epoch_order(50, seed=1, epoch=2) != epoch_order(50, seed=2, epoch=1)


def test_packed_rows_keep_the_budget_and_lose_nothing() -> None:
    examples = examples_of_lengths(5, 90, 17, 40, 33, 40, 8, 61, 100, 3)
    rows = micro_batches(examples, 120, packed=True)
    assert sorted(e.id for row in rows for e in row) == sorted(e.id for e in examples)
    assert all(sum(len(e.tokens) for e in row) <= 120 for row in rows)
    assert len(rows) == 4  # 397 tokens fit in no fewer


def test_a_packed_row_starts_positions_again_and_predicts_no_record_from_another() -> None:
    first, second = Example("a", [11, 12, 13], [11, 12, 13]), Example("b", [21, 22], [IGNORED, 22], source=1)
    batch = collate([first, second], pad_id=9, packed=True, width=7)
    assert batch.tokens.tolist() == [[11, 12, 13, 21, 22, 9, 9]]
    assert batch.labels.tolist() == [[IGNORED, 12, 13, IGNORED, 22, IGNORED, IGNORED]]
    assert batch.sources.tolist() == [[0, 0, 0, 1, 1, 0, 0]]
    assert batch.positions is not None
    assert batch.positions.tolist() == [[0, 1, 2, 0, 1, 0, 1]]


def test_padding_is_never_learned_though_it_may_be_the_end_token() -> None:
    batch = collate([Example("a", [7, 2], [7, 2]), Example("b", [7, 8, 9, 2], [7, 8, 9, 2])], pad_id=2)
    assert batch.tokens.tolist() == [[7, 2, 2, 2], [7, 8, 9, 2]]
    assert batch.labels.tolist() == [[IGNORED, 2, IGNORED, IGNORED], [IGNORED, 8, 9, 2]]
    assert batch.positions is None


@pytest.mark.parametrize("num_hands", [1, 2, 3, 20])
def test_examples_are_dealt_out_evenly_and_all(num_hands: int) -> None:
    examples = examples_of_lengths(5, 90, 17, 40, 33, 40, 8, 61, 100, 3)
    hands = deal(examples, num_hands)
    assert len(hands) == num_hands
    assert sorted(e.id for hand in hands for e in hand) == sorted(e.id for e in examples)
    loads = [sum(len(e.tokens) for e in hand) for hand in hands]
    assert max(loads) <= max(100, 1.2 * sum(loads) / num_hands)


def test_without_shuffling_the_examples_come_as_they_stand() -> None:
    assert epoch_order(5, seed=None, epoch=3) == [0, 1, 2, 3, 4]


def ids(examples: Any) -> list[str]:
    return [example.id for example in examples]


def test_held_out_examples_are_none_of_the_trained_and_stay_the_same(
    make_config: MakeConfig, documents_run: Path, tokenizer: Any
) -> None:
    config = make_config(Path("unused"), documents_run, heldout_share=0.25)
    first, again = load_dataset(config, tokenizer), load_dataset(config, tokenizer)
    assert list(first.train) == list(again.train)
    assert ids(first.heldout) == ids(again.heldout)
    assert len(first.heldout) == 3
    assert len(first.train) == 9
    assert not set(ids(first.train)) & set(ids(first.heldout))


def test_cutting_is_counted_in_examples_and_tokens(
    make_config: MakeConfig, documents_run: Path, tokenizer: Any
) -> None:
    whole = load_dataset(make_config(Path("unused"), documents_run, heldout_share=0.0), tokenizer)
    cut = load_dataset(make_config(Path("unused"), documents_run, heldout_share=0.0, max_length=8), tokenizer)
    assert (whole.num_truncated, whole.truncated_share) == (0, 0)
    assert cut.num_truncated == 12
    total = sum(len(e.tokens) for e in whole.train)
    assert cut.truncated_share == pytest.approx(1 - 12 * 8 / total)
    assert all(len(e.tokens) == len(e.labels) == 8 for e in cut.train)


def test_documents_of_several_runs_are_joined(
    make_config: MakeConfig, documents_run: Path, write_source: Any, tmp_path: Path, tokenizer: Any
) -> None:
    other = write_source(tmp_path / "other", [{"id": "x", "text": "One more."}])
    config = make_config(tmp_path, documents_run, heldout_share=0.0)
    config.data.append(str(other))
    dataset = load_dataset(config, tokenizer)
    assert ids(dataset.train)[-2:] == ["d11", "x"]
    assert [e.source for e in dataset.train] == [0] * 12 + [1]
    assert [source.num_records for source in dataset.sources] == [12, 1]


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.2, 0.8], [0.75, 0.25]])
def test_a_mixture_keeps_the_shares_of_tokens_and_wastes_none(
    make_config: MakeConfig, write_source: Any, tmp_path: Path, tokenizer: Any, shares: list[float]
) -> None:
    texts = {"short": "A ferry sails. " * 3, "long": "The county keeps a register of landings. " * 6}
    runs = [
        write_source(tmp_path / name, [{"id": f"{name}{i}", "text": f"{i} {text}"} for i in range(60)])
        for name, text in texts.items()
    ]
    config = make_config(tmp_path, runs[0], heldout_share=0.1, shares=[], max_steps=None)
    config.data.append(str(runs[1]))
    everything = load_dataset(config, tokenizer)
    config.shares = shares
    dataset = load_dataset(config, tokenizer)
    assert [source.token_share for source in dataset.sources] == pytest.approx(shares, abs=0.03)
    assert ids(dataset.heldout) == ids(everything.heldout)
    used = [source.num_unused for source in dataset.sources]
    assert min(used) == 0  # the scarcer source is used whole
    assert max(used) > 0
    assert sum(used) + len(dataset.train) == len(everything.train)


def test_data_of_the_other_kind_is_refused(make_config: MakeConfig, documents_run: Path, tokenizer: Any) -> None:
    config = make_config(Path("unused"), documents_run, objective="imitation")
    with pytest.raises(Refused, match=r"has no chats\.jsonl, which objective=imitation reads"):
        load_dataset(config, tokenizer)


def test_any_share_holds_out_a_record_and_leaves_one(
    make_config: MakeConfig, write_source: Any, tmp_path: Path, tokenizer: Any
) -> None:
    source = write_source(tmp_path / "few", [{"id": f"d{i}", "text": f"Ferry {i} sails."} for i in range(3)])
    sizes = [
        len(load_dataset(make_config(tmp_path, source, heldout_share=s), tokenizer).heldout) for s in (0, 0.05, 0.5)
    ]
    assert sizes == [0, 1, 2]
    with pytest.raises(Refused, match=r"heldout_share=0\.9: leaves none of 3 record\(s\) to train on"):
        load_dataset(make_config(tmp_path, source, heldout_share=0.9), tokenizer)


def test_an_empty_run_is_refused(make_config: MakeConfig, write_source: Any, tmp_path: Path, tokenizer: Any) -> None:
    source = write_source(tmp_path / "none", [])
    with pytest.raises(Refused, match="not one record of the kind that objective=documents reads"):
        load_dataset(make_config(tmp_path, source), tokenizer)


def test_a_mix_of_documents_and_chats_is_trained_on_whole(
    make_config: MakeConfig, write_source: Any, tmp_path: Path, tokenizer: Any
) -> None:
    mix = write_source(tmp_path / "mix", [{"id": "d0", "text": "A ferry sails at noon."}])
    messages = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "At noon."}]
    (mix / "chats.jsonl").write_text(json.dumps({"id": "c0", "messages": messages}) + "\n", encoding="utf-8")
    config = make_config(tmp_path, mix, heldout_share=0.0, max_steps=None)
    dataset = load_dataset(config, tokenizer)
    assert sorted(ids(dataset.train)) == ["c0", "d0"]
    assert [source.path for source in dataset.sources] == [str(mix), str(mix / "chats.jsonl")]
    assert sum(source.token_share for source in dataset.sources) == pytest.approx(1)
    config.shares = [1.0]
    with pytest.raises(Refused, match="is a mix, which has shares of its own"):
        load_dataset(config, tokenizer)
