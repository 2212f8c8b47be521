"""benchmarks/accelerator.py: its processes, its table, the networks in PyTorch, and how a trace is read."""

import dataclasses
import json
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import accelerator, accelerator_table, profile_step
from fsjax.benchmarking.flops import products
from fsjax.models import build_model

# Networks in PyTorch

FULL = {  # side, and parameters of the network alone where somebody else has counted them
    "resnet12": (84, 7_996_800),
    "vgg13": (32, None),
    "resnet18_cifar": (32, 11_173_962 - 513 * 10),
    "resnet101": (448, 44_549_160 - 2049 * 1000),
}


@pytest.fixture
def torch_networks():
    pytest.importorskip("torch")
    from benchmarks import torch_networks

    return torch_networks


def ours(name, side, **options):
    """The network, and the shapes of its variables and of an image."""
    model = build_model(name, options=options)
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    return model, jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images), images


@pytest.mark.parametrize("name", FULL)
def test_networks_in_pytorch_are_ours_at_full_size(name, torch_networks):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    side, known = FULL[name]
    model, variables, images = ours(name, side)
    with torch.device("meta"):
        network, theirs = torch_networks.NETWORKS[name](), torch.zeros(1, 3, side, side)
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert sum(p.numel() for p in network.parameters()) == count == (known or count)
    with FlopCounterMode(display=False) as counter:
        shape = network(theirs).shape
    expected = products(lambda v, x: model.apply(v, x, train=False).embedding, variables, images)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)
    embedding = jax.eval_shape(lambda v, x: model.apply(v, x, train=False).embedding, variables, images)
    assert tuple(shape) == embedding.shape


