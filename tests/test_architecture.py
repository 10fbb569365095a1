"""The rules of the house: who may import whom, how long things may be, what a test is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RANKS = {
    "ndogo": 0,
    "flows": 1,
    "tasks": 2,
    "registry": 3,
    "pocket": 4,
    "steps": 5,
    "compressors": 6,
    "evaluation": 6,
    "core": 7,
}
"""Each imports only what has a higher rank; equal ranks do not import each other."""
MAY_IMPORT = {"prefect": {"flows", "tasks"}, "mlflow": {"tasks/tracking.py", "registry"}}
FILE_LINES = 300
FUNCTION_LINES = 60
PIPELINE_LINES = 100
BANNED = ("strict=False", "ignore_mismatched_sizes", "trust_remote_code=True", "pickle.load", "torch.load(")


def sources(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {part(name) for name in (named if node.module == "ndogo" else {node.module})}
    return found


def part(name: str) -> str:
    """The part of the project that a module belongs to, or the library."""
    first, *rest = name.split(".")
    return rest[0] if first == "ndogo" and rest and rest[0] in RANKS else first


def functions(file: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def named(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("folder", RANKS)
def test_imports_point_one_way(folder: str):
    assert sources(folder), f"{folder}/ holds no code"
    wrong = [
        f"{named(file)} imports {other}"
        for file in sources(folder)
        for other in imports(file) & set(RANKS)
        if other != folder and RANKS[other] <= RANKS[folder]
    ]
    assert wrong == []


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_servers_are_known_in_few_places(library: str):
    places = tuple(MAY_IMPORT[library])
    wrong = [named(f) for f in sources(*RANKS) if library in imports(f) and not named(f).startswith(places)]
    assert wrong == []


def test_files_and_functions_are_short():
    long_files = [named(f) for f in sources(*RANKS) if len(f.read_text(encoding="utf-8").splitlines()) > FILE_LINES]
    long_functions = [
        f"{named(file)}:{f.name}"
        for file in sources(*RANKS)
        for f in functions(file)
        if (f.end_lineno or f.lineno) - f.lineno >= FUNCTION_LINES
    ]
    assert (long_files, long_functions) == ([], [])


def test_the_pipeline_fits_a_screen_and_knows_no_torch():
    file = ROOT / "flows" / "compress.py"
    assert len(file.read_text(encoding="utf-8").splitlines()) <= PIPELINE_LINES
    assert not imports(file) & {"torch", "transformers", "mlflow"}


def test_nothing_is_loaded_loosely():
    wrong = [(named(f), word) for f in sources(*RANKS) for word in BANNED if word in f.read_text(encoding="utf-8")]
    assert wrong == []


def test_the_store_is_opened_by_flows_and_commands_alone():
    """And then passed on: what looks it up in the environment again may find another one."""
    opened = {named(f) for f in sources(*RANKS) if "open_store(" in f.read_text(encoding="utf-8")}
    built = {named(f) for f in sources(*RANKS) if "Store(home())" in f.read_text(encoding="utf-8")}
    assert {name for name in opened if not name.startswith(("flows/", "ndogo/"))} == built == {"registry/bundles.py"}


def test_docker_is_no_package():
    assert not (ROOT / "docker" / "__init__.py").exists()


def test_every_test_asserts():
    def checks(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        for node in ast.walk(function):
            if isinstance(node, ast.Assert):
                return True
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name.endswith("raises") or name.split(".")[-1].startswith(("assert_", "check")):
                    return True
        return False

    silent = [
        f"{named(file)}:{f.name}"
        for file in sources("tests")
        if file.name.startswith("test_")
        for f in functions(file)
        if f.name.startswith("test_") and not checks(f)
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        (
            "import sys; sys.argv = ['ndogo', '--help']; from ndogo.cli import main; main()",
            ["torch", "prefect", "mlflow"],
        ),
        (
            "import ndogo.compressors.vocabulary, ndogo.compressors.depth, ndogo.compressors.width, ndogo.api",
            ["prefect", "mlflow"],
        ),
    ],
)
def test_start_up_is_lean(code: str, absent: list[str]):
    probe = f"import sys, atexit; atexit.register(lambda: print('LOADED', sorted(set({absent!r}) & set(sys.modules))))\n{code}"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip().endswith("LOADED []")


def test_the_design_page_names_only_what_is_there():
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    paths = {
        word for word in text.replace("`", " ").split() if word.endswith((".py", ".yaml", ".toml")) and "/" in word
    }
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
