"""The commands, one file each. Importing them needs no torch; what a command needs it imports when it runs."""
