"""Uploads a finished run to the Hub: `python -m data_gen.publish outputs/documents owner/name [--public]`.

The dataset is private unless it is asked to be public. The token is read from the environment by the Hub's own client.
"""

import argparse
from pathlib import Path

from pipeline.artifact import RUN_FILE, read_run
from pipeline.command import FAILED, REFUSED
from pipeline.errors import Failed, Refused


def publish(directory: Path, repository: str, is_public: bool) -> str:
    """Uploads the run's own files and returns the dataset's address.

    Raises:
        Refused: the directory is no complete data_gen run, or there is no token.
        Failed: the Hub did not take it.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    record = read_run(directory, "data_gen")
    if get_token() is None:
        raise Refused("no token of the Hub: set HF_TOKEN to one that may write")
    hub = HfApi()
    try:
        address = hub.create_repo(repository, repo_type="dataset", private=not is_public, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=directory,
            allow_patterns=[*record.outputs, RUN_FILE],
            commit_message="A run of alignment-faking-sdf",
        )
    except (HfHubHTTPError, OSError, ValueError) as error:  # refused by the Hub, no network, not a repository's name
        raise Failed(f"{repository}: the Hub did not take it ({' '.join(str(error).split())})") from None
    return str(address)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m data_gen.publish", description=__doc__)
    parser.add_argument("directory", type=Path, help="a complete run of data_gen")
    parser.add_argument("repository", help="owner/name of the dataset")
    parser.add_argument("--public", action="store_true", help="let everybody see it")
    arguments = parser.parse_args()
    try:
        print(publish(arguments.directory, arguments.repository, arguments.public))
    except (Refused, Failed) as error:
        parser.exit(REFUSED if isinstance(error, Refused) else FAILED, f"data_gen.publish: {error}\n")


if __name__ == "__main__":
    main()
