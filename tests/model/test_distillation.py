"""What teachers add to a loss by hand, and runs that are taught."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segmentation.data.sources.synthetic import SyntheticSource
from segmentation.errors import InputError
from segmentation.inference.intensity import Intensity
from segmentation.model.distillation import Distillation, attention_distance, divergence
from segmentation.model.module import SegmentationModule
from segmentation.model.predictor import load

Fit = Callable[..., Path]
Run = Callable[..., int]

PLAIN = ("--model.network", "PlainUnet", "--model.network_options", "{width: 4}")
MEMBRANES = {"names": ["membrane", "cell"]}


def stored(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def taught_by(trained: Path, **options: object) -> tuple[object, ...]:
    given = {"teacher": trained, **options}
    return tuple(part for name, value in given.items() for part in (f"--distillation.{name}", value))


def test_the_divergence_of_two_classes_by_hand():
    q, p = 0.8, 0.5
    logits, believed = torch.zeros(1, 1, 1, 1), torch.tensor([1 - q, q]).view(1, 2, 1, 1)
    expected = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    assert divergence(logits, believed, binary=True).item() == pytest.approx(expected)
    assert divergence(torch.full((1, 1, 1, 1), math.log(4)), believed, binary=True).item() == pytest.approx(0, abs=1e-7)


def test_the_divergence_of_three_classes_by_hand():
    logits = torch.tensor([1.0, 2.0, 3.0]).log().view(1, 3, 1, 1)  # 1/6, 2/6, 3/6
    believed = torch.tensor([0.5, 0.5, 0.0]).view(1, 3, 1, 1)
    expected = 0.5 * math.log(0.5 * 6) + 0.5 * math.log(0.5 * 3)
    assert divergence(logits, believed, binary=False).item() == pytest.approx(expected)
    twice = divergence(logits.expand(1, 3, 1, 2), believed.expand(1, 3, 1, 2), binary=False)
    assert twice.item() == pytest.approx(expected), "the mean over pixels"


def test_the_distance_of_attention_by_hand():
    image = torch.zeros(1, 1, 4, 4)
    first = torch.zeros(1, 2, 2, 2)
    first[0, :, 0, 0] = torch.tensor([3.0, 1.0])  # looks at one place: (1, 0, 0, 0)
    second = torch.ones(1, 5, 2, 2)  # everywhere alike: (1, 1, 1, 1) / 2
    expected = (1 - 0.5) ** 2 + 3 * 0.5**2
    assert attention_distance([image, first], [image, second]).item() == pytest.approx(expected)
    assert attention_distance([image, first], [image, 7 * first]).item() == pytest.approx(0, abs=1e-7)
    empty, coarse = torch.zeros(1, 0, 2, 2), torch.ones(1, 3, 1, 1)
    levels = [image, first, coarse], [image, empty, second, 2 * coarse]
    assert attention_distance(*levels).item() == pytest.approx(expected / 2), "the mean over two levels"
    with pytest.raises(InputError, match=r"have the sizes \[\(2, 2\)\] and the teacher's \[\(1, 1\)\]; set"):
        attention_distance([image, first], [image, coarse])


def test_levels_of_one_size_are_compared_from_the_deepest_on():
    image, tokens = torch.zeros(1, 1, 4, 4), [None, None]
    place = torch.zeros(1, 1, 2, 2)
    place[0, 0, 0, 0] = 1
    everywhere = torch.ones(1, 1, 2, 2)
    # DPT has no image before its levels, and prefix tokens after them
    assert attention_distance(([place, everywhere], tokens), ([everywhere, everywhere], tokens)).item() == 0.5
    assert attention_distance(([place, everywhere], tokens), [image, everywhere]).item() == 0
    assert attention_distance(([place, everywhere], tokens), [image, place]).item() == 1
    with pytest.raises(InputError, match=r"have the sizes \[\] and the teacher's \[\(2, 2\)\]"):
        attention_distance([], [image, place])


def test_the_loss_is_shared_between_masks_and_teachers():
    torch.manual_seed(0)
    teachers = [SegmentationModule(MEMBRANES, 1, "PlainUnet", network_options={"width": 2}).eval() for _ in range(2)]
    teachers[0].mean.fill_(100.0)  # each has its own normalisation
    teachers[0].std.fill_(50.0)
    callback = Distillation(share=0.25, temperature=4)
    callback.teachers = teachers
    image, logits = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8), torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        believed = torch.stack([(teacher(image) / 4).sigmoid() for teacher in teachers]).mean(0)
        guessed = (logits / 4).sigmoid()
        answers = believed * (believed / guessed).log() + (1 - believed) * ((1 - believed) / (1 - guessed)).log()
    expected = 0.75 * 3.0 + 0.25 * 16 * answers.mean()
    assert callback.taught(image, logits, torch.tensor(3.0)).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("network", "encoder", "options"),
    [
        ("Unet", "tu-test_resnet.r160_in1k", {}),
        (
            "DPT",
            "tu-test_vit.r160_in1k",
            {"decoder_intermediate_channels": [8, 8, 16, 16], "decoder_fusion_channels": 16},
        ),
    ],
)
def test_features_are_those_of_the_same_images(network: str, encoder: str, options: dict[str, object]):
    student, *teachers = (
        SegmentationModule(MEMBRANES, 1, network, encoder, network_options=options).eval() for _ in range(3)
    )
    callback = Distillation(share=0, features=10)
    callback.teachers = teachers
    callback.on_fit_start(None, student)
    image = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        loss = student.teaching(image, student(image), torch.tensor(3.0))
        seen, *others = (module.network.network.encoder(image.float()) for module in (student, *teachers))
        expected = 3 + 10 * (attention_distance(seen, others[0]) + attention_distance(seen, others[1])) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.item() > 3.01
    callback.on_fit_end(None, student)
    assert student.teaching is None
    assert not student.network.network.encoder._forward_hooks


def test_a_teacher_without_a_share_changes_nothing(tiny_fit: Fit, trained: Path) -> None:
    alone, taught = (tiny_fit(*args) for args in ((), taught_by(trained, share=0)))
    first, second = (stored(folder / "checkpoints/last.ckpt") for folder in (alone, taught))
    assert first["state_dict"].keys() == second["state_dict"].keys()
    assert all(torch.equal(value, second["state_dict"][name]) for name, value in first["state_dict"].items())
    assert first["hyper_parameters"].keys() == second["hyper_parameters"].keys()


def test_a_student_becomes_like_its_teacher(tiny_fit: Fit, trained: Path) -> None:
    """The more so the more its teacher counts; the checkpoint then needs no teacher."""
    image = SyntheticSource(slices=6, size=64).read_image(SyntheticSource(slices=6, size=64).samples()[0])
    wanted = load(trained).probabilities(image)
    longer = (*PLAIN, "--data.samples_per_epoch", 24, "--model.lr", 1e-2, "--model.schedule", "constant")
    distances = []
    for share in (0.0, 1.0):
        folder = tiny_fit(*longer, *taught_by(trained, share=share))
        distances.append(np.abs(load(folder).probabilities(image) - wanted).mean())
    assert distances[1] < 0.8 * distances[0]


def test_a_taught_run_is_resumed_exactly(tiny_fit: Fit, run: Run, trained: Path) -> None:
    options = (*taught_by(trained, features=10), "--model.ema", 0.9, "--model.schedule", "constant")
    whole = tiny_fit(*options)
    begun = tiny_fit(*options, "--trainer.max_epochs", 1)
    args = ("--config", begun / "config.yaml", "--trainer.max_epochs", 2)
    assert run("fit", *args, "--ckpt_path", begun / "checkpoints/last.ckpt") == 0
    first, second = (stored(folder / "checkpoints/last.ckpt") for folder in (whole, begun))
    for part in ("state_dict", "current_model_state"):
        assert [name for name, value in first[part].items() if not torch.equal(value, second[part][name])] == []


def test_a_student_has_seen_what_its_teacher_was_trained_on(tiny_fit: Fit, trained: Path, capsys) -> None:
    other = ("--data.fold", 0, *taught_by(trained))
    with pytest.raises(AssertionError):
        tiny_fit(*other)
    assert "2 of 2 samples to be scored were trained on: slice-000, slice-001" in capsys.readouterr().err
    folder = tiny_fit(*other, "--allow_seen")
    assert len(stored(folder / "checkpoints/best.ckpt")["segmentation"]["trained_on"]) == 6


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"teacher": "missing"}, "the checkpoint missing does not exist"),
        ({"share": 1.5}, "distillation.share is 1.5; give a share of the loss from 0 to 1"),
        ({"temperature": 0}, "distillation.temperature is 0.0 and features 0.0; give a temperature above 0"),
        ({"features": -1}, "features -1.0; give a temperature above 0, such as 2, and a weight of the features"),
    ],
)
def test_wrong_options_are_refused_before_a_run_is_made(run: Run, synthetic, quick, trained, capsys, options, told):
    assert run("fit", *synthetic, *quick, *taught_by(trained, **options)) == 1
    assert told in capsys.readouterr().err
    assert not Path("runs").exists()


def test_features_need_encoders(run: Run, synthetic, quick, trained: Path, capsys) -> None:
    assert run("fit", *synthetic, *quick, *PLAIN, *taught_by(trained, features=1)) == 1
    assert "distillation.features is for networks with an encoder, and PlainUnet has none" in capsys.readouterr().err


def test_a_teacher_of_other_classes_is_refused(run: Run, folder_data: Path, quick, trained: Path, capsys) -> None:
    assert (
        run("fit", "--data.source", "FolderSource", "--data.source.root", folder_data, *quick, *taught_by(trained)) == 1
    )
    told = "trained on the classes ['membrane', 'cell'] in 1 channels, the data have ['background', 'foreground'] in 3"
    assert told in capsys.readouterr().err


def test_a_teacher_of_other_pixels_is_refused(trained: Path) -> None:
    data = SimpleNamespace(intensity=Intensity("uint16", "percentile", (0.0,), (1.0,)), unlabelled=[])
    with pytest.raises(InputError, match="takes uint8 images by the rule range, these are uint16 by percentile; set"):
        Distillation(str(trained)).load(SegmentationModule(MEMBRANES, 1, "PlainUnet"), data)


def test_images_without_masks_are_taught(tiny_fit: Fit, trained: Path) -> None:
    Path("bare").mkdir()
    for number in range(2):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (70, 60), np.uint8)).save(f"bare/{number}.png")
    folder = tiny_fit(*taught_by(trained), "--data.unlabelled", "[bare]", "--trainer.log_every_n_steps", 1)
    seen = stored(folder / "checkpoints/best.ckpt")["segmentation"]["trained_on"]
    assert [name for name in seen if name.startswith("unlabelled/")] == [
        "unlabelled/bare/0.png",
        "unlabelled/bare/1.png",
    ]
    with (folder / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert len(losses) == 6  # 4 slices and 2 images make 3 batches of 2, twice
    assert all(math.isfinite(loss) for loss in losses)


def test_images_without_masks_need_a_teacher(run: Run, synthetic, quick, capsys) -> None:
    Image.fromarray(np.zeros((40, 40), np.uint8)).save("bare.png")
    assert run("fit", *synthetic, *quick, "--data.unlabelled", "[bare.png]") == 1
    assert "give one as distillation.teacher, or leave data.unlabelled out" in capsys.readouterr().err
