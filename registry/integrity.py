"""Whether a bundle's folder is whole, and whether a model directory loads strictly."""

import hashlib
import subprocess
from pathlib import Path

from ndogo.core.errors import NdogoError
from ndogo.registry.details import BundleDetails, Sizes

MARK = "step.json"
"""Written last: it holds the hash of every other file, and its presence says that the bundle is complete."""


def read_details(folder: Path) -> BundleDetails:
    """A bundle's step.json.

    :raises ValueError: it is not JSON or of another form.
    :raises OSError: it is not there.
    """
    if not (folder / MARK).is_file():
        raise FileNotFoundError(f"{folder / MARK} is no file")
    return BundleDetails.model_validate_json((folder / MARK).read_bytes())


def damage(folder: Path) -> str:
    """What is wrong with a bundle's folder, in a few words; empty when it is intact."""
    try:
        details = read_details(folder)
    except (OSError, ValueError):  # of another form, too
        return f"no readable {MARK}"
    files = details.files
    if details.key != folder.name or "config.json" not in files:
        return f"{MARK} is that of another bundle"
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file_hash(file) != expected:
            return f"the hash of {name} differs"
    return ""


def check_model(folder: Path) -> Sizes:
    """Load a directory strictly and measure it: parameters by part, and what a user downloads.

    :raises NdogoError: it does not load, or has fewer rows than its tokenizer has tokens.
    """
    from ndogo.core.architectures import architecture_of
    from ndogo.core.download import download_mb, tokenizer_bytes
    from ndogo.core.models import encoder_parameters, load_model, load_tokenizer, parameters
    from ndogo.core.vectors import dense_parameters

    model, tokenizer = load_model(folder), load_tokenizer(folder)
    if model.config.vocab_size < len(tokenizer):
        raise NdogoError(
            f"The tokenizer has {len(tokenizer)} tokens but the model only {model.config.vocab_size} rows.",
            where=str(folder),
        )
    dense = dense_parameters(folder)
    words = parameters(model.base_model.get_submodule(architecture_of(model.config).words))
    return Sizes(
        params_dense=dense or None,
        params=parameters(model),
        params_encoder=encoder_parameters(model.config),
        params_embedding=words,
        size_mb=download_mb(parameters(model) + dense, tokenizer_bytes(folder)),
    )


def file_hash(file: Path) -> str:
    """sha256 of a file's bytes."""
    with file.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest()


def git_commit() -> str:
    """The commit of the code that runs, or nothing where it is not a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
