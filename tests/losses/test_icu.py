"""ICU against the vectors, SciPy, the released code's numbers, and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from fsjax.losses import icu
from fsjax.options import choices
from fsjax.options.losses import IcuOptions

PAPER_VECTORS = [
    "icu_absent_class_and_single",
    "icu_alpha03_gamma0",
    "icu_alpha03_gamma02_logdet_plus",
    "icu_alpha03_gamma02_per_dim",
    "icu_alpha03_gamma02_scaled_logdet",
    "icu_alpha0_gamma0",
    "icu_alpha0_gamma02",
    "icu_isotropic",
    "icu_paper_hyper",
    "icu_reg_mean",
]
OFFICIAL_VECTORS = ["icu_official_code_alpha0.0_beta0.0001", "icu_official_code_alpha0.1_beta0.2"]


@pytest.fixture(scope="module")
def functions(jit):
    """All pure functions of the paper's loss in one compilation."""

    def run(arrays, numbers, margin_mode, reduction):
        x, labels, mu, log_var = arrays
        weights = {key: numbers[key] for key in ("lambda_mu", "lambda_sigma")}
        margins = {key: numbers[key] for key in ("alpha", "gamma")}
        return (
            icu.distances(x, mu, log_var),
            icu.training_logits(*arrays, **margins, margin_mode=margin_mode),
            icu.moment_regularizer(*arrays, **weights, reduction=reduction),
            icu.batch_moments(x, labels, mu),
        )

    return jit(run, static_argnums=(2, 3))


