"""TFDS data sets: by name, prepared on first use, or from a folder that TFDS prepared.

Their records are read here directly, by number: a stream then has the same exact shuffle as data in memory,
resumes at any step at no cost, and each process reads its own rows only. (TFDS's reader shuffles through a
buffer.)
"""

import difflib
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import numpy as np

from fsjax.data.boxes import upright
from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.pictures import decode, head_of, orientation_of
from fsjax.data.sources import records
from fsjax.data.sources.source import Part, Source
from fsjax.data.tensorflow_runtime import import_tensorflow
from fsjax.files import absolute_path

_CONNECT_SECONDS = 10
# What TFDS writes of a data set beside its records.
_DESCRIBES = ("dataset_info.json", "features.json")
_NOT_WHOLE = "it is not whole, or of another version of TFDS; copy it again, or prepare it anew"
_BOX_FORMAT = "REL_YXYX"


def load(config: DataConfig) -> Source:
    """The TFDS data set `config.name`, downloaded and prepared if it is not there yet.

    Raises:
      DataError: for an unknown name, split or feature, a data set that is neither there nor can be
        downloaded, and features that are no image and no class label.
    """
    builder = _builder(config)
    label_feature = _features(builder, config)
    box_key, notes = _box_key(builder, config)
    channels = config.channels or (1 if builder.info.features[config.image_key].shape[-1] == 1 else 3)
    if config.class_split.name and config.test_split:
        _check_apart(builder, config)
    parts = [
        _part(builder, split, config, channels, box_key)
        for split in (config.train_split, config.test_split)
        if split or split is config.train_split
    ]
    return Source(
        name=builder.name,
        class_names=tuple(label_feature.names),
        train=parts[0],
        test=parts[1] if len(parts) > 1 else None,
        notes=(f"{builder.info.full_name} from {builder.data_path}", *notes),
        version=builder.info.full_name,
    )


def _builder(config: DataConfig) -> Any:
    """The builder of prepared data."""
    import tensorflow_datasets as tfds

    path = absolute_path(config.path, what="data.path") if config.path else None
    if path and any((path / name).exists() for name in _DESCRIBES):
        for name in _DESCRIBES:
            if not (path / name).is_file():
                raise DataError(f"data.path={config.path} has no {name}: {_NOT_WHOLE}")
        try:
            builder = tfds.builder_from_directory(path)
        # What is cut off, or of another version of TFDS, gives errors of many types.
        except Exception as error:
            raise DataError(f"data.path={config.path} cannot be read: {_first_line(error)}: {_NOT_WHOLE}") from error
        if builder.name != config.name.split("/")[0].split(":")[0]:
            raise DataError(f"data.path={config.path} holds {builder.name!r}, but data.name is {config.name!r}")
        return builder
    if path and not path.is_dir():
        raise DataError(f"data.path={config.path} is no folder; data set {config.name!r} was looked for in it")
    place = str(path or os.environ.get("TFDS_DATA_DIR") or Path("~/tensorflow_datasets").expanduser())
    try:
        builder = tfds.builder(config.name, data_dir=place)
    except tfds.core.DatasetNotFoundError as error:
        close = difflib.get_close_matches(config.name, tfds.list_builders(with_community_datasets=False), n=5)
        guess = (
            f"TFDS has, for example, {', '.join(close)}" if close else "TFDS lists its own with tfds.list_builders()"
        )
        from fsjax.data.sources import SOURCES

        raise DataError(
            f"data.name={config.name!r} is no source of fsjax ({', '.join(SOURCES)}) nor of a plug-in that is here, no "
            f"data set that TFDS knows, and not prepared in {place}. {guess}"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise DataError(f"TFDS refuses data.name={config.name!r}: {error}") from error
    except Exception as error:
        raise DataError(f"{config.name!r} in {place} cannot be read: {_first_line(error)}: {_NOT_WHOLE}") from error
    if not (Path(builder.data_path) / "dataset_info.json").exists():
        _prepare(builder, config.name, place)
    return builder


def _prepare(builder: Any, name: str, place: str) -> None:
    """Download and prepare a data set, unless its servers cannot be reached.

    TFDS tries each address ten times with growing pauses, for many minutes; so whether any server answers is
    asked before, once.
    """
    missing = f"data set {name!r} is not prepared in {place}, and "
    way_out = (
        "With a network it is downloaded there on first use; otherwise prepare it on another machine, "
        "copy it, and set TFDS_DATA_DIR or data.path to the folder that holds it"
    )
    hosts = () if builder.MANUAL_DOWNLOAD_INSTRUCTIONS else _hosts(builder)
    if hosts and not any(_answers(*host) for host in hosts):
        names = ", ".join(name for name, _ in hosts)
        raise DataError(f"{missing}its download cannot start: no connection to {names}. {way_out}")
    # TFDS writes with TensorFlow: imported here so that it takes no GPU.
    import_tensorflow()
    try:
        builder.download_and_prepare()
    except Exception as error:
        # TFDS raises all kinds here: a failed download, a full disk, files to be fetched by hand after
        # registration.
        raise DataError(f"{missing}preparing it failed: {error}\n{way_out}") from error


def _hosts(builder: Any) -> list[tuple[str, int]]:
    """Name and port of up to three servers that a data set is downloaded from, without a proxy between."""
    urls = [urlsplit(url) for url in builder.url_infos]
    hosts = {(url.hostname, url.port or (80 if url.scheme == "http" else 443)) for url in urls if url.hostname}
    return sorted(host for host in hosts if not getproxies() or proxy_bypass(host[0]))[:3]


def _first_line(error: Exception) -> str:
    """What an error says first; TFDS's own begin with a line for each argument."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _features(builder: Any, config: DataConfig) -> Any:
    """The label feature, after a check that it is one and that the image is an image."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    for field, kind in (("image_key", tfds.features.Image), ("label_key", tfds.features.ClassLabel)):
        key = getattr(config, field)
        if key not in features or not isinstance(features[key], kind):
            able = [name for name in features if isinstance(features[name], kind)]
            raise DataError(
                f"data.{field}={key!r}: {builder.name} has no {kind.__name__} of that name; it has: "
                f"{', '.join(able) or 'none'}"
            )
    dtype = np.dtype(features[config.image_key].np_dtype)
    if dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"data.image_key={config.image_key!r}: the images of {builder.name} are {dtype}, whose range is not known; "
            "prepare it with pictures of 8 or 16 bits"
        )
    return features[config.label_key]


