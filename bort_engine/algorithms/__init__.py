"""The papers' two algorithms, free of networks and text: read them beside the papers."""
