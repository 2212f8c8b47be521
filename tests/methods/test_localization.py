"""Localization: which gradient reaches what, the targets, and the objective's parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fsjax.errors import UserError
from fsjax.methods.localization import smooth_l1
from fsjax.models.boxes import corners_of_theta

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(12, 8, 8, 1)).astype(np.float32)
LABELS = np.arange(12, dtype=np.int32) % 3
BATCH = {"image": IMAGES, "label": LABELS}
SMALL = {"att_width": 4, "att_blocks": 1, "aff_hidden": 6}
LOCALIZER = ("attnet", "preprocess", "affnet")


@pytest.fixture(scope="module")
def make(make_method):
    """A method of three classes of 8x8 images, maps of 2x2; unless `at_identity`, with boxes that are not the whole."""

    def build(*, at_identity=False, loss="softmax", **overrides):
        chosen = {f"method__localization__{k}": v for k, v in {**SMALL, **overrides}.items() if "__" not in k}
        chosen |= {k: v for k, v in overrides.items() if "__" in k}
        method, params, collections = make_method("localization", loss__name=loss, **chosen)
        if not at_identity:
            rng = np.random.default_rng(3)
            for direction in ("horizontal", "vertical"):
                last = params["encoder"]["affnet"][direction]["head"]["theta"]
                last["kernel"] = jnp.asarray(0.05 * rng.normal(size=last["kernel"].shape), jnp.float32)
                last["bias"] = jnp.float32([0.63, 0.17])
        return method, params, collections

    return build


def leaves(tree):
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def of_localizer(gradients):
    return leaves({name: gradients["encoder"][name] for name in LOCALIZER})


def test_smooth_l1_is_the_vector(x64, vector):
    v = vector("smooth_l1")
    found = smooth_l1(v.inputs["a"], v.inputs["b"])
    np.testing.assert_allclose(found, v.expected["elementwise"], atol=1e-12)
    np.testing.assert_allclose(found.mean(), v.expected["mean"], rtol=1e-12)


def test_it_begins_as_the_classifier_alone(make, jit):
    """The crop is the image to the bit; another compiled program may round the embedding otherwise."""
    method, params, collections = make(at_identity=True)
    variables = {"params": params["encoder"], "batch_stats": collections["batch_stats"]}
    encoded = jit(lambda v, x: method.encoder.apply(v, x, train=False))(variables, IMAGES)
    np.testing.assert_array_equal(encoded.theta, [[1, 1, 0, 0]] * len(IMAGES))
    np.testing.assert_array_equal(encoded.crop, IMAGES)
    alone = {name: tree["classifier"] for name, tree in variables.items()}
    expected = jit(lambda v, x: method.encoder.classifier.apply(v, x, train=False))(alone, IMAGES)
    np.testing.assert_allclose(encoded.embedding, expected.embedding, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("at_identity", [True, False])
def test_beta_of_0_leaves_the_localizer_no_gradient_at_all(make, objective, at_identity):
    """Nothing of the classification loss: exactly 0, parameter by parameter; and with beta 1 it is not 0."""
    cut = {"lambda_att": 0.0, "lambda_aff": 0.0, "beta_att": 0.0, "beta_aff": 0.0}
    _, gradients, _, _ = objective(*make(at_identity=at_identity, **cut), **BATCH)
    for name, gradient in of_localizer(gradients).items():
        np.testing.assert_array_equal(gradient, 0.0, err_msg=name)
    open_ = {"lambda_att": 0.0, "lambda_aff": 0.0}
    _, gradients, _, _ = objective(*make(**open_), **BATCH)
    for name, gradient in of_localizer(gradients).items():
        largest = np.abs(gradient).max()
        # What batch normalisation and the rescaling of the map take away has no gradient but rounding, or none at all.
        without = name.endswith(("['hidden']['bias']", "['map']['bias']"))
        assert largest < 1e-6 if without else largest > 1e-7, name


def test_beta_att_of_0_cuts_attnet_alone(make, objective):
    _, gradients, _, _ = objective(*make(lambda_att=0.0, beta_att=0.0), **BATCH)
    for name, gradient in leaves(gradients["encoder"]["attnet"]).items():
        np.testing.assert_array_equal(gradient, 0.0, err_msg=name)
    assert np.abs(gradients["encoder"]["affnet"]["vertical"]["head"]["theta"]["bias"]).min() > 0


def test_local_losses_send_nothing_to_the_classifier(make, jit):
    for source in ("full_image", "crop_remapped", "crop"):
        method, params, collections = make(m_source=source)

        def local(params, method=method, collections=collections):
            encoded, _ = method.encode_in_training(params, collections, IMAGES)
            return method.auxiliary(params, collections, IMAGES, encoded)[0]

        gradients = jit(jax.grad(local))(params)
        for name, gradient in leaves(gradients["encoder"]["classifier"]).items():
            np.testing.assert_array_equal(gradient, 0.0, err_msg=f"{source} {name}")
        assert any(np.abs(g).max() > 0 for g in leaves(gradients["encoder"]["attnet"]).values())


def test_gradients_are_equations_3_to_9(make, objective):
    """AttNet's: beta_att times all but L_att, plus L_att's. AffNet's: beta_aff times the classifier's, plus L_aff's."""

    def gradients(**options):
        _, found, _, _ = objective(*make(**options), **BATCH)
        return of_localizer(found)

    none = {"lambda_att": 0.0, "lambda_aff": 0.0}
    classifier = gradients(**none)  # through both, as beta is 1
    att = gradients(lambda_att=16.0, lambda_aff=0.0, beta_att=0.0, beta_aff=0.0)
    aff = gradients(lambda_att=0.0, lambda_aff=16.0, beta_aff=0.0)
    found = gradients(beta_att=0.25, beta_aff=0.5)
    for name, gradient in found.items():
        if "attnet" in name:
            expected = 0.25 * (0.5 * classifier[name] + aff[name]) + att[name]
        else:
            expected = 0.5 * classifier[name] + aff[name]
        # The scale of the whole layer: biases before a batch normalisation have none of their own.
        atol = 2e-4 * np.abs(expected).max() + 1e-5
        np.testing.assert_allclose(gradient, expected, rtol=2e-3, atol=atol, err_msg=name)


