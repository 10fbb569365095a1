"""The one door to the Hugging Face hub: what comes in is pinned to a commit, kept in the ordinary cache, found again offline.

Every fault of the hub leaves as a NdogoError that says what to do. Nothing here runs code that came from the hub.
"""

import contextlib
import difflib
import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ndogo.core.errors import NdogoError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

Kind = Literal["model", "dataset"]
MAIN = "main"
CARD = "README.md"
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token of yours"
MIRROR = "a mirror can be named with HF_ENDPOINT"


class Hub:
    """The hub as one run sees it: each repository at one commit, the first that was found or the one that is given.

    `commits` says which: `datasets/Davlan/sib200@refs/convert/parquet: 0c1d...`. It goes into the run's record, and a Hub
    that is made from it reads the very same files, without a request where they are in the cache.
    """

    def __init__(self, commits: Mapping[str, str] | None = None) -> None:
        self.commits = dict(commits or {})
        self._names: dict[str, list[str]] = {}
        self._folders: dict[str, Path] = {}
        """Commits that only the cache knows, without a list of their files."""

    def commit(self, kind: Kind, repository: str, revision: str = MAIN) -> str:
        """The commit at which a repository is read; asked once, and the last one known when the hub is away.

        :raises NdogoError: no such repository or revision, no access, or the hub is away and nothing is known.
        """
        key = f"{kind}s/{repository}@{revision}"
        if key not in self.commits:
            with faults_in_words(kind, repository, revision):
                self.commits[key] = api().resolve_revision(repository, repo_type=kind, revision=revision).resolved
        return self.commits[key]

    def files(self, kind: Kind, repository: str, revision: str = MAIN) -> list[str]:
        """The names of all files of a repository.

        :raises NdogoError: as `commit`.
        """
        import httpx2
        from huggingface_hub import get_cached_repo_tree, snapshot_download
        from huggingface_hub.errors import CachedRepoTreeNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

        commit = self.commit(kind, repository, revision)
        where: dict[str, Any] = {"repo_id": repository, "repo_type": kind, "revision": commit}
        if commit not in self._names:
            with faults_in_words(kind, repository, revision):
                try:
                    self._names[commit] = [f.path for f in get_cached_repo_tree(**where)]
                except CachedRepoTreeNotFoundError:
                    try:
                        listed: Any = api().repo_info(**where)
                        self._names[commit] = [f.rfilename for f in listed.siblings]
                    except (httpx2.TransportError, OfflineModeIsEnabled, HfHubHTTPError):
                        # another program filled the cache: what it fetched is there, and no list of files
                        self._folders[commit] = folder = Path(snapshot_download(**where, local_files_only=True))
                        self._names[commit] = [str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()]
        return sorted(self._names[commit])

    def fetch(self, kind: Kind, repository: str, names: Iterable[str], revision: str = MAIN) -> Path:
        """The folder of the cache that holds the named files, fetched where they are not there yet.

        :raises NdogoError: as `commit`; or a file is not there, or the hub is lost while files are fetched.
        """
        from huggingface_hub import snapshot_download

        commit, wanted = self.commit(kind, repository, revision), list(names)
        there = set(self.files(kind, repository, revision))
        if missing := [name for name in wanted if name not in there]:
            raise NdogoError(
                f"{repository} holds no {missing[0]}.", where=f"{_address(kind, repository)} at {revision}"
            )
        if commit in self._folders:
            return self._folders[commit]
        patterns = [glob.escape(name) for name in wanted]
        with faults_in_words(kind, repository, revision):
            found = snapshot_download(repository, repo_type=kind, revision=commit, allow_patterns=patterns)
        return Path(found)

    def card(self, kind: Kind, repository: str, revision: str = MAIN) -> dict[str, Any]:
        """The metadata at the head of a repository's README.md; empty where there is none.

        :raises NdogoError: as `fetch`.
        """
        from huggingface_hub import RepoCard

        if CARD not in self.files(kind, repository, revision):
            return {}
        folder = self.fetch(kind, repository, [CARD], revision)
        try:
            return dict(RepoCard.load(folder / CARD, ignore_metadata_errors=True).data.to_dict())
        except ValueError:  # of somebody else's card; what it would have said is not needed to go on
            return {}


def is_repository(name: str) -> bool:
    """Whether a name can be a repository's: `owner/name`, or the bare name of an old one."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def api() -> "HfApi":
    """The client, which from then on leaves it to our errors to say what goes wrong."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    return HfApi(library_name="ndogo")


def _address(kind: Kind, repository: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repository}"


