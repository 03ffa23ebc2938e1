"""Fetch the corpora that are too large to ship into data/, where experiment.py finds them: `python prepare.py`.

Name some of them to fetch only those: `python prepare.py shakespeare enwik8`. What is there already is checked only.
"""

import hashlib
import io
import sys
import urllib.request
import zipfile
from pathlib import Path

DATA = Path(__file__).parent / "data"
SOURCES = {  # file in data/, where it is, SHA-256 of the file
    "shakespeare": (
        "shakespeare.txt",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    "enwik8": (
        "enwik8",
        "https://mattmahoney.net/dc/enwik8.zip",
        "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
    ),
    "text8": (
        "text8",
        "https://mattmahoney.net/dc/text8.zip",
        "6e890197040d37d85beb962ae1f041ff1d9a9ca8d20c7d99c85027eebf51dca7",
    ),
}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetch(url: str) -> bytes:
    """What stands at an address; of a zip archive, its only file."""
    with urllib.request.urlopen(url, timeout=60) as reply:
        content = reply.read()
    if not url.endswith(".zip"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0])


def prepare(name: str) -> str:
    """Fetch a corpus unless it is there, and say so; SystemExit where it is not what was expected."""
    file, url, expected = SOURCES[name]
    path, there = DATA / file, (DATA / file).is_file()
    try:
        content = path.read_bytes() if there else fetch(url)
    except OSError as error:
        raise SystemExit(f"{name} could not be fetched from {url} ({error}). Save it as {path} by hand.") from error
    if digest(content) != expected:
        raise SystemExit(f"{path if there else url} is not {name}: its SHA-256 is {digest(content)}, not {expected}.")
    if not there:
        path.with_suffix(".part").write_bytes(content)
        path.with_suffix(".part").replace(path)
    return f"{name}: data/{file}, {len(content):,} characters, {'was there' if there else 'fetched'}"


if __name__ == "__main__":
    for name in sys.argv[1:] or SOURCES:
        if name not in SOURCES:
            raise SystemExit(f"There is no corpus {name!r} to fetch; known: {', '.join(SOURCES)}.")
        print(prepare(name), flush=True)
