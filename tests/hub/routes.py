"""What the hub answers to each of the requests that the clients make."""

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from tests.hub.store import Repository, entry, git_oid, is_large, sha256, tree

if TYPE_CHECKING:
    from tests.hub.server import Answer, Hub, Request

NAME = r"(?P<name>[\w.-]+(?:/[\w.-]+)?)"
KIND = r"(?P<kind>model|dataset)"


def answer(hub: "Hub", request: "Request") -> "Answer":
    """Find the route of a request and follow it."""
    for pattern, methods, route in ROUTES:
        found = re.fullmatch(pattern, request.path)
        if found and request.method in methods:
            return route(hub, request, **found.groupdict())
    return error(404, "", "Sorry, we can't find the page you are looking for.")


def error(status: int, code: str, message: str) -> "Answer":
    """An error as the hub writes it: its code and its words stand in headers."""
    from tests.hub.server import answer_json

    headers = {"X-Error-Code": code} if code else {}
    return answer_json({"error": message}, status, **headers, **{"X-Error-Message": message})


def repository(hub: "Hub", request: "Request", kind: str, name: str) -> "Repository | Answer":
    """The repository, if whoever asks may see it; else the hub's answer, which tells nobody what is private."""
    if request.token and request.token not in hub.tokens:
        return error(401, "", "Invalid credentials in Authorization header")
    user = hub.tokens.get(request.token, "")
    found = hub.find(kind, name)
    if found is None and (other := hub.known(kind, name)):
        return moved(request, name, other.name)
    if found is None or (found.private and user != found.owner):
        return error(404, "RepoNotFound", "Repository not found") if user else unknown()
    return found


def unknown() -> "Answer":
    """Who is not logged in learns no more than this about a repository that is not there, or private."""
    return error(401, "RepoNotFound", "Invalid username or password.")


def moved(request: "Request", old: str, new: str) -> "Answer":
    """The repository has another name now."""
    from tests.hub.server import Answer

    query = "&".join(f"{key}={quote(value)}" for key, values in request.query.items() for value in values)
    path = quote(request.path.replace(old, new, 1), safe="/")
    return Answer(307, b"", {"Location": path + (f"?{query}" if query else "")})


def at(hub: "Hub", request: "Request", kind: str, name: str, revision: str) -> "tuple[Repository, str] | Answer":
    """A repository and the commit that a revision names in it."""
    found = repository(hub, request, kind, name)
    if not isinstance(found, Repository):
        return found
    commit = found.resolve(revision)
    if commit is None:
        return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return found, commit


def info(hub: "Hub", request: "Request", kind: str, name: str, revision: str = "main") -> "Answer":
    """/api/models/NAME: the commit, the files, the card."""
    from tests.hub.server import answer_json

    found = at(hub, request, kind, name, revision)
    return answer_json(found[0].info(found[1])) if isinstance(found, tuple) else found


def listing(hub: "Hub", request: "Request", kind: str, name: str, revision: str, below: str = "") -> "Answer":
    """/api/models/NAME/tree/REVISION, page by page."""
    from tests.hub.server import answer_json

    found = at(hub, request, kind, name, revision)
    if not isinstance(found, tuple):
        return found
    entries = tree(found[0].commits[found[1]], below or "", recursive=request.flag("recursive"))
    if below and not entries:
        return error(404, "EntryNotFound", f"{below} does not exist on {revision}")
    start = int(request.query.get("cursor", ["0"])[0])
    headers = {}
    if start + hub.page < len(entries):
        more = f"{hub.endpoint}{quote(request.path)}?recursive={request.flag('recursive')}&cursor={start + hub.page}"
        headers["Link"] = f'<{more}>; rel="next"'
    return answer_json(entries[start : start + hub.page], **headers)


def paths_info(hub: "Hub", request: "Request", kind: str, name: str, revision: str) -> "Answer":
    """/api/datasets/NAME/paths-info/REVISION: the named files and folders, those that are not there left out."""
    from urllib.parse import parse_qs

    from tests.hub.server import answer_json

    found = at(hub, request, kind, name, revision)
    if not isinstance(found, tuple):
        return found
    files = found[0].commits[found[1]]
    asked = parse_qs(request.body.decode()).get("paths", [])
    there = [entry(path, files[path]) for path in asked if path in files]
    folders = [p for p in asked if p not in files and any(f.startswith(f"{p}/") for f in files)]
    return answer_json(
        there + [{"type": "directory", "path": p, "size": 0, "oid": git_oid(p.encode())} for p in folders]
    )


