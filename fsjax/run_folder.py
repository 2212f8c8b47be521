"""The folder that a run is given by: its own, or that of the network that comes with fsjax."""

from pathlib import Path

STARTER = Path(__file__).parent / "starter"


def run_folder(run: str | Path) -> Path:
    """The absolute folder of a run; "starter", where there is no such folder, is the network that comes with fsjax."""
    folder = Path(run).expanduser().absolute()
    return STARTER if str(run) == STARTER.name and not folder.exists() else folder
