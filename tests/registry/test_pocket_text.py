"""Pocket text is generated once per store, and again where the kept file was damaged."""

from ndogo import pocket
from ndogo.registry import corpora
from ndogo.registry.bundles import home
from ndogo.registry.pocket_text import FOLDER, generator, kept


def test_text_is_made_once_and_again_when_it_was_damaged():
    home().mkdir(parents=True)
    made: list[str] = []

    def make() -> str:
        made.append("x")
        return "moja\nmbili — tatu"

    assert {kept("a.txt", make) for _ in range(3)} == {"moja\nmbili — tatu"} and len(made) == 1
    file = home() / FOLDER / generator() / "a.txt"
    file.write_text(file.read_text(encoding="utf-8")[:-1], encoding="utf-8")
    assert kept("a.txt", make) == "moja\nmbili — tatu" and len(made) == 2
    assert [f.name for f in file.parent.iterdir()] == ["a.txt"], "no draft stays"


def test_where_no_store_is_none_is_made():
    assert kept("a.txt", lambda: "moja") == "moja"
    assert not home().exists()


def test_the_kept_lines_are_the_generated_ones():
    home().mkdir(parents=True)
    corpora._generated.cache_clear()  # what this process generated before, for another store
    for _ in range(2):
        assert list(corpora.corpus("maltese", "pocket").held_out()) == list(pocket.held_out("maltese"))
        corpora._generated.cache_clear()
    assert (home() / FOLDER / generator() / "maltese-held_out.txt").is_file()
