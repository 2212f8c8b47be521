"""`fsjax bench`: what its lines say, its counts of operations against counts by hand, its table, its refusals."""

import itertools
import json
import textwrap
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.benchmarking import BENCHMARKS, Case, pipeline, table, timing
from fsjax.benchmarking.flops import compiled_facts, products
from fsjax.benchmarking.timing import in_turns
from fsjax.benchmarking.train import measure_feeding
from fsjax.cli import main
from fsjax.config_file import load_config
from fsjax.data import StreamExamples, load_splits
from fsjax.models import build_model

QUICK = ("--seconds", "0", "--repeats", "1")
COMMON = {"name", "config", "model", "dtype", "seconds", "seconds_range", "device", "jax", "flax", "date"}


@pytest.fixture
def bench(root, capsys):
    """Run the command on a small config; its lines."""

    def call(*args, config="icu_digits", expect=0):
        options = ("--config", f"{root}/configs/{config}.py", *QUICK) if config else ()
        status = main(["bench", *options, *args])
        out = capsys.readouterr()
        assert status == expect, out.err
        lines = [json.loads(line) for line in out.out.splitlines() if line.startswith("{")]
        return lines if expect == 0 else out.err

    return call


SMALL = ("--synthetic", "8x8x1:5", "--set", "model.cnn.stages=((4,),(6,))", "--set", "model.cnn.dim=3", "--batch", "16")
FEW_SHOT = (
    "--synthetic", "16x16x3:30", "--set", "model.resnet12.widths=(4,6)", "--set", "few_shot.tasks=20", "--set",
    "method.implants.steps=3", "--set", "train.batch_size=16", "--set", "eval.batch_size=16",
)  # fmt: skip


def forward_flops(image, stages):
    """Of 3x3 convolutions at a size that halves after each stage."""
    side, _, channels = image
    total = []
    for width in stages:
        total.append(2 * side * side * 9 * channels * width)
        side, channels = side // 2, width
    return total


def test_lines_of_a_classifier(bench, tmp_path):
    out = tmp_path / "results.jsonl"
    lines = bench(
        "train", "input", "evaluate", "restore", *SMALL, "--set", "loss.name=softmax", "--set", "model.cnn.pool=gap",
        "--set", "model.cnn.dim=None", "--set", "train.accumulate=2", "--set", "eval.batch_size=32", "--out", str(out),
    )  # fmt: skip
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines
    assert [(x["name"], x["backend"]) for x in lines] == [
        ("train", "host"), ("input", "host"), ("input", "device"), ("evaluate", "host"), ("restore", "host"),
    ]  # fmt: skip
    train, _, device, evaluate, restore = lines
    for line in lines:
        assert COMMON <= line.keys()
        assert line["seconds"] > 0 and line["seconds_range"][0] <= line["seconds"] <= line["seconds_range"][1]
        assert line["image"] == [8, 8, 1] and line["model"] == "cnn"
    for line in lines[:4]:
        assert line["images_per_second"] == pytest.approx(
            line.get("images", 16) / line["seconds"], rel=1e-4
        )  # an optimizer step has 16 images, in two parts
    assert device["cpu_seconds_per_image"] > 0
    first, second = forward_flops((8, 8, 1), (4, 6))
    head = 2 * 6 * 5
    # Backward by kernels and inputs, but not by the images; of the head's logits once more for the accuracy.
    assert train["flops_per_image"] == pytest.approx(2 * first + 3 * second + 3 * head, abs=head + 1)
    assert evaluate["flops_per_image"] == first + second
    assert evaluate["images"] == 24 * 5
    assert train["compiled_flops"] > 0.5 * train["flops"]
    assert train["executed_flops"] == train["flops"]
    assert train["program_bytes"] >= train["temporary_bytes"] > 0
    assert train["fed_images_per_second"] > 0 and train["host_share"] < 1
    assert 0 < train["share_of_peak"] < 1 and train["matmul_peak"] > 1e8
    # Convolutions, normalisations and the linear classifier, in float32; running mean and variance.
    weights = 9 * 4 + 9 * 4 * 6 + 2 * (4 + 6) + (6 * 5 + 5)
    assert restore["bytes"] == 4 * (weights + 2 * (4 + 6))