def _box_key(builder: Any, config: DataConfig) -> tuple[str, tuple[str, ...]]:
    """The feature that holds one box per image, "" where there is none, and notes on it.

    Raises:
      DataError: for a feature that the config names and that is no box, and for boxes in another format.
    """
    import tensorflow_datasets as tfds

    features, key, kind = builder.info.features, config.box_key, tfds.features.BBoxFeature
    if not key or (key not in features and key == DataConfig.box_key):
        return "", ()
    if key not in features or not isinstance(features[key], kind):
        able = [name for name in features if isinstance(features[name], kind)]
        if key == DataConfig.box_key:
            return "", (f"feature {key!r} is not one box per image ({kind.__name__}): the images have no boxes",)
        raise DataError(
            f"data.box_key={key!r}: {builder.name} has no {kind.__name__} of that name; it has: "
            f"{', '.join(able) or 'none'}. data.box_key='' does without boxes"
        )
    # What TFDS wrote before it knew formats is in this one, and says nothing.
    form = getattr(features[key], "bbox_format", None)
    if form is not None and getattr(form, "value", form) != _BOX_FORMAT:
        raise DataError(
            f"data.box_key={key!r}: the boxes of {builder.name} are in format {getattr(form, 'value', form)}, and only "
            f"{_BOX_FORMAT} is read: set data.box_key='' to do without boxes"
        )
    return key, ()


def _instructions(builder: Any, split: str) -> list[tuple[str, int, int]]:
    """File, first record and number of records of a split's pieces."""
    try:
        pieces = builder.info.splits[split].file_instructions
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{builder.name} has no split {split!r}; it has: {', '.join(builder.info.splits)}. "
            "Set data.train_split and data.test_split"
        ) from error
    return [(piece.filename, piece.skip, piece.take) for piece in pieces]


def _check_apart(builder: Any, config: DataConfig) -> None:
    """Raise a `DataError` if two splits that a class split puts together share examples."""
    train, test = (_instructions(builder, split) for split in (config.train_split, config.test_split))
    shared = sum(
        max(0, min(skip + take, other_skip + other_take) - max(skip, other_skip))
        for file, skip, take in train
        for other, other_skip, other_take in test
        if file == other
    )
    if shared:
        raise DataError(
            f"data.train_split={config.train_split!r} and data.test_split={config.test_split!r} share {shared:,} "
            "examples of "
            f"{builder.name}; a class split puts both together: name each example once, such as with test_split=''"
        )


def _part(builder: Any, split: str, config: DataConfig, channels: int, box_key: str) -> Part:
    """The part of a split; the boxes of pictures that their files turn are turned with them."""
    from tensorflow_datasets.proto import tf_example_generated_pb2 as proto

    where = _instructions(builder, split)
    file_format = builder.info.file_format
    if file_format is not None and file_format.value != "tfrecord":
        raise DataError(f"{builder.data_path} is in {file_format.value} files; prepare it as tfrecord, TFDS's default")

    def extract(content: bytes) -> tuple[float, ...]:
        feature = proto.Example.FromString(content).features.feature
        label = feature[config.label_key].int64_list.value[0]
        if not box_key:
            return (label,)
        box = feature[box_key].float_list.value
        if len(box) != 4:
            raise DataError(f"feature {box_key!r} holds {len(box)} numbers; a box has 4")
        turn = orientation_of(feature[config.image_key].bytes_list.value[0])
        return label, *(box if turn == 1 else upright(box, turn))

    def picture(item: int) -> bytes:
        return proto.Example.FromString(files[item]).features.feature[config.image_key].bytes_list.value[0]

    files, values = records.scan(where, extract, what=f"{config.label_key} {config.image_key} {box_key}".rstrip())
    shape = builder.info.features[config.image_key].shape
    return Part(
        labels=values[:, 0].clip(-(2**31), 2**31 - 1).astype(np.int32),
        read=lambda item: decode(picture(item), channels),
        locate=lambda item: f"example {item} of {builder.name}, split {split!r}",
        items=np.arange(len(values)),
        channels=channels,
        image_shape=(*shape[:2], channels) if None not in shape[:2] else None,
        boxes=values[:, 1:].astype(np.float32) if box_key else None,
        size=lambda item: head_of(picture(item))[0],
    )
