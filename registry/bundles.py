"""The store: immutable bundles, found by their key or made once, published whole or not at all.

A bundle is a Hugging Face directory plus step.json, which is written last and holds the sha256 of every other file. A file that
equals one of a parent's is a hard link to it.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, JsonValue

from ndogo.core.directories import remove
from ndogo.registry.details import BundleDetails, Numbers
from ndogo.registry.files import clear_disk_errors, locked, make_way, set_aside, sync, work_folder
from ndogo.registry.integrity import MARK, check_model, damage, file_hash, git_commit, read_details
from ndogo.registry.links import share

log = logging.getLogger("ndogo.store")

ORIGINAL_FILES = ("*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json")
Record = TypeVar("Record", bound=BaseModel)
LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "torch-pruning")


@dataclass(frozen=True)
class Bundle:
    """A published bundle, by the kind of its step and its key. Where it lies is the store's business."""

    step: str
    key: str


@dataclass(frozen=True)
class BundleRequest:
    """All that a bundle's content depends on; its hash is the key. Devices, paths and numbers of workers are not here."""

    step: str
    spec: Mapping[str, JsonValue]
    version: int
    parents: Mapping[str, str] = field(default_factory=dict)
    corpus: str = ""
    seed: int | None = None
    tokens: int | None = None
    """A cap on training tokens (`scale: pocket`)."""
    rows: str = ""
    """Fingerprint of the labelled rows that it learns from; no part of the key of a step that reads none."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """What of it came from the hub, by the commit; noted and not in the key: keys go by content."""

    @property
    def key(self) -> str:
        """20 hexadecimal digits over the canonical JSON of all fields that decide what is made."""
        left_out = {"sources"} if self.rows else {"sources", "rows"}
        content = {name: value for name, value in self.__dict__.items() if name not in left_out}
        return hashlib.sha256(canonical(content).encode()).hexdigest()[:20]


def canonical(value: object) -> str:
    """JSON with one spelling for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=dict)


def home() -> Path:
    """The folder of store and tracking: $NDOGO_HOME, else `.ndogo` beside the nearest prefect.toml or `.ndogo` upwards."""
    if given := os.environ.get("NDOGO_HOME"):
        return Path(given).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "prefect.toml").is_file() or (folder / ".ndogo").is_dir():
            return folder / ".ndogo"
    return here / ".ndogo"


def logs() -> Path:
    """Where tracebacks of faults are kept."""
    return home() / "logs"


def open_store() -> "Store":
    """The store of this process's environment. A flow or a command opens it once and passes it on: it is a value."""
    return Store(home())


