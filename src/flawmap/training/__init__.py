"""The one training loop: checkpoint, monitor, forecast, metrics."""
