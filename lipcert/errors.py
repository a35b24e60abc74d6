"""Every error that lipcert raises on purpose, under one base class."""

from __future__ import annotations

import re

_LONG, _HEAD, _TAIL = 200, 60, 20


def short(text: str) -> str:
    """The text with very long words, such as labels of thousands of digits, cut in the middle.

    Examples
    --------
    >>> short("no output '" + "9" * 5000 + "'")
    "no output '99999999999999999999999999999999999999999999999999999999999…9999999999999999999'"
    """
    return re.sub(rf"\S{{{_LONG},}}", lambda word: f"{word[0][:_HEAD]}…{word[0][-_TAIL:]}", text)


class LipcertError(Exception):
    """Base class: what happened, where, and what to do next, in one line.

    Parameters
    ----------
    what
        What happened, as a sentence without a full stop.
    where
        The place: a file, or a node with its op and file.
    advice
        What the user can do next.

    Examples
    --------
    >>> print(UnsupportedModel("the op Floor has jumps", where="node 'f' (Floor)", advice="remove it"))
    node 'f' (Floor): the op Floor has jumps; remove it
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", advice: str = "") -> None:
        self.what = what
        self.where = where
        self.advice = advice
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return short(f"{text}; {self.advice}" if self.advice else text)


class InvalidModel(LipcertError):
    """The model cannot be read, or contradicts itself."""


class UnsupportedModel(LipcertError):
    """The model is valid, but holds something without a proven treatment."""


class InvalidRequest(LipcertError):
    """The arguments of a call do not fit together or do not fit the model."""


class DoesNotApply(InvalidRequest):
    """The requested method is not for this network or these norms."""


class InvalidCertificate(LipcertError):
    """A file or object cannot be read as a certificate."""


class CertificateRejected(LipcertError):
    """A readable certificate does not prove its claim for the given model."""

    exit_code = 1


class NotCertified(LipcertError):
    """No bound could be proven."""

    exit_code = 3


class Unbounded(NotCertified):
    """No bound is known because a signal that has to be bounded is not; a region, or a smaller one, may help."""


class NotEnoughMemory(NotCertified):
    """A proof does not fit into memory."""


class OutOfTime(NotCertified):
    """The time limit is over, or what is next would not end within it."""


class SolverUnavailable(LipcertError):
    """The requested solver, its package or its licence is missing."""

    exit_code = 3


class MissingExtra(LipcertError):
    """An optional dependency is not installed; the message names the extra."""

    def __init__(self, package: str, extra: str, *, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package}, which is not installed",
            advice=f"install it with: pip install 'lipcert[{extra}]'",
        )
