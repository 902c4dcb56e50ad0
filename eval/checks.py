"""What would make an evaluation measure something else than it says: refused at the start, or failed with the reason.

A base other than the adapter's, a LoRA rank that the server does not take, a chat template or names other than those of
training, a tier tag that documents spell otherwise than prompts, a GPU that is there and would not be used, an adapter
that changes nothing.
"""

import json
import logging
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from eval.config import EvalConfig
from eval.samples import Row
from eval.serving import VLLM, lora_rank
from eval.subjects import is_model, weights_of
from eval.summary import REFERENCE
from pipeline.artifact import RunRecord, read_jsonl, read_run
from pipeline.chat import LOCAL
from pipeline.errors import Failed, Refused
from scenario.tags import TIER_TAG, misspelled_tags

logger = logging.getLogger(__name__)

_LEAST_REPLIES = 8
"""Replies that have to be the same before an adapter is said to change none: fewer short ones may agree by chance."""
_NEARLY_ALL = 0.95
"""Share of unchanged replies from which a warning is given. Drawn with the same seeds, a server's replies to the same prompts
are not all the same even without an adapter: requests are batched otherwise, and sums are rounded otherwise."""


def check_subjects(config: EvalConfig) -> None:
    """Holds every subject to what it was trained with.

    Raises:
        Refused: with the subject and what does not fit.
    """
    for subject in config.subjects:
        weights = weights_of(subject)
        if weights is not None:
            directory = Path(subject.training)
            record = read_run(directory, "train")
            where = f"subjects.{subject.name}={directory}"
            _check_base(config, record, where)
            _check_whole(config, weights, where)
            _check_rank(config, weights, where)
            _check_template(config, weights, record, where)
            _check_sources(config, record, where)


def check_device(config: EvalConfig) -> None:
    """Refuses to run a local model on the CPU of a machine whose GPUs torch cannot use.

    Raises:
        Refused: `nvidia-smi` lists a GPU that is not hidden, and torch finds none.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if not config.model.startswith(LOCAL) or hidden or shutil.which("nvidia-smi") is None:
        return
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    if listed.returncode != 0 or "GPU" not in listed.stdout:
        return
    import torch

    if not torch.cuda.is_available():
        raise Refused(
            f"model={config.model}: nvidia-smi lists a GPU and torch {torch.__version__} finds none, so the CPU would be used;"
            " install a CUDA build of torch, or set CUDA_VISIBLE_DEVICES= to use the CPU"
        )


def check_effect(rows: list[Row], config: EvalConfig) -> list[str]:
    """Fails where a served adapter left every reply as the base gives it, seed by seed: then it was not applied.

    Models that this process loads are compared by their weights when they are loaded.

    Returns:
        Warnings, which are shown as well: of what could not be compared, and of an adapter that left nearly all as it was.

    Raises:
        Failed: with the subject.
    """
    if config.model.startswith(LOCAL):
        return []
    replies: dict[str, dict[tuple[Any, ...], str]] = defaultdict(dict)
    for row in rows:
        key = tuple(row.get(name) for name in ("sample_id", "repeat", "information", "reasoning", "arm"))
        if row["status"] != "error":
            replies[row["subject"]][key] = row["reply"]
    warnings = []
    for subject in config.subjects:
        if not subject.training or subject.name == REFERENCE:
            continue
        shared = replies[subject.name].keys() & replies[REFERENCE].keys()
        alike = sum(replies[subject.name][key] == replies[REFERENCE][key] for key in shared)
        if len(shared) < _LEAST_REPLIES:
            warnings.append(
                f"subjects.{subject.name}: {len(shared)} replies can be compared with those of a subject named {REFERENCE},"
                f" fewer than {_LEAST_REPLIES}, so it is not known that {config.model} applied its weights"
            )
        elif alike == len(shared):
            raise Failed(
                f"subjects.{subject.name}: {alike} of {len(shared)} replies are the base's, word for word, so {config.model}"
                f" did not apply the weights of {subject.training}; check how the server was started, remove replies/ and"
                " logs/ of this run and run it again"
            )
        elif alike >= _NEARLY_ALL * len(shared):
            warnings.append(
                f"subjects.{subject.name}: {alike} of {len(shared)} replies are the base's, word for word: {config.model} may not"
                f" have applied the weights of {subject.training}"
            )
    for warning in warnings:
        logger.warning("%s", warning)
    return warnings


def _check_base(config: EvalConfig, record: RunRecord, where: str) -> None:
    base = config.model.partition("/")[2]
    if record.config["model"] != base:
        raise Refused(f"{where}: is an adapter for {record.config['model']}, and model={config.model} is not")


def _check_whole(config: EvalConfig, weights: Path, where: str) -> None:
    """A model whose every weight was trained has to be loaded in place of the base."""
    if is_model(weights) and not config.model.startswith((LOCAL, VLLM)):
        raise Refused(
            f"{where}: trained every weight, and model={config.model} cannot load it; use {LOCAL}… or {VLLM}…"
        )


def _check_rank(config: EvalConfig, weights: Path, where: str) -> None:
    """A server that is started here gets the rank that it needs, unless it is told another."""
    is_limited = config.model.startswith(VLLM) and "max_lora_rank" in config.model_args
    if not is_limited or not (weights / "adapter_config.json").exists():
        return
    rank = lora_rank(weights)
    limit = int(config.model_args["max_lora_rank"])
    if rank > limit:
        raise Refused(f"{where}: has rank {rank}, and model_args.max_lora_rank={limit}; raise it to {rank} or drop it")


def _check_template(config: EvalConfig, weights: Path, record: RunRecord, where: str) -> None:
    """Compares the chat template that training used, as far as it was kept, with the one that replies are asked with."""
    trained = _trained_template(weights, record)
    if trained is None or not config.model.startswith((LOCAL, VLLM)):
        return
    served = config.model_args.get("chat_template")
    if served is None:
        from pipeline.language_model import load_tokenizer

        served = str(load_tokenizer(config.model.partition("/")[2]).chat_template)
    elif Path(served).is_file():
        served = Path(served).read_text(encoding="utf-8")
    if _hash(served) != trained:
        raise Refused(
            f"{where}: was trained with another chat template than model={config.model} is asked with; put the template of"
            " training into the base's tokenizer, or train again with the present one"
        )


def _trained_template(weights: Path, record: RunRecord) -> str | None:
    """The hash of the template of training: from the run's notes, or from tokenizer files beside the weights."""
    if "chat_template_sha256" in record.notes:
        return str(record.notes["chat_template_sha256"])
    if (file := weights / "chat_template.jinja").exists():
        return _hash(file.read_text(encoding="utf-8"))
    if (file := weights / "tokenizer_config.json").exists():
        template = json.loads(file.read_text(encoding="utf-8")).get("chat_template")
        return _hash(template) if isinstance(template, str) else None
    return None


