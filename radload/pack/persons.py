"""Numbers and names of persons, and whether a public text tells one: class names, device names, kept attributes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from radload.pack.table import normal_id
from radload.sources import Header


def vocabulary(text: str) -> frozenset[str]:
    """The words of `text`: tables in code, many to a line."""
    return frozenset(text.split())


# What de-identification tools, test patients and careless exports leave where the number was, as `plain_id` writes it: the same
# for everybody, so it is nobody's, and strangers would become one patient by it.
NO_IDENTITY: Final = vocabulary(
    """ANON ANONYM ANONYMIZED ANONYMISED ANONYMOUS ANONYMOUSPATIENT ANONPATIENT DEFAULT DEIDENTIFIED DUMMY EMPTY HIDDEN ID MISSING NA
    NAN NIL NOID NONAME NONE NOTAPPLICABLE NOTAVAILABLE NULL PATIENT PATIENTID PSEUDO PSEUDONYMIZED REDACTED REMOVED TEMP TEST
    TESTPATIENT UNIDENTIFIED UNKNOWN UNSPECIFIED"""
)
_SAME: Final = re.compile(r"0+|[X?]+|(.)\1{5,}")  # zeros, X-es, or one character six times and more
_WORDS: Final = re.compile(r"[^\W_]+")
_LEAST_NAME, _LEAST_ID, _LEAST_INSIDE = 3, 4, 5  # characters from which a part counts as a word, or inside of one
_ENOUGH_OTHERS: Final = 10  # persons of other names under one class: its words are words then


def plain_id(text: str) -> str:
    """A patient number without case and separators, to compare with NO_IDENTITY."""
    return "".join(_WORDS.findall(normal_id(text))).upper()


def names_nobody(number: str | None) -> bool:
    """Whether a patient number is absent, a placeholder, or one character over and over."""
    plain = plain_id(number or "")
    return not plain or plain in NO_IDENTITY or _SAME.fullmatch(plain) is not None


@dataclass(frozen=True, slots=True)
class Person:
    """How a file names whom it shows, folded for comparison.

    Attributes:
        numbers: patient and accession number; names: parts of the name.
    """

    numbers: frozenset[str]
    names: frozenset[str]

    def stands_in(self, text: str) -> bool:
        """Whether `text` is or holds a number or a part of the name: as a word, or from 5 characters on inside of one."""
        folded = _fold(text)
        words = set(_WORDS.findall(folded))
        if folded in self.numbers or folded in self.names or words & self.names:
            return True
        if any(len(number) >= _LEAST_ID and number in words for number in self.numbers):
            return True
        return any(len(part) >= _LEAST_INSIDE and part in folded for part in self.numbers | self.names)


def person_of(header: Header) -> Person:
    """What a header says about a person; placeholders do not count."""
    return person(header.patient, header.accession, header.name)


@lru_cache(maxsize=1024)  # a study has hundreds of slices
def person(number: str | None, accession: str | None, name: str | None) -> Person:
    """Whom a patient number, an accession number and a name mean; placeholders do not count."""
    numbers = {_fold(text) for text in (number, accession) if text and not names_nobody(text)}
    return Person(frozenset(numbers), name_parts(name))


def name_parts(name: str | None) -> frozenset[str]:
    """Parts of a person's name (PS3.5 6.2.1.1) of at least 3 letters, folded; placeholders do not count."""
    words = _WORDS.findall(_fold(name or ""))
    return frozenset(
        word for word in words if len(word) >= _LEAST_NAME and not word.isdigit() and not names_nobody(word)
    )


def telling_classes(
    classes: Sequence[str], persons: Sequence[Person], carriers: Iterable[tuple[int, int]]
) -> list[int]:
    """Positions of classes whose names tell a person.

    A class tells one whose number it is or holds, or all parts of whose name, whoever carries it; and one who carries it and a part of
    whose name is a word of it, unless 10 persons of other names carry it too ("white matter", for a Mrs White).

    Args:
        persons: of each file; carriers: (class, file) for every label given.
    """
    numbers = {number for person in persons for number in person.numbers}
    lengths = sorted({len(number) for number in numbers if len(number) >= _LEAST_INSIDE})
    full = {person.names for person in persons if len(person.names) > 1}
    by_word: dict[str, list[frozenset[str]]] = defaultdict(list)
    for names in full:
        by_word[min(names)].append(names)
    named: set[int] = set()
    others: dict[int, set[frozenset[str]]] = defaultdict(set)
    words = [frozenset(_WORDS.findall(_fold(name))) for name in classes]
    for position, file in carriers:
        person = persons[file]
        if words[position] & person.names:
            named.add(position)
        else:
            others[position].add(person.names or person.numbers)
    found = []
    for position, name in enumerate(classes):
        folded = _fold(name)
        whole = folded in numbers and len(folded) >= _LEAST_NAME
        word = any(len(part) >= _LEAST_ID and part in numbers for part in words[position])
        inside = any(
            folded[start : start + length] in numbers for length in lengths for start in range(len(folded) - length + 1)
        )
        by_name = any(names <= words[position] for part in words[position] for names in by_word.get(part, ()))
        if whole or word or inside or by_name or (position in named and len(others[position]) < _ENOUGH_OTHERS):
            found.append(position)
    return found


def _fold(text: str) -> str:
    return normal_id(text).casefold()
