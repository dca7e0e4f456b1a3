"""Dropout (Srivastava et al. 2014): by the compiled kernel in float32 on a CPU, elsewhere PyTorch's own."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..fast.dropout import dropout, dropout_fits


class Dropout(nn.Module):
    """Zeroes each value with probability p in training."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape → the same shape."""
        if not self.training or self.p == 0:
            return x
        if dropout_fits(x):
            return dropout(x, self.p)
        return F.dropout(x, self.p, True)

    def extra_repr(self) -> str:
        """For printing."""
        return f"p={self.p}"