@contextlib.contextmanager
def faults_in_words(kind: Kind, repository: str, revision: str) -> Iterator[None]:
    """Turn whatever the client raises into a NdogoError.

    The original is kept as its cause, without which nobody could find a fault of the network's.
    """
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.HFValidationError as fault:
        raise NdogoError(
            f"`{repository}` is neither a directory here nor the name of a repository.",
            where=f"{kind}: {repository}",
            cure="Write `owner/name`, as in Davlan/afro-xlmr-base, or the path of a directory.",
        ) from fault
    except errors.HfHubHTTPError as fault:
        raise refusal(fault, kind, repository, revision) from fault
    except (OSError, httpx2.HTTPError, errors.RevisionResolutionError) as fault:
        if isinstance(fault, OSError) and fault.errno:  # the disk's, not the network's
            raise NdogoError(f"The cache cannot be written: {fault.strerror}.", where=str(fault.filename)) from fault
        answered = next((f for f in _reasons(fault) if isinstance(f, errors.HfHubHTTPError)), None)
        said = refusal(answered, kind, repository, revision) if answered else _away(fault, kind, repository, revision)
        raise said from fault


def refusal(fault: "HfHubHTTPError", kind: Kind, repository: str, revision: str = MAIN) -> NdogoError:
    """What the hub said no to, and what to do about it."""
    from huggingface_hub import errors

    where, status = _address(kind, repository), fault.response.status_code
    if isinstance(fault, errors.GatedRepoError):
        return NdogoError(
            f"{repository} is gated: its owners let people in who ask.",
            where=where,
            cure=f"Open that page, ask for access, and when you have it: {LOG_IN}.",
        )
    if isinstance(fault, errors.RepositoryNotFoundError):
        return NdogoError(
            f"The hub shows no {kind} `{repository}`.",
            where=where,
            cure=f"{_near(kind, repository)}If it is private: {LOG_IN}.",
        )
    if isinstance(fault, errors.RevisionNotFoundError):
        return NdogoError(
            f"{repository} has no revision `{revision}`.", where=where, cure="Give a branch, a tag or a commit of it."
        )
    if isinstance(fault, errors.EntryNotFoundError):
        return NdogoError(f"A file of {repository} is not there.", where=str(fault.response.url))
    if status == 401:
        return NdogoError(
            "The hub does not know your token.", where=where, cure=f"Again {LOG_IN}; an old one is refused."
        )
    if status == 403:
        return NdogoError(
            f"Your token may not do this: {_said(fault)}",
            where=where,
            cure="Use a token with the right to write there, or your own name before the slash.",
        )
    if status in (409, 412):
        return NdogoError(
            f"Somebody else has written to {repository} meanwhile; nothing of yours was.",
            where=where,
            cure="Look at what is there, then push again.",
        )
    return NdogoError(
        f"The hub is not well (it answers {status}).",
        where=where,
        cure=f"Try again later: what was fetched is kept. Or {MIRROR}.",
    )


def _said(fault: "HfHubHTTPError") -> str:
    return str(fault.server_message or fault.response.reason_phrase).strip()


def _away(fault: Exception, kind: Kind, repository: str, revision: str) -> NdogoError:
    """The error for a hub that does not answer, or may not be asked, when the cache does not hold what is needed."""
    from huggingface_hub import constants

    where = f"{_address(kind, repository)} at {revision}"
    if constants.is_offline_mode():
        offline = next((name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name)), "")
        return NdogoError(
            f"{repository} is not whole in the cache, and the hub may not be asked ({offline} is set).",
            where=f"{where}; cache: {constants.HF_HUB_CACHE}",
            cure=f"Unset {offline} once, with a network; afterwards it is found here.",
        )
    last = list(_reasons(fault))[-1]
    words = (str(last).splitlines() or [type(last).__name__])[0].rstrip(".")
    return NdogoError(
        f"The hub cannot be reached ({words}), and {repository} is not whole in the cache.",
        where=where,
        cure=f"Try again with a network: what was fetched is kept. Or {MIRROR}.",
    )


def _reasons(fault: BaseException) -> Iterator[BaseException]:
    """An error and what caused it, the innermost last."""
    while True:
        yield fault
        if fault.__cause__ is None:
            return
        fault = fault.__cause__


def _near(kind: Kind, repository: str) -> str:
    """A question after the repositories whose names come near, if the hub knows any; silence if it does not answer."""
    import httpx2

    owner, _, name = repository.rpartition("/")
    hub = api()
    search: Any = hub.list_models if kind == "model" else hub.list_datasets
    found: set[str] = set()
    with contextlib.suppress(httpx2.HTTPError, OSError):
        if owner:
            found |= {r.id for r in search(author=owner, limit=100)}
        found |= {r.id for r in search(search=name, limit=20)}
    by_letters = {known.lower(): known for known in found}
    close = difflib.get_close_matches(repository.lower(), by_letters, 3, cutoff=0.5)
    return f"Did you mean {' or '.join(by_letters[c] for c in close)}? " if close else ""
