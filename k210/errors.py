"""The errors that reach a person, each one sentence: what, where, what to do."""


class UserError(Exception):
    """Something the user can mend; ends a command with status 2, no traceback."""


class BoardError(UserError):
    """The infrastructure failed: no port, no answer, a flash that does not program."""


class NoRoomError(BoardError):
    """The board is well, and its flash is too small for what it is to hold."""


class ModelError(UserError):
    """The model is at fault: it does not load, does not fit or computes nonsense."""
