"""Vision transformers by Hugging Face's config.json: the network is told from it, never from shapes.

A key that asks for something that is not here is refused by its name. Names of arrays are those of the files that
`save_pretrained` of transformers 4 and 5 writes.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from fsjax.errors import UserError, unknown
from fsjax.models.vision_transformer import ACTIVATIONS, VitShape

Config = Mapping[str, Any]

_DINOV2 = {
    "class_token": "embeddings.cls_token",
    "positions": "embeddings.position_embeddings",
    "registers": "embeddings.register_tokens",
    "patch": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "block": "encoder.layer.{}",
    "norm1": "norm1",
    "norm2": "norm2",
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "out": "attention.output.dense",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "gate": ("mlp.weights_in", 0, 2),
    "up": ("mlp.weights_in", 1, 2),
    "down": "mlp.weights_out",
    "scale1": "layer_scale1.lambda1",
    "scale2": "layer_scale2.lambda1",
}
_VIT = _DINOV2 | {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
}
_CLIP = {
    "class_token": "embeddings.class_embedding",
    "positions": "embeddings.position_embedding.weight",
    "patch": "embeddings.patch_embedding",
    "pre_norm": "pre_layrnorm",  # misspelt in all files
    "norm": "post_layernorm",
    "block": "encoder.layers.{}",
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.out_proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "pool": "head",
    "pool.query": ("attention.in_proj_", 0, 3),
    "pool.key": ("attention.in_proj_", 1, 3),
    "pool.value": ("attention.in_proj_", 2, 3),
    "pool.out": "attention.out_proj",
    "pool.norm": "layernorm",
    "probe": "head.probe",
    "projection": "visual_projection",  # beside the tower, not in it
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A network of a config.json.

    Attributes:
      kind: its `model_type`.
      shape: of the network.
      image_size: side of the images in training.
      any_size: whether the original takes images of other sizes without being asked to.
      names: of the layers by ours.
      root: what stands before the names of this network's arrays in a file of a larger one: "vision_model.".
      others: what of such a file is passed over, as a pattern of names.
    """

    kind: str
    shape: VitShape
    image_size: int
    any_size: bool
    names: Mapping[str, Any]
    root: str
    others: str


def layout_of(config: Config, source: str) -> Layout:
    """The network that a config.json describes.

    Args:
      config: its content.
      source: what messages call it.

    Raises:
      UserError: for a kind of network that is not here, and keys that are missing or ask for what is not here.
    """
    kind = config.get("model_type")
    if kind not in KINDS:
        raise unknown(f"model_type of {source}", kind, KINDS)
    return KINDS[str(kind)](_Reader(config, source))