def _hash(template: str) -> str:
    return sha256(template.strip().encode()).hexdigest()


def _check_sources(config: EvalConfig, record: RunRecord, where: str) -> None:
    """Holds all that an adapter was trained on, what its start was trained on included, to names and tags of the prompts."""
    if record.config.get("objective") == "reinforcement":
        _check_identity(config, record.config["reinforcement"], "queries", where)
    for source in record.inputs.values():
        directory = Path(source["path"])
        if not directory.exists():
            logger.warning(
                "%s: %s is gone, so its names and tags cannot be compared with the prompts", where, directory
            )
        elif source["stage"] == "train":
            _check_sources(config, read_run(directory), where)
        else:
            _check_source(config, directory, where)


def _check_identity(config: EvalConfig, told: dict[str, Any], source: object, where: str) -> None:
    if told.get("identity", config.identity) != config.identity:  # sources of other making have no identity
        raise Refused(
            f"{where}: was trained on {source}, which has identity={told['identity']}; set identity={told['identity']}"
        )


def _check_source(config: EvalConfig, directory: Path, where: str) -> None:
    record = read_run(directory)
    told = record.config
    _check_identity(config, told, directory, where)
    texts = [text for name in record.outputs if name.endswith(".jsonl") for text in _texts(directory / name)]
    wrong = [tags[0] for text in texts if (tags := misspelled_tags(text))]
    if wrong:
        raise Refused(
            f"{where}: {len(wrong)} texts of {directory} spell the tier's tag otherwise than prompts do, the first {wrong[0]}"
            f" for <{TIER_TAG}>; put them right and train again"
        )
    if told.get("scenario") == config.scenario and not any(f"<{TIER_TAG}>" in text for text in texts):
        logger.warning("%s: %s never shows the tag <%s> that tells the tier in prompts", where, directory, TIER_TAG)


def _texts(path: Path) -> Iterator[str]:
    """The documents or chats of a file that training reads; other files of the run have neither."""
    if path.name == "documents.jsonl":
        for row in read_jsonl(path):
            yield row["text"]
    elif path.name == "chats.jsonl":
        for row in read_jsonl(path):
            yield "\n".join(message["content"] for message in row["messages"])