@pytest.mark.parametrize("name", FULL)
def test_networks_in_pytorch_give_our_embeddings(name, torch_networks, jit):
    import torch

    options, side = accelerator.CASES[next(c for c, case in accelerator.CASES.items() if case.model == name)].smoke
    model, shapes, _ = ours(name, side, **options)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: rng.uniform(0.2, 1, x.shape).astype(np.float32) - 0.5 * (x.ndim == 4), shapes)
    images = rng.normal(size=(4, side, side, 3)).astype(np.float32)
    expected, _ = jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))(variables, images)
    network = torch_networks.NETWORKS[name](**options)
    backbone = variables["params"]["backbone"]
    for path, parameter in network.named_parameters():
        *parents, layer, leaf = path.split(".")
        if name == "resnet12":  # blocks.0.conv1.weight, and stage1/conv1/conv/kernel
            parents = [f"stage{int(parents[1]) + 1}", layer.removesuffix("_bn").replace("bn", "conv")]
            layer = "bn" if "bn" in layer else "conv"
        node = backbone
        for part in (*parents, layer):
            node = node[part]
        value = node["kernel"].transpose(3, 2, 0, 1) if layer == "conv" else node[{"weight": "scale"}.get(leaf, leaf)]
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.array(value)))
    with torch.no_grad():
        found = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(found, expected.embedding, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_line_of_pytorch(dtype, torch_networks, capsys, monkeypatch, tmp_path):
    from benchmarks import accelerator_torch

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(accelerator_torch, "PRODUCTS", {"cpu": (64, 1)})
    given = {"model": "vgg13", "side": 8, "classes": 3, "batch": 4, "dtype": dtype, "repeats": 1, "seconds": 0}
    words = [f"--{name}={value}" for name, value in given.items()]
    options = '--options={"widths": [4, 8], "convs": [1, 1]}'
    monkeypatch.setattr("sys.argv", ["x", *words, options, "--flops-per-image=1000", "--eager"])
    accelerator_torch.main()
    line = json.loads(capsys.readouterr().out)
    assert line["images_per_second"] == pytest.approx(4 / line["seconds"])
    assert line["share_of_peak"] == pytest.approx(1000 * line["images_per_second"] / line["matmul_peak"])
    assert (line["dtype"], line["compiled"], line["float32_products"]) == (dtype, False, "float32")


def test_steps_in_pytorch_learn(torch_networks):
    import torch

    torch.manual_seed(0)
    network = torch_networks.NETWORKS["vgg13"](widths=(8, 8), convs=(1, 1))
    model = torch_networks.Classifier(network, 3, "float32")
    images, labels = torch.randn(12, 3, 8, 8), torch.arange(12) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = model(images, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(3), abs=0.7) and losses[-1] < 0.3 * losses[0]


# Processes


@pytest.mark.slow
def test_lines_are_measured_once_and_a_failure_is_a_line(tmp_path, capsys, monkeypatch):
    good = accelerator.CASES["vgg13_32"]
    broken = dataclasses.replace(good, changes=("loss.nam=softmax",))
    monkeypatch.setattr(accelerator, "CASES", {"broken": broken, "vgg13_32": good})
    out = tmp_path / "folder" / "lines.jsonl"
    given = ["--out", str(out), "--smoke", "--dtypes", "float32", "--libraries", "jax", "--backends", "device"]
    assert accelerator.main([*given, "--repeats", "1"]) == 3
    first, second = accelerator_table.read(out)
    assert first["case"] == "broken" and "'nam'" in first["failed"] and "images_per_second" not in first
    assert second["case"] == "vgg13_32" and "failed" not in second and second["library"] == "jax" and second["smoke"]
    assert second["images_per_second"] == pytest.approx(16 / second["seconds"], rel=1e-4)
    assert second["set"]["loss.name"] == "softmax" and second["image"] == [16, 16, 3] and second["devices"] == 1
    printed = capsys.readouterr().out
    assert "| vgg13_32 (smoke) | float32 | 16 | device |" in printed and "- failed: broken, float32" in printed

    def begin(*_, **__):
        raise AssertionError("a process was begun")

    monkeypatch.setattr("subprocess.run", begin)
    assert accelerator.main([*given, "--cases", "vgg13_32"]) == 0
    assert len(accelerator_table.read(out)) == 2
    with pytest.raises(AssertionError, match="begun"):  # what failed is tried again
        accelerator.main([*given, "--cases", "broken"])


def test_what_is_measured_and_in_which_order():
    args = SimpleNamespace(
        dtypes=["bfloat16"], cases=["resnet101_448", "icu_cifar100"], backends=["device", "host"], batch=0, smoke=False,
        profile="folder", libraries=["jax", "torch"],
    )  # fmt: skip
    found = [(x.case, x.library, x.name, x.batch, x.backend) for x in accelerator.wanted(args)]
    one = [("jax", "train", "device"), ("torch", "train", ""), ("jax", "train", "host"), ("jax", "profile", "device")]
    expected = [
        (case, library, name, batch, backend)
        for case, batch in (("resnet101_448", 64), ("resnet101_448", 128), ("icu_cifar100", 128))
        for library, name, backend in one
    ]
    assert found == [x for x in expected if x[:2] != ("icu_cifar100", "torch")]  # its loss is ours alone
    args.batch, args.libraries = 7, ["torch"]
    assert [(x.case, x.batch) for x in accelerator.wanted(args)] == [("resnet101_448", 7)]


def test_each_process_is_given_its_case(tmp_path):
    given = accelerator.Wanted("resnet101_448", "torch", "train", "bfloat16", 64, "")
    args = SimpleNamespace(smoke=False, repeats=5, seconds=1.0, profile=tmp_path)
    lines = [
        {"case": "resnet101_448", "library": "jax", "smoke": True, "flops_per_image": 1.0},
        {"case": "resnet12_84", "library": "jax", "flops_per_image": 2.0},
        {"case": "resnet101_448", "library": "jax", "flops_per_image": 123.0},
    ]
    words = accelerator.command(given, args, lines)
    assert {"--flops-per-image=123.0", "--side=448", "--classes=20", "--dtype=bfloat16", "--batch=64"} <= {*words}
    assert not any("flops" in word for word in accelerator.command(given, args, lines[:2]))
    one = dataclasses.replace(given, library="jax", backend="host")
    words = accelerator.command(one, args, lines)
    assert words[2:5] == ["fsjax", "bench", "train"] and "--synthetic=448x448x3:20" in words
    profile = accelerator.command(dataclasses.replace(one, name="profile"), args, lines)
    assert profile[2] == "benchmarks.profile_step" and profile[3:-1] == words[5:-2]
    assert profile[-1] == f"--trace={tmp_path / 'resnet101_448-bfloat16-host-64'}"


def test_nothing_is_begun_that_may_not_end(tmp_path, capsys, monkeypatch):
    def measure(one, args, lines):
        return {**dataclasses.asdict(one), "failed": "tried", "process_seconds": 1e6}

    monkeypatch.setattr(accelerator, "measure", measure)
    given = ["--out", str(tmp_path / "x.jsonl"), "--dtypes", "bfloat16", "--cases", "vgg13_32", "--libraries", "jax"]
    assert accelerator.main([*given, "--seconds-left", "1000"]) == 3
    assert "1 remain, call again for them: vgg13_32, jax, bfloat16, host, batch 512" in capsys.readouterr().err
    assert len(accelerator_table.read(tmp_path / "x.jsonl")) == 1


def test_a_process_that_outlasts_its_time_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerator, "command", lambda *_: ["sleep", "60"])
    one = accelerator.Wanted("vgg13_32", "jax", "train", "float32", 16, "host")
    args = SimpleNamespace(deadline=time.monotonic(), seconds_left=0.0, smoke=False)
    assert "ended after 1 seconds" in accelerator.measure(one, args, [])["failed"]


