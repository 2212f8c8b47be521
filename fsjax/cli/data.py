"""A check of a data set, in words, before anything is trained.

    fsjax data --path pictures                                     # a folder of class folders
    fsjax data --config dc_fc100                                   # the data of a config, and whether its tasks fit
    fsjax data --config configs/own.py --set data.image_size=84 --set data.class_split.name=share
    fsjax data runs/icu_digits                                     # the data of a run
    fsjax data --path pictures --splits --json check.json          # every class, and all that was found

It looks at every picture and goes on after the first that is broken: counts by split and class, sizes, kinds; files
that cannot be read, each with its reason; suffixes of another format; pictures of one colour; the same pixels in two
splits (a leak), in two classes, or twice in one; pictures that look alike in two splits (by a perceptual hash: a guess,
see below); which few-shot tasks each split can make, and what prevents others; and layouts of folders that fsjax would
misread. What to do about it stands below each.

The exit status is 3 if something was found that must be seen: pictures that cannot be read, a leak, a picture with two
labels, a layout or a class split that cannot be, or tasks of the config that the data cannot make.

Pictures look alike if of 64 bits of their hash (pHash) at most 6 differ. On CIFAR-100, of 239 such pairs of a test and
a training image 95 % have the same label (chance: 1 %). Copies that were scaled, compressed or brightened are found;
mirrored, turned and cropped ones are not. Simple pictures, such as digits, look alike without being copies.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from fsjax.cli.arguments import check_output, path_of
from fsjax.errors import UserError
from fsjax.files import parse_json, write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run", nargs="?", default="", help="the workdir of a run, whose data are checked")
    parser.add_argument(
        "--path", type=path_of, help="a folder of class folders; with a run or --config: where data lie"
    )
    parser.add_argument(
        "--config", default="", metavar="CONFIG[:VARIANT]", help="a recipe or a config file, whose data are checked"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the config: --set data.image_size=64"
    )
    parser.add_argument("--splits", action="store_true", help="print the number of images of every class")
    parser.add_argument("--json", type=path_of, help="write all that was found to this file, every place of it")


def run(args: argparse.Namespace) -> int:
    """Check, print, and write."""
    from fsjax import data

    check_output("--json", args.json, ".json")
    config, whole, expected = _config(args)
    found = data.check_data(config["data"], seed=config.get("seed", 0), whole=whole, expected=expected)
    print(found.in_words(every_class=args.splits))
    if args.json:
        write_file(args.json, json.dumps(found.to_json(), indent=1) + "\n")
    return 3 if found.serious else 0


def _config(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """The config; the same if it is more than the data of a folder, else None; and what a run's data should be."""
    from ml_collections import ConfigDict

    from fsjax import data
    from fsjax.config import set_key
    from fsjax.config_file import load_config, set_option

    if bool(args.run) + bool(args.config) > 1 or not (args.run or args.config or args.path):
        raise UserError("say what to check, one of: --path FOLDER, --config CONFIG, or a run's folder")
    expected = None
    if args.config:
        config = load_config(args.config)
    elif args.run:
        config, expected = _of_run(Path(args.run).expanduser())
    else:
        # Nobody asked for a test part, which would hold some of the few labelled pictures of each class.
        config = ConfigDict({"data": {**data.default_config(), "name": _name(args.path), "test_fraction": 0.0}})
    if args.path:
        if args.path.is_file():
            raise UserError(
                f"--path={args.path} is a file: give a folder of class folders (unpack it first, if packed)"
            )
        set_key(config, "data.path", str(args.path))
    for text in args.set:
        set_option(config, text)
    return config, config if args.config or args.run else None, expected


def _name(path: Path) -> str:
    """The source of a folder: of one that TFDS prepared, the data set that it holds."""
    info = path.expanduser() / "dataset_info.json"
    try:
        return str(parse_json(info.read_text())["name"]) if info.is_file() else "folder"
    except OSError as error:
        raise UserError(f"{path} cannot be looked into: {error.strerror}; allow it to be read") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{info} cannot be read as the description of a data set by TFDS: {error}") from error


def _of_run(folder: Path) -> tuple[Any, Any]:
    """The config of a run, and what it says of its data."""
    from ml_collections import ConfigDict

    from fsjax import data

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no config.json: is it the workdir of a run? A folder of pictures is --path")
    try:
        config = ConfigDict(parse_json((folder / "config.json").read_text()))
        info = folder / "data.json"
        expected = data.DataInfo.from_json(parse_json(info.read_text())) if info.is_file() else None
        return config, expected if config["data"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder}: its config.json or data.json cannot be read: {error}") from error
