"""The REST interface: /api/v1, /v2 of the Open Inference Protocol, /metrics."""
