"""The network that fine-tuning trains: a backbone with one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flawmap.errors import OptionError
from flawmap.features.backbone import Backbone
from flawmap.finetune.config import FineTuneConfig
from flawmap.support.tensors import Images


class Classifier(nn.Module):
    """A backbone and one linear layer on the mean of its deepest map.

    Stages that are frozen, and batch statistics where the settings freeze them, stay as they are.

    Args:
        backbone: is changed by the training; its last layer is classified.
        num_classes: number of classes, 2 or more.
        config: settings; here `frozen_stages` and `batch_norm` count.

    Raises:
        OptionError: as many stages are to be frozen as there are, or more.

    Example:
        >>> from flawmap.features.backbone import Backbone
        >>> backbone = Backbone("test_resnet", (1, 2), "random")
        >>> classifier = Classifier(backbone, 3, FineTuneConfig(frozen_stages=1))
        >>> classifier(torch.zeros(5, 3, 64, 64)).shape
        torch.Size([5, 3])
    """

    def __init__(self, backbone: Backbone, num_classes: int, config: FineTuneConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.linear = nn.Linear(backbone.channels[-1], num_classes)
        self._freeze_batch_norm = config.batch_norm == "frozen"
        num_frozen = _count_parameters(backbone, config.frozen_stages)
        for parameter in list(backbone.parameters())[num_frozen:]:
            parameter.requires_grad_(True)

    def forward(self, images: Images) -> Tensor:
        """Logits (batch, class).

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        deepest = self.backbone(images)[-1]
        logits: Tensor = self.linear(deepest.mean(dim=(2, 3)))
        return logits

    def train(self, mode: bool = True) -> Classifier:
        """Switch to training; frozen stages and frozen batch statistics stay in evaluation mode.

        Args:
            mode: False for evaluation.

        Returns:
            The module itself.
        """
        super().train(mode)
        # Past the backbone itself, which never leaves evaluation mode.
        self.backbone.network.train(mode)
        for module in self.backbone.network.modules():
            if isinstance(module, nn.BatchNorm2d) and self._is_frozen(module):
                module.eval()
        return self

    def _is_frozen(self, norm: nn.BatchNorm2d) -> bool:
        return self._freeze_batch_norm or not norm.weight.requires_grad


def build_classifier(
    backbone: Backbone, num_classes: int, config: FineTuneConfig, seed: int
) -> Classifier:
    """A classifier with a new last layer, on the backbone's device.

    Args:
        backbone: is changed by the training.
        num_classes: number of classes, 2 or more.
        config: settings; here `frozen_stages` and `batch_norm` count.
        seed: of the new layer's weights; torch's own generator is left as it was.

    Raises:
        OptionError: as many stages are to be frozen as there are, or more.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = Classifier(backbone, num_classes, config)
    return classifier.to(next(backbone.parameters()).device)


def _count_parameters(backbone: Backbone, stage: int) -> int:
    """Number of the backbone's parameters from the input to the end of a stage, counted from 1.

    They come in the order in which they are used.
    """
    if not stage:
        return 0
    stages = backbone.stages()
    if stage >= len(stages):
        raise OptionError(
            f"{stage} stages of {len(stages)} cannot be frozen; use "
            f"frozen_stages={len(stages) - 1} or less"
        )
    in_stage = {id(parameter) for parameter in stages[stage - 1].parameters()}
    indices = [
        index for index, parameter in enumerate(backbone.parameters()) if id(parameter) in in_stage
    ]
    return indices[-1] + 1
