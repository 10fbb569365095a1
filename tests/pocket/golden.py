"""Write golden.json anew: only after a change of the data files or the generator that is meant."""

import hashlib
import json
from pathlib import Path

from ndogo import pocket


def fingerprint(language: str) -> str:
    """sha256 of 2,000 corpus lines and of all benchmark rows."""
    found = hashlib.sha256("\n".join(pocket.corpus(language, sentences=2_000)).encode())
    for name in pocket.BENCHMARKS:
        rows = pocket.benchmark(language, name)
        found.update(json.dumps(rows, ensure_ascii=False, sort_keys=True).encode())
    return found.hexdigest()


if __name__ == "__main__":
    made = {language: fingerprint(language) for language in pocket.LANGUAGES}
    (Path(__file__).parent / "golden.json").write_text(json.dumps(made, indent=1) + "\n")
