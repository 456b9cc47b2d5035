"""The dataset builder: raw videos in, filtered clips with per-frame instance masks out."""
