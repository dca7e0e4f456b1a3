"""The linear layer: `nn.Linear`, through oneDNN where faster."""

from torch import Tensor, nn

from ..fast.linear import linear


class Linear(nn.Linear):
    """`nn.Linear` with `linear` for its product."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., I] → [..., O]."""
        return linear(input, self.weight, self.bias)