class _Reader:
    """Keys of a config.json; a value that is not what is here is refused by the key's name."""

    def __init__(self, config: Config, source: str) -> None:
        self.config, self.source = config, source

    def inner(self, key: str) -> "_Reader":
        """The object at a key."""
        found = self.config.get(key)
        if not isinstance(found, Mapping):
            raise UserError(f"{self.source}: {key} must be an object, not {found!r}")
        return _Reader(found, self.source)

    def number(self, key: str, default: int | float | None = None) -> Any:
        """A number above 0."""
        value = self.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise UserError(f"{self.source}: {key}={value!r} must be a number above 0")
        return value

    def count(self, key: str, default: int | None = None) -> int:
        """A whole number above 0."""
        value = self.number(key, default)
        if int(value) != value:
            raise UserError(f"{self.source}: {key}={value!r} must be a whole number")
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or False."""
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise UserError(f"{self.source}: {key}={value!r} must be true or false")
        return value

    def only(self, **here: Any) -> None:
        """Refuse other values of these keys than those that are here, which are the defaults too."""
        for key, value in here.items():
            if self.config.get(key, value) != value:
                raise UserError(f"{self.source}: {key}={self.config[key]!r} is not here; only {key}={value!r} is")

    def activation(self, default: str) -> str:
        """The key of `ACTIVATIONS`."""
        name = self.config.get("hidden_act", default)
        if name not in ACTIVATIONS:
            raise unknown(f"hidden_act of {self.source}", name, ACTIVATIONS)
        return str(name)

    def architecture(self, default: str) -> str:
        """The first of `architectures`."""
        found = self.config.get("architectures") or [default]
        return str(found[0] if isinstance(found, list) else found)

    def basis(self, *, patch: int, image_size: int, epsilon: float, activation: str, **more: Any) -> dict[str, Any]:
        """What all kinds have: fields of `VitShape`, by the defaults of `transformers`."""
        self.only(num_channels=3)
        patch, size = self.count("patch_size", patch), self.count("image_size", image_size)
        width, heads = self.count("hidden_size", 768), self.count("num_attention_heads", 12)
        if size < patch:
            raise UserError(f"{self.source}: image_size={size} is smaller than patch_size={patch}")
        if width % heads:
            raise UserError(f"{self.source}: hidden_size={width} is no multiple of num_attention_heads={heads}")
        return {
            "grid": size // patch,
            "patch": patch,
            "width": width,
            "heads": heads,
            "depth": self.count("num_hidden_layers", 12),
            "epsilon": float(self.number("layer_norm_eps", epsilon)),
            "activation": self.activation(activation),
            **more,
        }


def _dinov2(read: _Reader) -> Layout:
    """DINOv2 (Oquab et al. 2024), also with registers; the vector is the normalised class token."""
    read.only(apply_layernorm=True)
    registers = read.config["model_type"] == "dinov2_with_registers"
    gated = read.flag("use_swiglu_ffn", False)
    basis = read.basis(patch=14 if not registers else 16, image_size=224, epsilon=1e-6, activation="gelu")
    hidden = int(basis["width"] * read.number("mlp_ratio", 4))
    shape = VitShape(
        **basis,
        hidden=(int(hidden * 2 / 3) + 7) // 8 * 8 if gated else hidden,
        gated=gated,
        layer_scale=True,
        registers=read.count("num_register_tokens", 4) if registers else 0,
        qkv_bias=read.flag("qkv_bias", True),
        antialias=registers,
    )
    return _layout(read, shape, any_size=True, names=_DINOV2, others=r"embeddings\.mask_token|classifier\..*")


def _vit(read: _Reader) -> Layout:
    """ViT (Dosovitskiy et al. 2021); the vector is the normalised class token; a pooler is passed over."""
    basis = read.basis(patch=16, image_size=224, epsilon=1e-12, activation="gelu")
    shape = VitShape(**basis, hidden=read.count("intermediate_size", 3072), qkv_bias=read.flag("qkv_bias", True))
    others = r"embeddings\.mask_token|pooler\..*|classifier\..*"
    return _layout(read, shape, any_size=False, names=_VIT, others=others)


def _clip(read: _Reader) -> Layout:
    """CLIP's vision tower (Radford et al. 2021); projected where the architecture has that layer."""
    whole = read.config["model_type"] == "clip"
    vision = read.inner("vision_config") if whole else read
    name = read.architecture("CLIPModel" if whole else "CLIPVisionModel")
    known = ("CLIPModel", "CLIPVisionModel", "CLIPVisionModelWithProjection")
    if name not in known:
        raise unknown(f"architecture of {read.source}", name, known)
    shape = VitShape(
        **vision.basis(patch=32, image_size=224, epsilon=1e-5, activation="quick_gelu"),
        hidden=vision.count("intermediate_size", 3072),
        pre_norm=True,
        post_norm="pooled",
        patch_bias=False,
        projection=read.count("projection_dim", 512) if name != "CLIPVisionModel" else 0,
    )
    others = r"(embeddings\.)?position_ids|embeddings\.position_ids|text_model\..*|text_projection\..*|logit_scale"
    if name == "CLIPVisionModel":
        others += r"|visual_projection\..*"
    return _layout(read, shape, any_size=False, names=_CLIP, others=others)


def _siglip(read: _Reader) -> Layout:
    """The vision tower of SigLIP (Zhai et al. 2023), and of SigLIP 2 at fixed sizes."""
    vision = read.inner("vision_config") if read.config["model_type"] == "siglip" else read
    vision.only(vision_use_head=True)
    shape = VitShape(
        **vision.basis(patch=16, image_size=224, epsilon=1e-6, activation="gelu_pytorch_tanh"),
        hidden=vision.count("intermediate_size", 3072),
        class_token=False,
        pool="attention",
    )
    others = r"embeddings\.position_ids|text_model\..*|logit_scale|logit_bias|classifier\..*"
    return _layout(read, shape, any_size=False, names=_CLIP, others=others)


def _layout(read: _Reader, shape: VitShape, *, any_size: bool, names: Mapping[str, Any], others: str) -> Layout:
    kind = str(read.config["model_type"])
    root = {"dinov2": "dinov2.", "dinov2_with_registers": "dinov2_with_registers.", "vit": "vit."}
    size = (read.config.get("vision_config") or read.config).get("image_size", 224)
    return Layout(
        kind=kind,
        shape=shape,
        image_size=int(size),
        any_size=any_size,
        names=names,
        root=root.get(kind, "vision_model."),
        others=others,
    )


KINDS: dict[str, Callable[[_Reader], Layout]] = {
    "dinov2": _dinov2,
    "dinov2_with_registers": _dinov2,
    "vit": _vit,
    "clip": _clip,
    "clip_vision_model": _clip,
    "siglip": _siglip,
    "siglip_vision_model": _siglip,
}
