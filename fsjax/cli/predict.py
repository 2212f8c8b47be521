"""Labels for your own pictures: a few labelled ones in, a table and a page of pictures out.

    fsjax predict --support few --query many
    fsjax predict --run starter --support few --query many          # drawings, symbols, logos
    fsjax predict --query many                                      # the network's own classes: ImageNet's
    fsjax predict --run runs/dc_mini --support few --query many photo.jpg --out labels --reject
    fsjax predict --run runs/dc_mini --support few --query many --implants --shots 5 --seed 1

--support is a folder with a folder for each class, of one or more pictures: few/cat/1.jpg, few/dog/a.png. --query is
pictures to label, or folders of them. Pictures may have any size and be JPEG, PNG, WebP, BMP, GIF, TIFF, PPM or PGM.
Without --run the network is efficientnet_lite0, trained on ImageNet's photographs; --run starter is a small one for
drawings and symbols, and `fsjax networks` lists others. Without --support pictures are labelled as the classes that the
network was trained on, if it has such.

--head says what classifies by the network's features: prototypes (by the run's own rule), centred (cosine to
prototypes, both less the prototypes' mean), ridge or logistic regression, or naive_bayes. "auto" takes the one that
labels the most support pictures rightly, each left out in turn with its copies, and says which. Where the labels are
hardly better than guessing, or than comparing raw pixels, that is said first.

Written to --out are predictions.csv (file, label, probability, runner_up, runner_up_probability, score, rejected,
note; one line per picture, in order) and index.html, which shows each picture with its label, the support pictures
nearest to it, and where the network looked. In the CSV file the name of a class that begins with = + - @ has an
apostrophe in front, which keeps a spreadsheet from running it as a formula.

Probabilities are among the classes given: of a picture of something else they say nothing. --reject calls a picture
"none of these" whose largest similarity to a class (the column score) is below a threshold; without a number it is
chosen on the support pictures, by leaving out each, and each with its class (with --implants, which have seen the
class, its prototype alone). Copies of a picture are left out together.

A picture or a folder that cannot be read is listed, and the exit status is then 3.
"""

import argparse
from pathlib import Path
from typing import Any

from fsjax.cli.arguments import add_head, add_reject, open_run, path_of
from fsjax.errors import UserError

CSV, PAGE = "predictions.csv", "index.html"
_DEFAULT = """\
no --run is given: the labels are by {}, trained on the 1,000 classes of ImageNet, which overlap with
what people photograph. For symbols, logos and drawings --run starter may be better; for other pictures, a network
that was trained on such."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--support", type=path_of, help="folder with a folder of pictures for each class (the network's own classes)"
    )
    parser.add_argument("--query", type=path_of, nargs="+", required=True, help="pictures to label, or folders of them")
    parser.add_argument("--run", help="the workdir of a trained run, or a network by its name (one for photographs)")
    add_head(parser)
    parser.add_argument("--out", type=path_of, default=Path("predictions"), help="folder to write to (predictions)")
    add_reject(parser)
    parser.add_argument("--implants", action="store_true", help="train implants on the support pictures (resnet12)")
    parser.add_argument("--shots", type=int, default=0, help="support pictures of each class, chosen at random (all)")
    parser.add_argument("--seed", type=int, default=0, help="of that choice, and of the implants (0)")
    parser.add_argument("--page-pictures", type=int, default=500, help="pictures on the page, at most (500)")
    parser.add_argument("--max-megapixels", type=float, default=100, help="larger pictures are not read (100)")
    parser.add_argument("--which", choices=("best", "latest"), default="best", help="which checkpoint (best)")
    parser.add_argument("--batch-size", type=int, default=256, help="images through the network at once (256)")


def run(args: argparse.Namespace) -> int:
    """Label, write, and say what was found; 3 if pictures could not be read."""
    if args.page_pictures < 0:
        raise UserError(f"--page-pictures={args.page_pictures} must be 0 or more")
    _check_support(args)
    from fsjax import labelling

    labelling.check_head(args.head, implants=args.implants)
    trained = _open(args)
    print(f"model: {trained!r}")
    with labelling.writable_folder(args.out, (CSV, PAGE)):
        labelled = _labelled(trained, args)
        page = labelling.own_page if args.support is None else labelling.predictions_page
        written = {CSV: labelling.as_csv(labelled), PAGE: page(labelled, most=args.page_pictures)}
        labelling.write_together(args.out, written)
    print(labelled.summary())
    print(f"written: {args.out / CSV} and {args.out / PAGE}")
    return 3 if labelled.left_out else 0


def _labelled(trained: Any, args: argparse.Namespace) -> Any:
    """Labels by the pictures of --support, or by the classes that the network was trained on."""
    from fsjax import labelling

    reading = {"max_megapixels": args.max_megapixels, "batch_size": args.batch_size, "progress": True}
    if args.support is None:
        return labelling.label_own(trained, args.query, **reading)
    return labelling.label(
        trained,
        args.support,
        args.query,
        head=args.head,
        implants=args.implants,
        reject=args.reject,
        shots=args.shots,
        seed=args.seed,
        **reading,
    )


def _check_support(args: argparse.Namespace) -> None:
    """Raise a `UserError` for what is chosen or fitted on labelled pictures, where there are none."""
    if args.support is not None:
        return
    asked = {
        "--head": args.head != "auto",
        "--reject": args.reject is not False,
        "--implants": args.implants,
        "--shots": args.shots != 0,
    }
    for flag, given in asked.items():
        if given:
            raise UserError(f"{flag} is of labelled pictures: give a folder of a few of each class as --support")


def _open(args: argparse.Namespace) -> Any:
    """The run given, or the network for photographs."""
    from fsjax.networks import DEFAULT

    if args.run is None:
        print(_DEFAULT.format(DEFAULT))
    return open_run(args, args.run if args.run is not None else DEFAULT)
