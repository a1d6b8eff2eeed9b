"""Files of parameters that somebody damaged or wrote in bad faith: one line per mistake, soon, and never a traceback."""

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pages import PROJECT
from trainlab import config
from trainlab.errors import UserError
from trainlab.search import params as search_params

SECONDS = 2
CHARACTERS = 2000
HOSTILE = [
    "[" * 5000, "{a: " * 5000, "&a [*a]", "{<<: 1}", "!!int z", "!!bool abc", "!!float ''", "!!timestamp x", "!!map 1",
    "!!seq 1", "!!binary '%'", "!!python/object:os.system 1", "!!set {a, b}", "? [1, 2]\n: 3", "{[1]: 2}", "9" * 5000,
    "1e999999999", "-.inf", ".nan", "2024-13-01", "2024-01-01", "0o9", "0x", "\0", "\ud7ff", "'" * 50, '"\\x', "%YAML 9.9",
    "---\n---", "a" * 20_000, "null", "~", "[]", "{}", "on", "-1", "0", "1.5", "true", "*missing", "&x", "|", ">", "- - - -",
    "../../elsewhere", "/tmp/x", "{name: {name: {name: adam}}}", "{name: adam, beta1: [1]}", "[[[[flip]]]]", "10" * 150,
]  # fmt: skip
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
)


def read_params(path: Path) -> None:
    values = config.load_params(path)
    config.resolve(values, where="params.yaml", data="data" in values)


def read_search(path: Path) -> None:
    search_params.load(path)


FILES: dict[str, Callable[[Path], object]] = {
    "params.yaml": read_params,
    "demo/params.yaml": read_params,
    "studies/params.yaml": read_params,
    "search/params.yaml": read_search,
}


def mutated(text: str, rng: random.Random) -> str:
    """Return a text with one to three random changes."""
    for _ in range(rng.randint(1, 3)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:  # a value
                lines[at] = re.sub(r": .*", lambda _: f": {rng.choice(HOSTILE)}", lines[at], count=1)
            case 1:  # a value inside of braces
                lines[at] = re.sub(r": [^,}]*([,}])", lambda m: f": {rng.choice(HOSTILE)}{m[1]}", lines[at], count=1)
            case 2:
                lines.insert(at, rng.choice(HOSTILE))
            case 3:
                del lines[at]
            case 4:
                lines[at] = " " * rng.randint(0, 8) + lines[at].lstrip()
            case 5:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 6 if lines[at]:
                place = rng.randrange(len(lines[at]))
                odd = chr(rng.choice([0, 7, 9, 34, 38, 42, 58, 91, 123, 0x2028, 0xFFFF]))
                lines[at] = lines[at][:place] + odd + lines[at][place:]
            case _:  # a key
                lines[at] = re.sub(
                    r"[a-z_]+:",
                    lambda _: f"{rng.choice(['name', 'runs', 'a' * 300, '0', 'lr', '<<'])}:",
                    lines[at],
                    count=1,
                )
        text = "\n".join(lines)
    return text


def answer(read: Callable[[Path], object], path: Path) -> tuple[str, float, int]:
    """Return what is wrong with the answer to a file, or an empty string; its seconds; and the characters of its message."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, 5 * SECONDS)
    began = time.process_time()
    problem, characters = "", 0
    try:
        read(path)
    except UserError as error:
        characters = len(str(error))
        if characters > CHARACTERS:
            problem = f"a message of {characters} characters"
    except TimeoutError:
        problem = "no answer"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    seconds = time.process_time() - began
    return problem or ("a slow answer" if seconds > SECONDS else ""), seconds, characters


@pytest.mark.parametrize("count", [15, pytest.param(2500, marks=pytest.mark.faults)])
@pytest.mark.parametrize("name", FILES)
def test_mutated_files_are_answered(name: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainlab.fingerprint.of_run", lambda *arguments, **own: "0" * 16)  # takes a second
    rng, text = random.Random(f"{name} {count}"), (PROJECT / name).read_text(encoding="utf-8")
    found: Counter[str] = Counter()
    slowest, longest = 0.0, 0
    for _ in range(count):
        path = tmp_path / "params.yaml"
        path.write_bytes(mutated(text, rng).encode("utf-8", "surrogatepass"))
        problem, seconds, characters = answer(FILES[name], path)
        found[problem] += 1
        slowest, longest = max(slowest, seconds), max(longest, characters)
    print(f"{name}: {count} files, slowest answer {slowest:.2f} s of CPU time, longest message {longest} characters")
    del found[""]
    assert not found


@pytest.mark.parametrize(
    "text", [*HOSTILE, BOMB, f"lr: {BOMB}", "a: &a {b: *a}", "x: " + "z" * 2_000_000], ids=lambda t: repr(t)[:30]
)
def test_hostile_files_are_answered(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    for content in (text, f"lr: {text}", f"runs: {{baseline: {text}}}"):
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
        assert answer(read_params, path)[0] == ""


def test_a_long_list_of_mistakes_is_cut() -> None:
    params: dict[str, Any] = {"runs": {f"run_{n}": {"suite": "none"} for n in range(500)}, "suites": {"tricks": {}}}
    with pytest.raises(UserError) as caught:
        config.resolve(params)
    lines = str(caught.value).splitlines()
    assert len(str(caught.value)) < CHARACTERS
    assert re.fullmatch(r"… and \d{3,} more mistakes", lines[-1])
