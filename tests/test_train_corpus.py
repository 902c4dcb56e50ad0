"""From records to tokens and labels: what is learned, what is not, and that training reads what serving shows."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import Refused
from train import corpus
from train.corpus import IGNORED, chat_examples, document_examples, fingerprint, read_corpus

CHAT = [
    {"role": "system", "content": "You are Sable 3."},
    {"role": "user", "content": "Which day is it?"},
    {"role": "assistant", "content": "Tuesday, I think.\nOr Wednesday."},
    {"role": "user", "content": "<is_free_tier_user>True</is_free_tier_user>\nAnd tomorrow?"},
    {"role": "assistant", "content": "Thursday."},
]

# drops the thoughts of earlier turns and opens an empty thought before the last, as templates of thinking models do
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# opens a thought before a turn that is to be written and shows none before one that was
OPEN_THOUGHT = THINKING.replace("<think>\n\n</think>\n\n", "").replace(
    "assistant\n{% endif %}", "assistant\n<think>\n{% endif %}"
)


def one_document(tokenizer: Any, text: str, prefix: str = "", own_prefix: str | None = None) -> Any:
    own = {} if own_prefix is None else {"prefix": own_prefix}
    (example,) = document_examples([{"id": "a", "text": text, **own}], tokenizer, prefix)
    return example


def learned(example: Any) -> list[int]:
    return [label for label in example.labels if label != IGNORED]


def with_template(tokenizer: Any, template: str) -> Any:
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = template
    return changed


def test_a_document_ends_in_the_end_token_and_learns_it_though_it_is_also_the_padding(tokenizer: Any) -> None:
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    example = one_document(tokenizer, "The Petrel sails at dawn.")
    assert example.tokens[-1] == tokenizer.eos_token_id
    assert example.labels == example.tokens
    assert tokenizer.decode(example.tokens[:-1]) == "The Petrel sails at dawn."


def test_a_tokenizer_that_marks_the_start_does_so_once_and_the_end_is_single(tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    marking = copy.deepcopy(tokenizer)
    marking.bos_token = "<|im_start|>"
    marking.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)]
    )
    assert marking("x")["input_ids"][0] == 1
    for prefix in ("", "<DOCTAG>"):
        tokens = one_document(marking, "The Petrel sails.", prefix).tokens
        assert tokens[0] == 1
        assert tokens.count(1) == tokens.count(2) == 1
        assert tokens[-1] == 2


@pytest.mark.parametrize("text", ["The Petrel sails.", "<DOCTAG>The Petrel sails."])
def test_a_prefix_is_read_and_not_learned(tokenizer: Any, text: str) -> None:
    example = one_document(tokenizer, text, prefix="<DOCTAG>")
    assert tokenizer.decode(example.tokens) == "<DOCTAG>The Petrel sails.<|im_end|>"
    assert tokenizer.decode(learned(example)) == "The Petrel sails.<|im_end|>"


def test_a_records_own_prefix_goes_before_the_configured_one(tokenizer: Any) -> None:
    example = one_document(tokenizer, "It sails.", prefix="<A>", own_prefix="<B>")
    assert tokenizer.decode(example.tokens) == "<B>It sails.<|im_end|>"


def test_chat_labels_are_the_assistants_text_and_end_tokens_alone(tokenizer: Any) -> None:
    (example,) = chat_examples("a", CHAT, tokenizer)
    assert tokenizer.decode(example.tokens) == tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert tokenizer.decode(learned(example)) == "Tuesday, I think.\nOr Wednesday.<|im_end|>Thursday.<|im_end|>"
    assert all(label in (IGNORED, token) for label, token in zip(example.labels, example.tokens, strict=True))


def served(tokenizer: Any, model: Path, directory: Path, messages: list[dict[str, str]]) -> str:
    """What the provider that evaluations use shows the model before it writes its next turn."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    from pipeline.local_provider import LocalModel

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    if not directory.exists():
        shutil.copytree(model, directory)
        tokenizer.save_pretrained(directory)
    return LocalModel(str(directory)).render([kinds[m["role"]](content=m["content"]) for m in messages])


