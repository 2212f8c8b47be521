"""Train a model: `python train.py --config=configs/icu_cifar100.py --workdir=runs/icu`."""

from pathlib import Path

from fsjax.training import flags, run

if __name__ == "__main__":
    flags.main(run, default_config=Path(__file__).parent / "configs" / "icu_digits.py")