def test_the_target_is_the_classifiers_map_of_the_whole_image(make, objective, jit):
    """In inference mode, whatever the crop, and no batch statistics are touched by it."""
    method, params, collections = make()
    encoded, _ = jit(method.encode_in_training)(params, collections, IMAGES)
    attention, box = jit(method.targets)(params, collections, IMAGES, encoded)
    variables = {"params": params["encoder"]["classifier"], "batch_stats": collections["batch_stats"]["classifier"]}
    maps = jit(lambda: method.encoder.classifier.apply(variables, IMAGES, train=False))().maps
    expected = np.asarray(list(maps.values())[-1]).mean(-1)
    np.testing.assert_allclose(attention, expected, rtol=1e-5, atol=1e-6)
    least, most = expected.min((1, 2)), expected.max((1, 2))
    for one, low, high, corners in zip(expected, least, most, corners_of_theta(box), strict=True):
        rows, columns = np.nonzero(one > low + 0.3 * (high - low))
        bounds = [rows.min() / 2, columns.min() / 2, (rows.max() + 1) / 2, (columns.max() + 1) / 2]
        np.testing.assert_allclose(corners, bounds, atol=1e-6)
    _, _, with_target, _ = objective(method, params, collections, **BATCH)
    _, _, without, _ = objective(*make(lambda_att=0.0, lambda_aff=0.0), **BATCH)
    for name, value in leaves(with_target["batch_stats"]).items():
        np.testing.assert_allclose(value, leaves(without["batch_stats"])[name], rtol=1e-6, err_msg=name)


def test_the_objective_is_the_sum_of_its_losses(make, objective, jit):
    method, params, collections = make(lambda_att=3.0, lambda_aff=5.0)
    loss, _, _, metrics = objective(method, params, collections, **BATCH)
    encoded, _ = jit(method.encode_in_training)(params, collections, IMAGES)
    attention, box = jit(method.targets)(params, collections, IMAGES, encoded)

    def mean_smooth_l1(a, b):
        return np.mean([0.5 * d * d if abs(d) < 1 else abs(d) - 0.5 for d in np.ravel(np.float64(a) - np.float64(b))])

    att, aff = mean_smooth_l1(encoded.attention, attention), mean_smooth_l1(encoded.theta, box)
    logits = np.float64(encoded.embedding) @ np.float64(params["loss"]["kernel"]) + np.float64(params["loss"]["bias"])
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    np.testing.assert_allclose([metrics["att"], metrics["aff"]], [att, aff], rtol=1e-4)
    expected = -log_p[np.arange(12), LABELS].mean() + 3 * att + 5 * aff
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["scale"], np.asarray(encoded.theta)[:, :2].mean(), rtol=1e-5)


