"""Boxes that a localization run finds: drawn on pictures, and compared with the true ones where they are known.

    fsjax localize runs/localize_cub --out boxes.png
    fsjax localize runs/localize_cub --split test --json boxes.json --out boxes.png
    fsjax localize runs/localize_cub --images ~/birds photo.jpg --out birds.png

Without --images, the pictures are those of the run's data: if these have boxes, the IoU of all of them is printed, of
the predicted box, of the box of AttNet's map without AffNet, of the box of the classifier's own map, and of the whole
image. Red is the predicted box, green the true one; beside it AttNet's map and the crop, with the predicted class.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from fsjax import data
from fsjax.cli.arguments import add_run, check_output, open_run
from fsjax.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    add_run(parser)
    parser.add_argument("--images", nargs="+", help="picture files, or folders of them, in the place of the run's data")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="of the data (test)")
    parser.add_argument("--count", type=int, default=8, help="pictures to draw; of the data, at random (8)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of pictures")
    parser.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    parser.add_argument(
        "--json", type=Path, help="write the boxes, and the figures if there are any, to this JSON file"
    )


def run(args: argparse.Namespace) -> None:
    """Print figures, and draw."""
    from fsjax.evaluation.localization import box_figures, check_localizes, draw_localizations, in_words, panels

    check_output("--out", args.out, ".png")
    check_output("--json", args.json, ".json")
    if args.count < 1:
        raise UserError(f"--count={args.count} must be at least 1")
    run = open_run(args, args.run)
    check_localizes(run.method, args.run)
    names, images, true, labels = (_files if args.images else _split)(args, run)
    located = run.locate(images, batch_size=args.batch_size)
    facts: dict[str, Any] = {"run": str(run.workdir), "step": run.step, "images": len(images)}
    if true is not None:
        facts["figures"] = box_figures(located, true)
        print(in_words(facts["figures"]))
    elif not args.images:
        print(f"the data have no boxes: {len(images)} boxes were predicted, and are compared with none")
    chosen = np.arange(len(images))[: args.count]
    if not args.images:
        chosen = np.sort(np.random.default_rng(args.seed).permutation(len(images))[: args.count])
    predicted = run.predict(images[chosen], batch_size=args.batch_size)
    # Without a class split the labels are those of training; novel classes have no prediction.
    words = [run.class_names[label] for label in predicted]
    if labels is not None:
        words = [f"{word} {'✓' if ok else '✗'}" for word, ok in zip(words, predicted == labels[chosen], strict=True)]
    of_chosen = type(located)(**{name: value[chosen] for name, value in vars(located).items()})
    titles = [names[i] for i in chosen]
    draw_localizations(
        panels(images[chosen], of_chosen, titles, words, None if true is None else true[chosen]), args.out
    )
    print(f"{len(chosen)} of {len(images)} pictures: {args.out}")
    if args.json:
        boxes = [{"image": name, "box": [float(x) for x in box]} for name, box in zip(names, located.box, strict=True)]
        args.json.write_text(json.dumps({**facts, "boxes": boxes}, indent=1) + "\n")


Pictures = tuple[list[str], np.ndarray, np.ndarray | None, np.ndarray | None]


def _files(args: argparse.Namespace, run: Any) -> Pictures:
    """Names and images of the files given; no true boxes and labels."""
    files = data.picture_files(args.images)
    return [file.name for file in files], data.open_pictures(files, run.config.data, run.info), None, None


def _split(args: argparse.Namespace, run: Any) -> Pictures:
    """Names, images, true boxes and labels of a split of the run's data."""
    splits = run.splits(data_path=args.data_path)
    examples = getattr(splits, args.split)
    if examples is None:
        raise UserError(f"--split={args.split}: the data of {run.workdir} have no such part")
    of_training = args.split == "train" or not splits.info.few_shot
    class_names = run.info.class_names if of_training else getattr(splits.info, f"{args.split}_classes")
    images = data.images_at(examples, np.arange(len(examples)))
    names = [f"{number}: {class_names[label]}" for number, label in enumerate(examples.labels)]
    return names, images, examples.boxes, examples.labels if of_training else None
