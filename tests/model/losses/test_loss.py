"""What holds for every loss: order, gradients, ignored pixels; and how they are chosen and added up."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from segmentation.errors import InputError
from segmentation.inference.classes import Classes
from segmentation.model.losses.loss import LOSSES, WEIGHTED, WEIGHTED_MULTICLASS, Loss
from segmentation.model.module import SegmentationModule

TWO = Classes(("background", "lesion"))
THREE = Classes(("road", "tree", "sky"))

CASES = [
    pytest.param(name, classes, id=f"{name}-{len(classes)}")
    for classes in (TWO, THREE)
    for name in LOSSES
    if not (name == "bce" and classes is THREE)
]


def example(classes: Classes, seed: int = 0):
    """Random logits (2, K, 5, 6), and a mask with every class and a third ignored."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, len(classes), (2, 5, 6), generator=random)
    mask[torch.rand(mask.shape, generator=random) < 0.33] = 255
    logits = torch.randn(2, 1 if classes.binary else len(classes), 5, 6, generator=random)
    return logits, mask


@pytest.fixture
def value_and_gradient(cost):
    def of(loss: Loss, logits: torch.Tensor, mask: torch.Tensor):
        leaf = logits.clone().requires_grad_()
        value = cost(loss, leaf, mask)
        value.backward()
        return value.detach(), leaf.grad

    return of


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_a_good_prediction_costs_less_than_a_poor_one_and_a_perfect_one_next_to_nothing(cost, sure, name, classes):
    truth = torch.arange(2 * 6 * 6).reshape(2, 6, 6) % len(classes)
    poor = truth.clone()
    poor[:, :3] = (poor[:, :3] + 1) % len(classes)
    wrong = (truth + 1) % len(classes)
    loss = Loss({name: 1}, classes)
    costs = [float(cost(loss, sure(labels, classes), truth)) for labels in (truth, poor, wrong)]
    # the hardest quarter of a prediction that is half wrong is as wrong as can be
    assert costs[0] < costs[1] < costs[2] or (name == "ohem" and costs[0] < costs[1] == costs[2])
    assert float(cost(loss, sure(truth, classes, 30), truth)) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "bce"])
def test_a_number_added_to_all_logits_of_a_pixel_changes_nothing(cost, name):
    logits, mask = example(THREE)
    loss, shift = Loss({name: 1}, THREE), torch.linspace(-9, 9, mask.numel()).view_as(mask)
    assert float(cost(loss, logits + shift[:, None], mask)) == pytest.approx(float(cost(loss, logits, mask)), rel=1e-4)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_the_loss_of_a_validation_is_that_of_the_training(monkeypatch, name, classes):
    logits, mask = (part[:1] for part in example(classes))
    logits = 3 * logits
    module = SegmentationModule(
        {"names": list(classes.names)}, 1, "PlainUnet", network_options={"width": 1}, loss={name: 1}
    )
    monkeypatch.setattr(module, "forward", lambda image: logits)
    maps = {name: torch.from_numpy(of(mask[0].numpy().astype("uint8")))[None] for name, of in module.loss.maps.items()}
    module.on_test_epoch_start()
    module.test_step({"image": torch.zeros(1, 1, 5, 6), "mask": mask, "id": ["a"], "maps": maps}, 0)
    _, scores = module.stage_scores.compute()
    assert scores["loss"] == pytest.approx(float(module.loss(logits, mask, maps)), rel=1e-4)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_the_gradient_is_that_of_finite_differences(cost, name, classes):
    logits, mask = example(classes)
    logits, mask = logits[:1, :, :4].double().requires_grad_(), mask[:1, :4]
    (term,) = Loss({name: 1}, classes).terms.values()  # in float64, as Loss itself is in float32
    tolerance = {"eps": 1e-3, "atol": 5e-3} if name == "lovasz" else {}  # linear in pieces, and float32 inside
    assert torch.autograd.gradcheck(lambda leaf: cost(term, leaf, mask), logits, **tolerance)


