"""Makes tests/vectors/transformers: small networks that `transformers` writes, and what it computes with them.

    python tests/models/transformers_outputs.py tests/vectors/transformers

Made with transformers 5.24.0 and torch 2.13.0 (CPU); neither is needed to run the tests. Weights are random, wide
enough that an error in any layer shows. Each folder is as `save_pretrained` leaves it, and has besides

  preprocessor_config.json: as the hub has for networks of the kind, at a small size;
  outputs.npz: `images_N` float32 `[2, N, M, 3]` and `features_N`, the vectors of the image, of three sizes where the
    original takes them.

`bfloat16` is `dinov2` again in bfloat16, in shards of 2 kB; its features are computed in float32.
"""

import json
import sys
from pathlib import Path

import numpy as np

SHAPE = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4, "image_size": 16}
HALF, MEAN, STD = [0.5] * 3, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CROPPED = {"do_center_crop": True, "crop_size": {"height": 16, "width": 16}, "size": {"shortest_edge": 18},
           "resample": 3, "image_mean": MEAN, "image_std": STD}  # fmt: skip
STRETCHED = {"size": {"height": 16, "width": 16}, "resample": 2, "image_mean": HALF, "image_std": HALF}


def networks():
    """By name: the original with random weights, what it says of pictures, and the output that is the vector."""
    import transformers as t

    def pooled(out):
        return out.pooler_output

    def first(out):
        return out.last_hidden_state[:, 0]

    mlp = {"intermediate_size": 12}
    text = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4, "vocab_size": 5}
    vision = {**SHAPE, **mlp}
    return {
        "dinov2": (t.Dinov2Model(t.Dinov2Config(**SHAPE, mlp_ratio=2)), CROPPED, pooled),
        "dinov2_swiglu": (t.Dinov2Model(t.Dinov2Config(**SHAPE, use_swiglu_ffn=True)), CROPPED, pooled),
        "dinov2_with_registers": (
            t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**SHAPE, mlp_ratio=2)), CROPPED, pooled,
        ),
        "vit": (t.ViTModel(t.ViTConfig(**vision)), STRETCHED, first),
        "vit_classifier": (t.ViTForImageClassification(t.ViTConfig(**vision, hidden_act="gelu_new")), STRETCHED, None),
        "clip_vision_model": (t.CLIPVisionModel(t.CLIPVisionConfig(**vision)), CROPPED, pooled),
        "clip_projected": (
            t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(**vision, projection_dim=6)), CROPPED,
            lambda out: out.image_embeds,
        ),
        "clip": (t.CLIPModel(t.CLIPConfig(vision_config=vision, text_config=text, projection_dim=6)), CROPPED, None),
        "siglip": (t.SiglipModel(t.SiglipConfig(vision_config=vision, text_config=text)), STRETCHED, None),
        "siglip_vision_model": (t.SiglipVisionModel(t.SiglipVisionConfig(**vision)), STRETCHED, pooled),
    }  # fmt: skip


def randomise(model, generator):
    import torch

    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            one = ("norm" in name and name.endswith("weight")) or "lambda1" in name
            p.copy_(1 + 0.3 * noise if one else (0.4 if p.ndim > 1 else 0.2) * noise)


def features(name, model, images, vector):
    import torch

    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    more = {"interpolate_pos_encoding": True} if not name.startswith(("dinov2", "bfloat16")) else {}
    with torch.no_grad():
        if name == "vit_classifier":
            return model.vit(x, **more).last_hidden_state[:, 0].numpy()
        if name in ("clip", "siglip"):
            found = model.get_image_features(x, **more)
            return getattr(found, "pooler_output", found).numpy()
        return vector(model(x, **more)).numpy()


def write(folder, name, model, pictures, vector):
    rng = np.random.default_rng(0)
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures, indent=1) + "\n")
    outputs = {}
    for height, width in ((16, 16), (24, 20), (10, 14)):
        images = rng.normal(size=(2, height, width, 3)).astype(np.float32)
        outputs[f"images_{height}"] = images
        outputs[f"features_{height}"] = features(name, model, images, vector)
    np.savez_compressed(folder / "outputs.npz", **outputs)


def main(target):
    import torch

    generator = torch.Generator().manual_seed(0)
    for name, (model, pictures, vector) in networks().items():
        model = model.eval()
        randomise(model, generator)
        model.save_pretrained(target / name)
        write(target / name, name, model, pictures, vector)
        if name == "dinov2":
            model.bfloat16().save_pretrained(target / "bfloat16", max_shard_size="2KB")
            write(target / "bfloat16", "bfloat16", model.float(), pictures, vector)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