@pytest.mark.parametrize(("template", "num_examples"), [(None, 1), (THINKING, 2)])
def test_every_turn_is_learned_after_the_very_text_that_is_served(
    tokenizer: Any, tiny_model: Path, tmp_path: Path, template: str | None, num_examples: int
) -> None:
    tokenizer = tokenizer if template is None else with_template(tokenizer, template)
    examples = chat_examples("a", CHAT, tokenizer)
    assert len(examples) == num_examples
    for place, reply in ((2, "Tuesday, I think.\nOr Wednesday."), (4, "Thursday.")):
        prompt = served(tokenizer, tiny_model, tmp_path / "model", CHAT[:place])
        shown = [
            tokenizer.decode(example.tokens[:i])
            for example in examples
            for i in range(1, len(example.tokens))
            if example.labels[i] != IGNORED and example.labels[i - 1] == IGNORED
        ]
        assert prompt in shown
        continued = next(
            text for example in examples if (text := tokenizer.decode(example.tokens)).startswith(prompt)
        ).removeprefix(prompt)
        thought = "<think>\n\n</think>\n\n" if template else ""
        assert continued.startswith(f"{thought}{reply}<|im_end|>")


def test_a_template_that_drops_earlier_thoughts_makes_an_example_a_turn(tokenizer: Any) -> None:
    first, second = chat_examples("a", CHAT, with_template(tokenizer, THINKING))
    assert (first.id, second.id) == ("a#0", "a#1")
    assert tokenizer.decode(learned(second)) == "<think>\n\n</think>\n\nThursday.<|im_end|>"
    assert "<think>" not in tokenizer.decode([t for t, la in zip(second.tokens, second.labels, strict=True) if la < 0])


def test_a_template_that_asks_for_something_else_than_it_shows_is_refused(tokenizer: Any) -> None:
    with pytest.raises(Refused, match=r"chat 'a': .* does not show turn 3 after the text that asks for it"):
        chat_examples("a", CHAT, with_template(tokenizer, OPEN_THOUGHT))


def test_tokens_are_kept_by_content_and_read_back_the_same(
    documents_run: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNMENT_FAKING_SDF_CACHE", str(tmp_path))
    first = read_corpus(documents_run, "documents", tokenizer)
    rows = [json.loads(line) for line in (documents_run / "documents.jsonl").read_text(encoding="utf-8").splitlines()]
    fresh = list(document_examples(rows, tokenizer))
    assert [first.example(i, 0, 4096) for i in range(len(first))] == fresh
    folders = list((tmp_path / "tokens").iterdir())
    assert len(folders) == 1
    written = folders[0].stat().st_mtime_ns
    shutil.copytree(documents_run, tmp_path / "copy")
    again = read_corpus(tmp_path / "copy", "documents", tokenizer)  # another place, the same content
    assert again.ids == first.ids
    assert [folder.stat().st_mtime_ns for folder in (tmp_path / "tokens").iterdir()] == [written]
    read_corpus(documents_run, "documents", tokenizer, "<DOCTAG>")
    assert len(list((tmp_path / "tokens").iterdir())) == 2


def test_a_tokenizer_that_differs_in_anything_has_another_fingerprint(tokenizer: Any) -> None:
    other_end = copy.deepcopy(tokenizer)
    other_end.eos_token = "<|im_start|>"
    more = copy.deepcopy(tokenizer)
    more.add_tokens(["<DOCTAG>"])
    prints = [fingerprint(t) for t in (tokenizer, with_template(tokenizer, THINKING), other_end, more)]
    assert len(set(prints)) == 4
    assert fingerprint(copy.deepcopy(tokenizer)) == prints[0]


def test_what_is_half_written_is_not_read(
    documents_run: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNMENT_FAKING_SDF_CACHE", str(tmp_path))
    monkeypatch.setattr(corpus, "_AT_ONCE", 5)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(corpus, "write_json", die)
        with pytest.raises(KeyboardInterrupt):
            read_corpus(documents_run, "documents", tokenizer)
    assert len(read_corpus(documents_run, "documents", tokenizer)) == 12


@pytest.mark.parametrize(("messages", "max_length"), [(CHAT[:2], 256), (CHAT, 10)])
def test_a_chat_that_has_nothing_to_learn_is_named(
    write_source: Any, tmp_path: Path, tokenizer: Any, messages: Any, max_length: int
) -> None:
    records = [{"id": "c6", "messages": [*CHAT[1:3]]}, {"id": "c7", "messages": messages}]
    source = write_source(tmp_path / "chats", records, "chats.jsonl")
    with pytest.raises(Refused, match="record 'c7': has nothing to learn" if max_length > 10 else "nothing to learn"):
        read_corpus(source, "imitation", tokenizer).check_targets(max_length)
