"""Ways to find and follow objects; each loads its libraries when it is made."""
