"""Image networks, trained to classify."""
