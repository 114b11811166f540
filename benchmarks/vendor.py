"""Where the peers come from: installed here, or put into an environment of their own."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.processes import BenchmarkError

__all__ = ["require_v3", "v2_python"]

# Ours lacks chardet, and would behave otherwise with it: requests prefers it when it is there.
_V2: Final = "huaweicloud-sdk-python-dis==2.0.8"
_V2_FOLDER: Final = Path(__file__).parent.parent / "build" / "benchmarks" / "v2"


def require_v3() -> None:
    """Check that the vendor's current SDK is here.

    Raises:
        BenchmarkError: it is not.
    """
    if importlib.util.find_spec("huaweicloudsdkdis") is None:
        raise BenchmarkError("v3_sync needs the vendor's SDK: pip install huaweicloudsdkdis")


def v2_python() -> str:
    """Give the Python that has the vendor's older SDK; the first call installs it.

    Raises:
        BenchmarkError: it could not be installed.
    """
    python = _V2_FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not _has_v2(python):
        print(f"installing {_V2} into {_V2_FOLDER}", file=sys.stderr, flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(_V2_FOLDER)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, _V2])
    return str(python)


def _has_v2(python: Path) -> bool:
    if not python.exists():
        return False
    done = subprocess.run([python, "-c", "import dis_sdk_python"], capture_output=True, check=False)
    return done.returncode == 0


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    except subprocess.CalledProcessError as exc:
        said = (exc.stderr or "").strip().splitlines()
        raise BenchmarkError(f"{_V2} could not be installed: {said[-1] if said else exc}") from None
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BenchmarkError(f"{_V2} could not be installed: {exc}") from None
