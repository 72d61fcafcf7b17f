"""The station's record: a chain of events in a database, and tables made of them. No web."""
