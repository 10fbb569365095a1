"""What a hub keeps: repositories, their refs and commits, and large files by their hash. No HTTP here."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

LARGE = (".safetensors", ".bin", ".parquet", ".gz", ".model", ".onnx")
"""Files of these kinds are kept as large files (git-lfs), as the hub's own .gitattributes has it."""


def git_oid(content: bytes) -> str:
    """The name that git gives to a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    """The name that git-lfs gives to a large file."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repository:
    """One repository: refs name commits, commits hold whole trees."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    owner: str = ""
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: Mapping[str, bytes], ref: str = "main", message: str = "") -> str:
        """A commit on a ref whose tree is exactly `files`; its hash."""
        names = json.dumps([self.refs.get(ref, ""), message, *((p, git_oid(c)) for p, c in sorted(files.items()))])
        made = hashlib.sha1(names.encode(), usedforsecurity=False).hexdigest()
        self.commits[made] = dict(files)
        self.refs[ref] = made
        self.messages.append(message)
        return made

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, a ref or a hash names."""
        if revision in self.commits:
            return revision
        return self.refs.get(revision)

    def card(self, commit: str) -> dict[str, Any] | None:
        """The metadata at the head of README.md, or None where there is none."""
        text = self.commits[commit].get("README.md", b"").decode()
        if not text.startswith("---\n"):
            return None
        return yaml.safe_load(text.split("---\n")[1])

    def info(self, commit: str) -> dict[str, Any]:
        """What the hub answers when it is asked about the repository."""
        card = self.card(commit)
        answer = {
            "_id": self.name,
            "id": self.name,
            "author": self.name.split("/")[0],
            "sha": commit,
            "private": self.private,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "lastModified": "2024-06-20T10:00:00.000Z",
            "createdAt": "2024-05-30T10:00:00.000Z",
            "downloads": 1,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": path} for path in sorted(self.commits[commit])],
        }
        return answer | ({"cardData": card} if card else {}) | ({"modelId": self.name} if self.kind == "model" else {})


def entry(path: str, content: bytes) -> dict[str, Any]:
    """A file as /tree and /paths-info list it."""
    listed: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
    if is_large(path):
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(content)}\nsize {len(content)}\n"
        listed["oid"] = git_oid(pointer.encode())
        listed["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": len(pointer)}
    return listed


def tree(files: Mapping[str, bytes], below: str, *, recursive: bool) -> list[dict[str, Any]]:
    """The entries below a folder, folders included, in the order of their names."""
    prefix = f"{below}/" if below else ""
    found: dict[str, dict[str, Any]] = {}
    for path, content in files.items():
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts)):
            folder = prefix + "/".join(parts[:depth])
            found[folder] = {"type": "directory", "path": folder, "size": 0, "oid": git_oid(folder.encode())}
        found[path] = entry(path, content)
    deepest = prefix.count("/")
    return [found[path] for path in sorted(found) if recursive or path.count("/") == deepest]


def is_large(path: str) -> bool:
    """Whether a file is kept as a large file."""
    return path.endswith(LARGE)


def folder_files(folder: Path, *, but: Iterable[str] = ()) -> dict[str, bytes]:
    """A folder's files by their path in it."""
    left_out = set(but)
    found = {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    return {path: content for path, content in found.items() if path not in left_out}