def resolve(hub: "Hub", request: "Request", name: str, revision: str, path: str, prefix: str = "") -> "Answer":
    """/NAME/resolve/REVISION/PATH: small files at once, large ones from where they lie."""
    from tests.hub.server import Answer

    found = at(hub, request, "dataset" if prefix else "model", name, revision)
    if not isinstance(found, tuple):
        return found
    held, commit = found
    user = hub.tokens.get(request.token, "")
    if held.gated and user not in {held.owner, *hub.readers}:
        said = f"Access to model {name} is restricted. You must have access to it and be authenticated to access it."
        return error(403 if user else 401, "GatedRepo", said)
    content = held.commits[commit].get(path)
    if content is None:
        missing = error(404, "EntryNotFound", "Entry not found")
        missing.headers["X-Repo-Commit"] = commit
        return missing
    headers = {"X-Repo-Commit": commit, "ETag": f'"{git_oid(content)}"', "Accept-Ranges": "bytes"}
    if is_large(path):
        oid = hub.keep(content)
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content)), "ETag": f'"{oid}"'}
        return Answer(302, b"", headers | {"Location": f"{hub.elsewhere}/large/{oid}"})
    return Answer(200, content, headers)


def large(hub: "Hub", request: "Request", oid: str) -> "Answer":
    """A large file, read or written by its hash; the address itself is the permission."""
    from tests.hub.server import Answer

    if request.method == "PUT":
        assert sha256(request.body) == oid
        hub.large[oid] = request.body
        return Answer(200, b"", {"ETag": f'"{oid}"'})
    return Answer(200, hub.large[oid], {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})


def refs(hub: "Hub", request: "Request", kind: str, name: str) -> "Answer":
    """/api/datasets/NAME/refs."""
    from tests.hub.server import answer_json

    found = repository(hub, request, kind, name)
    if not isinstance(found, Repository):
        return found

    def named(ref: str, long: str) -> dict[str, str]:
        return {"name": ref.removeprefix("refs/convert/"), "ref": long, "targetCommit": found.refs[ref]}

    converts = [named(ref, ref) for ref in found.refs if ref.startswith("refs/convert/")]
    branches = [named(ref, f"refs/heads/{ref}") for ref in found.refs if not ref.startswith("refs/")]
    return answer_json({"branches": branches, "converts": converts, "tags": []})


def search(hub: "Hub", request: "Request", kind: str) -> "Answer":
    """/api/models?search=WORDS: public ones whose name holds the words."""
    from tests.hub.server import answer_json

    words = request.query.get("search", [""])[0].lower()
    author = request.query.get("author", [""])[0].lower()
    limit = int(request.query.get("limit", ["100"])[0])
    found = [
        r for (k, _), r in sorted(hub.repositories.items()) if k == kind and not r.private and words in r.name.lower()
    ]
    found = [r for r in found if not author or r.name.lower().startswith(f"{author}/")]
    return answer_json([r.info(r.refs["main"]) for r in found][:limit])


def whoami(hub: "Hub", request: "Request") -> "Answer":
    """/api/whoami-v2."""
    from tests.hub.server import answer_json

    user = hub.tokens.get(request.token)
    if user is None:
        return error(401, "", "Invalid credentials in Authorization header" if request.token else "Invalid username")
    role = "write" if request.token == "hf_writer" else "read"
    auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
    return answer_json({"type": "user", "name": user, "fullname": user, "orgs": [], "auth": auth})


def validate_yaml(hub: "Hub", request: "Request") -> "Answer":
    """/api/validate-yaml: a card's head must be YAML, with values of the kinds that the hub knows."""
    from tests.hub.server import answer_json

    text = json.loads(request.body)["content"]
    errors = []
    try:
        head = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else {}
        if not isinstance(head.get("license", ""), str):
            errors.append({"message": '"license" must be a string'})
    except (yaml.YAMLError, AttributeError) as fault:
        errors.append({"message": str(fault)})
    return answer_json({"errors": errors, "warnings": []}, 400 if errors else 200)


def writer(hub: "Hub", request: "Request", owner: str) -> "Answer | None":
    """The refusal of somebody who may not write here."""
    user = hub.tokens.get(request.token)
    if user is None:
        return error(401, "", "Invalid username or password.")
    if user != owner or request.token == "hf_reader":
        return error(403, "", f"You don't have the rights to create a model under the namespace {owner!r}.")
    return None


