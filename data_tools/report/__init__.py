"""``report``: one HTML file for the eye."""