def test_a_map_of_the_crop_is_put_back_where_the_crop_is(make):
    """The left half of a crop of the upper right quarter; the map there is halved, and 0 elsewhere."""
    method, _, _ = make(m_source="crop_remapped")
    attention = RNG.uniform(size=(1, 4, 4)).astype(np.float32)
    box = jnp.float32([[0.5, 1.0, -0.5, 0.0]])
    placed, boxes = method._remapped(attention, box, jnp.float32([[0.5, 0.5, 0.5, -0.5]]))
    np.testing.assert_allclose(corners_of_theta(boxes), [[0, 0.5, 0.5, 0.75]], atol=1e-6)
    expected = np.zeros((4, 4))
    expected[:2, 2:] = attention[0].reshape(2, 2, 2, 2).mean((1, 3))
    np.testing.assert_allclose(placed[0], expected, atol=1e-6)
    placed, boxes = method._remapped(attention, box, jnp.float32([[1.0, 1.0, 0.0, 0.0]]))
    np.testing.assert_array_equal(placed, attention)
    np.testing.assert_array_equal(boxes, box)
    placed, _ = method._remapped(attention, box, jnp.zeros((1, 4)))
    assert np.isfinite(placed).all()


def test_a_mirrored_crop_has_a_target_that_is_not(make):
    """The left half of a crop that is read from right to left is the right half of the image."""
    method, _, _ = make(m_source="crop_remapped")
    attention = RNG.uniform(size=(1, 4, 4)).astype(np.float32)
    placed, box = method._remapped(
        attention, jnp.float32([[0.5, 1.0, -0.5, 0.0]]), jnp.float32([[-1.0, 1.0, 0.0, 0.0]])
    )
    np.testing.assert_allclose(box, [[0.5, 1.0, 0.5, 0.0]], atol=1e-6)
    np.testing.assert_array_equal(placed, attention[:, :, ::-1])


def test_a_clipped_crop_is_put_back_where_it_was_taken(make, jit):
    """Targets and located boxes are those of the crop, not of the scales that AffNet asked for."""
    method, params, collections = make(m_source="crop_remapped", clip_theta=True)
    for direction in ("horizontal", "vertical"):
        params["encoder"]["affnet"][direction]["head"]["theta"].update(
            kernel=jnp.zeros((6, 2)), bias=jnp.float32([-3.0, 0.25])
        )
    encoded, _ = jit(method.encode_in_training)(params, collections, IMAGES)
    _, boxes = jit(method.targets)(params, collections, IMAGES, encoded)
    own = method.box(list(encoded.maps.values())[-1].mean(-1))
    expected = np.concatenate([0.05 * own[:, :2], 0.25 + 0.05 * own[:, 2:]], axis=1)
    np.testing.assert_allclose(boxes, expected, atol=1e-5)
    located = jit(method.locate)(params, collections, IMAGES)
    np.testing.assert_allclose(located.box, [[0.6, 0.6, 0.65, 0.65]] * 12, atol=1e-5)


def test_with_corners_aligned_a_target_keeps_a_cell(make):
    method, _, _ = make(align_corners=True)
    attention = jnp.zeros((1, 4, 5)).at[0, 2, 1].set(1.0)
    np.testing.assert_allclose(method.box(attention), [[0.2, 0.25, -0.5, 1 / 3]], atol=1e-6)


def test_an_embedding_layer_and_elopes_loss(make, objective):
    method, params, collections = make(loss="elope", emb_dim=5)
    loss, gradients, updated, metrics = objective(method, params, collections, **BATCH)
    layer = params["encoder"]["classifier"]
    assert layer["embedding"]["kernel"].shape == (6, 5) and layer["prelu"]["slope"].shape == ()
    assert np.isfinite(loss) and updated["loss_state"]["centers"].shape == (3, 5)
    assert np.abs(gradients["encoder"]["classifier"]["embedding"]["kernel"]).max() > 0
    assert {"att", "aff", "iou_target", "scale"} <= set(metrics)