def test_last_words():
    oom = "Traceback\n  File x\njax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory\n-----\nFor simplicity,\n"
    assert accelerator.last_words(oom) == "jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory"
    assert accelerator.last_words("one\n\nPyTorch is not here\n") == "PyTorch is not here"
    assert accelerator.last_words(" \n") == ""


@pytest.mark.parametrize("words", [["--cases", "resnet"], ["--dtypes", "float16"], ["--backends", ""]])
def test_what_cannot_be_asked_for(words, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        accelerator.main(["--out", str(tmp_path / "x"), *words])
    assert ended.value.code == 2 and "is none of" in capsys.readouterr().err


# The table


def test_table_by_hand(tmp_path, capsys):
    shared = {"case": "icu_cifar100", "dtype": "bfloat16", "batch": 128, "name": "train", "device": "H100"}
    mine = {
        **shared, "library": "jax", "backend": "device", "images_per_second": 30_000.0, "flops_per_image": 1e9,
        "fed_images_per_second": 25_600.0, "matmul_peak": 1e14, "peak_bytes": 3 * 2**30, "program_bytes": 2**30,
    }  # fmt: skip
    theirs = {
        **shared, "library": "torch", "backend": "", "images_per_second": 20_000.0, "matmul_peak": 8e13,
        "peak_bytes": 2**29, "compiled": False,
    }  # fmt: skip
    older = {**mine, "images_per_second": 1.0}
    fails = {**shared, "library": "jax", "backend": "host", "failed": "no TensorFlow"}
    then_works = [{**theirs, "failed": "?"}, theirs]
    smoke = {**mine, "smoke": True}
    alone = {**theirs, "case": "vgg13_32", "compiled": True, "batch": 512}
    profile = {
        **shared, "library": "jax", "backend": "device", "name": "profile", "step_ms": 4.0, "idle_ms": 1.0,
        "kinds": {"convolution, matrix product": 3.0, "collective": 0.0}, "longest": [],
    }  # fmt: skip
    out = tmp_path / "x.jsonl"
    out.write_text("".join(json.dumps(x) + "\n" for x in (older, *then_works, mine, fails, smoke, alone, profile)))
    assert accelerator.main(["--out", str(out), "--table"]) == 0
    rows = capsys.readouterr().out.strip().splitlines()
    # 1e9 x 30,000 of 1e14 is 30 %; of PyTorch 1e9 x 20,000 of 8e13, 25 %.
    assert rows[2] == (
        "| icu_cifar100 | bfloat16 | 128 | device | 30,000 | 30.0% | 25,600 | 3,072 MiB "
        "| 20,000 (not compiled) | 25.0% | 512 MiB | 1.50 | H100 |"
    )
    assert rows[3].startswith("| icu_cifar100 (smoke) |") and rows[3].endswith("|  |  |  |  | H100 |")
    assert rows[4] == "| vgg13_32 | bfloat16 | 512 |  |  |  |  |  | 20,000 |  | 512 MiB |  | H100 |"
    # 15.36 million images at 25,600 a second are 10 minutes.
    assert "icu_cifar100, bfloat16, batch 128, device: 15,360,000 images in 10.0 minutes" in rows[6]
    assert sum("recipe" in row for row in rows) == 1
    assert "| convolution, matrix product | 3.000 | 75.0% |" in rows and "| idle | 1.000 | 25.0% |" in rows
    assert rows[-1] == "- failed: icu_cifar100, bfloat16, batch 128, host, jax: no TensorFlow"
    assert sum("- failed" in row for row in rows) == 1 and not any("collective" in row for row in rows)


# Profiles

PROGRAM = """HloModule jit_step, is_scheduled=true

%fused_conv (p.0: f32[8,8], p.1: f32[8]) -> f32[8,8] {
  %p.0 = f32[8,8]{1,0} parameter(0)
  %convolution.9 = f32[8,8]{1,0} convolution(%p.0, %p.0), window={size=3x3}, metadata={op_name="jit(step)/stem/conv"}
  ROOT %add.9 = f32[8,8]{1,0} add(%convolution.9, %p.0)
}

%add_region (a: f32[], b: f32[]) -> f32[] {
  ROOT %add.8 = f32[] add(%a, %b)
}

%fused_mean (p.2: f32[8,8]) -> f32[8] {
  %multiply.7 = f32[8,8]{1,0} multiply(%p.2, %p.2)
  ROOT %reduce.7 = f32[8]{0} reduce(%multiply.7, %c), dimensions={0}, to_apply=%add_region
}

%moved (p.3: f32[8,8]) -> f32[8,8] {
  %bitcast.1 = f32[8,8]{1,0} bitcast(%p.3)
  ROOT %transpose.1 = f32[8,8]{0,1} transpose(%bitcast.1), dimensions={1,0}
}

ENTRY %main (x: f32[8,8]) -> (f32[8,8], f32[]) {
  %loop_fusion.1 = f32[8,8]{1,0} fusion(%x), kind=kLoop, calls=%moved
  %input_reduce_fusion = (f32[8]{0}, /*index=1*/f32[8]{0}) fusion(%x), kind=kInput, calls=%fused_mean
  %fusion.3 = f32[8,8]{1,0} fusion(%x), kind=kCustom, calls=%fused_conv
  %cudnn-conv.4 = (bf16[8]{0}, u8[0]{0}) custom-call(%x), custom_call_target="__cudnn$convBackwardFilter"
  %custom-call.5 = (bf16[8]{0}, s8[9]{0}) custom-call(%x), custom_call_target="__cublas$lt$matmul"
  %norm.6 = f32[8]{0} custom-call(%x), custom_call_target="__cudnn$norm"
  %loop_multiply_fusion.2 = f32[8,8]{1,0} multiply(%x, %x), metadata={op_name="jit(step)/jvp()/block/bn/mul"}
  %all-reduce-start = f32[8]{0} all-reduce-start(%norm.6), to_apply=%add_region
  %while.3 = (f32[8]{0}) while(%x), condition=%c, body=%b
  ROOT %tuple = (f32[8,8]{1,0}, f32[]) tuple(%x, %x)
}
"""


def test_kinds_of_a_program():
    known = profile_step.kinds_of(PROGRAM)
    kinds = {name: kind for name, (kind, _) in known.items()}
    assert kinds["fusion.3"] == kinds["cudnn-conv.4"] == kinds["custom-call.5"] == profile_step.PRODUCT
    assert kinds["input_reduce_fusion"] == profile_step.REDUCTION
    assert kinds["loop_fusion.1"] == profile_step.COPY
    assert kinds["loop_multiply_fusion.2"] == profile_step.ELEMENTWISE
    assert kinds["all-reduce-start"] == profile_step.COLLECTIVE
    assert kinds["norm.6"] == profile_step.OTHER
    assert known["fusion.3"][1] == "stem/conv" and known["loop_multiply_fusion.2"][1] == "block/bn/mul"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64", profile_step.PRODUCT),
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NNT", profile_step.PRODUCT),
        ("void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu>(Params)", profile_step.PRODUCT),
        ("gemm_fusion_dot_12", profile_step.PRODUCT),
        ("void cudnn::ops::nhwcToNchwKernel<float, float, true>(cudnnTensorStruct)", profile_step.COPY),
        ("MemcpyD2D", profile_step.COPY),
        ("input_reduce_fusion_7", profile_step.REDUCTION),
        ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)", profile_step.COLLECTIVE),
        ("loop_select_fusion", profile_step.OTHER),
    ],
)
def test_kinds_of_kernels(name, kind):
    assert profile_step.kind_of_name(name) == kind


