"""Signed notes and verifier keys: published examples, and what must be refused."""

from __future__ import annotations

import base64

import pytest

from chaukas.server.tlog.keys import SigningKey
from chaukas.verify.errors import UnsupportedError, VerificationError
from chaukas.verify.notes import SIGNATURES_MAX, SignatureLine, SignedNote, parse_note, parse_signature_lines, verify_note
from chaukas.verify.verifier_keys import VerifierKey, parse_verifier_keys
from tests.log_samples import seeded

# (verifier key, note): C2SP signed-note, "Verifier keys"; the example of Go's golang.org/x/mod/sumdb/note.
_PUBLISHED = [
    (
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        (
            "This is an example message.\n\n"
            "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
        ),
    ),
    (
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        (
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
            "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        ),
    ),
]
_KEY = SigningKey.from_seed(seeded("note key"))
_NAME = "log.example/a"


def line_by(key: SigningKey, name: str, text: str) -> SignatureLine:
    return SignatureLine(name, key.log_key(name).key_id, key.sign(text.encode()))


def signed(text: str = "some\ntext\n") -> SignedNote:
    return SignedNote(text, (line_by(_KEY, _NAME, text),))


@pytest.mark.parametrize(("vkey", "text"), _PUBLISHED)
def test_published_notes_verify(vkey: str, text: str):
    """Notes that other implementations signed are verified by the keys they published, byte for byte."""
    key = VerifierKey.parse(vkey)
    note = parse_note(text.encode())
    assert (str(key), bytes(note)) == (vkey, text.encode())
    assert verify_note(note, [key]) == (key,)


@pytest.mark.parametrize(("vkey", "text"), _PUBLISHED)
def test_a_changed_note_is_refused(vkey: str, text: str):
    """No byte of a signed text or of its signature can change."""
    key = VerifierKey.parse(vkey)
    data = text.encode()
    for at in range(len(data)):
        changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        with pytest.raises(VerificationError):
            verify_note(parse_note(changed), [key])


def test_go_key_ids():
    """Go's signing key of the example gives the verifier key that Go derives from it."""
    secret = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
    assert str(SigningKey.from_seed(secret[1:]).log_key("PeterNeumann")) == _PUBLISHED[1][0]


def test_the_last_empty_line_separates_the_text():
    """Empty lines within the text belong to it (signed-note, "Format")."""
    text = "first\n\n— no signature\n\n\n"
    note = parse_note(bytes(signed(text)))
    assert note.text == text
    verify_note(note, [_KEY.log_key(_NAME)])


def test_a_known_key_is_name_and_id():
    """Lines that share only a name or only an id with a known key are skipped, whatever they say."""
    note = signed()
    known = _KEY.log_key(_NAME)
    garbage = [SignatureLine(_NAME, b"\0\1\2\3", b"x" * 64), SignatureLine("other", known.key_id, b"x" * 64)]
    assert verify_note(note.with_signatures(garbage), [known]) == (known,)
    with pytest.raises(VerificationError, match="no signature by a known key"):
        verify_note(SignedNote(note.text, tuple(garbage)), [known])


def test_a_bad_signature_of_a_known_key_rejects_the_note():
    """One invalid line of a known key makes the note worthless, even beside a valid one."""
    note = signed()
    bad = SignatureLine(_NAME, _KEY.log_key(_NAME).key_id, b"x" * 64)
    short = SignatureLine(_NAME, _KEY.log_key(_NAME).key_id, b"x")
    for line in (bad, short):
        with pytest.raises(VerificationError, match="not valid"):
            verify_note(note.with_signatures([line]), [_KEY.log_key(_NAME)])


def test_without_keys_nothing_is_trusted():
    """A note that nobody known has signed is rejected."""
    with pytest.raises(VerificationError):
        verify_note(signed(), [])


def test_signatures_are_added_once():
    """Adding lines that a note has already does not repeat them."""
    note = signed()
    assert note.with_signatures(note.signatures) == note


_LINE = str(signed().signatures[0])
_ENCODED = _LINE.rpartition(" ")[2]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        f"\n\n{_LINE}\n".encode(),
        f"text\n{_LINE}\n".encode(),
        f"text\n\n{_LINE}".encode(),
        f"text\n\n{_LINE}\n\n".encode(),
        f"text\n\n{_LINE}\nmore\n".encode(),
        f"te\rxt\n\n{_LINE}\n".encode(),
        f"te\txt\n\n{_LINE}\n".encode(),
        b"\xff\n\n" + f"{_LINE}\n".encode(),
        f"text\n\n- {_LINE[2:]}\n".encode(),
        f"text\n\n—{_LINE[2:]}\n".encode(),
        f"text\n\n—  {_ENCODED}\n".encode(),
        f"text\n\n— a+b {_ENCODED}\n".encode(),
        f"text\n\n— a\u2003b {_ENCODED}\n".encode(),
        f"text\n\n— a  {_ENCODED}\n".encode(),
        f"text\n\n— a {_ENCODED} \n".encode(),
        f"text\n\n— a {_ENCODED[:-4]}\n".encode() + b"x",
        "text\n\n— a AAAA\n".encode(),
        "text\n\n— a AAAAAA==\n".encode(),
        "text\n\n— a AAAAAAF=\n".encode(),
        "text\n\n— a AAAAAAE\n".encode(),
        "text\n\n— a AAAA-_AA\n".encode(),
        ("text\n\n" + f"{_LINE}\n" * (SIGNATURES_MAX + 1)).encode(),
        b"x" * (1 << 20) + f"\n\n{_LINE}\n".encode(),
    ],
    ids=range(28),
)
def test_malformed_notes_are_refused(data: bytes):
    """Only the format of the document is read, in its one spelling."""
    with pytest.raises(VerificationError):
        parse_note(data)


