"""What "MB" means, everywhere: 10^6 bytes of the files that a user downloads, weights at one stated type plus the tokenizer."""

from pathlib import Path

SIZE_TYPE = "fp32"
"""The type at which sizes are shown, whatever a file holds: sizes of one table are of one type."""
WEIGHT_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
MEGA = 1e6


def download_mb(params: int, tokenizer_bytes: int, dtype: str = SIZE_TYPE) -> float:
    """Millions of bytes of a model with so many distinct parameters (tied ones once) and its tokenizer."""
    return round((params * WEIGHT_BYTES[dtype] + tokenizer_bytes) / MEGA, 4)


def tokenizer_bytes(folder: Path) -> int:
    """Bytes of the tokenizer's files in a model directory."""
    from ndogo.core.directories import TOKENIZER_FILES

    return sum((folder / name).stat().st_size for name in TOKENIZER_FILES if (folder / name).is_file())
