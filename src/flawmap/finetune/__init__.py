"""Fine-tuning of the backbone on a user's own classes, before a method is fitted."""
