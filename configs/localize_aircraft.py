"""End-to-end localization (AttNet and AffNet, Hanselmann & Ney) on FGVC-Aircraft.

    python train.py --config=configs/localize_aircraft.py --workdir=runs/localize_aircraft \\
        --config.data.path=/data/fgvc-aircraft-2013b

Table 3, accuracy in %:    ELoPE    setting 1    setting 2 (:setting2)
                            93.5      93.9          94.1

448x448, ResNet-101, 90 epochs of batches of 14, SGD at 0.003, x0.1 every 30 epochs [paper]; momentum 0.9, L2 1e-3,
ELoPE's augmentation, loss and 4-max pooling [ELoPE's released defaults]. Setting 1: an embedding layer of 512; setting
2: the ResNet-C stem, and 1,024.
Weights of ImageNet from the hub (`pip install -e '.[hub]'`); without a network give files:
--config.pretrained.network=resnet101.safetensors --config.pretrained.attnet=resnet50.safetensors. Unlike the paper's,
they have seen all of ImageNet, a few pictures of the test among them. No validation part: the last step is scored.
The folder of the authors (--config.data.path=/data/fgvc-aircraft-2013b); TFDS has no such data set.
Written and tried on random images only: neither the data nor the weights could be had here.
"""

from fsjax.configs.common_localize import fine_grained


def get_config(arg: str = ""):
    """The config; variants: setting2; baseline, no_local, no_end_to_end, no_att_gradient; and smoke, on noise."""
    return fine_grained("localize_aircraft", "aircraft", arg)
