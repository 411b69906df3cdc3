"""The loss over the outputs of several levels."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segmentation.model.module import SegmentationModule


class Given(nn.Module):
    """A network that answers with what it was made with."""

    fixed = None

    def __init__(self, answer: Tensor | list[Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        return self.answer


def loss_of(answer: Tensor | list[Tensor], mask: Tensor, monkeypatch) -> Tensor:
    module = SegmentationModule({"names": ["background", "cell"]}, 1, network="PlainUnet", network_options={"width": 1})
    monkeypatch.setattr(module, "log", lambda *args, **options: None)
    module.network = Given(answer)
    image = torch.zeros(len(mask), 1, *mask.shape[1:])
    return module.training_step({"image": image, "mask": mask, "id": ["a", "b"], "maps": {}}, 0)


def test_outputs_count_one_half_and_a_quarter_of_the_sum(monkeypatch):
    mask = torch.randint(0, 2, (2, 8, 8))
    answers = [torch.randn(2, 1, 8, 8) for _ in range(3)]
    each = [loss_of(answer, mask, monkeypatch) for answer in answers]
    expected = each[0] * 4 / 7 + each[1] * 2 / 7 + each[2] * 1 / 7
    torch.testing.assert_close(loss_of(answers, mask, monkeypatch), expected)
    assert torch.equal(loss_of(answers[:1], mask, monkeypatch), each[0])


@pytest.mark.parametrize(
    ("network", "options"),
    [("PlainUnet", "{width: 4, deep_supervision: true}"), ("FCN", "{aux_loss: true}")],
)
def test_a_network_with_several_outputs_is_trained_and_scored(network, options, run, quick, synthetic, capsys):
    args = ("--model.network", network, "--model.network_options", options)
    assert run("fit", *synthetic, *quick, "--trainer.max_epochs", 1, *args) == 0
    (folder,) = Path("runs").glob("*/*")
    assert run("validate", "--ckpt_path", folder / "checkpoints/best.ckpt") == 0
