"""``trainlab predict`` on images of all kinds."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
import yaml
from PIL import Image

from commands.console import Call, Called
from pages import PROJECT
from small import dataset
from trained import small_model
from trainlab.data.sources.folder import Folder
from trainlab.data.stored import Dataset
from trainlab.evaluation.calibration import probabilities
from trainlab.files import digest, read_tensors, write_tensors
from trainlab.training.inference import BATCH

MODEL = "models/small.safetensors"
CLASSES = 4


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a model file and no data set, no params.yaml, no DVC; it is the working directory."""
    small_model().save(tmp_path / MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(seed: int, width: int = 31, height: int = 24) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def pictures_of_all_kinds(directory: Path) -> list[Path]:
    """Write images of many modes and sizes, and return their files by name."""
    directory.mkdir(parents=True)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "alpha.png": (picture(1).convert("RGBA"), {}),
        "bits16.png": (Image.fromarray(np.random.default_rng(2).integers(0, 2**16, (30, 20), dtype=np.uint16)), {}),
        "cmyk.jpg": (picture(3).convert("CMYK"), {}),
        "gray.png": (picture(4).convert("L"), {}),
        "palette.png": (picture(5).convert("P"), {}),
        "photo.webp": (picture(6, 400, 300), {"lossless": True}),
        "tall.png": (picture(7, 20, 90), {}),
        "tiny.png": (picture(8, 1, 1), {}),
        "turned.jpg": (picture(9), {"exif": orientation}),
        "without_suffix": (picture(10), {"format": "PNG"}),
    }
    made["alpha.png"][0].putalpha(128)
    for name, (image, options) in made.items():
        image.save(directory / name, **options)
    return [directory / name for name in made]


def predicted(call: Call, *arguments: str) -> list[dict[str, Any]]:
    """Return what ``predict`` prints as JSON."""
    shown = call("predict", *arguments, "--format", "json")
    assert (shown.code, shown.err) == (0, "")
    content: list[dict[str, Any]] = json.loads(shown.out)
    return content


def names(call: Call, *arguments: str) -> list[str]:
    return [row["image"] for row in predicted(call, *arguments, "--model", MODEL)]


def refused(call: Call, *arguments: str) -> str:
    """Return the one line of a command that prints nothing else."""
    shown = call("predict", *arguments)
    assert (shown.code, shown.out, shown.err.count("\n")) == (1, "", 1)
    return shown.err.removeprefix("trainlab: ").removesuffix("\n")