def test_many_signatures_are_read():
    """A note may carry many signatures (signed-note: at least 16)."""
    text = "text\n"
    keys = [SigningKey.from_seed(seeded(str(number))) for number in range(SIGNATURES_MAX)]
    note = SignedNote(text, tuple(line_by(key, _NAME, text) for key in keys))
    assert len(verify_note(parse_note(bytes(note)), [key.log_key(_NAME) for key in keys])) == SIGNATURES_MAX


def test_signature_lines_alone():
    """The lines that a witness answers are read like those of a note."""
    assert parse_signature_lines(f"{_LINE}\n{_LINE}\n".encode()) == signed().signatures * 2
    for data in (b"", b"\n", _LINE.encode(), f"\n{_LINE}\n".encode()):
        with pytest.raises(VerificationError):
            parse_signature_lines(data)


_VKEY = str(_KEY.log_key(_NAME))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "++",
        "name",
        "a+b",
        _VKEY + " ",
        _VKEY[:-4],
        _VKEY.replace("log.example/a", "log.example/b"),
        _VKEY.replace("log.example/a", "log example"),
        _VKEY.replace("log.example/a", ""),
        _VKEY.replace(_VKEY.split("+")[1], _VKEY.split("+")[1].upper() + "0"),
        _VKEY.replace(_VKEY.split("+")[1], "00000000"),
        f"name+00000000+{base64.b64encode(b'').decode()}",
        f"name+00000000+{base64.b64encode(bytes((1,)) + bytes(31)).decode()}",
    ],
)
def test_malformed_verifier_keys_are_refused(text: str):
    """A verifier key is trusted by hand, so a slip in it must not pass."""
    with pytest.raises(VerificationError):
        VerifierKey.parse(text)


def test_other_signature_types_are_named():
    """A key of a type that is not supported (ECDSA, 0x02) is told apart from a wrong one."""
    with pytest.raises(UnsupportedError, match="0x02"):
        VerifierKey.parse(f"name+00000000+{base64.b64encode(bytes((2,)) + bytes(32)).decode()}")


def test_key_files():
    """A file of verifier keys may have comments and empty lines."""
    assert parse_verifier_keys(f"# the log\n{_VKEY}\n\n") == (_KEY.log_key(_NAME),)
