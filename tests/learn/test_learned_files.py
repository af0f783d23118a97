"""A model's folder: read without trusting it, and refused with a reason where it isn't what it should be."""

import io
import json
import os
import pickle

import numpy as np
import pytest

from dicomnlp.analyse.learned_files import Card, Split, header, read_folder, write_folder
from dicomnlp.errors import ModelRefusedError

LENGTH = 8


def card(name="chest-1", **changes):
    """A card of a model that has an assertion part of few rows."""
    values = {
        "format": 1,
        "name": name,
        "language": "en",
        "created_at": "2026-11-22T06:00:00Z",
        "pipeline": "en-2026.1+000000000000",
        "assertion": {"length": LENGTH, "certain": {"present": 0.7}},
        "split": {"seed": "1", "held_out": 0.25},
        "data": {"annotated_reports": 1},
        "scores": {},
    }
    return Card.model_validate({**values, **changes})


WEIGHTS = np.arange(6 * (LENGTH + 1), dtype=np.float32)


@pytest.fixture
def model(tmp_path):
    """A sound model."""
    return write_folder(tmp_path / "chest-1", card(), {"assertion": WEIGHTS})


class Harm:
    """Runs a command when it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def saved(array, **options):
    """What NumPy writes of an array."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_what_is_written_is_read(model, tmp_path):
    """Card and weights come back, and the digest is the same each time."""
    found = read_folder(model.path, model.digest)
    assert found.card == card()
    assert np.array_equal(found.weights["assertion"], WEIGHTS)
    assert np.array_equal(np.load(model.path / "assertion.npy", allow_pickle=False), WEIGHTS)


def test_pickles_are_refused_and_never_run(model, tmp_path):
    """Bare, or in an array of objects as NumPy keeps them: reason code model_unsafe, and nothing happened."""
    proof = tmp_path / "harm-done"
    objects = np.empty(1, dtype=object)
    objects[0] = Harm(proof)
    for data in (pickle.dumps(Harm(proof)), pickle.dumps(Harm(proof), 0), saved(objects, allow_pickle=True)):
        (model.path / "assertion.npy").write_bytes(data)
        with pytest.raises(ModelRefusedError, match="pickled objects") as refused:
            read_folder(model.path)
        assert refused.value.reason_code == "model_unsafe"
        assert not proof.exists()
    pickle.loads(pickle.dumps(Harm(proof)))
    assert proof.exists()  # the poison would have worked


@pytest.mark.parametrize(
    "name", ["weights.pkl", "model", "config.cfg", "__init__.py", "assertion.npy.bak", "spans.bin"]
)
def test_files_that_a_model_does_not_have_are_refused_unopened(model, name):
    """Whatever they hold, with the digest or without."""
    (model.path / name).write_bytes(pickle.dumps({}))
    for digest in (None, model.digest):
        with pytest.raises(ModelRefusedError, match=f"holds {name}") as refused:
            read_folder(model.path, digest)
        assert refused.value.reason_code == "model_unsafe"


def test_links_and_folders_are_refused(model, tmp_path):
    """A model is files of its own."""
    outside = tmp_path / "outside.npy"
    (model.path / "assertion.npy").rename(outside)
    (model.path / "assertion.npy").symlink_to(outside)
    with pytest.raises(ModelRefusedError) as refused:
        read_folder(model.path)
    assert refused.value.reason_code == "model_unsafe"
    (model.path / "assertion.npy").unlink()
    (model.path / "assertion.npy").mkdir()
    with pytest.raises(ModelRefusedError) as refused:
        read_folder(model.path)
    assert refused.value.reason_code == "model_unsafe"


@pytest.mark.parametrize("name", ["assertion.npy", "card.json"])
def test_one_changed_byte_is_refused(model, name):
    """The digest isn't that of the registry."""
    data = bytearray((model.path / name).read_bytes())
    data[-2] ^= 1
    (model.path / name).write_bytes(data)
    with pytest.raises(ModelRefusedError, match="was changed since it was registered") as refused:
        read_folder(model.path, model.digest)
    assert refused.value.reason_code == "model_changed"


def _with(**changes):
    return json.dumps({**json.loads(card().model_dump_json(exclude_none=True)), **changes}).encode()


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("card.json", b"not JSON"),
        ("card.json", b"[" * 100_000),
        ("card.json", _with(name="another")),
        ("card.json", _with(name="../../etc")),
        ("card.json", _with(format=2)),
        ("card.json", _with(assertion=None)),
        ("card.json", _with(spans={"length": 8, "certain": 0.5})),  # whose weights aren't there
        ("card.json", _with(assertion={"length": 1 << 40, "certain": {}})),  # memory
        ("card.json", _with(command="run")),
        ("assertion.npy", saved(WEIGHTS.astype(np.float64))),
        ("assertion.npy", saved(WEIGHTS[:-1])),
        ("assertion.npy", header(WEIGHTS.size) + b"\0" * 8),
        ("assertion.npy", header(WEIGHTS.size) + np.full(WEIGHTS.size, np.nan, dtype="<f4").tobytes()),
    ],
)  # fmt: skip
def test_malformed_parts_are_refused(model, file, data):
    """Reason code model_malformed, in words that name the file."""
    (model.path / file).write_bytes(data)
    with pytest.raises(ModelRefusedError) as refused:
        read_folder(model.path)
    assert refused.value.reason_code == "model_malformed"
    assert "chest-1" in str(refused.value)


def test_a_missing_folder_is_told(tmp_path):
    """Reason code model_missing."""
    with pytest.raises(ModelRefusedError) as refused:
        read_folder(tmp_path / "none")
    assert refused.value.reason_code == "model_missing"


def test_the_split_is_by_patient_and_keeps_its_share():
    """The same patient always falls on the same side; about the share is held out; another seed draws others."""
    split, other = Split(seed="1", held_out=0.25), Split(seed="2", held_out=0.25)
    held = [split.holds_out(f"patient {n}") for n in range(4000)]
    assert 0.22 < sum(held) / len(held) < 0.28
    assert held == [split.holds_out(f"patient {n}") for n in range(4000)]
    assert held != [other.holds_out(f"patient {n}") for n in range(4000)]
