"""The dashboard: runs watched and steered in a browser. It reads the files of the home, and asks as `steering` does."""