def test_lines_of_few_shot_tasks_and_implants(bench):
    embed, tasks, implants = bench("evaluate", "implants", *FEW_SHOT, config="implants_tiny")
    assert (embed["part"], tasks["part"]) == ("embed", "tasks")
    assert tasks["tasks_per_second"] == pytest.approx(20 / tasks["seconds"], rel=1e-4)
    assert implants["tasks_per_second"] == pytest.approx(32 / implants["seconds"], rel=1e-4)
    # 6 of 30 classes are novel, with all their images: those of a task of 10 shots and 30 queries, twice, and 24.
    assert embed["images"] == 6 * (40 + 40 + 24)
    maps = sum(
        2 * side**2 * (9 * (before + 2 * width) + before) * width for side, before, width in ((16, 3, 4), (8, 4, 6))
    )
    assert embed["flops_per_image"] == maps
    # One task: at 8x8, of what the frozen block computes (inputs 4, activations 6 and 6) and of the implants (16 and
    # 16), forward by 25 support images 3 times and twice more, for the last moments and the maps, and by 150 queries
    # once; backward by the kernels, and by the inputs of the last two layers where they are implants. The loss besides.
    frozen, own = 9 * (4 + 6 + 6), 9 * (16 + 16)
    layer = 2 * 8 * 8 * 16
    forward, backward = layer * (frozen + own), layer * (frozen + 2 * own)
    expected = 25 * (3 * (forward + backward) + 2 * forward) + 150 * forward
    assert expected <= implants["flops_per_task"] < 1.001 * expected


@pytest.mark.slow
def test_device_backend_runs_where_only_the_core_packages_are(python, root):
    """No TensorFlow, no drawing, no scikit-learn: what is not installed on a bare GPU machine is hidden here."""
    code = f"""
        import sys, importlib.abc
        HIDDEN = {{"tensorflow", "tensorflow_datasets", "tensorboardX", "tqdm", "matplotlib", "sklearn", "PIL",
                  "safetensors", "importlib_resources", "huggingface_hub"}}
        class Hide(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in HIDDEN:
                    raise ModuleNotFoundError(f"hidden: {{name}}")
        sys.meta_path.insert(0, Hide())
        from fsjax.cli import main
        config = ["--config", "{root}/configs/icu_digits.py", "--synthetic", "8x8x1:5", "--set", "data.cache=off"]
        config += ["--set", "model.cnn.stages=((4,),)", "--set", "model.cnn.dim=3", "--batch", "16"]
        sys.exit(main(["bench", "train", "--backend", "device", "--seconds", "0", "--repeats", "1", *config]))
    """
    result = python("-c", textwrap.dedent(code))
    (line,) = [json.loads(text) for text in result.stdout.splitlines()]
    assert (line["name"], line["backend"]) == ("train", "device")


def test_choices_multiply(bench, monkeypatch):
    """Every model with every dtype and batch; nothing is measured here."""
    seen = []

    def look(case):
        model, train = case.config.model, case.config.train
        seen.append((model.name, model.dtype, train.batch_size, model.remat, tuple(model.cnn.stages)))
        return iter(())

    monkeypatch.setitem(BENCHMARKS, "train", look)
    bench(
        "train", "--synthetic", "8x8x1:5", "--model", "cnn,vgg13", "--dtype", "float32,bfloat16", "--batch", "16,32",
        "--set", "model.remat=True", "--set", "config.model.cnn.stages=((4,),)",
    )  # fmt: skip
    assert seen == [
        (model, dtype, batch, True, ((4,),))
        for model in ("cnn", "vgg13") for dtype in ("float32", "bfloat16") for batch in (16, 32)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "config", "words"),
    [
        (("trian",), "icu_digits", "unknown benchmark 'trian'; known: evaluate, implants, input, restore, train"),
        (("train",), None, "give the config to measure"),
        ((), None, "name what to measure"),
        (("train", "--set", "model.rmat=True"), "icu_digits", "unknown key in config.model: 'rmat'"),
        (("train", "--set", "model.remat"), "icu_digits", "must be KEY=VALUE"),
        (
            ("train", "--set", "train.log_every=often"),
            "icu_digits",
            "config.train.log_every='often' must be a whole number",
        ),
        (("train", "--synthetic", "32x32"), "icu_digits", "must be HEIGHTxWIDTHxCHANNELS:CLASSES"),
        (("train", "--batch", "many"), "icu_digits", "must be a number of images"),
        (("train", "--batch", "64"), "proto_tiny", "this config trains on episodes"),
        (("train", "--model", "vgg"), "icu_digits", "vgg13"),
        (("train", "--repeats", "0"), "icu_digits", "--repeats=0 must be at least 1"),
        (("train", "--out", "/nowhere/x.jsonl"), "icu_digits", "there is no folder /nowhere"),
        (("implants", *SMALL), "icu_digits", "on a config that trains them"),
    ],
)
def test_refusals(bench, args, config, words):
    # The last of two options counts: the fixture's own are before.
    args = (*args, "--synthetic", "8x8x1:5") if "--synthetic" not in args and config else args
    assert words in bench(*args, config=config, expect=2)


