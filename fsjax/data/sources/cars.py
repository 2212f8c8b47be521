"""Stanford Cars in its own folders, for when the links of TFDS's `cars196` are dead."""

from pathlib import Path
from typing import Any

import numpy as np

from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.sources.listed import paths_of, picture_part, some
from fsjax.data.sources.source import Part, Source

_BELOW = ("", "stanford_cars", "stanford-cars", "car196", "cars196")
# Where the annotations lie below the root in the copies that there are (the original, torchvision's, Kaggle's).
_KITS = ("", "devkit", "car_devkit", "car_devkit/devkit")
_WHOLE = "cars_annos.mat"
_META, _TRAIN, _TEST = "cars_meta.mat", "cars_train_annos.mat", "cars_test_annos_withlabels*.mat"
_EDGES = ("bbox_y1", "bbox_x1", "bbox_y2", "bbox_x2")
_ORIGIN = (
    "The official page, https://ai.stanford.edu/~jkrause/cars/car_dataset.html, may no longer give the files; Kaggle "
    "has copies (eduardo4jesus/stanford-cars-dataset). Either layout will do: cars_annos.mat with car_ims/, or "
    "cars_train/, cars_test/ and, beside them or in devkit/, cars_meta.mat, cars_train_annos.mat and "
    "cars_test_annos_withlabels.mat"
)


def load(config: DataConfig) -> Source:
    """Stanford Cars (Krause et al. 2013) in `config.path`, or in a folder `stanford_cars` (or the like) in it.

    In one of two layouts:
    - `cars_annos.mat` with `car_ims/`: all images in one list, which says of each whether it is for the test;
    - `cars_train/` and `cars_test/` with `cars_train_annos.mat`, `cars_test_annos_withlabels.mat` (the list without
      labels is of no use) and `cars_meta.mat`, the class names; these lie beside them, or in `devkit/`.

    Classes are numbered from 1. Boxes are in MATLAB's pixels, read as whole ones: the first pixel is 1 and the last
    belongs to the box, so that the box reaches from bbox_x1 - 1 to bbox_x2.

    Raises:
      DataError: for folders, annotations or images that are not whole.
    """
    if not config.path:
        raise DataError(f"data.name={config.name!r} needs data.path, the folder of the unpacked data set. {_ORIGIN}")
    path = Path(config.path).expanduser()
    if not path.is_dir():
        raise DataError(f"data.path={config.path} is no folder. {_ORIGIN}")
    for root in (path / folder for folder in _BELOW):
        # The whole list is of use only with its own images, whose numbers are others than those of the two folders.
        if (root / _WHOLE).is_file() and (root / "car_ims").is_dir():
            return _of_one_list(root, config)
        found = {name: _annotations(root, name) for name in (_META, _TRAIN, _TEST)}
        if any(found.values()):
            return _of_two_lists(root, found, config)
    raise DataError(f"{path} holds no annotations of Stanford Cars. {_ORIGIN}")


def _annotations(root: Path, name: str) -> Path | None:
    """The first file of this name, which may be a pattern, where annotations lie."""
    return next((path for kit in _KITS for path in sorted((root / kit).glob(name))), None)


def _of_one_list(root: Path, config: DataConfig) -> Source:
    annotated, names = _read(root / _WHOLE, "annotations"), _names(root / _WHOLE)
    test = _field(annotated, "test", root / _WHOLE).astype(bool)
    files = [Path(str(name)).name for name in _field(annotated, "relative_im_path", root / _WHOLE)]
    parts: dict[str, Any] = {
        split: _part(
            root / "car_ims",
            [files[i] for i in np.flatnonzero(chosen)],
            annotated[chosen],
            names,
            root / _WHOLE,
            config,
        )
        for split, chosen in (("train", ~test), ("test", test))
    }
    return Source(name="cars", class_names=names, notes=(f"Stanford Cars of {root / _WHOLE}",), **parts)


def _of_two_lists(root: Path, found: dict[str, Path | None], config: DataConfig) -> Source:
    missing = [name.replace("*", "") for name, path in found.items() if path is None]
    folders = {}
    for split in ("train", "test"):
        # Kaggle's copies have a folder of the same name inside.
        twice = root / f"cars_{split}" / f"cars_{split}"
        folders[split] = twice if twice.is_dir() else twice.parent
        missing += [] if folders[split].is_dir() else [folders[split].name]
    if missing:
        raise DataError(f"{root} lacks {', '.join(missing)} of Stanford Cars. {_ORIGIN}")
    there = {name: path for name, path in found.items() if path is not None}
    names = _names(there[_META])
    parts: dict[str, Any] = {}
    for split, path in (("train", there[_TRAIN]), ("test", there[_TEST])):
        annotated = _read(path, "annotations")
        files = [str(name) for name in _field(annotated, "fname", path)]
        parts[split] = _part(folders[split], files, annotated, names, path, config)
    return Source(name="cars", class_names=names, notes=(f"Stanford Cars of {root}",), **parts)


def _part(
    folder: Path, files: list[str], annotated: np.ndarray, names: tuple[str, ...], path: Path, config: DataConfig
) -> Part:
    classes = _field(annotated, "class", path).astype(np.int64)
    wrong = [name for name, number in zip(files, classes, strict=True) if not 1 <= number <= len(names)]
    if wrong:
        raise DataError(f"{path}: classes of {some(wrong)} are not among 1..{len(names)}, those that are named")
    edges = None
    if config.box_key:
        first = np.array([1, 1, 0, 0])
        edges = np.stack([_field(annotated, name, path).astype(np.float64) for name in _EDGES], axis=1) - first
    return picture_part(paths_of(folder, files), classes - 1, config, edges=edges)


def _read(path: Path, variable: str) -> np.ndarray:
    """A variable of a MATLAB file, `[n]`."""
    from scipy.io import loadmat

    try:
        return np.atleast_1d(loadmat(path, squeeze_me=True)[variable])
    except KeyError as error:
        raise DataError(f"{path} holds no {variable!r}: it is not the file of that name of Stanford Cars") from error
    except Exception as error:
        # scipy raises almost anything for a file that is none of MATLAB's.
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}") from error


def _names(path: Path) -> tuple[str, ...]:
    return tuple(str(name) for name in _read(path, "class_names"))


def _field(annotated: np.ndarray, name: str, path: Path) -> Any:
    """A field of the annotations, `[n]`."""
    if name not in (annotated.dtype.names or ()):
        raise DataError(f"{path}: its annotations have no {name!r}: it is not the file of that name of Stanford Cars")
    return annotated[name]