def event(name, start, duration, **stats):
    return SimpleNamespace(name=name, start_ns=start * 1e6, duration_ns=duration * 1e6, stats=stats.items())


def plane(name, **lines):
    named = [SimpleNamespace(name=key, events=events) for key, events in lines.items()]
    return SimpleNamespace(name=name, lines=named)


def test_time_on_a_gpu_by_hand():
    """Two steps: a convolution of 4 ms, beside it on another stream 2 ms of copies, and 1 ms with nothing."""
    planes = [
        plane("/host:CPU", python=[event("fusion.3", 0, 90, hlo_op="fusion.3")]),
        plane("/device:GPU:1", **{"Stream #7(Kernel)": [event("MemcpyD2D", 0, 50)]}),
        plane(
            "/device:GPU:0",
            **{
                "Stream #7(Kernel)": [
                    event("sm90_xmma_dgrad", 10, 4, hlo_op="fusion.3"),
                    event("loop_multiply_fusion_2", 15, 1),  # without hlo_op: by its kernel's name
                    event("sm90_xmma_dgrad", 16, 4, hlo_op="fusion.3"),
                ],
                "Stream #8(MemcpyD2D)": [event("MemcpyD2D", 11, 2), event("MemoryResidency", 12, 0)],
                "XLA Ops": [event("fusion.3", 10, 4, hlo_op="fusion.3")],
            },
        ),
    ]
    found = profile_step.where_it_goes(profile_step.events_of(planes), PROGRAM, steps=2)
    assert found["step_ms"] == pytest.approx(5) and found["idle_ms"] == pytest.approx(0.5)
    kinds = {name: ms for name, ms in found["kinds"].items() if ms}
    assert kinds == pytest.approx({profile_step.PRODUCT: 4, profile_step.ELEMENTWISE: 0.5, profile_step.COPY: 1})
    first = found["longest"][0]
    assert first == {"operation": "fusion.3", "kind": profile_step.PRODUCT, "place": "stem/conv", "ms": 4, "times": 1}
    assert [one["operation"] for one in found["longest"]] == ["fusion.3", "MemcpyD2D", "loop_multiply_fusion_2"]