def create(hub: "Hub", request: "Request") -> "Answer":
    """/api/repos/create."""
    from tests.hub.server import answer_json

    asked = json.loads(request.body)
    kind = asked.get("type") or "model"
    owner = asked.get("organization") or hub.tokens.get(request.token, "")
    if refusal := writer(hub, request, owner):
        return refusal
    name = f"{owner}/{asked['name']}"
    url = f"{hub.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if hub.find(kind, name):
        return answer_json({"error": "You already created this model repo", "url": url}, 409)
    private = bool(asked.get("private")) or asked.get("visibility") == "private"
    hub.add(kind, name, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}, private=private)
    return answer_json({"url": url, "name": name, "id": name})


def preupload(hub: "Hub", request: "Request", kind: str, name: str, revision: str) -> "Answer":
    """Which files are large, and what is there already."""
    from tests.hub.server import answer_json

    found = at(hub, request, kind, name, revision)
    if not isinstance(found, tuple):
        return found
    if refusal := writer(hub, request, found[0].owner):
        return refusal
    there = found[0].commits[found[1]]
    answers = []
    for file in json.loads(request.body)["files"]:
        path = file["path"]
        said = {"path": path, "uploadMode": "lfs" if is_large(path) else "regular", "shouldIgnore": False}
        if path in there:
            said["oid"] = sha256(there[path]) if is_large(path) else git_oid(there[path])
        answers.append(said)
    return answer_json({"files": answers})


def batch(hub: "Hub", request: "Request", name: str, prefix: str = "") -> "Answer":
    """The git-lfs batch: where to put what is not here yet."""
    from tests.hub.server import answer_json

    found = repository(hub, request, "dataset" if prefix else "model", name)
    if not isinstance(found, Repository):
        return found
    if refusal := writer(hub, request, found.owner):
        return refusal
    objects = []
    for asked in json.loads(request.body)["objects"]:
        place = {"upload": {"href": f"{hub.endpoint}/large/{asked['oid']}"}}
        objects.append(asked if asked["oid"] in hub.large else asked | {"actions": place})
    return answer_json({"transfer": "basic", "objects": objects})


def commit(hub: "Hub", request: "Request", kind: str, name: str, revision: str) -> "Answer":
    """A commit, sent as lines of JSON."""
    from tests.hub.server import answer_json

    found = at(hub, request, kind, name, revision)
    if not isinstance(found, tuple):
        return found
    held, head = found
    if refusal := writer(hub, request, held.owner):
        return refusal
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = lines[0]["value"]
    if header.get("parentCommit") not in (None, head):
        return error(412, "", "A commit has happened since. Please refresh and try again.")
    files = dict(held.commits[head])
    for line in lines[1:]:
        change(hub, files, line["key"], line["value"])
    oid = held.commit(files, revision, header["summary"])
    return answer_json({"success": True, "commitOid": oid, "commitUrl": f"{hub.endpoint}/{name}/commit/{oid}"})


def change(hub: "Hub", files: dict[str, bytes], key: str, value: dict[str, Any]) -> None:
    """One line of a commit."""
    path = value["path"]
    if key == "file":
        files[path] = base64.b64decode(value["content"])
    elif key == "lfsFile":
        files[path] = hub.large[value["oid"]]
    elif key == "deletedFile":
        del files[path]
    else:
        raise AssertionError(key)


Route = Callable[..., "Answer"]
API = rf"/api/{KIND}s/{NAME}"
REVISION = r"(?P<revision>refs/convert/\w+|[^/]+)"
PREFIX = r"/(?P<prefix>datasets/)?"
ROUTES: tuple[tuple[str, str, Route], ...] = (
    (rf"/api/{KIND}s", "GET", search),
    (r"/api/whoami-v2", "GET", whoami),
    (r"/api/validate-yaml", "POST", validate_yaml),
    (r"/api/repos/create", "POST", create),
    (rf"{API}/revision/{REVISION}", "GET", info),
    (rf"{API}/tree/{REVISION}(?:/(?P<below>.+))?", "GET", listing),
    (rf"{API}/paths-info/{REVISION}", "POST", paths_info),
    (rf"{API}/refs", "GET", refs),
    (rf"{API}/preupload/{REVISION}", "POST", preupload),
    (rf"{API}/commit/{REVISION}", "POST", commit),
    (API, "GET", info),
    (rf"{PREFIX}{NAME}\.git/info/lfs/objects/batch", "POST", batch),
    (rf"{PREFIX}{NAME}/resolve/{REVISION}/(?P<path>.+)", "GET HEAD", resolve),
    (r"/large/(?P<oid>[0-9a-f]{64})", "GET HEAD PUT", large),
)