def test_evaluation_without_test_images_is_refused(bench):
    assert "digits has no test images" in bench("evaluate", *SMALL[2:], "--set", "data.test_fraction=0.0", expect=2)


def test_table_of_given_lines(bench, tmp_path, capsys):
    common = {
        "config": "a.py", "model": "vgg13", "image": [32, 32, 3], "dtype": "bfloat16", "device": "H100", "devices": 1,
        "batch": 128, "backend": "device", "date": "2026-11-22T01:02:03+00:00", "seconds": 0.01,
    }  # fmt: skip
    lines = [
        {**common, "name": "train", "images_per_second": 1000.0, "date": "2026-11-21T00:00:00+00:00"},
        {**common, "name": "restore", "seconds": 2.0, "devices": 4},
        {**common, "name": "train", "images_per_second": 900.0, "batch": 256},
        {**common, "name": "restore", "seconds": 0.5, "devices": 4},
        {**common, "name": "train", "images_per_second": 12345.6, "share_of_peak": 0.4123, "peak_bytes": 3 * 2**30,
         "host_share": 0.021},
    ]  # fmt: skip
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["bench", "--out", str(path), "--table"]) == 0
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in capsys.readouterr().out.splitlines()
    )
    assert rows == [
        ["train", "a.py, vgg13, 32x32x3, bfloat16, batch 128, device", "H100", "12,346 images/s", "1,000 images/s",
         "x 12.35", "41.2%", "3,072 MiB", "2.1%", "2026-11-22"],
        ["restore", "a.py, vgg13, 32x32x3, bfloat16", "H100 x 4", "0.5 s", "2 s", "x 4.00", "", "", "", "2026-11-22"],
        ["train", "a.py, vgg13, 32x32x3, bfloat16, batch 256, device", "H100", "900 images/s", "", "", "", "", "",
         "2026-11-22"],
    ]  # fmt: skip
    assert head[:5] == ["what", "of", "device", "now", "before"]
    path.write_text(path.read_text() + '{"name": "train"}\n')
    assert "line 6: no figure of `fsjax bench`" in bench("--out", str(path), "--table", config=None, expect=2)
    assert table.read(tmp_path / "absent.jsonl") == []


