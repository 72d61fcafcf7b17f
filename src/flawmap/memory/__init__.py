"""The bank of good patches and its relatives: how they are chosen, searched and left out of."""
