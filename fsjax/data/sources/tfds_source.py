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

from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.pictures import decode
from fsjax.data.sources import records
from fsjax.data.sources.part import Part, Source
from fsjax.data.tensorflow_runtime import import_tensorflow

_CONNECT_SECONDS = 10


def load(config: DataConfig) -> Source:
    """The TFDS data set `config.name`, downloaded and prepared if it is not there yet.

    Raises:
      DataError: for an unknown name, split or feature, a data set that is neither there nor can be
        downloaded, and features that are no image and no class label.
    """
    builder = _builder(config)
    label_feature = _features(builder, config)
    channels = config.channels or (1 if builder.info.features[config.image_key].shape[-1] == 1 else 3)
    if config.class_split.name and config.test_split:
        _check_apart(builder, config)
    parts = [
        _part(builder, split, config, channels)
        for split in (config.train_split, config.test_split)
        if split or split is config.train_split
    ]
    return Source(
        name=builder.name,
        class_names=tuple(label_feature.names),
        train=parts[0],
        test=parts[1] if len(parts) > 1 else None,
        notes=(f"{builder.info.full_name} from {builder.data_path}",),
    )


def _builder(config: DataConfig) -> Any:
    """The builder of prepared data."""
    import tensorflow_datasets as tfds

    path = Path(config.path).expanduser() if config.path else None
    if path and (path / "dataset_info.json").exists():
        builder = tfds.builder_from_directory(path)
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
        raise DataError(
            f"data.name={config.name!r} is neither digits, folder, csv nor fake, nor a data set that TFDS knows, "
            f"nor prepared in {place}. {guess}"
        ) from error
    except (ValueError, RuntimeError) as error:
        raise DataError(f"TFDS refuses data.name={config.name!r}: {error}") from error
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
    return features[config.label_key]


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


def _part(builder: Any, split: str, config: DataConfig, channels: int) -> Part:
    from tensorflow_datasets.proto import tf_example_generated_pb2 as proto

    where = _instructions(builder, split)
    file_format = builder.info.file_format
    if file_format is not None and file_format.value != "tfrecord":
        raise DataError(f"{builder.data_path} is in {file_format.value} files; prepare it as tfrecord, TFDS's default")

    def label_of(content: bytes) -> int:
        return proto.Example.FromString(content).features.feature[config.label_key].int64_list.value[0]

    def read(item: int) -> np.ndarray:
        feature = proto.Example.FromString(files[item]).features.feature[config.image_key]
        return decode(feature.bytes_list.value[0], channels)

    files, labels = records.scan(where, label_of, what=config.label_key)
    shape = builder.info.features[config.image_key].shape
    return Part(
        labels=labels.clip(-(2**31), 2**31 - 1).astype(np.int32),
        read=read,
        locate=lambda item: f"example {item} of {builder.name}, split {split!r}",
        items=np.arange(len(labels)),
        channels=channels,
        image_shape=(*shape[:2], channels) if None not in shape[:2] else None,
    )