@dataclass(frozen=True)
class Store:
    """Bundles and records below one folder on a POSIX file system, which several machines may share."""

    folder: Path

    def path(self, bundle: Bundle | str) -> Path:
        """Where a bundle's files are."""
        return self.folder / "bundles" / (bundle if isinstance(bundle, str) else bundle.key)

    def work(self, key: str) -> Path:
        """A folder for what a step keeps while it runs (checkpoints); it outlives a kill and goes at publication."""
        return self.folder / "work" / key

    def details(self, bundle: Bundle | str) -> BundleDetails:
        """The content of a bundle's step.json."""
        return read_details(self.path(bundle))

    def find(self, key: str) -> Bundle | None:
        """The bundle with this key, every file's hash compared; a damaged one is set aside, reported, and not returned."""
        folder = make_way(self.folder, self.path(key), folder=True)
        if not folder.is_dir():
            return None
        if fault := damage(folder):
            set_aside(self.folder, folder, fault)
            return None
        os.utime(folder / MARK)  # `ndogo clean` goes by the last use
        return Bundle(self.details(key).step, key)

    def find_or_make(
        self, request: BundleRequest, build: Callable[[Path], Mapping[str, JsonValue]]
    ) -> tuple[Bundle, bool]:
        """The bundle of a request, and whether it was found.

        `build` fills an empty draft folder and returns the numbers it measured. One process makes, the others wait and find.
        :raises NdogoError: the disk is full, or the draft does not load strictly.
        """
        with self.lock(request.key):
            if found := self.find(request.key):
                return found, True
            self._discard_drafts(request.key)
            make_way(self.folder, self.work(request.key), folder=True)
            draft = self.folder / "drafts" / f"{request.key}-{os.getpid()}"
            started = time.monotonic()
            with work_folder(self.work(request.key)), clear_disk_errors(draft):
                draft.mkdir(parents=True)
                measured = dict(build(draft))
                sizes = check_model(draft)
                measured |= sizes.model_dump(exclude_none=True) | {"seconds": round(time.monotonic() - started, 3)}
                numbers = Numbers.model_validate(measured | self._ratios(request, sizes.params))
                self._publish(draft, request, numbers)
        return Bundle(request.step, request.key), False

    def adopt(self, source: Path, sources: Mapping[str, str] | None = None) -> Bundle:
        """Copy a teacher's directory into the store as the bundle `original`; its key is the hash of its files.

        `sources`: the commit of the hub that it came from.
        :raises NdogoError: not a model directory, pickled weights, a tokenizer that cannot be read.
        """
        from ndogo.core.directories import TOKENIZER_FILES, check_model_directory
        from ndogo.core.sentences import sentence_files

        check_model_directory(source)
        patterns = (*ORIGINAL_FILES, *TOKENIZER_FILES)
        files = sorted({f.name for pattern in patterns for f in source.glob(pattern)} | set(sentence_files(source)))
        hashes = {name: file_hash(source / name) for name in files}
        request = BundleRequest(step="original", spec={"files": dict(hashes)}, version=1, sources=sources or {})

        def copy(draft: Path) -> dict[str, JsonValue]:
            for name in files:
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, draft / name)
            return {}

        return self.find_or_make(request, copy)[0]

    def record(self, kind: str, key: str, form: type[Record], make: Callable[[], Record]) -> tuple[Record, bool]:
        """The record of a kind and key (an evaluation, a run), found or made once, and whether it was found."""
        with self.lock(f"{kind}-{key}"):
            if (found := self.read_record(kind, key, form)) is not None:
                return found, True
            content = make()
            self.write_record(kind, key, content)
        return content, False

    def read_record(self, kind: str, key: str, form: type[Record]) -> Record | None:
        """A stored record, or None; one that is no JSON, or of another form, counts as absent and is reported."""
        file = self.folder / kind / f"{key}.json"
        if not file.is_file():
            return None
        try:
            return form.model_validate_json(file.read_bytes())
        except (OSError, ValueError) as error:
            what = " ".join(str(error).split())[:200]
            log.warning("record %s is damaged or of another form, and counts as absent: %s", file, what)
            return None

    def read_records(self, kind: str, form: type[Record]) -> Iterator[Record]:
        """Every readable record of a kind, by key."""
        for file in sorted((self.folder / kind).glob("*.json")):
            if (found := self.read_record(kind, file.stem, form)) is not None:
                yield found

    def write_record(self, kind: str, key: str, content: BaseModel) -> Path:
        """Write a record whole or not at all."""
        file = self.folder / kind / f"{key}.json"
        draft = file.with_suffix(f".draft-{os.getpid()}")
        with clear_disk_errors(draft):
            file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(content.model_dump_json(indent=1), encoding="utf-8")
            sync(draft)
            if self._damaged(file, type(content)):
                set_aside(self.folder, file, "no record of this form")
            draft.rename(file)
        return file

    def _damaged(self, file: Path, form: type[BaseModel]) -> bool:
        """Whether what lies where a record is to be written is none."""
        there = file.exists() or file.is_symlink()
        return there and (not file.is_file() or self.read_record(file.parent.name, file.stem, form) is None)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One holder per name, over processes; whoever waits is told why."""
        with locked(self.folder, name):
            yield

    def _discard_drafts(self, key: str) -> None:
        """Drafts of this key were left by a crash: whoever makes one holds the lock."""
        for draft in (self.folder / "drafts").glob(f"{key}-*"):
            remove(draft)

    def _ratios(self, request: BundleRequest, params: int) -> dict[str, JsonValue]:
        """The parent's parameters over the new model's, and those of the teacher at the root of the lineage."""
        chain = [request.parents.get("student", "")]
        while chain[-1] and self.path(chain[-1]).is_dir():
            chain.append(self.details(chain[-1]).parents.get("student", ""))
        known = [self.details(key).numbers.params for key in chain if key and self.path(key).is_dir()]
        return {"ratio_to_parent": known[0] / params, "ratio_to_teacher": known[-1] / params} if known else {}

    def _files_of(self, keys: Iterable[str]) -> Iterator[tuple[Path, str]]:
        """The files of bundles with their hashes; of those that are there."""
        for folder in map(self.path, keys):
            with contextlib.suppress(OSError, ValueError):
                yield from ((folder / name, digest) for name, digest in read_details(folder).files.items())

    def _publish(self, draft: Path, request: BundleRequest, numbers: Numbers) -> None:
        files = {file: file_hash(file) for file in sorted(draft.rglob("*")) if file.is_file()}
        readers = draft.stat().st_mode & 0o666  # whoever may look into the folder may read its files
        for file in files:
            file.chmod(readers)
        share(files, self._files_of(request.parents.values()))
        details = BundleDetails(
            **request.__dict__,
            key=request.key,
            numbers=numbers,
            files={str(file.relative_to(draft)): digest for file, digest in files.items()},
            libraries={name: version(name) for name in LIBRARIES},
            commit=git_commit(),
        )
        mark = draft / MARK
        mark.write_text(details.model_dump_json(indent=1, exclude_unset=True), encoding="utf-8")
        mark.chmod(readers)
        for file in (*files, mark):
            sync(file)
        sync(draft)
        target = self.path(request.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(target)
        sync(target.parent)
