"""A loss in nats, and what else says the same. No TensorFlow, no Keras."""

import math


def perplexity(loss_nats: float) -> float:
    """Returns exp of a loss; infinite beyond what a float holds."""
    return math.exp(loss_nats) if loss_nats < 700 else math.inf


def bits_per_char(loss_nats: float) -> float:
    """Returns a loss of characters in bits."""
    return loss_nats / math.log(2)


def loss_metrics(split: str, loss_nats: float, level: str) -> dict[str, float]:
    """Returns a loss and what else says the same, by name."""
    metrics = {
        f"{split}_loss_nats": loss_nats,
        f"{split}_perplexity": perplexity(loss_nats),
    }
    if level == "char":
        metrics[f"{split}_bits_per_char"] = bits_per_char(loss_nats)
    return metrics
