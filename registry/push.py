"""Out to the hub: a folder becomes a repository's content, in one commit or in none."""

from pathlib import Path

from ndogo.core.errors import NdogoError
from ndogo.registry.hub import LOG_IN, MAIN, api, faults_in_words, is_repository

MESSAGE = "Ndogo: model and card"


def check_target(repository: str) -> None:
    """Refuse a name that cannot be a repository's.

    :raises NdogoError: it is not `owner/name`.
    """
    if "/" not in repository or not is_repository(repository):
        raise NdogoError(
            f"`{repository}` is no name of a repository.",
            where="--to",
            cure="Write `user/name`, as in mama/ndogo-swahili.",
        )


def check_login(repository: str) -> None:
    """Refuse before any work who could not push.

    :raises NdogoError: no token is there.
    """
    from huggingface_hub import get_token

    if not get_token():
        raise NdogoError("You are not logged in.", where=f"--to {repository}", cure=f"First {LOG_IN}.")


def push(folder: Path, repository: str) -> tuple[str, bool]:
    """Make a repository's main branch hold the folder's files: the commit's address, and whether anything had changed.

    Files that are there already are not sent again; others that are there are left alone.
    :raises NdogoError: not logged in, no right to write there, or somebody else pushed meanwhile.
    """
    from huggingface_hub import CommitOperationAdd

    check_target(repository)
    check_login(repository)
    hub = api()
    with faults_in_words("model", repository, MAIN):
        hub.create_repo(repository, exist_ok=True)
        head = hub.repo_info(repository).sha
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        added = [CommitOperationAdd(str(file.relative_to(folder)), file) for file in files]
        try:
            made = hub.create_commit(repository, added, commit_message=MESSAGE, parent_commit=head)
        except ValueError as fault:  # the hub's word on the head of the card
            raise NdogoError(str(fault).strip(), where=f"{folder}/README.md") from fault
    return made.commit_url, made.oid != head
