"""The report: one HTML page about an inspector and the images it inspected."""