def test_products_by_hand():
    x, w = jnp.zeros((3, 5)), jnp.zeros((5, 5))

    def layered(x):
        return jax.lax.scan(lambda x, _: (x @ w, None), x, length=7)[0]

    assert products(layered, x) == 7 * 2 * 3 * 5 * 5
    # By the inputs and by the weights, of each.
    gradients = jax.grad(lambda x, w: jnp.sum(jnp.sin(x @ w)), argnums=(0, 1))
    assert products(gradients, x, w) == 3 * 2 * 3 * 5 * 5
    batched = jax.vmap(lambda a, b: jax.jit(jnp.matmul)(a, b))
    assert products(batched, jnp.zeros((4, 3, 5)), jnp.zeros((4, 5, 2))) == 4 * 2 * 3 * 5 * 2

    def branching(p, x):
        return jax.lax.cond(p, lambda x: x @ w @ w, lambda x: x @ w, x)

    assert products(branching, True, x) == 2 * 2 * 3 * 5 * 5


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_by_hand(stride):
    """Forward, and three times that with the gradients by inputs and kernel, whatever the stride."""
    x, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 4))

    def convolve(x, kernel):
        options = {"padding": ((1, 1), (1, 1)), "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), **options)

    forward = 2 * 2 * (8 // stride) ** 2 * 4 * 9 * 3
    assert products(convolve, x, kernel) == forward
    gradients = jax.grad(lambda x, k: jnp.sum(jnp.sin(convolve(x, k))), argnums=(0, 1))
    # The transposed convolution of a stride 2 is over 8x8 outputs, a quarter of whose taps are not zeros.
    assert products(gradients, x, kernel) == pytest.approx(3 * forward)


def test_resnet12_by_arithmetic():
    """14 GFLOP per image of 84x84 by arithmetic: 3 times forward, less the gradient by the images; 4 with remat."""
    batch, size, forward, inputs, first = 2, 84, 0, 3, 0
    for stage, width in enumerate((64, 128, 256, 512)):
        positions = (size // 2**stage) ** 2
        from_inputs = 2 * positions * 10 * inputs * width  # the first convolution and the shortcut
        forward += from_inputs + 2 * 2 * positions * 9 * width * width
        first += from_inputs if stage == 0 else 0
        inputs = width
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    counts = []
    for remat in (False, True):
        model = build_model("resnet12", remat=remat)
        variables = jax.eval_shape(lambda x, m=model: m.init(jax.random.key(0), x, train=False), images)

        def loss(params, batch_stats, images, model=model):
            out, _ = model.apply(
                {"params": params, "batch_stats": batch_stats}, images, train=True, mutable=["batch_stats"]
            )
            return jnp.sum(out.embedding)

        counts.append(products(jax.grad(loss), variables["params"], variables["batch_stats"], images))
    assert counts[0] == batch * (3 * forward - first)
    assert counts[0] / batch == pytest.approx(14e9, rel=0.06)
    assert counts[1] == pytest.approx(batch * (4 * forward - first), rel=1e-3)


def test_compiler_counts_the_same_of_a_product():
    a, b = jnp.zeros((32, 48)), jnp.zeros((48, 16))
    facts = compiled_facts(jax.jit(jnp.matmul).lower(a, b).compile())
    assert facts["compiled_flops"] == pytest.approx(2 * 32 * 48 * 16, rel=0.01)
    assert facts["program_bytes"] >= 4 * (32 * 48 + 48 * 16 + 32 * 16)


def test_all_devices_are_counted(python):
    code = """
        import jax, jax.numpy as jnp
        from fsjax.benchmarking.flops import products
        from fsjax.training.parallel import AXIS, DataParallel
        parallel = DataParallel()
        step = parallel.lift(lambda w, b: jax.lax.psum(jnp.sum(b["x"] @ w), AXIS), batch_axis=0, num_replicated=1)
        print(products(step, jnp.zeros((5, 3)), {"x": jnp.zeros((8, 5))}))
    """
    assert float(python("-c", textwrap.dedent(code), devices=4).stdout) == 2 * 8 * 5 * 3


def test_runs_take_turns_and_the_first_call_is_not_timed():
    calls = []

    def note(name):
        return lambda turns: calls.append((name, turns)) or jnp.zeros(())

    found = in_turns([note("a"), note("b")], repeats=2, seconds=0)
    assert np.shape(found) == (2, 2)
    assert calls == [(n, 1) for n in "aabb"] + [(n, 1) for n in "abab"]


def test_a_case_leaves_the_config_alone(digits_config):
    config = digits_config()
    case = Case.of(config, synthetic="8x8x1:5", backend="device")
    assert (config.train.steps, config.data.name) == (60, "digits")
    assert (case.config.data.name, case.config.data.backend) == ("fake", "device")
    assert case.with_backend("host").config.data.backend == "host" and case.config.data.backend == "device"


class Simulated:
    """A run on a clock of its own: a step's seconds, and a pipeline that makes a batch in so many, some ahead."""

    def __init__(self, step, each, ahead):
        self.step, self.each, self.ahead = step, each, ahead
        self.now, self.opened, self.seen = 0.0, 0, []

    def train_step(self, state, batch):
        self.now += self.step
        self.seen.append((batch, self.opened))
        return state, jnp.zeros(())

    def train_batches(self, start, lengths):
        """The first are made side by side, each later one once there is room for it."""
        self.opened += 1
        made, taken = [self.now + self.each] * self.ahead, []
        try:
            for number, _ in zip(itertools.count(), lengths, strict=False):
                if number >= self.ahead:
                    made.append(max(made[-1], taken[number - self.ahead]) + self.each)
                self.now = max(self.now, made[number])
                taken.append(self.now)
                yield "made"
        finally:
            self.opened -= 1


@pytest.mark.parametrize(("each", "expected"), [(0.5, 0.5), (0.018, 0.018), (0.002, 0.01)])
def test_batches_of_before_hide_no_slow_pipeline(monkeypatch, each, expected):
    run = Simulated(step=0.01, each=each, ahead=16)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: run.now))
    alone, fed = measure_feeding(run, None, "there", 1, repeats=3, seconds=1.0)
    np.testing.assert_allclose(alone, [0.01] * 3, rtol=1e-6)
    np.testing.assert_allclose(fed, [expected] * 3, rtol=1e-6)
    assert {opened for batch, opened in run.seen if batch == "there"} == {0} and run.opened == 0


def test_second_computations_are_no_work(bench):
    """`model.remat` leaves the operations that the model asks for, and adds a forward pass to those that are done."""
    options = ("--set", "loss.name=softmax", "--set", "model.cnn.pool=gap", "--set", "model.cnn.dim=None")
    (plain,), (again,) = (bench("train", *SMALL, *options, "--set", f"model.remat={on}") for on in (False, True))
    assert again["flops"] == plain["flops"] == plain["executed_flops"]
    assert again["executed_flops"] == plain["flops"] + 16 * sum(forward_flops((8, 8, 1), (4, 6)))
    for line in (plain, again):
        share = line["flops"] / line["seconds"] / line["matmul_peak"]
        assert line["share_of_peak"] == pytest.approx(share, rel=1e-4)


def test_what_only_the_host_does_is_measured_there(bench, monkeypatch):
    said = []
    monkeypatch.setattr(pipeline.logger, "warning", lambda text, *values: said.append(text % values))
    rotated = (*SMALL, "--set", "data.augment.rotate=10.0")
    assert [line["backend"] for line in bench("input", *rotated)] == ["host"]
    (warning,) = said
    assert warning.startswith("input is not measured with") and "rotate=10.0 is done on the host" in warning
    assert "rotate=10.0 is done on the host" in bench("input", *rotated, "--backend", "device", expect=2)


def test_what_was_changed_is_told_apart(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(BENCHMARKS, "train", lambda _: iter([{"seconds": 1.0, "devices": 1}]))
    out = ("--out", str(tmp_path / "results.jsonl"))
    model = SMALL[2:6]
    runs = [
        ("--synthetic", "8x8x1:5", *model),
        ("--synthetic", "8x8x1:6", *model),
        ("--synthetic", "8x8x1:5", *model, "--set", "config.train.log_every=7"),
        ("--synthetic", "8x8x1:5", "--set", "train.log_every=7", *model),
    ]
    lines = [line for args in runs for line in bench("train", *args, *out)]
    assert [line["synthetic"] for line in lines] == ["8x8x1:5", "8x8x1:6", "8x8x1:5", "8x8x1:5"]
    assert lines[0]["set"] == {"model.cnn.stages": "((4,),(6,))", "model.cnn.dim": "3"}
    assert lines[2]["set"] == lines[3]["set"] == lines[0]["set"] | {"train.log_every": "7"}
    rows = table.markdown(lines).splitlines()[2:]
    assert len(rows) == 3 and "x 1.00" in rows[2]
    assert "train.log_every=7, synthetic 8x8x1:5" in rows[2] and "synthetic 8x8x1:6" in rows[1]


def test_made_pictures_are_not_kept_decoded(digits_config, tmp_path, monkeypatch):
    monkeypatch.setenv("FSJAX_CACHE", str(tmp_path))
    planted = digits_config()
    planted.data.name = "planted"
    assert Case.of(planted, backend="device").config.data.cache == "off"
    noise = Case.of(digits_config(), synthetic="8x8x1:5", backend="device")
    assert len(noise.splits.train) and not list(tmp_path.iterdir())
    assert Case.of(digits_config(), backend="device").config.data.cache == ""


def test_noise_for_random_resized_crops(root):
    config = Case.of(load_config(f"{root}/configs/icu_imagenet.py:smoke"), synthetic="24x20x3:10").config
    splits = load_splits(config.data, seed=0)
    assert isinstance(splits.train, StreamExamples) and splits.info.image_shape == (20, 20, 3)
    assert splits.validation is None and splits.info.num_classes == 10


def test_memory_of_a_table_is_the_programs():
    line = {
        "name": "train", "config": "a.py", "model": "cnn", "image": [8, 8, 1], "dtype": "float32", "device": "cpu",
        "batch": 1, "backend": "host", "date": "2026-11-22", "seconds": 1.0, "peak_bytes": 7 * 2**20,
    }  # fmt: skip
    assert "| 7 MiB |" in table.markdown([line])
    assert "| 3 MiB |" in table.markdown([line | {"program_bytes": 3 * 2**20}])
