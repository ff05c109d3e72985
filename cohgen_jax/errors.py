"""The error that a user's input can cause."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the mend."""
