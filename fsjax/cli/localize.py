"""Boxes that a localization run finds: drawn on pictures, and compared with the true ones where they are known.

    fsjax localize runs/localize_cub --out boxes.png
    fsjax localize runs/localize_cub --split test --json boxes.json --out boxes.png
    fsjax localize runs/localize_cub --images ~/birds photo.jpg --out birds.png

Without --images, the pictures are those of the run's data: if these have boxes, the IoU of all of them is printed, of
the predicted box, of the box of AttNet's map without AffNet, of the box of the classifier's own map, and of the whole
image. Red is the predicted box, green the true one; beside it AttNet's map and the crop, with the predicted class.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fsjax import data
from fsjax.cli.arguments import add_run, check_output, open_run, path_of
from fsjax.errors import UserError
from fsjax.files import write_file

if TYPE_CHECKING:
    from fsjax.runs import Run

# Pictures that are in memory at once.
_CHUNK = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.set_defaults(batch_size=None)
    parser.add_argument("--images", nargs="+", help="picture files, or folders of them, instead of the run's data")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="of the data (test)")
    parser.add_argument("--count", type=int, default=8, help="pictures to draw; of the data, at random (8)")
    parser.add_argument("--seed", type=int, help="of the choice of pictures of the data (0)")
    parser.add_argument("--out", type=path_of, required=True, help="the PNG file to write")
    parser.add_argument(
        "--json", type=path_of, help="write the boxes, and the figures if there are any, to this JSON file"
    )


def run(args: argparse.Namespace) -> None:
    """Print figures, and draw."""
    from fsjax.evaluation.papers.localization import box_figures, check_localizes, draw_localizations, in_words

    _check(args)
    run = open_run(args, args.run)
    check_localizes(run.method, args.run)
    pictures = (_files if args.images else _split)(args, run)
    chosen = np.arange(min(args.count, len(pictures.names)))
    if not args.images:
        chosen = np.sort(np.random.default_rng(args.seed or 0).permutation(len(pictures.names))[: args.count])
    boxes, in_pictures, panels = _located(run, pictures, set(chosen.tolist()), args.batch_size)
    facts: dict[str, Any] = {"run": str(run.workdir), "step": run.step, "images": len(pictures.names)}
    if pictures.true is not None and not np.isnan(pictures.true).any(axis=1).all():
        facts["figures"] = box_figures(boxes, pictures.true)
        print(in_words(facts["figures"]))
    elif not args.images:
        print(f"the data have no boxes: {facts['images']} boxes were predicted, and are compared with none")
    draw_localizations(panels, args.out)
    print(f"{len(panels)} of {facts['images']} pictures: {args.out}")
    if args.json:
        # ymin, xmin, ymax, xmax in 0..1 of the picture; of data, of what evaluation sees of it.
        found = [{"image": n, "box": box.tolist()} for n, box in zip(pictures.names, in_pictures, strict=True)]
        write_file(args.json, json.dumps({**facts, "boxes": found}, indent=1) + "\n")


def _check(args: argparse.Namespace) -> None:
    """Raise a `UserError` for arguments that cannot be, or have no effect."""
    check_output("--out", args.out, ".png")
    check_output("--json", args.json, ".json")
    if args.count < 1:
        raise UserError(f"--count={args.count} must be at least 1")
    for name in ("split", "seed"):
        if args.images and getattr(args, name) is not None:
            raise UserError(f"--{name} chooses pictures of the run's data, and --images takes others: leave one out")


@dataclasses.dataclass(frozen=True)
class _Pictures:
    """Pictures that are read a few at a time.

    Attributes:
      names: `[n]`, unique.
      titles: `[n]`, for people.
      read: positions `[m]` -> uint8 images, and their boxes' way back to the pictures, `[m, 4]` -> `[m, 4]`.
      true: `[n, 4]` or None.
      labels: `[n]` of the run's classes, or None.
      predicts: whether they may be of the run's classes.
    """

    names: list[str]
    titles: list[str]
    read: Callable[[np.ndarray], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]
    true: np.ndarray | None = None
    labels: np.ndarray | None = None
    predicts: bool = True


def _located(
    run: "Run", pictures: _Pictures, chosen: set[int], batch_size: int | None
) -> tuple[dict[str, np.ndarray], np.ndarray, list[Any]]:
    """The boxes of all pictures by name, the predicted ones in the pictures, and the panels of the chosen."""
    from fsjax.evaluation.papers.localization import boxes_of

    batch_size = batch_size or run.config.eval.batch_size
    found, in_pictures, panels = [], [], []
    for start in range(0, len(pictures.names), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(pictures.names)))
        images, lead_back = pictures.read(positions)
        located = run.locate(images, batch_size=batch_size)
        found.append(boxes_of(located))
        in_pictures.append(lead_back(np.asarray(located.box)))
        shown = [int(position) - start for position in positions if position in chosen]
        if shown:
            predicted = run.predict(images[shown], batch_size=batch_size)
            panels += [
                _panel(run, pictures, start + i, images[i], located, i, label)
                for i, label in zip(shown, predicted, strict=True)
            ]
    boxes = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    return boxes, np.concatenate(in_pictures), panels


def _panel(run: "Run", pictures: _Pictures, number: int, image: np.ndarray, located: Any, i: int, label: int) -> Any:
    from fsjax.evaluation.papers.localization import Panel

    words = run.class_names[label] if pictures.predicts else ""
    if pictures.labels is not None:
        words += " ✓" if label == pictures.labels[number] else " ✗"
    true = None if pictures.true is None or np.isnan(pictures.true[number]).any() else pictures.true[number]
    return Panel(
        image, located.attention[i], located.box[i], located.crop[i], pictures.titles[number], words, true
    )  # fmt: skip


def _files(args: argparse.Namespace, run: "Run") -> _Pictures:
    """The files given, or those of folders."""
    files = data.picture_files(args.images)

    def read(positions: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        opened = data.open_pictures([files[i] for i in positions], run.config.data, run.info)
        return opened.images, lambda boxes: opened.view.in_pictures(boxes, opened.sizes)

    return _Pictures([str(file) for file in files], [file.name for file in files], read)


def _split(args: argparse.Namespace, run: "Run") -> _Pictures:
    """A split of the run's data; under a class split, novel classes are none that the run predicts."""
    split = args.split or "test"
    splits = run.splits(data_path=args.data_path)
    examples = getattr(splits, split)
    if examples is None:
        raise UserError(f"--split={split}: the data of {run.workdir} have no such part")
    own = split == "train" or not splits.info.few_shot
    class_names = run.info.class_names if own else getattr(splits.info, f"{split}_classes")
    names = [f"{number}: {class_names[label]}" for number, label in enumerate(examples.labels)]

    def read(positions: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        return data.images_at(examples, positions), lambda boxes: boxes.astype(np.float64)

    return _Pictures(names, names, read, examples.boxes, examples.labels if own else None, own)
