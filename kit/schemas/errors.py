"""What can go wrong, in two kinds."""


class KitError(Exception):
    """Something a person can mend: the message names the thing and the cure."""


class FormatError(ValueError):
    """A reply that does not have the form that was asked for; the message goes back to the model."""