@pytest.mark.parametrize("classes", [TWO, THREE])
@pytest.mark.parametrize(("name", "gamma"), [("tversky", 0.75), ("tversky", 0.1), ("focal", 0.5), ("focal", 0)])
def test_the_gradient_of_a_power_below_1_is_finite_and_0_where_the_answer_is_sure(
    cost, value_and_gradient, sure, name, gamma, classes
):
    loss = Loss({name: 1}, classes, None, {name: {"gamma": gamma}})
    logits, mask = example(classes)
    (term,) = loss.terms.values()
    few = logits[:1, :, :4].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda leaf: cost(term, leaf, mask[:1, :4]), few)
    truth = torch.arange(36).reshape(1, 6, 6) % len(classes)
    for height in (4, 8, 20, 200):
        value, gradient = value_and_gradient(loss, sure(truth, classes, height), truth)
        assert torch.isfinite(gradient).all()
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert not gradient.any()
    value, gradient = value_and_gradient(loss, logits, torch.full_like(mask, 255))
    assert value == 0 and not gradient.any()


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_a_step_down_the_gradient_lowers_the_loss(cost, value_and_gradient, name, classes):
    logits, mask = example(classes)
    loss = Loss({name: 1}, classes)
    value, gradient = value_and_gradient(loss, logits, mask)
    assert float(cost(loss, logits - 0.1 * gradient / gradient.norm(), mask)) < float(value)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_logits_at_ignored_pixels_change_neither_value_nor_gradient(value_and_gradient, name, classes):
    logits, mask = example(classes)
    ignored = (mask == 255)[:, None].expand_as(logits)
    other = torch.where(ignored, 50 - 100 * torch.rand(logits.shape, generator=torch.Generator()), logits)
    loss = Loss({name: 1}, classes)
    value, gradient = value_and_gradient(loss, logits, mask)
    value_again, gradient_again = value_and_gradient(loss, other, mask)
    assert value == value_again
    assert torch.equal(gradient, gradient_again)
    assert not gradient[ignored].any()
    assert gradient[~ignored].any()


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_with_every_pixel_ignored_the_loss_is_exactly_0_and_so_is_its_gradient(value_and_gradient, name, classes):
    logits, mask = example(classes)
    value, gradient = value_and_gradient(Loss({name: 1}, classes), logits, torch.full_like(mask, 255))
    assert value == 0
    assert value.shape == ()
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("ignore_index", [3, 254])
@pytest.mark.parametrize(("name", "classes"), CASES)
def test_the_ignored_value_is_the_one_that_the_classes_name(cost, name, classes, ignore_index):
    logits, mask = example(classes)
    renamed = Classes(classes.names, ignore_index=ignore_index)
    expected = cost(Loss({name: 1}, classes), logits, mask)
    assert cost(Loss({name: 1}, renamed), logits, torch.where(mask == 255, ignore_index, mask)) == expected


