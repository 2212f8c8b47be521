"""End-to-end localization (AttNet and AffNet, Hanselmann & Ney) on CUB-200-2011.

    python train.py --config=configs/localize_cub.py --workdir=runs/localize_cub

Table 3, accuracy in %:    ELoPE    setting 1    setting 2 (:setting2)
                            88.5      88.5          88.9

Table 2, CUB-200-2011, setting 1, accuracy in %:
  the whole image                     (:baseline)          87.0
  no local supervision                (:no_local)          86.9
  no end-to-end                       (:no_end_to_end)     88.1
  no gradient from AffNet to AttNet   (:no_att_gradient)   88.4
  end-to-end                                               88.5

448x448, ResNet-101, 90 epochs of batches of 14, SGD at 0.003, x0.1 every 30 epochs [paper]; momentum 0.9, L2 1e-3,
ELoPE's augmentation, loss and 4-max pooling [ELoPE's released defaults]. Setting 1: an embedding layer of 512; setting
2: the ResNet-C stem, and 1,024.
Weights of ImageNet from the hub (`pip install -e '.[hub]'`); without a network give files:
--config.pretrained.network=resnet101.safetensors --config.pretrained.attnet=resnet50.safetensors. Unlike the paper's,
they have seen all of ImageNet, a few pictures of the test among them. No validation part: the last step is scored.
TFDS's caltech_birds2011, or, with --config.data.name=cub --config.data.path=/data/CUB_200_2011, the folder that the
authors hand out.
Written and tried on random images only: neither the data nor the weights could be had here.
"""

from fsjax.configs.common_localize import fine_grained


def get_config(arg: str = ""):
    """The config; variants: setting2; baseline, no_local, no_end_to_end, no_att_gradient; and smoke, on noise."""
    return fine_grained("localize_cub", "caltech_birds2011", arg)
