"""The station itself: what comes in is stored, judged and recorded. No web."""
