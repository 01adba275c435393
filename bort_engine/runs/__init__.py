"""Run folders, records on disk, and what work tells of itself while it runs."""