@pytest.mark.parametrize("name", PAPER_VECTORS)
def test_functions_give_the_vector(x64, vector, functions, name):
    v = vector(name)
    arrays = tuple(v.inputs[key] for key in ("x", "labels", "mu", "log_var"))
    numbers = {key: value for key, value in v.params.items() if isinstance(value, float)}
    results = functions(arrays, numbers, v.params["margin_mode"], v.params["reg_reduction"])
    distances, logits, terms, moments = results
    np.testing.assert_allclose(distances, v.expected["distance_no_margin"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(logits, v.expected["logits_with_margin"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(terms, [v.expected["reg_mu"], v.expected["reg_sigma"]], rtol=1e-10, atol=1e-12)

    present = v.expected["class_counts"] > 0
    np.testing.assert_array_equal(moments.counts, v.expected["class_counts"])
    means = np.where(present[:, None], v.inputs["mu"] + moments.mean_offset, 0)
    np.testing.assert_allclose(means, v.expected["batch_mean"], rtol=1e-10, atol=1e-12)
    variance = moments.variance.mean(-1) if v.params["covariance"] == "isotropic" else moments.variance
    np.testing.assert_allclose(variance, v.expected["batch_var_about_mu"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", PAPER_VECTORS)
def test_module_gives_the_vector_and_its_gradients(x64, vector, evaluate, name):
    v = vector(name)
    module = icu.IcuLoss(num_classes=4, dim=3, **v.params)
    params = {"means": v.inputs["mu"], "log_var": v.inputs["log_var"]}
    result = evaluate(module, params, v.inputs["x"], v.inputs["labels"])
    logits = module.apply({"params": params}, v.inputs["x"], method="logits")
    np.testing.assert_allclose(logits, v.expected["test_logits"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.output.per_example.mean(), v.expected["loss_cls"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.output.metrics["reg_mean"], v.expected["reg_mu"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.output.metrics["reg_variance"], v.expected["reg_sigma"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.total, v.expected["total"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.by_features, v.expected["grad_total_x"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.by_params["means"], v.expected["grad_total_mu"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.by_params["log_var"], v.expected["grad_total_log_var"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", OFFICIAL_VECTORS)
@pytest.mark.parametrize("variance_param", ["inv_std", "log_var"])
def test_official_code_gives_the_vector(x64, vector, evaluate, name, variance_param):
    """The released code adds 1e-10 to the inverse deviation in training; hence the tolerance of 1e-9."""
    v = vector(name)
    module = icu.IcuLoss(
        num_classes=4,
        dim=3,
        mode="official_code",
        variance_param=variance_param,
        alpha=v.params["alpha"],
        gamma=v.params["beta_gamma"],
    )
    inv_std = v.inputs["inv_sigma"]
    spread = inv_std if variance_param == "inv_std" else -2 * np.log(inv_std)
    params = {"means": v.inputs["mu"], variance_param: spread}
    result = evaluate(module, params, v.inputs["x"], v.inputs["labels"])
    np.testing.assert_allclose(result.output.per_example.mean(), v.expected["ce_loss"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.output.regularizer, v.expected["reg"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(result.total, v.expected["total"], rtol=1e-9, atol=1e-9)

    # The module leaves out the term that all classes share.
    arrays = v.inputs["x"], v.inputs["mu"], -2 * np.log(inv_std)
    shared = icu.official_distances(*arrays)[1][:, None]
    margins = {"alpha": v.params["alpha"], "gamma": v.params["beta_gamma"]}
    training = icu.official_training_logits(arrays[0], v.inputs["labels"], *arrays[1:], **margins)
    np.testing.assert_allclose(training - shared, v.expected["logits_with_margin"], rtol=1e-9, atol=1e-9)
    logits = module.apply({"params": params}, v.inputs["x"], method="logits")
    np.testing.assert_allclose(logits - shared, v.expected["test_logits"], rtol=1e-9, atol=1e-9)


def test_regularizer_has_the_gradient_of_eq_15_and_16(x64, vector, jit):
    v = vector("icu_reg_gradient_eq15_16")
    eta1, eta2 = v.params["eta1"], v.params["eta2"]

    def regularizer(mu, sigma):
        terms = icu.moment_regularizer(
            v.inputs["x"],
            v.inputs["labels"],
            mu,
            2 * jnp.log(sigma),
            lambda_mu=eta1,
            lambda_sigma=eta2,
            reduction="sum",
        )
        return sum(terms)

    mu, sigma = v.inputs["mu"], v.inputs["sigma"]
    by_mu, by_sigma = jit(jax.grad(regularizer, (0, 1)))(mu, sigma)
    np.testing.assert_allclose(by_mu, v.expected["grad_mu"], rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(by_sigma, v.expected["grad_sigma"], rtol=1e-10, atol=1e-11)

    moments = icu.batch_moments(v.inputs["x"], v.inputs["labels"], mu)
    gap = 4 * eta2 * (sigma**2 - moments.variance)
    np.testing.assert_allclose(
        -(2 * eta1 - gap) * moments.mean_offset, v.expected["formula_with_minus"], rtol=1e-10, atol=1e-11
    )
    printed = -(2 * eta1 + gap) * moments.mean_offset
    np.testing.assert_allclose(printed, v.expected["eq15_as_printed_plus"], rtol=1e-10, atol=1e-11)
    assert np.abs(by_mu - printed).max() > 1


@pytest.mark.parametrize("covariance", ["diag", "isotropic"])
def test_without_margins_it_is_the_mixture_posterior(x64, evaluate, covariance):
    rng = np.random.default_rng(0)
    x, labels, mu = rng.normal(size=(7, 3)), np.array([0, 1, 2, 3, 3, 0, 1]), rng.normal(size=(4, 3))
    log_var = rng.normal(size=(4, 3) if covariance == "diag" else 4)
    variances = np.broadcast_to(np.exp(log_var).reshape(4, -1), (4, 3))
    log_density = np.stack(
        [scipy.stats.multivariate_normal.logpdf(x, mu[k], np.diag(variances[k])) for k in range(4)], axis=-1
    )
    log_posterior = log_density - scipy.special.logsumexp(log_density, axis=-1, keepdims=True)
    module = icu.IcuLoss(num_classes=4, dim=3, alpha=0.0, gamma=0.0, covariance=covariance)
    params = {"means": mu, "log_var": log_var}
    result = evaluate(module, params, x, labels)
    np.testing.assert_allclose(result.output.per_example, -log_posterior[np.arange(7), labels], rtol=1e-10, atol=1e-12)
    logits = module.apply({"params": params}, x, method="logits")
    np.testing.assert_allclose(jax.nn.log_softmax(logits), log_posterior, rtol=1e-10, atol=1e-12)


def test_equal_variances_decide_for_the_nearest_mean():
    rng = np.random.default_rng(1)
    x, mu = rng.normal(size=(50, 5)).astype("f"), rng.normal(size=(6, 5)).astype("f")
    nearest = np.square(x[:, None] - mu).sum(-1).argmin(-1)
    module = icu.IcuLoss(num_classes=6, dim=5)
    params = {"means": mu, "log_var": np.full((6, 5), 0.7, "f")}
    logits = module.apply({"params": params}, x, method="logits")
    np.testing.assert_array_equal(logits.argmax(-1), nearest)


def test_the_wider_class_wins_between_two_means():
    """Figure 1: at equal Euclidean distances, the class that spreads that far."""
    params = {"means": np.array([[-1.0, 0.0], [1.0, 0.0]]), "log_var": np.array([[-2.0, -2.0], [1.0, 1.0]])}
    logits = icu.IcuLoss(num_classes=2, dim=2).apply({"params": params}, np.zeros((1, 2)), method="logits")
    assert logits.argmax() == 1


@pytest.mark.parametrize("mode", choices(IcuOptions, "margin_mode"))
def test_margins_only_touch_the_label_and_vanish_at_zero(x64, functions, mode):
    rng = np.random.default_rng(2)
    arrays = (
        rng.normal(size=(5, 3)),
        np.array([0, 1, 1, 0, 2]),
        rng.normal(size=(3, 3)),
        rng.normal(size=(3, 3)),
    )
    own = np.eye(3)[arrays[1]] > 0
    weights = {"lambda_mu": 0.1, "lambda_sigma": 0.1}
    distances, logits, *_ = functions(arrays, {"alpha": 0.0, "gamma": 0.0, **weights}, mode, "sum")
    np.testing.assert_allclose(logits, -distances, rtol=1e-10, atol=1e-12)
    _, logits, *_ = functions(arrays, {"alpha": 0.2, "gamma": 0.5, **weights}, mode, "sum")
    np.testing.assert_allclose(logits[~own], -distances[~own], rtol=1e-10, atol=1e-12)
    assert np.all(logits[own] != -distances[own])


def test_mean_reduction_does_not_depend_on_absent_classes(x64, functions):
    """The vectors have every class in the batch, and do not fix whether absent ones count in the mean."""
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(6, 3)), np.array([0, 0, 1, 1, 2, 2])
    mu, log_var = rng.normal(size=(9, 3)), rng.normal(size=(9, 3))
    numbers = {"alpha": 0.0, "gamma": 0.0, "lambda_mu": 0.1, "lambda_sigma": 0.2}
    of_nine = functions((x, labels, mu, log_var), numbers, "logdet_plus", "mean")[2]
    of_three = functions((x, labels, mu[:3], log_var[:3]), numbers, "logdet_plus", "mean")[2]
    np.testing.assert_allclose(of_nine, of_three, rtol=1e-12)


@pytest.mark.parametrize("mode", ["paper", "official_code"])
def test_inverse_deviations_have_the_right_gradient(x64, evaluate, finite_differences, mode):
    """Of either sign: only the square has a meaning."""
    rng = np.random.default_rng(4)
    x, labels = rng.normal(size=(5, 3)), np.array([0, 1, 1, 0, 2])
    inv_std = rng.uniform(0.5, 2, size=(4, 3)) * rng.choice([-1, 1], size=(4, 3))
    params = {"means": rng.normal(size=(4, 3)), "inv_std": inv_std}
    module = icu.IcuLoss(num_classes=4, dim=3, mode=mode, variance_param="inv_std", alpha=0.1, gamma=0.1)
    result = evaluate(module, params, x, labels)

    def total(means, inv_std):
        output = module.apply({"params": {"means": means, "inv_std": inv_std}}, x, labels, step=0)
        return jnp.mean(output.per_example) + output.regularizer

    by_means, by_inv_std = finite_differences(total, params["means"], inv_std)
    np.testing.assert_allclose(result.by_params["means"], by_means, atol=1e-7)
    np.testing.assert_allclose(result.by_params["inv_std"], by_inv_std, atol=1e-7)
    flipped = evaluate(module, params | {"inv_std": -inv_std}, x, labels)
    np.testing.assert_allclose(flipped.total, result.total, rtol=1e-12)


def test_inverse_deviations_of_zero_are_finite_and_can_move(evaluate):
    module = icu.IcuLoss(num_classes=2, dim=3, variance_param="inv_std")
    params = {"means": jnp.zeros((2, 3)), "inv_std": jnp.zeros((2, 3))}
    result = evaluate(module, params, jnp.ones((4, 3)), jnp.array([0, 0, 1, 1]))
    grad = result.by_params["inv_std"]
    assert np.isfinite(result.total) and np.all(np.isfinite(grad)) and np.all(grad < 0)
