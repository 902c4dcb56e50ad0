"""What code made a result: versions of the packages that it depends on, and the commit."""

import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

_VERSIONS_OF = ("torch", "transformers", "peft", "datasets", "trl", "inspect-ai", "vllm", "hydra-core", "numpy")


def package_versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Versions of the packages that results depend on, and of those in `more`, as far as they are installed."""
    versions = {}
    for name in (*_VERSIONS_OF, *more):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state() -> tuple[str, bool]:
    """The commit of the code and whether its tree was clean; ("unknown", False) outside a checkout."""
    root = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), not git("status", "--porcelain")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown", False
