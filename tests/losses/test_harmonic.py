"""Harmonic loss and its distances against the vectors, loops, finite differences and extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.losses import harmonic
from fsjax.losses.arithmetic import distances
from fsjax.losses.softmax import softmax_cross_entropy

# What each distance is called with besides the vectors, for 5 dimensions.
OPTIONS = {
    **{name: {} for name in distances.DISTANCES},
    "minkowski": {"p": 2.5},
    "mahalanobis": {"factor": np.array([0.5, 2.0, 1.0, 0.1, 3.0])},
    "bray_curtis": {"denominator": "abs"},
}
CASES = [
    *OPTIONS.items(),
    ("minkowski", {"p": 1.0}),
    ("minkowski", {"p": 30.0}),
    ("mahalanobis", {"factor": np.tril(np.arange(25.0).reshape(5, 5)) / 10}),
    ("bray_curtis", {"denominator": "literal"}),
]


def by_hand(name, x, w, *, p=None, factor=None, denominator=None):
    """The distance of two vectors, in NumPy."""
    difference = np.abs(x - w)
    if name == "mahalanobis":
        factor = np.diag(factor) if factor.ndim == 1 else factor
        return np.sqrt((x - w) @ factor @ factor.T @ (x - w))
    return {
        "euclid": lambda: np.linalg.norm(difference),
        "squared_euclid": lambda: difference @ difference + 1e-4,
        "manhattan": lambda: difference.sum(),
        "chebyshev": lambda: difference.max(),
        "minkowski": lambda: (difference**p).sum() ** (1 / p),
        "cosine": lambda: 1 - x @ w / np.linalg.norm(x) / np.linalg.norm(w),
        "bray_curtis": lambda: (
            difference.sum() / (np.sum(np.abs(x) + np.abs(w)) if denominator == "abs" else abs(np.sum(x + w)))
        ),
        "canberra": lambda: (difference / (np.abs(x) + np.abs(w))).sum(),
    }[name]()


def random_case(seed=0, batch=4, classes=3, dim=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, dim)), rng.normal(size=(classes, dim)), rng.integers(0, classes, batch)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_gives_the_vectors_of_euclid(x64, vector, evaluate, n):
    v = vector(f"harmonic_n{n}")
    x, labels, params = v.inputs["x"], v.inputs["labels"], {"weights": v.inputs["W"]}
    module = harmonic.HarmonicLoss(num_classes=3, dim=5, n=v.params["n"])
    result = evaluate(module, params, x, labels)
    np.testing.assert_allclose(distances.euclid(x, v.inputs["W"]), v.expected["distance"], rtol=1e-10)
    np.testing.assert_allclose(
        jax.nn.softmax(module.apply({"params": params}, x, method="logits")), v.expected["probs"], rtol=1e-10
    )
    np.testing.assert_allclose(result.total, v.expected["loss"], rtol=1e-10)
    np.testing.assert_allclose(result.by_features, v.expected["grad_x"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.by_params["weights"], v.expected["grad_W"], rtol=1e-9, atol=1e-12)
    # The released layer.
    official = harmonic.HarmonicLoss(num_classes=3, dim=5, n=v.params["n"], distance="squared_euclid")
    probabilities = jax.nn.softmax(official.apply({"params": params}, x, method="logits"))
    np.testing.assert_allclose(probabilities, v.expected["official_probs_sq_eps1e4"], rtol=1e-10)
    np.testing.assert_allclose(evaluate(official, params, x, labels).total, v.expected["official_loss"], rtol=1e-10)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bray_curtis", {}),
        ("bray_curtis_literal", {"bray_curtis": "literal"}),
        ("canberra", {}),
        ("chebyshev", {}),
        ("cosine", {}),
        ("mahalanobis_diag", {}),
        ("manhattan", {}),
        ("minkowski", {"p": 3.0}),
    ],
)
def test_gives_the_vectors_of_other_distances(x64, vector, name, options):
    v = vector(f"harmonic_{name}")
    assert v.params["distance"] == name and v.params["p"] == options.get("p")
    distance = name.removesuffix("_literal").removesuffix("_diag")
    module = harmonic.HarmonicLoss(num_classes=3, dim=5, distance=distance, n=v.params["n"], **options)
    params = {"weights": v.inputs["W"]}
    if name == "mahalanobis_diag":
        params["log_precision"] = np.log(v.params["precision"])
    logits = module.apply({"params": params}, v.inputs["x"], method="logits")
    np.testing.assert_allclose(np.exp(-logits / v.params["n"]), v.expected["distance"], rtol=1e-10)
    np.testing.assert_allclose(jax.nn.softmax(logits), v.expected["probs"], rtol=1e-10)
    output = module.apply({"params": params}, v.inputs["x"], v.inputs["labels"], step=0)
    np.testing.assert_allclose(output.per_example.mean(), v.expected["loss"], rtol=1e-10)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_distances_and_their_gradients_are_the_loop_s(x64, name, options):
    x, w, _ = random_case()
    distance = distances.DISTANCES[name]
    loop = np.array([[by_hand(name, feature, row, **options) for row in w] for feature in x])
    np.testing.assert_allclose(distance(x, w, **options), loop, rtol=1e-9)

    share = np.random.default_rng(1).normal(size=loop.shape)  # so that every entry has a gradient of its own
    grads = jax.grad(lambda x, w: jnp.sum(share * distance(x, w, **options)), argnums=(0, 1))(x, w)
    for number, point in enumerate((x, w)):
        for index in np.ndindex(point.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [x.copy(), w.copy()]
                moved[number][index] += step
                rows = [[by_hand(name, a, b, **options) for b in moved[1]] for a in moved[0]]
                ends.append(np.sum(share * np.array(rows)))
            np.testing.assert_allclose(grads[number][index], (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_loss_and_gradients_are_finite_at_the_extremes(jit, name, options):
    """Features that are class vectors, features and classes of zeros, of thousands, and at opposite ends."""

    @jit
    def results(x, w):
        def loss(x, w):
            logits = harmonic.harmonic_logits(distances.DISTANCES[name](x, w, **options), n=5**0.5)
            return jnp.sum(softmax_cross_entropy(logits, labels)), logits

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(x, w)

    x, w, labels = random_case()
    x, w = x.astype("f"), w.astype("f")
    options = jax.tree.map(lambda value: value.astype("f") if isinstance(value, np.ndarray) else value, options)
    at_classes, zeros = w[labels], np.zeros_like
    pairs = [(at_classes, w), (zeros(x), w), (zeros(x), zeros(w)), (x, zeros(w)), (1e3 * x, w), (1e3 * x, -1e3 * w)]
    pairs += [(at_classes + np.float32(1e-7), w), (1e3 * at_classes, 1e3 * w), (x, x[:3]), (-at_classes, w)]
    for features, classes in pairs:
        for leaf in jax.tree.leaves(results(features, classes)):
            assert np.all(np.isfinite(leaf))
    if name != "bray_curtis" or options["denominator"] == "abs":
        # The class that the feature is has the highest score, but for ties.
        (_, logits), _ = results(at_classes, w)
        chosen = np.take_along_axis(np.asarray(logits), labels[:, None], axis=-1)[:, 0]
        np.testing.assert_array_equal(chosen, np.max(logits, axis=-1))


def test_a_factor_common_to_all_distances_changes_nothing(x64):
    x, w, labels = random_case(2)
    for name in ("euclid", "manhattan", "chebyshev", "minkowski", "mahalanobis", "canberra"):
        distance = distances.DISTANCES[name](x, w, **OPTIONS[name])
        losses = softmax_cross_entropy(harmonic.harmonic_logits(distance, n=3.0), labels)
        for factor in (1e-3, 7.0, 1e6):
            scaled = softmax_cross_entropy(harmonic.harmonic_logits(factor * distance, n=3.0), labels)
            np.testing.assert_allclose(scaled, losses, rtol=1e-9)
        if name != "canberra":  # which is blind to scale itself
            larger = distances.DISTANCES[name](40 * x, 40 * w, **OPTIONS[name])
            np.testing.assert_allclose(larger, 40 * distance, rtol=1e-9)


def test_minkowski_holds_manhattan_euclid_and_chebyshev(x64):
    x, w, _ = random_case(3)
    for p, other in ((1.0, distances.manhattan), (2.0, distances.euclid)):
        np.testing.assert_allclose(distances.minkowski(x, w, p=p), other(x, w), rtol=1e-10)
    np.testing.assert_allclose(distances.minkowski(x, w, p=1e4), distances.chebyshev(x, w), rtol=1e-3)


def test_precisions_start_as_the_identity_and_are_learned(x64, jit):
    x, w, labels = random_case(4)
    plain = harmonic.HarmonicLoss(num_classes=3, dim=5)
    expected = plain.apply({"params": {"weights": w}}, x, method="logits")
    for precision, learned in (("diag", "log_precision"), ("triangular", "factor")):
        module = harmonic.HarmonicLoss(num_classes=3, dim=5, distance="mahalanobis", precision=precision)
        params = module.init(jax.random.key(0), x, labels, step=0)["params"] | {"weights": w}
        np.testing.assert_allclose(module.apply({"params": params}, x, method="logits"), expected, rtol=1e-9)

        def total(params, module=module):
            return jnp.sum(module.apply({"params": params}, x, labels, step=0).per_example)

        grad = jit(jax.grad(total))(params)[learned]
        expected_there = np.tri(5, dtype=bool) if precision == "triangular" else np.ones(5, bool)
        np.testing.assert_array_equal(np.asarray(grad) != 0, expected_there)


def test_exponent_is_the_root_of_the_width_unless_given(x64):
    x, w, labels = random_case(5)
    given = {n: harmonic.HarmonicLoss(num_classes=3, dim=5, n=n) for n in (None, 5**0.5, 1)}
    losses = {n: m.apply({"params": {"weights": w}}, x, labels, step=0).per_example for n, m in given.items()}
    np.testing.assert_array_equal(losses[None], losses[5**0.5])
    assert np.all(losses[None] != losses[1])


@pytest.mark.xla
def test_no_array_of_all_differences_is_kept():
    """256 examples, 50 classes, 64 dimensions: the differences of all of them would be 3.3 MB."""
    x, w = jnp.ones((256, 64)), jnp.zeros((50, 64))
    loss = jax.grad(lambda x, w: jnp.sum(jnp.log(distances.manhattan(x, w))), argnums=(0, 1))
    used = jax.jit(loss).lower(x, w).compile().memory_analysis().temp_size_in_bytes
    assert used < 256 * 50 * 64 * 4 / 4


@pytest.mark.parametrize("distance", ["euclid", "squared_euclid", "mahalanobis"])
def test_the_label_s_distance_has_its_digits_where_the_others_are_far(distance):
    """In float32, at 0.3 from a class vector of length 1,000, where the products have none left."""
    rng = np.random.default_rng(0)
    classes = rng.normal(size=(4, 512))
    classes = (1000 * classes / np.linalg.norm(classes, axis=1, keepdims=True)).astype(np.float32)
    step = rng.normal(size=(4, 512))
    features = (classes + 0.3 * step / np.linalg.norm(step, axis=1, keepdims=True)).astype(np.float32)
    exact = np.sum((features.astype("d") - classes) ** 2, axis=1)
    expected = exact + 1e-4 if distance == "squared_euclid" else np.sqrt(exact)
    options = {"factor": jnp.ones(512)} if distance == "mahalanobis" else {}

    def measure(x, w):
        return distances.DISTANCES[distance](x, w, **options)

    labels = jnp.arange(4)
    found = distances.with_exact_own(measure(features, classes), measure, features, classes, labels)
    np.testing.assert_allclose(np.diag(found), expected, rtol=1e-4)
    others = ~np.eye(4, dtype=bool)
    np.testing.assert_array_equal(np.asarray(found)[others], np.asarray(measure(features, classes))[others])


def test_minkowski_of_one_dimension_has_its_whole_gradient():
    gradient = jax.grad(lambda x: distances.minkowski(x, jnp.zeros((1, 4)), p=1.5)[0, 0])(jnp.array([[3.0, 0, 0, 0]]))
    np.testing.assert_allclose(gradient[0, 0], 1.0, rtol=1e-6)