def test_crops_may_be_smaller_than_images(make, jit):
    method, params, collections = make(crop_size=4)
    encoded = jit(method.encode)(params, collections, IMAGES)
    assert encoded.crop.shape == (12, 4, 4, 1) and encoded.attention.shape == (12, 1, 1)
    assert jit(method.logits)(params, collections, IMAGES).shape == (12, 3)


def test_clipped_scales_reach_the_sampler_only(make, jit):
    method, params, collections = make(clip_theta=True)
    for direction in ("horizontal", "vertical"):
        params["encoder"]["affnet"][direction]["head"]["theta"]["bias"] = jnp.float32([-3.0, 0.0])
    encoded = jit(method.encode)(params, collections, IMAGES)
    assert float(encoded.theta[:, :2].max()) < -2
    small = jnp.concatenate([jnp.full((12, 2), 0.05), encoded.theta[:, 2:]], axis=1)
    expected = method.encoder.clone(clip_theta=False).cropped(IMAGES, small)
    np.testing.assert_allclose(encoded.crop, expected, atol=1e-6)


def test_weight_decay_spares_what_begins_as_the_identity(make):
    method, params, _ = make(loss="cosine")
    mask = leaves(method.weight_decay_mask(params))
    spared = sorted(name for name, decays in mask.items() if not decays)
    assert len(spared) == 4 and [name for name in spared if "tau" in name] == ["['loss']['tau']"]
    assert "['encoder']['preprocess']['threshold']" in spared
    assert sum("theta" in name and "bias" in name for name in spared) == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"m_source": "image"}, "localization.m_source='image' must be one of .*full_image"),
        ({"binarize": "hard"}, "localization.binarize='hard' must be one of"),
        ({"padding": "wrap"}, "localization.padding='wrap' must be one of"),
        ({"beta_aff": -1.0}, "localization.beta_aff=-1.0 must be at least 0"),
        ({"att_width": 0}, "localization.att_width=0 must be at least 1"),
        ({"tau": 1.0}, "localization.tau=1.0 must be at least 0 and below 1"),
        ({"emb_dim": 5, "model__cnn__dim": 4}, "emb_dim=5 puts an embedding layer .* 'cnn' has layers of its own"),
        ({"crop_size": 1}, "images of 1x1 are too small"),
    ],
)
def test_options_that_cannot_be(make, overrides, message):
    with pytest.raises(UserError, match=message):
        make(**overrides)


def test_rectangular_images_and_maps(few_shot_config, jit):
    """A box of the right half: columns are halved, rows are not."""
    from fsjax.data import DataInfo
    from fsjax.methods import build_method

    info = DataInfo("random", ("a", "b", "c"), (8, 16, 1), {"train": 30}, (20, 7, 3), (0.5,), (0.5,))
    chosen = {f"method__localization__{name}": value for name, value in SMALL.items()}
    method = build_method(few_shot_config(method__name="localization", **chosen), info)
    images = RNG.normal(size=(4, 8, 16, 1)).astype(np.float32)
    variables = dict(jit(method.init)(jax.random.key(0), images))
    params = variables.pop("params")
    params["encoder"]["affnet"]["horizontal"]["head"]["theta"]["bias"] = jnp.float32([0.5, 0.5])
    encoded = jit(method.encode)(params, variables, images)
    assert encoded.attention.shape == (4, 2, 4) and encoded.crop.shape == (4, 8, 16, 1)
    # Position j of the crop is read at column 8 + (j - 0.5) / 2: between pixels, at a quarter of the way.
    right = images[:, :, 8:]
    np.testing.assert_allclose(
        encoded.crop[:, :, 1], 0.75 * right[:, :, 0] + 0.25 * right[:, :, 1], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        encoded.crop[:, :, 2], 0.25 * right[:, :, 0] + 0.75 * right[:, :, 1], rtol=1e-5, atol=1e-6
    )


def test_bfloat16_computes_boxes_and_losses_in_float32(make, objective):
    exact, _, _, exact_metrics = objective(*make(), **BATCH)
    method, params, collections = make(model__dtype="bfloat16")
    loss, gradients, _, metrics = objective(method, params, collections, **BATCH)
    assert {leaf.dtype for leaf in jax.tree.leaves((loss, gradients, metrics))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(loss, exact, rtol=0.05)
    np.testing.assert_allclose(metrics["scale"], exact_metrics["scale"], rtol=0.05)
