"""A run as a folder that classifies pictures with jax alone, without fsjax.

    fsjax export runs/icu_digits --out digits_export
    fsjax export runs/proto_tiny --support ~/birds --out birds_export --reject
    fsjax export runs/implants_fc100 --support ~/birds --implants --out birds_export
    fsjax export runs/dc_mini --no-classes --platforms cpu --out encoder_export
    python birds_export photo.jpg

The folder holds the network as StableHLO, for any number of images at once and for several platforms, its weights, the
classes, export.json with the facts, and the package `exported`, which reads all that. It needs jax, flatbuffers and
NumPy, and pillow to open picture files. In Python, with that folder on the path: `model = exported.load();
model.predict(images)`.

Classes are those of --support, a folder of class folders, scored by the --head that `fsjax predict` takes. With
"prototypes" and "centred" they are the means of their pictures' features, to which `add_class` and `add_pictures` add
without training; the other heads are fitted on all classes together. Without --support they are the run's own, if it
has learned such: of a cosine classifier their weights, beside which others can be added; of any other loss they
are scored by its own rule, which knows no others. --no-classes leaves them out: add some before you predict.

With --support it says the same labels and probabilities as `fsjax predict` with the same pictures: the temperature that
was fitted on them goes along, and with --reject the threshold, below which a picture is "none of these".

The export is compared with the run before it is written. It stays readable for jaxlib releases of up to six months
after yours, and three weeks before it: so much jax promises. `help(exported)` tells more.
"""

import argparse

from fsjax.cli.arguments import add_head, add_reject, open_run, path_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("run", help="the workdir of a trained run, or the name of a network (see fsjax networks)")
    parser.add_argument(
        "--out", type=path_of, required=True, metavar="FOLDER", help="new, empty, or an export to replace"
    )
    parser.add_argument("--which", choices=("best", "latest"), default="best", help="which checkpoint (best)")
    parser.add_argument("--support", type=path_of, metavar="DIR", help="a folder of pictures for each class")
    add_reject(parser)
    parser.add_argument(
        "--implants", action="store_true", help="train implants on --support first, for these classes (resnet12)"
    )
    add_head(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the implants (0)")
    parser.add_argument("--no-classes", action="store_true", help="leave out the run's own classes")
    parser.add_argument(
        "--platforms", nargs="+", default=["cpu", "cuda", "tpu"], metavar="NAME", help="of cpu, cuda, rocm and tpu"
    )
    parser.add_argument(
        "--dtype", choices=("float32",), default="", help="compute in it, whatever the run was trained in"
    )
    parser.add_argument("--batch-size", type=int, default=256, help="images through the network at once, here (256)")


def run(args: argparse.Namespace) -> int:
    """Export, and say what was written; 3 if pictures of --support cannot be read and were left out."""
    run = open_run(args, args.run)
    from fsjax.export import export
    from fsjax.labelling.heads import LINEAR

    report = export(
        run,
        args.out,
        support=args.support,
        implants=args.implants,
        reject=args.reject,
        seed=args.seed,
        with_classes=not args.no_classes,
        platforms=args.platforms,
        dtype=args.dtype,
        batch_size=args.batch_size,
        head=args.head,
    )
    if report.doubt:
        print(f"warning: {report.doubt}")
    for name, size in report.sizes.items():
        print(f"{size:>12,} bytes  {name}")
    count = len(report.classes)
    words = f"{count} class{'es' * (count != 1)}" if count else "no classes yet"
    rule = ", others can be added"
    if report.head in LINEAR:
        rule = ", none can be added: others go with --head prototypes"
    by = {"loss": ", by the rule of the run's loss: none can be added", "rule": rule}
    print(f"{report.folder}: step {run.step} of {args.run}, {words}{by[report.scored_by]}")
    if args.support is not None:
        print(f"head: {report.head}")
    if report.threshold is not None:
        print(f"none of these: below {report.threshold}")
    if report.difference is None:
        print("not compared with the run: this machine is none of these platforms")
    else:
        print(f"compared with the run on random images: outputs differ by {report.difference:.1e} of the largest")
    if report.classes:
        print(f"try: python {args.out} photo.jpg")
    for line in report.unreadable:
        print(f"left out, as it cannot be read: {line}")
    return 3 if report.unreadable else 0
