"""The pages of a station, made on the server; a browser needs no script for them."""
