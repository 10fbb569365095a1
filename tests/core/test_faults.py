"""What nobody foresaw: a fault of ours with its traceback in a file, or a server that says no."""

from pathlib import Path

import httpx
import pytest
from mlflow.exceptions import MlflowException

from ndogo.core.errors import NdogoError
from ndogo.core.faults import in_frame


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("nobody answers"), r"^Prefect refuses, or cannot be reached: ConnectError: nobody answers"),
        (MlflowException("no such run"), r"^MLflow refuses, or cannot be reached: MlflowException: no such run"),
        (FileNotFoundError(2, "No such file", "there"), "^a step: No such file"),
        (MemoryError(), "^a step: the memory is full"),
        (TypeError("ne() takes no None"), r"^a step met a fault of Ndogo: TypeError: ne\(\) takes no None"),
        (NdogoError("Wrong."), r"^Wrong\."),
    ],
)
def test_every_error_becomes_a_refusal_and_only_ours_leaves_a_traceback(error: Exception, said: str, tmp_path: Path):
    @in_frame("a step", lambda: tmp_path / "logs")
    def fails() -> None:
        raise error

    with pytest.raises(NdogoError, match=said):
        fails()
    assert (tmp_path / "logs").exists() == ("a fault of Ndogo" in said)
