"""The station: a REST server, a record that loses nothing, a folder watch. No torch.

`record` keeps what happened, `core` judges, `api` and `pages` are its web. Each knows only those
before it.
"""
