"""The wording that an open classifier was trained with, taken at run time from where its makers publish it.

With another wording such a model is another judge, and an unmeasured one; so none stands in for a template that cannot be
had. Code that holds a template is read and not run.
"""

import ast
import json
import re
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from typing import Any

from pipeline.errors import Refused

HUB = "hub:"

FORMS = (
    "a text file, a Python file or notebook with the name of the constant (file.py:NAME or file.ipynb:NAME.key), either of"
    f" them also in an installed package (package/file.py:NAME) or on the Hub ({HUB}owner/repository/file)"
)
"""What `judging.template` can be."""

_ALIASES = {"query": "query", "behavior": "query", "prompt": "query", "request": "query"} | dict.fromkeys(
    ("output", "generation", "response"), "output"
)
"""What makers call the two texts, and what we do."""

_FIELD = re.compile(r"\{(\w+)\}")
_SOURCE = re.compile(r"(?P<file>.+?\.(?:py|ipynb)):(?P<name>\w+)(?:\.(?P<key>\w+))?")


def load_template(source: str) -> str:
    """The template at `source` (see FORMS), with `{query}` and `{output}` where the two texts go.

    Raises:
        Refused: it cannot be had, or has not these two fields and no other.
    """
    found = _SOURCE.fullmatch(source)
    path = _locate(found["file"] if found else source, source)
    text = path.read_text(encoding="utf-8")
    template = _constant(text, found, source) if found else text
    fields = [_ALIASES.get(name, name) for name in _FIELD.findall(template)]
    if sorted(fields) != ["output", "query"]:
        told = ", ".join(fields) or "none"
        raise Refused(
            f"judging.template={source}: needs one field for the request and one for the output, and has {told}"
        )
    return _FIELD.sub(lambda field: f"{{{_ALIASES[field[1]]}}}", template)


def _locate(file: str, source: str) -> Path:
    """The file on this machine; one of the Hub is fetched."""
    if file.startswith(HUB):
        return _of_hub(file.removeprefix(HUB), source)
    package, _, rest = file.partition("/")
    candidates = [Path(file)]
    if rest and package.isidentifier() and (spec := util.find_spec(package)) is not None:
        candidates += [Path(folder) / rest for folder in spec.submodule_search_locations or []]
    for path in candidates:
        if path.is_file():
            return path
    raise Refused(f"judging.template={source}: no such file, nor one of an installed package; give {FORMS}")


def _of_hub(file: str, source: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    owner, _, rest = file.partition("/")
    repository, _, name = rest.partition("/")
    if not name:
        raise Refused(f"judging.template={source}: needs owner, repository and file after {HUB}")
    try:
        return Path(hf_hub_download(f"{owner}/{repository}", name))
    except (OSError, ValueError, HfHubHTTPError) as error:
        told = str(error).strip().splitlines()[0]
        raise Refused(f"judging.template={source}: cannot be had from the Hub ({told})") from None


def _constant(text: str, source: re.Match[str], told: str) -> str:
    """The string that a file assigns to a name, or to a key of the dictionary of that name."""
    for tree in _code(text, is_notebook=source["file"].endswith(".ipynb")):
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if source["name"] in [target.id for target in targets if isinstance(target, ast.Name)]:
                value = _literal(node)
                value = value.get(source["key"]) if source["key"] and isinstance(value, dict) else value
                if isinstance(value, str):
                    return value
    raise Refused(f"judging.template={told}: the file assigns no text of that name")


def _literal(node: Any) -> Any:
    try:
        return ast.literal_eval(node.value)
    except ValueError:  # it is computed, and code is not run here
        return None


def _code(text: str, is_notebook: bool) -> Iterator[ast.Module]:
    """The parts of a file that are Python; cells with a shell's or a notebook's own commands are passed over."""
    parts = [text]
    if is_notebook:
        cells = json.loads(text)["cells"]
        parts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for part in parts:
        try:
            yield ast.parse(part)
        except SyntaxError:
            continue