def script(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the console script in a process of its own."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from trainlab.commands import main; main()"
    command = [sys.executable, "-c", code, str(PROJECT / "src"), *arguments]
    return subprocess.run(command, timeout=600, check=False, **options)


# Numbers


def test_probabilities_are_those_of_the_images_that_the_source_folder_makes(project: Path, call: Call) -> None:
    files = pictures_of_all_kinds(project / "images/test/a")
    for other in ("train/a", "train/b", "test/b"):
        (project / "images" / other).mkdir(parents=True)
        picture(0).save(project / "images" / other / "0.png")
    model = small_model()
    _, split, _ = Folder(project / "images", 20).read(project / "images")
    images = Dataset(split.images, split.labels, model.classes, model.mean, model.std, model.mean_image)
    shares = probabilities(model.scores(images))[:, : len(files)]
    mean = shares.mean(0)

    rows = predicted(call, "images/test/a", "--model", MODEL, "--top", "4")
    assert [row["image"] for row in rows] == [f"images/test/a/{file.name}" for file in files]
    for image, row in enumerate(rows):
        assert [each["class"] for each in row["classes"]] == [model.classes[c] for c in np.argsort(-mean[image])]
        of_classes = [each["probability"] for each in row["classes"]]
        assert of_classes == pytest.approx(sorted(mean[image], reverse=True), abs=1e-6)
        votes = shares[:, image].argmax(1)
        assert row["disagreement"] == pytest.approx((votes != mean[image].argmax()).mean(), abs=1e-6)
    assert {row["disagreement"] for row in rows} != {0}


@pytest.mark.usefixtures("project")
def test_the_formats_show_the_same_numbers(call: Call) -> None:
    picture(1).save("a.png")
    picture(2).save("b.png")
    wanted = ["a.png", "b.png", "--model", MODEL, "--top", "2"]
    rows = predicted(call, *wanted)
    lines = list(csv.reader(call("predict", *wanted, "--format", "csv").out.splitlines()))
    assert lines[0] == ["image", "class", "probability", "class_2", "probability_2", "disagreement"]
    for row, line in zip(rows, lines[1:], strict=True):
        first, second = row["classes"]
        assert line[:2] + line[3:4] == [row["image"], first["class"], second["class"]]
        assert [float(line[at]) for at in (2, 4, 5)] == [
            *(first["probability"], second["probability"]),
            row["disagreement"],
        ]
    header, rule, *shown = call("predict", *wanted).out.splitlines()
    assert header.split() == ["image", "most", "likely", "2nd", "disagreement"]
    assert set(rule) == {"─"}
    for row, text in zip(rows, shown, strict=True):
        cells = [f"{each['class']}  {100 * each['probability']:.1f} %".split() for each in row["classes"]]
        votes = f"{round(3 * row['disagreement'])} of 3".split()
        assert text.split() == [row["image"], *cells[0], *cells[1], *votes]


@pytest.mark.usefixtures("project")
def test_more_classes_than_there_are_show_all(call: Call) -> None:
    picture(1).save("a.png")
    [row] = predicted(call, "a.png", "--model", MODEL, "--top", "99")
    assert sum(each["probability"] for each in row["classes"]) == pytest.approx(1, abs=1e-5)
    assert len(row["classes"]) == CLASSES
    header, line = call("predict", "a.png", "--model", MODEL, "--top", "99", "--format", "csv").out.splitlines()
    assert header.count(",") == line.count(",") == 2 * CLASSES + 1


def test_a_single_replica_cannot_disagree(project: Path, call: Call) -> None:
    small_model(replicas=1).save(project / MODEL)
    picture(1).save("a.png")
    assert predicted(call, "a.png", "--model", MODEL)[0]["disagreement"] is None
    assert call("predict", "a.png", "--model", MODEL, "--format", "csv").out.splitlines()[1].endswith(",")
    assert call("predict", "a.png", "--model", MODEL).out.splitlines()[-1].endswith(" -")


@pytest.mark.usefixtures("project")
def test_pieces_make_one_output(call: Call) -> None:
    for number in range(BATCH + 3):
        os.makedirs("many", exist_ok=True)
        picture(number, 3, 3).save(f"many/{number:03}.png")
    shown = call("predict", "many", "--model", MODEL)
    lines = shown.out.splitlines()
    assert len(lines) == BATCH + 3 + 2
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(call("predict", "many", "--model", MODEL, "--format", "csv").out.splitlines()) == BATCH + 3 + 1
    assert names(call, "many") == [f"many/{number:03}.png" for number in range(BATCH + 3)]


# Arguments


def test_directories_are_searched_by_name_without_hidden_files(project: Path, call: Call) -> None:
    for name in ("b/2.png", "b/10.png", "a/x/1.png", "0.png", ".hidden/1.png", "a/.hidden.png", "__MACOSX/1.png"):
        (project / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(1).save(project / "images" / name)
    (project / "images/a/around").symlink_to(project / "images")
    assert names(call, "images") == ["images/0.png", "images/a/x/1.png", "images/b/10.png", "images/b/2.png"]


@pytest.mark.usefixtures("project")
def test_patterns_are_expanded_unless_a_file_has_that_name(call: Call) -> None:
    os.makedirs("images/deep")
    for name in ("images/b.png", "images/a.png", "images/deep/c.png", "[ab].png", "a.png"):
        picture(1).save(name)
    assert names(call, "images/*.png") == ["images/a.png", "images/b.png"]
    assert names(call, "images/**") == ["images/a.png", "images/b.png", "images/deep/c.png"]
    assert names(call, "[ab].png") == ["[ab].png"]
    assert names(call, "./[ab].pn[g]") == ["./a.png"]


@pytest.mark.usefixtures("project")
def test_an_image_that_is_named_twice_is_predicted_once(call: Call) -> None:
    picture(1).save("b.png")
    picture(1).save("a.png")
    assert names(call, "b.png", "*.png") == ["b.png", "a.png"]


@pytest.mark.usefixtures("project")
def test_standard_input_is_an_image(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    picture(1).save(buffer, "PNG")
    picture(1).save("-.png")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    from_input, from_file = predicted(call, "-", "./-.png", "--model", MODEL)
    assert (from_input.pop("image"), from_file.pop("image")) == ("-", "./-.png")
    assert from_input == from_file


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_names_with_odd_characters(call: Call) -> None:
    odd = ["[red]:smile: ä 猫.png", 'comma, "quote".png', "two\nlines.png", os.fsdecode(b"not\xffutf8.png")]
    os.mkdir("odd")
    for name in odd:
        picture(1).save(f"odd/{name}")
    assert sorted(names(call, "odd")) == sorted(f"odd/{name}" for name in odd)
    lines = call("predict", "odd", "--model", MODEL).out.splitlines()
    assert len(lines) == 2 + len(odd)
    assert any("odd/[red]:smile: ä 猫.png " in line for line in lines)
    assert any(r"'odd/two\nlines.png' " in line for line in lines)
    done = script("predict", "odd", "--model", MODEL, "--format", "csv", stdout=subprocess.PIPE)
    rows = list(csv.reader(io.StringIO(done.stdout.decode(errors="surrogateescape"))))
    assert sorted(row[0] for row in rows[1:]) == sorted(f"odd/{name}" for name in odd)


# Mistakes


def test_what_is_no_image_does_not_stop_the_others(project: Path, call: Call) -> None:
    os.mkdir("images")
    picture(1).save("images/a.png")
    picture(2).save("images/z.jpg")
    content = Path("images/z.jpg").read_bytes()
    Path("images/cut.jpg").write_bytes(content[: len(content) // 2])
    Path("images/notes.txt").write_text("hello")
    Path("images/two\nlines").touch()
    picture(1).save("images/animated.gif")
    Path("images/link.png").symlink_to("nowhere")
    os.mkfifo("images/pipe")  # opening it would wait for a writer
    Image.new("1", (90_000_000, 1)).save("images/bomb.png")
    os.mkdir("empty")
    shown = call(
        "predict", "images", "missing.png", "empty", "*.bmp", "images/a.png", "--model", MODEL, "--format", "csv"
    )
    assert shown.code == 1
    assert [line.split(",")[0] for line in shown.out.splitlines()] == ["image", "images/a.png", "images/z.jpg"]
    damaged = "is damaged or not a PNG, JPEG or WebP image"
    limit = "the limit is 89,478,485 pixels, before and after scaling to 20 pixels"
    assert [line.removeprefix("trainlab: ") for line in shown.err.splitlines()] == [
        f"images/animated.gif {damaged}",
        f"images/bomb.png is too large or too long ({limit})",
        f"images/cut.jpg {damaged}",
        "images/link.png cannot be read (No such file or directory)",
        f"images/notes.txt {damaged}",
        "images/pipe cannot be read (Not a regular file)",
        rf"'images/two\nlines' {damaged}",
        "missing.png cannot be read (No such file or directory)",
        "empty is a directory without files",
        "*.bmp matches no file",
    ]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("form", "printed"), [("json", "[]\n"), ("csv", None), ("table", "")])
def test_without_any_image_the_output_is_empty(call: Call, form: str, printed: str | None) -> None:
    shown = call("predict", "missing.png", "--model", MODEL, "--format", form)
    assert shown.code == 1
    assert shown.out == (printed if printed is not None else shown.out.splitlines()[0] + "\n")


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("arguments", [[], ["--run", "small", "--model", MODEL]])
def test_one_model_must_be_named(call: Call, arguments: list[str]) -> None:
    assert call("predict", "a.png", *arguments) == Called(
        "",
        "trainlab: Invalid value for --run, --model: name a run or a model file, one of them. Try --help.\n",
        2,
    )


def test_a_run_without_a_model_file_is_reported_with_its_stage(project: Path, call: Call) -> None:
    path = "models/later.safetensors"
    assert refused(call, "a.png", "--run", "later") == (
        f"{path} is missing: run this in the root of the project, or name a model file"
    )
    params: dict[str, Any] = {"runs": {"later": {}}, "students": {"learner": {}}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    assert refused(call, "a.png", "--run", "later") == (
        f"{path} is missing: `dvc pull {path}` gets it if it was pushed, else `dvc repro train@later`"
    )
    assert refused(call, "a.png", "--run", "learner").endswith("else `dvc repro distill@learner`")
    assert refused(call, "a.png", "--run", "lter") == (
        "no run 'lter' in params.yaml (did you mean later?), and no models/lter.safetensors"
    )
    assert (
        refused(call, "a.png", "--run", "../a")
        == "'../a' is not the name of a run, and model files end in .safetensors"
    )
    assert refused(call, "a.png", "--model", "no.safetensors") == "no.safetensors is missing: name another file"
    assert refused(call, "a.png", "--model", "models") == "models is not a file: name another file"


@pytest.mark.usefixtures("project")
def test_a_run_is_found_without_params(call: Call) -> None:
    picture(1).save("a.png")
    assert predicted(call, "a.png", "--run", "small") == predicted(call, "a.png", "--model", MODEL)


def test_no_gpu_is_reported(project: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = refused(call, "a.png", "--model", MODEL, "--device", "cuda")
    assert message.startswith("device is cuda, and PyTorch finds no GPU: ")


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("unpickled"),)


def changed(**record: Any) -> bytes:
    """Return a model file whose record has other values."""
    tensors, before = read_tensors(Path(MODEL))
    after = {**before, **record}
    write_tensors(Path("changed"), tensors, {**after, "digest": digest(tensors, after)})
    return Path("changed").read_bytes()


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save(Bomb(), buffer)
    return buffer.getvalue()


def without_a_weight() -> bytes:
    tensors, record = read_tensors(Path(MODEL))
    del tensors["1.head.bias"]
    write_tensors(Path("changed"), tensors, record)
    return Path("changed").read_bytes()


FOREIGN: dict[str, Any] = {
    "empty": lambda: b"",
    "cut": lambda: Path(MODEL).read_bytes()[:-100],
    "text": lambda: b"not a model",
    "pickle": pickled,
    "huge header": lambda: (2**60).to_bytes(8, "little") + b"{}",
    "other tensors": lambda: safetensors.numpy.save({"weight": np.zeros(3)}),
    "tensors of a data set": lambda: safetensors.numpy.save({"images": dataset().images}),
    "deep JSON": lambda: safetensors.numpy.save({"a": np.zeros(1)}, {"trainlab": "[" * 10**5}),
    "no replica": lambda: safetensors.numpy.save({}, {"trainlab": json.dumps(read_tensors(Path(MODEL))[1])}),
    "missing weight": without_a_weight,
    "other shape": lambda: changed(shape=[3, 40, 40]),
    "shape of another kind": lambda: changed(shape=[3, 20]),
    "impossible shape": lambda: changed(shape=[3, 10**9, 10**9]),
    "other number of classes": lambda: changed(classes=["a", "b"]),
    "other number of means": lambda: changed(mean=[0.1, 0.2]),
    "no configuration": lambda: changed(config=None),
}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_damaged_or_foreign_model_file_is_reported_and_not_unpickled(call: Call, kind: str) -> None:
    content = FOREIGN[kind]()
    Path("models/other.safetensors").write_bytes(content)
    message = refused(call, "a.png", "--model", "models/other.safetensors")
    assert message.startswith("models/other.safetensors is damaged or not a model file of trainlab (")
    assert message.endswith("): name another file")
    assert not Path("unpickled").exists()
    assert refused(call, "a.png", "--run", "other").endswith(
        "): delete it, then run `dvc checkout models/other.safetensors` or `dvc repro models/other.safetensors`"
    )


@pytest.mark.usefixtures("project")
def test_a_model_file_of_another_version_is_reported(call: Call) -> None:
    config = read_tensors(Path(MODEL))[1]["config"]
    Path("old.safetensors").write_bytes(changed(config={**config, "colour": "red"}))
    message = refused(call, "a.png", "--model", "old.safetensors")
    assert message.startswith("old.safetensors: colour is not a parameter")
    assert "written by another version of the code" in message


# Processes


@pytest.mark.slow
@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_closed_pipe_ends_the_command_quietly(form: str) -> None:
    os.mkdir("many")
    picture(1).save("many/0.png")
    for number in range(1, 2 * BATCH):
        os.link("many/0.png", f"many/{number}.png")
    read, write = os.pipe()
    os.close(read)
    done = script("predict", "many", "--model", MODEL, "--format", form, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_progress_is_shown_on_standard_error_if_it_is_a_terminal() -> None:
    picture(1).save("a.png")
    terminal, side = pty.openpty()
    arguments = ("predict", "a.png", "no.png", "--model", MODEL, "--format", "json")
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = script(*arguments, stdout=subprocess.PIPE, stderr=side, env=environment)
    os.close(side)
    shown = os.read(terminal, 100_000).decode()
    os.close(terminal)
    assert [row["image"] for row in json.loads(done.stdout)] == ["a.png"]
    assert "images" in shown
    assert "━" in shown
    assert "trainlab: no.png cannot be read (No such file or directory)\r\n" in shown
    done = script(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert done.stderr.count(b"\n") == 1


@pytest.mark.faults
@pytest.mark.usefixtures("project")
def test_memory_does_not_grow_with_the_number_of_files() -> None:
    picture(1, 100, 100).save("0.png")
    peaks = []
    for count in (2 * BATCH, 10_000):
        os.mkdir(str(count))
        for number in range(count):
            os.symlink("../0.png", f"{count}/{number}.png")
        code = (
            "import re, sys; sys.path.insert(0, sys.argv.pop(1))\n"
            "from trainlab.commands import main\n"
            "main()\n"
            # Not `ru_maxrss`, which a process inherits from the one that started it.
            "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], file=sys.stderr)\n"
        )
        command = [sys.executable, "-c", code, str(PROJECT / "src"), "predict", str(count), "--model", MODEL]
        with Path("out").open("w") as out:
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=1800, check=True)
        assert len(Path("out").read_text().splitlines()) == count + 2
        peaks.append(int(done.stderr) / 1024)
    assert peaks[1] - peaks[0] < 40  # MiB; the pixels of 9,500 such files are 270