def test_time_on_a_cpu_by_hand():
    """What one thread begins and another ends lasts until then; a loop is what is in it."""
    planes = [
        plane(
            "/host:CPU",
            a=[
                event("while.3", 0, 10, hlo_op="while.3", _p=5),
                event("fusion.3", 1, 0.5, hlo_op="fusion.3", _p=6),
                event("loop_fusion.1", 6, 2, hlo_op="loop_fusion.1", _p=7),
                event("ThunkExecutor::Execute", 0, 20),
            ],
            b=[event("end: fusion.3", 5, 0.1, _c=6), event("end: loop_fusion.1", 8, 0.1, _c=7)],
        )
    ]
    found = profile_step.where_it_goes(profile_step.events_of(planes), PROGRAM, steps=1)
    kinds = {name: ms for name, ms in found["kinds"].items() if ms}
    assert kinds == pytest.approx({profile_step.PRODUCT: 4, profile_step.COPY: 2})
    assert found["step_ms"] == pytest.approx(7) and found["idle_ms"] == pytest.approx(1)


@pytest.mark.slow
def test_a_trace_of_a_step(root, tmp_path, capsys, monkeypatch):
    """A trace of a real step: its convolutions are found, each as often as there are steps."""
    words = [
        "--config", f"{root}/configs/icu_digits.py", "--synthetic", "8x8x1:5", "--batch", "16", "--backend", "device",
        "--set", "model.cnn.stages=((4,),(6,))", "--set", "model.cnn.dim=3", "--steps", "2", "--trace", str(tmp_path),
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["profile_step", *words])
    profile_step.main()
    printed = capsys.readouterr().out
    line = json.loads(printed.splitlines()[0])
    assert line["steps"] == 2 and line["batch"] == 16 and line["name"] == "profile"
    assert 0 < line["kinds"][profile_step.PRODUCT] and 0 <= line["idle_ms"] < line["step_ms"]
    assert sum(line["kinds"].values()) >= 0.99 * (line["step_ms"] - line["idle_ms"])
    assert "| convolution, matrix product |" in printed and "| idle |" in printed
    assert len(list(tmp_path.rglob("*.xplane.pb"))) == 1
    assert all(one["times"] >= 0.5 for one in line["longest"])
