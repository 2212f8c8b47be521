"""Runs and networks, by their folder or their name."""

from pathlib import Path

from fsjax import networks
from fsjax.errors import unknown
from fsjax.run_folder import STARTER, run_folder
from fsjax.runs.published import FolderRun, PublishedNetwork
from fsjax.runs.run import Run
from fsjax.training import packaged
from fsjax.training.restored import restored

# What a run can be called that is no folder.
_NAMES = (*networks.NETWORKS, STARTER.name)


def restore(workdir: str | Path, *, which: str = "best") -> Run:
    """Open a run.

    It needs neither the config file nor the data, and runs on the devices that are here, whatever devices
    the run had. Nothing in a checkpoint is executed or unpickled.

    Args:
      workdir: the run's folder; where there is no such folder, "starter" or the name of a published network, see
        `fsjax.networks.NETWORKS`; or what `network` takes besides: the folder of a network, or a hub's name.
      which: "best" (by validation accuracy; the latest where the run had no validation data) or "latest".

    Returns:
      The run.

    Raises:
      UserError: if there is no checkpoint in the folder, or none can be read.
    """
    folder = run_folder(workdir)
    if folder == STARTER:
        return starter()
    if (not folder.exists() and str(workdir) in networks.NETWORKS) or networks.folder.is_named(str(workdir)):
        return network(str(workdir))
    if not folder.exists() and str(workdir) == folder.name:  # no path, but a name
        raise unknown("run: there is no such folder, and no network of the name", str(workdir), _NAMES)
    found = restored(folder, which)
    return Run(folder, found.config, found.info, found.step, found.params, found.collections)


def network(name: str | Path) -> Run:
    """A network that others trained, to use as a run is used: `fsjax.network("efficientnet_lite0")`.

    Its classes are those that it was trained on; its pictures go through the normalisation and the crop that it was
    published with. The weights are in a package beside fsjax. `fsjax networks` lists the names.

    A folder with `config.json`, `preprocessor_config.json` and `model.safetensors`, as Hugging Face's `transformers`
    writes them, is a network too: `fsjax.network("dinov2-small")`. It has no classes of its own. With "hf://" before
    its name, and only so, a model is downloaded: `fsjax.network("hf://facebook/dinov2-small")`.

    Raises:
      UserError: for an unknown name, and weights that are not here, or not the published ones; of a folder or the hub,
        for what `fsjax.networks.folder` cannot open.
    """
    name = str(name)
    if networks.folder.is_named(name):
        source = networks.folder.network(name)
        found = source.open()
        params, collections = found.params, found.collections
        return FolderRun(Path(name), found.config, found.info, 0, params, collections, source=source)
    if name == STARTER.name:
        return starter()
    if name not in networks.NETWORKS:
        raise unknown("network", name, _NAMES)
    found = networks.NETWORKS[name].open()
    return PublishedNetwork(Path(name), found.config, found.info, 0, found.params, found.collections)


def starter() -> Run:
    """The small network that comes with fsjax: pictures of 48x48, to classify simple pictures by a few labelled ones.

    It was trained on drawings that this program makes (`configs/starter.py`) and on nothing else; what it can do, and
    what it cannot, is in `README.md` of its folder, the run's `workdir`.

    Raises:
      UserError: if its files are damaged.
    """
    found = packaged.read(STARTER)
    return Run(STARTER, found.config, found.info, found.step, found.params, found.collections)
