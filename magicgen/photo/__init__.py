"""Photos as files, with all their bits, transparency and tags kept; and changes brought to their full size."""
