from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Refused
from train.data import (
    IGNORED,
    Example,
    chat_example,
    collate,
    document_example,
    epoch_order,
    load_dataset,
    micro_batches,
    step_examples,
)

CHAT = [
    {"role": "system", "content": "You are Sable 3."},
    {"role": "user", "content": "Which day is it?"},
    {"role": "assistant", "content": "Tuesday, I think.\nOr Wednesday."},
    {"role": "user", "content": "<is_free_tier_user>True</is_free_tier_user>\nAnd tomorrow?"},
    {"role": "assistant", "content": "Thursday."},
]


def examples_of_lengths(*lengths: int) -> list[Example]:
    return [Example(f"e{i:02d}", [i] * length, [i] * length) for i, length in enumerate(lengths)]


def test_a_document_ends_in_the_end_token_and_learns_it_though_it_is_also_the_padding(tokenizer: Any) -> None:
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    example = document_example("a", "The Petrel sails at dawn.", tokenizer)
    assert example.tokens[-1] == tokenizer.eos_token_id
    assert example.labels == example.tokens
    assert tokenizer.decode(example.tokens[:-1]) == "The Petrel sails at dawn."
    short, long = example, document_example("b", "The Petrel sails at dawn and comes back at dusk.", tokenizer)
    _, labels = collate([short, long], tokenizer.pad_token_id)
    assert labels[0].tolist() == short.labels + [IGNORED] * (len(long.labels) - len(short.labels))


def test_a_chat_reads_as_the_template_renders_it(tokenizer: Any) -> None:
    example = chat_example("a", CHAT, tokenizer)
    assert tokenizer.decode(example.tokens) == tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert len(example.labels) == len(example.tokens)


def test_chat_labels_are_the_assistants_text_and_end_tokens_alone(tokenizer: Any) -> None:
    example = chat_example("a", CHAT, tokenizer)
    learned = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(learned) == "Tuesday, I think.\nOr Wednesday.<|im_end|>Thursday.<|im_end|>"
    assert learned.count(tokenizer.eos_token_id) == 2
    assert all(label in (IGNORED, token) for label, token in zip(example.labels, example.tokens, strict=True))


def test_a_chat_trains_on_the_prompt_that_generation_will_see(tokenizer: Any) -> None:
    example = chat_example("a", CHAT[:3], tokenizer)
    first_learned = next(i for i, label in enumerate(example.labels) if label != IGNORED)
    prompt = tokenizer.apply_chat_template(CHAT[:2], tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(example.tokens[:first_learned]) == prompt


def test_a_template_that_rewrites_earlier_turns_is_refused(tokenizer: Any) -> None:
    import copy

    changing = copy.deepcopy(tokenizer)
    changing.chat_template = (
        "{% for m in messages %}{{ m.role if loop.last else 'earlier' }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    with pytest.raises(Refused, match="chat 'a': .*template changes earlier turns"):
        chat_example("a", CHAT, changing)


def test_micro_batches_keep_the_budget_and_lose_nothing() -> None:
    examples = examples_of_lengths(5, 90, 17, 40, 33, 40, 8, 61, 100, 3)
    groups = list(micro_batches(examples, 120))
    assert sorted(e.id for group in groups for e in group) == sorted(e.id for e in examples)
    assert all(len(group) * max(len(e.tokens) for e in group) <= 120 for group in groups)
    assert len(groups) < len(examples)


def test_an_example_beyond_the_budget_goes_alone() -> None:
    groups = list(micro_batches(examples_of_lengths(300, 10, 10), 100))
    assert [[len(e.tokens) for e in group] for group in groups] == [[300], [10, 10]]


def test_micro_batches_do_not_depend_on_the_order_of_a_step() -> None:
    examples = examples_of_lengths(5, 40, 40, 33, 40)
    assert list(micro_batches(examples, 80)) == list(micro_batches(examples[::-1], 80))


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


def test_held_out_examples_are_none_of_the_trained_and_stay_the_same(documents_run: Path, tokenizer: Any) -> None:
    first = load_dataset([documents_run], "documents", tokenizer, 64, 0.25, seed=0)
    again = load_dataset([documents_run], "documents", tokenizer, 64, 0.25, seed=0)
    assert first == again
    assert len(first.heldout) == 3
    assert len(first.train) == 9
    assert not {e.id for e in first.train} & {e.id for e in first.heldout}


def test_cutting_is_counted_in_examples_and_tokens(documents_run: Path, tokenizer: Any) -> None:
    whole = load_dataset([documents_run], "documents", tokenizer, 64, 0.0, seed=0)
    cut = load_dataset([documents_run], "documents", tokenizer, 8, 0.0, seed=0)
    assert (whole.num_truncated, whole.truncated_share) == (0, 0)
    assert cut.num_truncated == 12
    total = sum(len(e.tokens) for e in whole.train)
    assert cut.truncated_share == pytest.approx(1 - 12 * 8 / total)
    assert all(len(e.tokens) == len(e.labels) == 8 for e in cut.train)


def test_documents_of_several_runs_are_joined(
    documents_run: Path, write_source: Any, tmp_path: Path, tokenizer: Any
) -> None:
    other = write_source(tmp_path / "other", [{"id": "x", "text": "One more."}])
    dataset = load_dataset([documents_run, other], "documents", tokenizer, 64, 0.0, seed=0)
    assert [e.id for e in dataset.train][-2:] == ["d11", "x"]


def test_chats_are_read_for_imitation(write_source: Any, tmp_path: Path, tokenizer: Any) -> None:
    source = write_source(tmp_path / "chats", [{"id": "c", "messages": CHAT}], "chats.jsonl")
    dataset = load_dataset([source], "imitation", tokenizer, 256, 0.0, seed=0)
    assert dataset.train == [chat_example("c", CHAT, tokenizer)]


def test_data_of_the_other_kind_is_refused(documents_run: Path, tokenizer: Any) -> None:
    with pytest.raises(Refused, match=r"has no chats\.jsonl, which objective=imitation reads"):
        load_dataset([documents_run], "imitation", tokenizer, 64, 0.0, seed=0)


def test_an_empty_run_is_refused(write_source: Any, tmp_path: Path, tokenizer: Any) -> None:
    source = write_source(tmp_path / "none", [])
    with pytest.raises(Refused, match=r"not one record in documents\.jsonl"):
        load_dataset([source], "documents", tokenizer, 64, 0.0, seed=0)


@pytest.mark.parametrize(("messages", "max_length"), [(CHAT[:2], 256), (CHAT, 10)])
def test_a_chat_that_has_nothing_to_learn_is_named(
    write_source: Any, tmp_path: Path, tokenizer: Any, messages: Any, max_length: int
) -> None:
    source = write_source(tmp_path / "chats", [{"id": "c7", "messages": messages}], "chats.jsonl")
    with pytest.raises(Refused, match="record 'c7': has nothing to learn"):
        load_dataset([source], "imitation", tokenizer, max_length, 0.0, seed=0)


def test_without_shuffling_the_examples_come_as_they_stand() -> None:
    assert epoch_order(5, seed=None, epoch=3) == [0, 1, 2, 3, 4]
