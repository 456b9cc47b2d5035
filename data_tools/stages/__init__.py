"""The stages of a build; none of them knows what runs it."""
