"""What holds for every loss: the contract of shapes and dtypes, stability, and the messages of bad input."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.losses import LOSSES, LossOutput, build_loss, cosine, loss_options
from fsjax.losses.arithmetic import gaussian

NUM_CLASSES, DIM, NUM_EXAMPLES, TEACHER_DIM = 6, 5, 9, 7
VARIANTS = {
    **{name: (name, {}) for name in LOSSES},
    "nd": ("nd", {"teacher_dim": TEACHER_DIM}),
    "icu isotropic": (
        "icu",
        {
            "covariance": "isotropic",
            "variance_param": "inv_std",
            "margin_mode": "per_dim",
            "reg_reduction": "sum",
        },
    ),
    "icu official_code": ("icu", {"mode": "official_code", "variance_param": "inv_std"}),
    "lgm diag": ("lgm", {"covariance": "diag", "logdet_in_logits": True}),
    "spherical taylor": ("spherical", {"kind": "taylor"}),
    "harmonic diag": ("harmonic", {"distance": "mahalanobis"}),
    "harmonic triangular": ("harmonic", {"distance": "mahalanobis", "precision": "triangular"}),
    "ldr logits": ("ldr", {"input": "logits", "lam": 1.0}),
    "lsoftmax full margin": ("lsoftmax", {"beta": 0.0}),
    "elasticface cos plus": ("elasticface", {"kind": "cos", "plus": True}),
    "elasticface arc rank": ("elasticface", {"plus": True, "plus_assign": "rank"}),
    "unpg cos": ("unpg", {"kind": "cos"}),
    "bias global": ("bias", {"extent": "global"}),
    "mlcd mlc": ("mlcd", {"kind": "mlc", "negatives": 1.0}),
    "contrastive hard": ("contrastive", {"hard": 2}),
    "metrix multi_similarity": ("metrix", {"kind": "multi_similarity"}),
    "class_balanced focal_sigmoid": ("class_balanced", {"base": "focal_sigmoid"}),
}


def build(name, options):
    facts = {"class_counts": [50, 40, 30, 20, 10, 1], "num_examples": NUM_EXAMPLES}
    return build_loss(name, num_classes=NUM_CLASSES, dim=DIM, options=options, **facts)


def read_by(module, batch):
    """What a loss reads of a batch besides features and labels."""
    draw = np.random.default_rng(1).normal
    known = {
        "index": np.arange(batch, dtype=np.int32) + 2,
        "cluster_share": np.linspace(0, 1, batch, dtype=np.float32),
        "maps": np.maximum(draw(size=(batch, 2, 2, DIM)), 0).astype("f"),
        "teacher_logits": draw(size=(batch, NUM_CLASSES)).astype("f"),
        "teacher_features": draw(size=(batch, TEACHER_DIM)).astype("f"),
        "teacher_means": draw(size=(NUM_CLASSES, TEACHER_DIM)).astype("f"),
    }
    return {name: known[name] for name in module.READS}


def start(module, batch=1):
    """Fresh variables of a loss."""
    init = partial(module.init, step=0, **read_by(module, batch))
    return init(jax.random.key(0), jnp.ones((batch, DIM)), jnp.zeros(batch, int))


BY_NUMPY = [pytest.param((name, "NumPy"), id=name) for name in VARIANTS]
BY_XLA = [pytest.param((name, "XLA"), id=f"{name} by XLA", marks=(pytest.mark.slow, pytest.mark.xla))
          for name in VARIANTS]  # fmt: skip


@pytest.fixture(scope="module", params=BY_NUMPY + BY_XLA)
def compiled(request, jit):
    """Variables of a loss, and a function of its results and their gradients."""
    name, arithmetic = request.param
    module, jit = build(*VARIANTS[name]), jit if arithmetic == "NumPy" else jax.jit
    variables = jit(partial(start, module))()

    def total(params, features, labels):
        output, state = module.apply(
            {**variables, "params": params}, features, labels, step=jnp.int32(7), mutable=["loss_state"],
            **read_by(module, len(labels)),
        )  # fmt: skip
        return jnp.mean(output.per_example) + output.regularizer, (output, state)

    def everything(params, features, labels):
        grad = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)
        (value, (output, state)), gradients = grad(params, features, labels)
        logits = module.apply({**variables, "params": params}, features, method="logits")
        return {"total": value, "output": output, "state": state, "gradients": gradients, "logits": logits}

    return variables, jit(everything)


def extremes(params):
    """Parameters as they are, the spreads and scales at their clips, far beyond them, and class vectors of zeros."""
    yield params
    if "tau" in params:
        for tau in (cosine.MIN_TAU, 0.0, -1e3, 1e3):
            yield params | {"tau": jnp.float32(tau)}
    if "weights" in params:
        yield params | {"weights": jnp.zeros_like(params["weights"])}
    if "log_precision" in params:
        for value in (-1e6, 1e6):
            yield params | {"log_precision": jnp.full_like(params["log_precision"], value)}
    for name in {"log_var", "inv_std"} & set(params):
        clip = gaussian.LOG_VAR_LIMIT if name == "log_var" else np.exp(gaussian.LOG_VAR_LIMIT / 2)
        signs = np.resize([-1.0, 1.0], params[name].shape).astype("f")
        for values in (clip * signs, 1e6 * np.abs(signs), -1e6 * np.abs(signs)):
            yield params | {name: values}


# Half precision is tried with a batch of one: every shape and dtype more is one compilation more.
@pytest.mark.parametrize(("dtype", "labels"), [("float32", [3, 3, 0, 3]), ("bfloat16", [3])])
def test_everything_is_finite_and_as_the_contract_says(compiled, dtype, labels):
    """Features up to thousands, most classes absent, a batch of one, variances at and beyond the clips."""
    variables, everything = compiled
    batch = len(labels)
    directions = np.random.default_rng(0).normal(size=(batch, DIM))
    for scale in (0.0, 1.0, 1e3):
        features = jnp.asarray(scale * directions, dtype)
        for params in extremes(variables["params"]):
            results = everything(params, features, jnp.asarray(labels))
            output, logits = results["output"], results["logits"]
            assert isinstance(output, LossOutput)
            assert output.per_example.shape == (batch,) and output.per_example.dtype == jnp.float32
            assert all(value.shape == () for value in (output.regularizer, *output.metrics.values()))
            assert logits.shape == (batch, NUM_CLASSES) and logits.dtype == jnp.float32
            for leaf in jax.tree.leaves(results):
                assert np.all(np.isfinite(np.asarray(leaf, np.float32)))


def test_only_classes_and_examples_of_the_batch_change_their_state(compiled):
    variables, everything = compiled
    state = everything(variables["params"], jnp.ones((4, DIM)), jnp.array([0, 0, 1, 1]))["state"]
    before, after = jax.tree.leaves(variables.get("loss_state", {})), jax.tree.leaves(state)
    for old, new in zip(before, after, strict=True):
        if not old.ndim:  # of no class or example in particular
            continue
        there = {NUM_CLASSES: [0, 1], NUM_EXAMPLES: [2, 3, 4, 5]}[len(old)]  # the examples are `read_by`'s
        np.testing.assert_array_equal(np.delete(old, there, axis=0), np.delete(new, there, axis=0))
        assert np.all(np.asarray(old)[there] != np.asarray(new)[there])


@pytest.mark.parametrize("name", LOSSES)
def test_parameters_without_decay_exist(name):
    known = set()
    for variant, options in VARIANTS.values():
        if variant == name:
            module = build(name, options)
            shapes = jax.eval_shape(partial(start, module))
            known |= set(shapes["params"])
    assert set(LOSSES[name].load().NO_DECAY) <= known
    assert ("log_var" in known) == ("log_var" in LOSSES[name].load().NO_DECAY)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("icuu", {}, ["'icuu'", "Did you mean 'icu'", "lsoftmax"]),
        ("icu", {"alhpa": 1}, ["'alhpa'", "Did you mean 'alpha'", "margin_mode"]),
        ("icu", {"margin_mode": "foo"}, ["margin_mode", "'foo'", "logdet_plus", "scaled_logdet", "per_dim"]),
        ("icu", {"mode": "offical"}, ["mode", "official_code"]),
        ("icu", {"covariance": "full"}, ["covariance", "'diag'", "'isotropic'"]),
        ("icu", {"variance_param": "std"}, ["variance_param", "'log_var'", "'inv_std'"]),
        ("icu", {"reg_reduction": "none"}, ["reg_reduction", "'mean'", "'sum'"]),
        ("icu", {"alpha": -1}, ["alpha=-1", "at least 0"]),
        ("icu", {"gamma": "0.1"}, ["gamma='0.1'", "number"]),
        ("icu", {"mode": "official_code", "covariance": "isotropic"}, ["official_code", "covariance='diag'"]),
        ("icu", {"mean_init_std": -1.0}, ["mean_init_std"]),
        ("lgm", {"covariance": "isotropic"}, ["covariance", "'identity'"]),
        ("lgm", {"logdet_in_logits": "yes"}, ["logdet_in_logits", "True"]),
        ("lsoftmax", {"m": 0}, ["m=0"]),
        ("lsoftmax", {"m": 2.5}, ["m=2.5", "whole number"]),
        ("mixup", {"mixup_alpha": 0}, ["mixup_alpha=0", "above 0"]),
        ("center", {"rate": float("nan")}, ["rate=nan"]),
        ("focal", {"gamma": -2.0}, ["gamma=-2.0"]),
        ("zloss", {"a": 0}, ["a=0", "above 0"]),
        ("spherical", {"kind": "softmax"}, ["kind", "'taylor'"]),
        ("spherical", {"epsilon": 0.0}, ["epsilon=0.0", "at least 1e-12"]),
        ("harmonic", {"distance": "euclidean"}, ["distance", "'euclid'", "'canberra'"]),
        ("harmonic", {"precision": "full"}, ["precision", "'triangular'"]),
        ("harmonic", {"bray_curtis": "signed"}, ["bray_curtis", "'literal'"]),
        ("harmonic", {"n": 0}, ["n=0", "above 0", "None: sqrt(dim)"]),
        ("harmonic", {"p": 0.5}, ["p=0.5", "at least 1"]),
        ("ldr", {"lam": 0.0}, ["lam=0", "above 0"]),
        ("ldr", {"input": "softmax"}, ["input", "'softplus'", "'logits'"]),
        ("aldr", {"alpha": 1.0}, ["alpha=1", "above 1"]),
        ("aldr", {"num_examples": 3}, ["'num_examples'", "alpha"]),
        ("opl", {"variant": "abs"}, ["variant", "'mean_of_abs'"]),
        ("opl", {"gamma": -1.0}, ["gamma=-1.0"]),
        ("elasticface", {"kind": "sphere"}, ["kind", "'arc'", "'cos'"]),
        ("elasticface", {"sigma": -0.1}, ["sigma=-0.1"]),
        ("elasticface", {"margin": 2.0}, ["margin=2.0", "below pi/2, 1.5"]),
        ("unpg", {"beyond_pi": "released"}, ["beyond_pi", "'linear'", "'cosine'"]),
        ("elasticface", {"margin": "wide"}, ["margin='wide'", "number"]),
        ("elasticface", {"plus": 1.5}, ["plus", "True"]),
        ("elasticface", {"plus_assign": "sorted"}, ["plus_assign", "'released'", "'rank'"]),
        ("unpg", {"whisker": -1}, ["whisker=-1"]),
        ("unpg", {"scale": 0.0}, ["scale=0"]),
        ("bias", {"beta": 1.0}, ["beta=1.0", "below 1"]),
        ("bias", {"extent": "local"}, ["extent", "'batch'", "'global'"]),
        ("dataset_equity", {"eta": -1.0}, ["eta=-1.0"]),
        ("mlcd", {"kind": "multi"}, ["kind", "'mlcd'", "'mlc'"]),
        ("mlcd", {"negatives": 1.5}, ["negatives=1.5"]),
        ("contrastive", {"tau": 0.0}, ["tau=0.0", "at least 0.001"]),
        ("contrastive", {"hard": 2.5}, ["hard=2.5", "whole number"]),
        ("metrix", {"kind": "triplet"}, ["kind", "'multi_similarity'"]),
        ("metrix", {"mix_alpha": 0.0}, ["mix_alpha=0.0"]),
        ("cosine", {"tau_init": 0.001}, ["tau_init=0.001", "at least 0.01"]),
        ("cosine", {"tau_init": float("nan")}, ["tau_init=nan"]),
        ("cosine", {"tau": 10.0}, ["'tau'", "tau_init"]),
        ("class_balanced", {"beta": 1.0}, ["beta=1.0", "below 1"]),
        ("class_balanced", {"base": "hinge"}, ["base", "focal_sigmoid"]),
        ("class_balanced", {"class_counts": [1]}, ["'class_counts'", "beta"]),
    ],
)
def test_bad_values_are_named_with_the_valid_ones(name, options, words):
    with pytest.raises(ValueError) as error:
        build(name, options)
    for word in words:
        assert word in str(error.value)


def test_class_counts_are_checked():
    with pytest.raises(ValueError, match="needs class_counts"):
        build_loss("class_balanced", num_classes=3, dim=2)
    with pytest.raises(ValueError, match=r"below 1 for the classes \[1\]"):
        build_loss("class_balanced", num_classes=3, dim=2, class_counts=np.array([3, 0, 1]))
    with pytest.raises(ValueError, match="2 entries for 3 classes"):
        build_loss("class_balanced", num_classes=3, dim=2, class_counts=[3, 1])


def test_features_of_another_width_are_named():
    module = build("icu", {})
    with pytest.raises(ValueError, match=r"\[batch, 5\], got \(2, 4\)"):
        module.init(jax.random.key(0), jnp.ones((2, 4)), jnp.zeros(2, int), step=0)


def test_options_are_listed_with_their_defaults():
    assert loss_options("center") == {"lam": 0.003, "rate": 0.5}
    assert loss_options("softmax") == {}
    assert "class_counts" not in loss_options("class_balanced")


def test_options_reach_the_module(jit):
    module = build("icu", {"alpha": 0.25, "mean_init_std": 2.0})
    assert module.alpha == 0.25
    wide = build_loss("icu", num_classes=500, dim=20, options={"mean_init_std": 2.0})
    init = jit(partial(wide.init, step=0))
    variables = init(jax.random.key(0), jnp.ones((1, 20)), jnp.zeros(1, int))
    np.testing.assert_allclose(np.std(variables["params"]["means"]), 2.0, rtol=0.05)
