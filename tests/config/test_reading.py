"""YAML 1.2 in, plain values out; a mistake is one line with file and line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainlab.config import reading
from trainlab.errors import UserError


def read(directory: Path, text: str) -> dict[str, Any]:
    path = directory / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return reading.load(path, "write one")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # Numbers, also those that YAML 1.1 takes for strings, octal numbers or base 60.
        ("2e-3", 0.002),
        ("1E5", 100000.0),
        ("+.5", 0.5),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1:30", "1:30"),
        # Words: only true and false are truth values.
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'2e-3'", "2e-3"),
    ],
)
def test_yaml_1_2(tmp_path: Path, written: str, value: object) -> None:
    found = read(tmp_path, f"key: {written}\n")["key"]
    assert (type(found), found) == (type(value), value)


def test_the_values_are_plain(tmp_path: Path) -> None:
    found = read(tmp_path, "a: &x {lr: 1.0, on: [true, 'b']}\nb: *x\nc: {<<: *x, lr: 2}\n")
    assert found == {"a": {"lr": 1.0, "on": [True, "b"]}, "b": found["a"], "c": {"lr": 2, "on": [True, "b"]}}
    assert {type(value) for value in (found, found["a"], found["c"])} == {dict}
    assert {type(value) for value in (found["a"]["on"], found["a"]["lr"], found["a"]["on"][1])} == {list, float, str}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lr: 1\nlr: 2\n", 'params.yaml: line 2: duplicate key "lr"; correct the YAML there'),
        ("runs:\n  a: {}\n  b: {}\n  a: {x: 1, y: 2}\n", 'line 4: duplicate key "a"; correct the YAML there'),
        ("model: {dropout: 0.1, dropout: 0.2}\n", 'line 1: duplicate key "dropout"; correct the YAML there'),
        ("runs: {a\n", "line 2: expected ',' or '}'"),
        ("a: 1\n\tb: 2\n", "line 2: "),
        ("a: *b\n", "line 1: found undefined alias 'b'"),
        ("a: 2024-13-01\n", "month must be in 1..12; correct the YAML there"),
        ("- a list\n", "must hold keys and values: write one"),
        ("", "must hold keys and values: write one"),
        (
            "lr: !!python/object/apply:os.getcwd []\n",
            "line 1: a value of the type 'python/object/apply:os.getcwd' is not allowed here",
        ),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/params.yaml")
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(UserError, match=r"params.yaml: 'utf-8' codec can't decode.*; correct the YAML there$"):
        reading.load(tmp_path / "params.yaml", "write one")


def test_a_missing_file_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params.yaml is missing: write one$"):
        reading.load(tmp_path / "params.yaml", "write one")


# Writing


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    # Training sets the process to flush subnormal numbers, and Hypothesis refuses to draw them then.
    floats = st.floats(allow_nan=False, allow_subnormal=False)
    leaves = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | floats | text
    keys = st.text("abcé", min_size=1)
    inner = st.recursive(leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(keys, v, max_size=3), max_leaves=8)
    return st.dictionaries(keys, inner)


ANY_TEXT = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=12)
WORDS = st.text("on yes null_2e-3", max_size=8)


@pytest.mark.slow
@given(values(ANY_TEXT).map(lambda value: (value, False)) | values(WORDS).map(lambda value: (value, True)))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, written: tuple[dict[str, Any], bool]
) -> None:
    value, flow_leaves = written
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_bytes(reading.dump(value, flow_leaves=flow_leaves).encode())
    found = reading.load(path, "")
    assert found == value
    assert repr(found) == repr(value)  # 1 is not 1.0, and the order of keys counts


def test_the_text_is_readable_and_one_line_per_value() -> None:
    value = {"z": {"name": "adam", "eps": 1e-8}, "a": ["ü", "word " * 40, "2e-3"]}
    text = f"a:\n- ü\n- '{'word ' * 40}'\n- '2e-3'\n"
    assert reading.dump(value) == f"z:\n  name: adam\n  eps: 1.0e-08\n{text}"
    assert reading.dump({"z": value["z"]}, flow_leaves=True) == "z: {name: adam, eps: 1.0e-08}\n"


def test_half_of_a_character_is_refused(tmp_path: Path) -> None:
    """It could be read, and no file that repeats it could be written."""
    path = tmp_path / "params.yaml"
    path.write_text('lr: 1\nbecause: "\\ud83d"\n')
    with pytest.raises(UserError, match=r"params\.yaml: line 2: a text holds half of a character"):
        reading.load(path, "")
