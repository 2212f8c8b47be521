"""Train a model: `python train.py --config=configs/icu_cifar100.py --workdir=runs/icu`; `fsjax train` from a clone."""

import sys

from fsjax.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