class NoIndices(TorchDispatchMode):
    """Refuses indices, which torch makes on the CPU of a list: a GPU is waited for until they are copied."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket is not torch.ops.aten.index
        return func(*args, **kwargs or {})


@pytest.mark.parametrize(("name", "classes"), [case for case in CASES if case.values[0] not in ("lovasz", "ohem")])
def test_no_loss_chooses_planes_by_a_list(value_and_gradient, name, classes):
    with NoIndices():
        value_and_gradient(Loss({name: 1}, classes), *example(classes))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("name", "classes"), CASES)
def test_bf16_logits_give_the_float32_loss_of_the_rounded_logits(cost, name, classes, autocast):
    logits, mask = example(classes)
    rounded = logits.bfloat16()
    loss = Loss({name: 1}, classes)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value = cost(loss, rounded, mask)
    assert value.dtype == torch.float32
    assert torch.equal(value, cost(loss, rounded.float(), mask))


@pytest.mark.filterwarnings("ignore:3 validations in a row")  # three steps teach nothing
def test_fit_trains_with_every_loss_and_validate_reproduces_it(run, synthetic, quick):
    losses = json.dumps(dict.fromkeys(LOSSES, 1))
    options = "{ohem: {share: 0.5}, cldice: {target: membrane}, unet: {sigma: 4}}"
    arguments = (*synthetic, *quick, "--model.loss", losses, "--model.loss_options", options, "--run_folder", "r")
    assert run("fit", *arguments, "--data.workers", 1, "--trainer.max_epochs", 1) == 0
    with Path("r/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["train/loss"]) > 0 for row in rows if row["train/loss"])
    assert run("validate", "--ckpt_path", "r/checkpoints/last.ckpt") == 0
    (logged,) = [float(row["val/loss"]) for row in rows if row["val/loss"]]
    scores = json.loads(next(Path("r").glob("validate-*/scores.json")).read_text())
    assert scores["loss"] == pytest.approx(logged, rel=1e-6)


@pytest.mark.filterwarnings("ignore:3 validations in a row")
def test_fit_trains_with_every_loss_of_several_classes(run, folder_data, quick):
    data = ("--data.source", "FolderSource", "--data.source.root", folder_data)
    classes = ("--data.source.classes", "[background, lesion, vessel]", "--data.source.mask_values", "{0: 0, 1: 2}")
    losses = json.dumps({name: 1 for name in LOSSES if name != "bce"})
    steps = ("--trainer.max_epochs", 1, "--data.samples_per_epoch", 4, "--run_folder", "r")
    assert run("fit", *data, *classes, *quick, *steps, "--model.loss", losses) == 0
    with Path("r/metrics.csv").open() as file:
        values = [float(row[key]) for row in csv.DictReader(file) for key in ("train/loss", "val/loss") if row[key]]
    assert len(values) == 3  # two steps and a validation
    assert 0 < min(values) <= max(values) < 100


def test_losses_add_with_their_shares():
    logits, mask = example(TWO)
    parts = {name: float(Loss({name: 1}, TWO)(logits, mask)) for name in ("bce", "dice", "lovasz")}
    whole = Loss({"bce": 0.5, "dice": 2, "lovasz": 0}, TWO)(logits, mask)
    assert float(whole) == pytest.approx(0.5 * parts["bce"] + 2 * parts["dice"])


def test_maps_are_those_of_the_losses_that_have_a_share():
    assert Loss({"bce": 1, "dice": 1, "unet": 0}, TWO).maps == {}
    assert list(Loss({"boundary": 1, "ce": 1, "unet": 0.1}, TWO).maps) == ["boundary", "unet"]


@pytest.mark.parametrize("name", ["ce", "dice", "jaccard", "tversky", "focal"])
def test_a_weight_makes_the_errors_of_its_class_cost_more(sure, name):
    truth = torch.arange(36).reshape(1, 6, 6) % 3
    wrong_sky = torch.where(truth == 2, 0, truth)
    logits = sure(wrong_sky, THREE)
    plain, heavy, light = (
        float(Loss({name: 1}, THREE, weights)(logits, truth)) for weights in (None, [1, 1, 5], [1, 1, 0.2])
    )
    assert light < plain < heavy
    assert float(Loss({name: 1}, THREE, [2, 2, 2])(logits, truth)) == pytest.approx(plain)


def test_an_unknown_loss_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="model.loss 'dise' is unknown; did you mean 'dice'"):
        Loss({"dise": 1}, TWO)


def test_bce_of_several_classes_is_refused_with_the_cure():
    with pytest.raises(InputError, match="bce is for two classes and there are 3; use ce"):
        Loss({"bce": 1}, THREE)


@pytest.mark.parametrize("weights", [{}, {"dice": 0}, {"dice": 1, "ce": -0.5}])
def test_shares_that_make_no_loss_are_refused_with_an_example(weights):
    with pytest.raises(InputError, match="give shares such as {bce: 1, dice: 1}"):
        Loss(weights, TWO)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"focal": {"gama": 3}}, "model.loss_options: focal takes no 'gama'; did you mean 'gamma'?"),
        ({"lovasz": {"per_image": True}}, "model.loss_options: lovasz takes no 'per_image'; it has no options"),
        ({"dice": {"smooth": 1}}, "options of 'dice', which is not in model.loss {'focal': 1, 'lovasz': 1"),
        ({"focal": {"gamma": -0.5}}, "focal refuses {'gamma': -0.5}: gamma is -0.5; give 0 or more"),
        ({"tversky": {"gamma": 0}}, "tversky refuses {'gamma': 0}: gamma is 0; give 1e-06 or more"),
        ({"focal": {"alpha": 25}}, "focal refuses {'alpha': 25}: alpha is 25; give a number from 0 to 1"),
        ({"focal": {"gamma": "two"}}, "focal refuses {'gamma': 'two'}: "),
        (
            {"cldice": {"target": "lesions"}},
            "cldice refuses {'target': 'lesions'}: the class 'lesions' is unknown; did",
        ),
        ({"unet": {"background": "cell"}}, "unet refuses {'background': 'cell'}: the class 'cell' is unknown; known: "),
    ],
)
def test_an_option_that_a_loss_does_not_take_is_refused_with_the_cure(options, message):
    with pytest.raises(InputError) as caught:
        Loss({"focal": 1, "lovasz": 1, "cldice": 1, "unet": 1, "tversky": 1}, TWO, None, options)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in WEIGHTED])
def test_class_weights_of_two_classes_are_refused_where_they_would_do_nothing(name):
    with pytest.raises(InputError, match=f"{name} takes none in a task of 2 classes; losses that do: bce, ce, unet"):
        Loss({"bce": 1, name: 1}, TWO, [1, 2])


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in WEIGHTED_MULTICLASS])
def test_class_weights_of_several_classes_are_refused_where_they_would_do_nothing(name):
    with pytest.raises(
        InputError, match=f"{name} takes none in a task of 3 classes; losses that do: bce, ce, unet, di"
    ):
        Loss({"ce": 1, name: 1}, THREE, [1, 2, 3])


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [1, -1], [0, 0], [math.nan, 1], [1, math.inf]])
def test_class_weights_that_do_not_fit_are_refused_with_the_classes(weights):
    with pytest.raises(InputError, match=r"do not fit the 2 classes \['background', 'lesion'\]"):
        Loss({"bce": 1}, TWO, weights)


def test_automatic_weights_are_1_until_they_are_given_and_then_as_if_given_at_once(cost):
    for name in (name for name in WEIGHTED_MULTICLASS if name != "bce"):
        logits, mask = example(THREE)
        loss = Loss({name: 1}, THREE, "auto")
        assert float(cost(loss, logits, mask)) == pytest.approx(float(cost(Loss({name: 1}, THREE), logits, mask)))
        loss.weigh([0.5, 2, 0.5])
        given = Loss({name: 1}, THREE, [0.5, 2, 0.5])
        assert torch.equal(cost(loss, logits, mask), cost(given, logits, mask))
        assert loss.state_dict() == {}


def test_automatic_weights_are_refused_where_given_ones_are():
    with pytest.raises(InputError, match="dice takes none in a task of 2 classes; losses that do: bce, ce"):
        Loss({"bce": 1, "dice": 1}, TWO, "auto")


def test_class_weights_move_with_the_module_but_are_no_part_of_a_checkpoint():
    loss = Loss({"ce": 1}, THREE, [1, 2, 3])
    assert loss.state_dict() == {}
    assert loss.double().class_weights.dtype == torch.float64
    loss.to("meta").weigh([3, 2, 1])
    assert {buffer.device.type for buffer in loss.buffers()} == {"meta"}
